"""The rows of a simulated run: 154 bytes each as they come, and a fifth of that once a chunk of them is complete."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from blis.errors import BlisError, InternalError
from blis.request import ClientFacts
from blis.trace.segments import SegmentTable

__all__ = ["CHUNK_ROWS", "ROW", "RecordTable"]

CHUNK_ROWS = 8192
"""Rows per chunk: memory grows in steps of this many."""
_SHIFT = CHUNK_ROWS.bit_length() - 1
_MASK = CHUNK_ROWS - 1
_ABSENT = 0xFF

_FIELDS: tuple[tuple[str, str], ...] = (
    ("status", "i1"),
    ("finish", "i1"),
    ("client", "i4"),
    ("client_seq", "i4"),
    ("session", "i4"),
    ("round_index", "i4"),
    ("input_tokens", "i8"),
    ("planned_output_tokens", "i8"),
    ("output_tokens", "i8"),
    ("max_output_tokens", "i8"),
    ("prompt_tokens", "i8"),
    ("text", "u4"),
    ("image", "u4"),
    ("audio", "u4"),
    ("video", "u4"),
    ("reason_ratio", "f8"),
    ("arrival_us", "i8"),
    ("deadline_us", "i8"),
    ("first_us", "i8"),
    ("last_us", "i8"),
    ("scheduling_delay_us", "i8"),
    ("preemptions", "i4"),
    ("cached_tokens", "i8"),
    ("instance", "i4"),
    ("first_step", "i8"),
    ("last_step", "i8"),
)

ROW = np.dtype([(name, "<" + code) for name, code in _FIELDS])
"""Layout of a row; packed, little-endian, so that files and machines agree."""
_CODES = {"i1": "b", "i4": "i", "u4": "I", "i8": "q", "f8": "d"}
_PACKER = struct.Struct("<" + "".join(_CODES[code] for _, code in _FIELDS))
_SIZE = _PACKER.size
_BLANK_CHUNK = bytes([_ABSENT]) * (_SIZE * CHUNK_ROWS)
_FULL_CHUNK: Any = bytes(_SIZE * CHUNK_ROWS)
"""Stands for rows that have been packed: none of them is absent. Not a bytearray, since those take memory at once."""
_WIDTHS = (np.uint8, np.uint16, np.uint32)


class RecordTable:
    """One row per finished request, by request id; rows come in any order, each exactly once.

    ``instances`` names the instances that rows refer to by index. What all requests of a client share is kept once,
    in ``clients``; session ids in ``sessions``; error texts in ``messages``, by request id, and in ``segments``, by
    request id too, the prompts that a row doesn't express.
    """

    def __init__(self, instances: Sequence[str] = ()) -> None:
        self.instances: tuple[str, ...] = tuple(instances)
        self.clients: list[ClientFacts] = []
        self.sessions: list[str] = []
        self.messages: dict[int, str] = {}
        self.segments = SegmentTable()
        self._client_index: dict[ClientFacts, int] = {}
        self._session_index: dict[str, int] = {"": -1}
        self._chunks: list[bytearray] = []
        self._packed: dict[int, dict[str, _Packed]] = {}
        self._unpacked: list[int] = []
        self._count = 0

    def __len__(self) -> int:
        """Number of rows put so far."""
        return self._count

    @property
    def extent(self) -> int:
        """One more than the largest request id put; equals ``len(table)`` when no row is missing."""
        for number in range(len(self._chunks) - 1, -1, -1):
            present = np.flatnonzero(self._rows(number, "status", slice(None)) >= 0)
            if present.size:
                return int(number * CHUNK_ROWS + present[-1] + 1)
        return 0

    def missing(self) -> npt.NDArray[np.int64]:
        """Request ids below the largest one that were never put, ascending, int64."""
        return np.flatnonzero(self.column("status") < 0)

    def client_index(self, facts: ClientFacts) -> int:
        """Number of a client; equal facts share one. Look it up once per client, not per request."""
        index = self._client_index.get(facts)
        if index is None:
            index = self._client_index[facts] = len(self.clients)
            self.clients.append(facts)
        return index

    def session_index(self, session_id: str) -> int:
        """Number of a session; -1 for the empty id (no session)."""
        index = self._session_index.get(session_id)
        if index is None:
            index = self._session_index[session_id] = len(self.sessions)
            self.sessions.append(session_id)
        return index

    def put(
        self,
        request_id: int,
        client: int,
        client_seq: int,
        session: int,
        round_index: int,
        input_tokens: int,
        planned_output_tokens: int,
        output_tokens: int,
        max_output_tokens: int,
        prompt_tokens: int,
        text: int,
        image: int,
        audio: int,
        video: int,
        reason_ratio: float,
        arrival_us: int,
        deadline_us: int,
        first_us: int,
        last_us: int,
        scheduling_delay_us: int,
        preemptions: int,
        cached_tokens: int,
        instance: int,
        status_code: int,
        finish_code: int,
        first_step: int,
        last_step: int,
    ) -> None:
        """Write row ``request_id``; pass everything by position.

        ``client`` and ``session`` are the numbers :meth:`client_index` and :meth:`session_index` gave; times are
        whole microseconds since the run's start. -1 stands for what never came or doesn't apply: session, deadline,
        first and last token, scheduling delay, instance, steps.

        Raises :class:`blis.errors.InternalError` for a request that has its row already, and
        :class:`blis.errors.BlisError` for a number that doesn't fit (token counts reach 2^63 - 1, of one modality
        2^32 - 1).
        """
        try:
            chunk = self._chunks[request_id >> _SHIFT]
        except IndexError:
            chunk = self._grow(request_id)
        offset = (request_id & _MASK) * _SIZE
        if chunk[offset] != _ABSENT or request_id < 0:
            raise InternalError(
                f"request {request_id} ended twice, or has no number; please report this with the run's seed"
            )
        try:
            _PACKER.pack_into(
                chunk, offset, status_code, finish_code, client, client_seq, session, round_index,
                input_tokens, planned_output_tokens, output_tokens, max_output_tokens, prompt_tokens,
                text, image, audio, video, reason_ratio, arrival_us, deadline_us, first_us, last_us,
                scheduling_delay_us, preemptions, cached_tokens, instance, first_step, last_step,
            )  # fmt: skip
        except struct.error:
            chunk[offset : offset + _SIZE] = _BLANK_CHUNK[:_SIZE]
            raise _misfit(request_id, locals()) from None
        self._count += 1

    def column(self, name: str, start: int = 0, stop: int | None = None) -> npt.NDArray[Any]:
        """Rows ``start`` to ``stop`` (excluded; default: all) of a field named as in :meth:`put`, as a new array.

        ``status`` and ``finish`` hold the codes; a row that was never put has the status -1.
        """
        stop = self.extent if stop is None else stop
        out = np.empty(max(stop - start, 0), ROW[name])
        row = start
        while row < stop:
            first = row & _MASK
            count = min(CHUNK_ROWS - first, stop - row)
            out[row - start : row - start + count] = self._rows(row >> _SHIFT, name, slice(first, first + count))
            row += count
        return out

    def pack(self) -> None:
        """Pack the chunks that are complete."""
        unpacked, self._unpacked = self._unpacked, []
        for number in unpacked:
            rows = np.frombuffer(self._chunks[number], ROW)
            if (rows["status"] >= 0).all():
                self._packed[number] = {name: _Packed.of(rows[name]) for name, _ in _FIELDS}
                self._chunks[number] = _FULL_CHUNK
            else:
                self._unpacked.append(number)

    def _rows(self, number: int, name: str, part: slice) -> npt.NDArray[Any]:
        """Part of a field of one chunk."""
        packed = self._packed.get(number)
        return np.frombuffer(self._chunks[number], ROW)[name][part] if packed is None else packed[name].values(part)

    def _grow(self, request_id: int) -> bytearray:
        self.pack()
        while len(self._chunks) <= request_id >> _SHIFT:
            self._unpacked.append(len(self._chunks))
            self._chunks.append(bytearray(_BLANK_CHUNK))
        return self._chunks[-1]


class _Packed(NamedTuple):
    """One field of a chunk's rows: what they have beyond ``least``, as narrow as can be; None where that is nothing."""

    least: Any
    more: npt.NDArray[Any] | None

    @classmethod
    def of(cls, values: npt.NDArray[Any]) -> _Packed:
        """Pack the values of a complete chunk, integers or float64."""
        least, most = values.min(), values.max()
        if least == most:
            return cls(least, None)
        if values.dtype.kind == "f":
            return cls(0.0, values.copy())
        span = int(most) - int(least)
        for width in _WIDTHS:
            if span <= np.iinfo(width).max:
                return cls(least, (values - least).astype(width))
        return cls(0, values.copy())

    def values(self, part: slice) -> npt.NDArray[Any]:
        """Some of the values, shape (m,), to be cast to the field's type."""
        if self.more is None:
            start, stop, _ = part.indices(CHUNK_ROWS)
            return np.broadcast_to(self.least, stop - start)
        whole: npt.NDArray[Any] = self.more[part] + self.least
        return whole


def _misfit(request_id: int, values: dict[str, Any]) -> BlisError:
    for name, code in _FIELDS:
        value = values.get({"status": "status_code", "finish": "finish_code"}.get(name, name))
        if code == "f8":
            continue
        bounds = np.iinfo(code)
        if not isinstance(value, int | np.integer) or not bounds.min <= value <= bounds.max:
            return BlisError(
                f"request {request_id}: {name} is {value!r}, but a simulation keeps whole numbers up to {bounds.max}"
                " there; lower the lengths, rates or times of the workload that lead to it"
            )
    return BlisError(f"request {request_id}: reason_ratio is {values['reason_ratio']!r}, but must be a number")
