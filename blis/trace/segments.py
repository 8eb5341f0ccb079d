"""Prompts that the columns of a trace don't express, such as those made of hash ids, kept in a file beside it."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import orjson

from blis.errors import TraceError
from blis.request import Segment
from blis.spec.words import shown

__all__ = ["SegmentTable", "read_segments", "write_segments"]

IntArray = npt.NDArray[np.int64]
Segments = tuple[Segment, ...]

_NO_KEY = -1
_MOST_TOKENS = (1 << 63) - 1
_ALLOWED = (
    'an object such as {"request_id": 0, "segments": [["a", 512], [null, 10]]}: a whole number, and pairs of a key (or'
    " null) and a number of tokens"
)


class SegmentTable:
    """Prompt segments by request id, each id once, in a few dozen bytes per request.

    >>> table = SegmentTable()
    >>> table.put(7, (("documents", 512), (None, 10)))
    >>> table.places([6, 7]).tolist(), table.at(0)
    ([-1, 0], (('documents', 512), (None, 10)))
    """

    def __init__(self) -> None:
        self._ids = array("q")
        self._ends = array("q")
        self._keys = array("i")
        self._tokens = array("q")
        self._words: list[str] = []
        self._index: dict[str, int] = {}
        self._sorted: tuple[IntArray, IntArray] | None = None

    def __len__(self) -> int:
        """Number of requests."""
        return len(self._ids)

    def put(self, request_id: int, segments: Sequence[Segment]) -> None:
        """Add a request, in any order of ids."""
        for key, tokens in segments:
            self._keys.append(_NO_KEY if key is None else self._number(key))
            self._tokens.append(tokens)
        self._ids.append(request_id)
        self._ends.append(len(self._keys))
        self._sorted = None

    def places(self, ids: npt.ArrayLike) -> IntArray:
        """Where each of ``ids`` is, for :meth:`at` and :meth:`sums`; -1 for those that aren't here."""
        wanted = np.asarray(ids, np.int64)
        known, places = self._order()
        if not known.size:
            return np.full(len(wanted), -1, np.int64)
        at = np.minimum(known.searchsorted(wanted), known.size - 1)
        return np.where(known[at] == wanted, places[at], -1)

    def at(self, place: int) -> Segments:
        """The segments at a place."""
        keys, tokens, words = self._keys, self._tokens, self._words
        start = self._ends[place - 1] if place else 0
        return tuple(
            (None if keys[i] == _NO_KEY else words[keys[i]], tokens[i]) for i in range(start, self._ends[place])
        )

    def sums(self) -> IntArray:
        """The prompt tokens at each place, int64."""
        totals = np.concatenate([[0], np.cumsum(np.array(self._tokens, np.int64))])
        sums: IntArray = np.diff(totals[np.concatenate([[0], np.array(self._ends, np.int64)])])
        return sums

    def items(self) -> Iterator[tuple[int, Segments]]:
        """Each request id with its segments, in order of ids."""
        for request_id, place in zip(*(part.tolist() for part in self._order()), strict=True):
            yield request_id, self.at(place)

    def renumbered(self, ids: IntArray) -> SegmentTable:
        """The same prompts, those of request i under ``ids[i]``."""
        other = SegmentTable()
        for request_id, segments in self.items():
            other.put(int(ids[request_id]), segments)
        return other

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SegmentTable):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self.items(), other.items(), strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<SegmentTable of {len(self)} requests>"

    def _order(self) -> tuple[IntArray, IntArray]:
        """Ids in ascending order, and the place of each."""
        if self._sorted is None:
            ids = np.array(self._ids, np.int64)
            order = np.argsort(ids, kind="stable")
            self._sorted = ids[order], order
        return self._sorted

    def _number(self, key: str) -> int:
        number = self._index.get(key)
        if number is None:
            number = self._index[key] = len(self._words)
            self._words.append(key)
        return number


def write_segments(file: IO[bytes], table: SegmentTable) -> None:
    """Write a line of JSON for each request, in order of ids."""
    for request_id, segments in table.items():
        file.write(orjson.dumps({"request_id": request_id, "segments": segments}))
        file.write(b"\n")


def read_segments(path: Path) -> SegmentTable:
    """Read what :func:`write_segments` wrote.

    Raises:
        TraceError: naming file and line.
    """
    table = SegmentTable()
    seen: set[int] = set()
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                request_id, segments = _parsed(line, f"{path}:{number}")
                if request_id in seen:
                    raise TraceError(f"{path}:{number}: request_id {request_id} was there before; give each one line")
                seen.add(request_id)
                table.put(request_id, segments)
    except OSError as error:
        raise TraceError(f"can't read {path}: {error.strerror or error}") from None
    return table


def _parsed(line: bytes, place: str) -> tuple[int, list[Segment]]:
    try:
        data = orjson.loads(line)
        request_id, segments = data["request_id"], data["segments"]
        if segments and _is_count(request_id) and all(_is_segment(pair) for pair in segments):
            return request_id, [(key, tokens) for key, tokens in segments]
    except (ValueError, TypeError, KeyError):
        pass
    raise TraceError(f"{place}: found {shown(line.decode(errors='replace').strip())}; allowed is {_ALLOWED}")


def _is_segment(pair: Any) -> bool:
    key, tokens = pair
    return (key is None or isinstance(key, str)) and _is_count(tokens)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS
