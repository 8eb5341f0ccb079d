"""Requests of an observed run, written down as they end, so that a run that dies loses none of them.

A journal is a text file of JSON lines. The first names the columns and holds the header that the trace is to have. Then
comes a line per request, ``[cells, chunk times]``: its row, and when its chunks came, the first in microseconds since
the run's start, the others since the one before. ``{"metrics": [time, replica, values]}`` is a sample of what servers
say of themselves. A line with another header takes the place of the one before.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import orjson
from pydantic import TypeAdapter

from blis.errors import TraceError
from blis.trace.columns import MISSING
from blis.trace.files import journal_of
from blis.trace.header import TraceHeader
from blis.trace.observed import ObservedRow, ObservedRows
from blis.trace.server_metrics import Sample, ServerMetrics
from blis.trace.status import STATUSES

__all__ = ["Journal", "Recovered", "read_journal"]

_COLUMNS = list(ObservedRow._fields)
_ROW_BYTES = 500
"""What a row takes at least, in the journal and then, while that is still there, in the trace."""
_LEAST_BYTES = 1 << 20
_LARGEST = np.iinfo(np.int64).max


class Journal:
    """The journal of a run that is going on, beside the trace that it is to become.

    Each row is handed to the operating system before :meth:`record` returns: the end of the process, however sudden,
    doesn't lose it. It isn't forced to the disk, which would hold up the run; if the whole machine goes down, the last
    seconds may be lost.

    Where the file can't be written any more, ``on_failure`` is called, once, with the reason in words; by default it
    raises :class:`blis.errors.TraceError`. Rows then wait in memory, and each new one tries to get them all written.
    ``rows`` counts the rows so far.

    ``expected`` is about how many requests there will be; ``with_chunks`` says that the trace is to have the times of
    all chunks.

    Raises:
        TraceError: there is a journal already, it can't be made, or it wouldn't have room.
    """

    def __init__(
        self,
        prefix: str | os.PathLike[str],
        header: TraceHeader,
        *,
        expected: int = 0,
        with_chunks: bool = False,
    ) -> None:
        self.path = journal_of(prefix)
        self.rows = 0
        self.on_failure: Callable[[str], None] = _refuse
        self._failed = False
        self._left = bytearray()
        self._file = _create(self.path, expected)
        try:
            self._write({"columns": _COLUMNS, "with_chunks": with_chunks, "header": header.to_yaml()})
        except TraceError:
            self.discard()
            raise

    def record(self, row: ObservedRow, chunk_us: npt.NDArray[np.int64]) -> None:
        """Write down a request that has ended, and the times of its chunks, in microseconds since the run's start."""
        self.rows += 1
        # As numpy.diff would, in a sixth of the time.
        gaps = chunk_us.copy()
        gaps[1:] -= chunk_us[:-1]
        self._write((tuple(row), gaps))

    def record_metrics(self, time_us: int, replica: int, values: Mapping[str, float]) -> None:
        """Write down a sample of a server's metrics."""
        self._write({"metrics": (time_us, replica, values)})

    def write_header(self, header: TraceHeader, *, complete: bool = False) -> None:
        """Replace the header; ``complete`` says that the run is over, and all its requests are here."""
        self._write({"header": header.to_yaml(), "complete": complete})

    def close(self) -> bool:
        """Leave the journal as it is; return whether everything got written."""
        with suppress(OSError):
            self._flush()
        os.close(self._file)
        return not self._left

    def discard(self) -> None:
        """Remove the journal: what it holds is in a trace."""
        os.close(self._file)
        self.path.unlink(missing_ok=True)

    def _write(self, line: Any) -> None:
        self._left += orjson.dumps(line, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE)
        try:
            self._flush()
        except OSError as error:
            if not self._failed:
                self._failed = True
                self.on_failure(f"can't write {self.path}: {error.strerror}")

    def _flush(self) -> None:
        while self._left:
            # On a disk that is nearly full, only the first part of it is written.
            del self._left[: os.write(self._file, self._left)]


def _refuse(problem: str) -> None:
    raise TraceError(problem)


@dataclass(slots=True, eq=False)
class Recovered:
    """What a journal holds.

    ``complete`` says that the run came to its end. ``broken`` are the numbers of the lines, from 1, that can't
    be read; ``cut_off`` says that the last line was only written in part.
    """

    header: TraceHeader
    rows: ObservedRows
    samples: list[Sample] = field(default_factory=list)
    complete: bool = False
    broken: list[int] = field(default_factory=list)
    cut_off: bool = False

    @property
    def metrics(self) -> ServerMetrics | None:
        """What servers said of themselves; None where nothing was asked."""
        return ServerMetrics.of(self.samples) if self.samples else None


def read_journal(path: Path) -> Recovered:
    """Read a journal, be it that the run still goes on.

    Raises:
        TraceError: it can't be read, or isn't a journal.
    """
    try:
        with open(path, "rb") as file:
            found = _begun(file.readline(), path)
            seen: set[int] = set()
            for number, line in enumerate(file, 2):
                try:
                    _take(line, found, seen)
                except (ValueError, TraceError):
                    if line.endswith(b"\n"):
                        found.broken.append(number)
                    else:
                        found.cut_off = True
    except OSError as error:
        raise TraceError(f"can't read {path}: {error.strerror}") from None
    return found


def _begun(line: bytes, path: Path) -> Recovered:
    """Return what the first line says."""
    try:
        first = orjson.loads(line)
        columns, header, with_chunks = (first[key] for key in ("columns", "header", "with_chunks"))
    except (ValueError, TypeError, LookupError):
        raise TraceError(
            f"{path}:1: isn't the journal of an observed run, which begins with a JSON object of 'columns' and 'header'"
        ) from None
    if columns != _COLUMNS:
        raise TraceError(
            f"{path}:1: was written by another version of blis, whose columns differ: recover it with that"
        )
    return Recovered(TraceHeader.from_yaml(str(header), f"{path}:1"), ObservedRows(with_chunks=bool(with_chunks)))


def _take(line: bytes, found: Recovered, seen: set[int]) -> None:
    """Add what a line says; raises ValueError or TraceError where it isn't a whole one."""
    if line.startswith(b'{"metrics"'):
        found.samples.append(_METRICS.validate_json(line, strict=True)["metrics"])
        return
    if line.startswith(b"{"):
        again = orjson.loads(line)
        found.header = TraceHeader.from_yaml(str(again.get("header")), "")
        found.complete = again.get("complete") is True
        return
    row, gaps = _LINE.validate_json(line, strict=True)
    if row.request_id in seen or row.status not in STATUSES or not _in_range(row, gaps):
        raise ValueError
    seen.add(row.request_id)
    found.rows.record(row, np.cumsum(np.array(gaps, np.int64)))


def _in_range(row: ObservedRow, gaps: list[int]) -> bool:
    numbers = [*(value for value in row if type(value) is int), *(row.parts or ())]
    if min(numbers) < MISSING or max(numbers) > _LARGEST or not 0 <= row.reason_ratio <= 1:
        return False
    return row.request_id >= 0 and min(gaps, default=0) >= 0 and sum(gaps) <= _LARGEST


_LINE = TypeAdapter(tuple[ObservedRow, list[int]])
_METRICS = TypeAdapter(dict[Literal["metrics"], Sample])


def _create(path: Path, expected: int) -> int:
    """Make the file, where there is none and room enough, and return its descriptor."""
    needed = max(expected * _ROW_BYTES, _LEAST_BYTES)
    try:
        free = shutil.disk_usage(path.parent).free
        if free < needed:
            raise TraceError(
                f"can't write {path}: {free / 1e6:,.1f} MB are free there, and this run needs {needed / 1e6:,.1f} MB or"
                " more; make room, or choose another place"
            )
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        raise TraceError(
            f"{path} is there: another run is writing it, or one was cut off. Get that run's requests by"
            f" 'blis trace recover {path}' and remove the file, or choose another name for this run"
        ) from None
    except OSError as error:
        raise TraceError(f"can't write {path}: {error.strerror}") from None
