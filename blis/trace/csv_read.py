"""CSV to columns, a stretch of rows at a time, with the line and column of any cell that is wrong."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt

from blis.errors import TraceError
from blis.spec.words import did_you_mean, shown
from blis.trace.cells import Collector, complaint
from blis.trace.columns import COLUMNS, MISSING, OURS, REQUIRED, ArrayColumns, Column, column_named
from blis.trace.histogram import Histogram

__all__ = ["check_names", "first_repeated", "from_arrays", "opened", "read_itl", "read_rows", "undecodable"]

_STRETCH = 512
_MOST_PROBLEMS = 10
_ROWS_AFTER_FIRST = 10_000
_LONGEST_CELL = 1 << 30


def read_rows(path: Path, mode: str) -> ArrayColumns:
    """Read the rows of a trace; ``mode`` is the header's.

    Columns are found by the names in the first line, in any order: the 22 that every trace has are required, others
    of :data:`blis.trace.columns.COLUMNS` may follow. In the older forms, which have none of blis's own columns, 0
    stands for times that never came and for unknown prompt lengths; such cells become missing here.

    Raises:
        TraceError: naming file, line and column, what was found and what is allowed, for up to ten cells.
    """
    try:
        with opened(path) as file:
            reader = csv.reader(file, strict=True)
            names = next(reader, [])
            columns = check_names(names, f"{path}:1")
            older = OURS.isdisjoint(names)
            collectors = [Collector(column, not older) for column in columns]
            while rows := list(islice(reader, _STRETCH)):
                _collect(rows, collectors)
    except (ValueError, OverflowError, csv.Error) as error:
        raise TraceError("\n".join(_explained(path, error))) from None
    arrays: dict[str, Any] = {name: data for collector in collectors for name, data in collector.result().items()}
    twice = first_repeated(arrays["request_id"])
    if twice is not None:
        first, second = _lines(path, twice)
        raise TraceError(
            f"{path}:{second}: column {names.index('request_id') + 1} (request_id): found"
            f" {arrays['request_id'][twice[0]]}, which line {first} has already; give every request its own number"
        )
    return from_arrays(arrays, older, mode)


def first_repeated(ids: npt.NDArray[np.int64]) -> tuple[int, int] | None:
    """Two row numbers with the same id, if there are any."""
    if (np.diff(ids) > 0).all():
        return None
    order = np.argsort(ids, kind="stable")
    twice = np.flatnonzero(np.diff(ids[order]) == 0)
    return (int(order[twice[0]]), int(order[twice[0] + 1])) if twice.size else None


def from_arrays(arrays: Mapping[str, Any], older: bool, mode: str) -> ArrayColumns:
    """Columns from what a file held, older meanings brought up to date."""
    return ArrayColumns({**arrays, **_modernised(arrays, mode)} if older else arrays)


def read_itl(path: Path) -> Histogram:
    """Read the distinct token gaps and how often each occurs.

    Raises:
        TraceError: naming line and cell.
    """
    value, count = Column("itl_us", blank=False), Column("count", blank=False)
    collectors = [Collector(value, False), Collector(count, False)]
    try:
        with opened(path) as file:
            reader = csv.reader(file, strict=True)
            if next(reader, []) != [value.name, count.name]:
                raise TraceError(f"{path}:1: expected the columns itl_us,count")
            while rows := list(islice(reader, _STRETCH)):
                _collect(rows, collectors)
    except (ValueError, OverflowError, csv.Error) as error:
        raise TraceError("\n".join(_explained(path, error, (value, count)))) from None
    return Histogram(collectors[0].numbers(), collectors[1].numbers())


def check_names(names: Sequence[str], place: str) -> list[Column]:
    """The columns called ``names``; raises TraceError at ``place`` unless each is known, once, and none is lacking."""
    known = [column.name for column in COLUMNS]
    problems = [
        f"{place}: column {number}: unknown column {shown(name)}{did_you_mean(name, known)}"
        for number, name in enumerate(names, 1)
        if name not in known
    ]
    problems += [f"{place}: column {name} comes twice" for name in dict.fromkeys(names) if list(names).count(name) > 1]
    lacking = [name for name in REQUIRED if name not in names]
    if lacking:
        problems.append(f"{place}: missing {'column' if len(lacking) == 1 else 'columns'} {', '.join(lacking)}")
    if problems:
        raise TraceError("\n".join(problems[:_MOST_PROBLEMS]) + f"\nallowed are: {', '.join(known)}")
    return [column_named(name) for name in names]


def _collect(rows: list[list[str]], collectors: list[Collector]) -> None:
    if [] in rows:
        rows = [row for row in rows if row]
    if not rows:
        return
    columns = list(zip(*rows, strict=True))
    if len(columns) != len(collectors):
        raise ValueError
    for collector, cells in zip(collectors, columns, strict=True):
        collector.add(cells)


@contextmanager
def opened(path: Path) -> Iterator[TextIO]:
    """Open a CSV file, whose cells may be long.

    Raises:
        TraceError: where it can't be opened.
    """
    limit = csv.field_size_limit(_LONGEST_CELL)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            yield file
    except OSError as error:
        raise TraceError(f"can't read {path}: {error.strerror or error}") from None
    finally:
        csv.field_size_limit(limit)


def _modernised(arrays: Mapping[str, Any], mode: str) -> dict[str, npt.NDArray[np.int64]]:
    """The columns in which older forms write 0 for what never came, with that made missing."""
    never = {
        name: arrays[name] == 0
        for name in ("deadline_us", "first_chunk_time_us", "last_chunk_time_us", "server_input_tokens")
        if name in arrays
    }
    # In a real trace the first request may well be sent at 0, but not before it arrived.
    never["send_time_us"] = (arrays["send_time_us"] == 0) & ((arrays["arrival_time_us"] > 0) | (mode == "generated"))
    return {name: np.where(zero, MISSING, arrays[name]) for name, zero in never.items()}


def _explained(path: Path, error: Exception, columns: Sequence[Column] | None = None) -> list[str]:
    """Read again, row by row, to say where the bad cells are."""
    problems: list[str] = []
    line, left = 0, _ROWS_AFTER_FIRST
    try:
        with opened(path) as file:
            reader = csv.reader(file, strict=True)
            names = next(reader, [])
            columns = [column_named(name) for name in names] if columns is None else columns
            line = reader.line_num
            for row in reader:
                start, line = line + 1, reader.line_num
                problems += _problems(f"{path}:{start}", row, columns)
                left -= bool(problems)
                if len(problems) >= _MOST_PROBLEMS or not left:
                    break
    except UnicodeDecodeError:
        problems.append(undecodable(path))
    except csv.Error as syntax:
        problems.append(f"{path}:{line + 1}: not valid CSV: {syntax}; put cells with quotes in quotes and double those")
    return problems[:_MOST_PROBLEMS] or [f"{path}: can't be read: {error}"]


def _lines(path: Path, rows: tuple[int, int]) -> list[int]:
    """The lines on which two rows begin, the names and empty lines not counting as rows."""
    lines = []
    with opened(path) as file:
        reader = csv.reader(file, strict=True)
        next(reader)
        row, line = 0, reader.line_num
        for cells in reader:
            if cells and row in rows:
                lines.append(line + 1)
            row, line = row + bool(cells), reader.line_num
    return lines


def _problems(place: str, row: list[str], columns: Sequence[Column]) -> Iterator[str]:
    if row and len(row) != len(columns):
        yield f"{place}: found {len(row)} cells; the first line names {len(columns)} columns"
        return
    for number, (column, cell) in enumerate(zip(columns, row, strict=False), 1):
        wrong = complaint(column, cell)
        if wrong:
            yield f"{place}: column {number} ({column.name}): found {shown(cell)}; {wrong}"


def undecodable(path: Path) -> str:
    """Say where a file isn't UTF-8."""
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                return f"{path}:{number}: byte {error.start + 1} of the line isn't UTF-8; save the file as UTF-8"
    return f"{path}: not UTF-8"
