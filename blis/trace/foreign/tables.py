"""CSV files of other formats: the columns that matter, cell by cell, with the place of any that is wrong."""

from __future__ import annotations

import csv
import math
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from blis.errors import TraceError
from blis.spec.words import shown
from blis.trace.columns import TextColumn
from blis.trace.csv_read import opened, undecodable
from blis.units import US_PER_S

__all__ = ["MOST_PROBLEMS", "Field", "microseconds", "read_table", "records"]

Kind = Literal["seconds", "date", "tokens", "text"]

MOST_PROBLEMS = 10
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LATEST_S = 2**33
_ALLOWED: dict[Kind, str] = {
    "seconds": "a number of seconds, 0 or more",
    "date": "a date and time such as 2023-11-16 18:15:46.680590",
    "tokens": "a whole number, 0 or more",
    "text": "text",
}


@dataclass(frozen=True, slots=True)
class Field:
    """A column by the name it has in the file, and what its cells hold."""

    name: str
    kind: Kind

    def parse(self, cell: str) -> int | str:
        """The cell's number (times in microseconds) or text; raises ValueError where it isn't what it should be."""
        match self.kind:
            case "tokens":
                return _whole(cell)
            case "seconds":
                return microseconds(float(cell))
            case "date":
                return _date(cell)
        return cell

    @property
    def allowed(self) -> str:
        """What a cell may hold, in words."""
        return _ALLOWED[self.kind]


def microseconds(seconds: float) -> int:
    """Seconds as whole microseconds; raises ValueError for what is no time of a trace."""
    if not 0 <= seconds < _LATEST_S:
        raise ValueError
    return round(seconds * US_PER_S)


def records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Each record of a CSV file that isn't blank, with the number of the line it begins on.

    Raises:
        TraceError: where the file can't be read as CSV.
    """
    line = 0
    try:
        with opened(path) as file:
            reader = csv.reader(file, strict=True)
            for row in reader:
                line += 1
                if len(row) > 1 or (row and row[0].strip()):
                    yield line, row
                line = reader.line_num
    except UnicodeDecodeError:
        raise TraceError(undecodable(path)) from None
    except csv.Error as error:
        raise TraceError(f"{path}:{line + 1}: not valid CSV: {error}") from None


def read_table(path: Path, fields: Sequence[Field]) -> dict[str, npt.NDArray[np.int64] | TextColumn]:
    """The named columns of a CSV file whose first line names its columns; others are passed over.

    Raises:
        TraceError: naming line and column of up to ten cells that can't be used.
    """
    lines = records(path)
    _, names = next(lines)
    titles = [name.strip() for name in names]
    places = [titles.index(field.name) for field in fields]
    columns = [_Column() if field.kind == "text" else array("q") for field in fields]
    problems: list[str] = []
    for line, row in lines:
        if len(row) != len(names):
            problems.append(f"{path}:{line}: found {len(row)} cells; the first line names {len(names)} columns")
        else:
            for field, place, column in zip(fields, places, columns, strict=True):
                try:
                    column.append(field.parse(row[place]))  # type: ignore[arg-type]
                except (ValueError, OverflowError):
                    problems.append(
                        f"{path}:{line}: column {place + 1} ({field.name}): found {shown(row[place])}; allowed is"
                        f" {field.allowed}"
                    )
        if len(problems) >= MOST_PROBLEMS:
            break
    if problems:
        raise TraceError("\n".join(problems[:MOST_PROBLEMS]))
    return {
        field.name: np.array(column, np.int64) if isinstance(column, array) else column.result()
        for field, column in zip(fields, columns, strict=True)
    }


class _Column:
    """Texts that repeat, one after another."""

    def __init__(self) -> None:
        self._index: dict[str, int] = {}
        self._codes = array("i")

    def append(self, text: str) -> None:
        self._codes.append(self._index.setdefault(text, len(self._index)))

    def result(self) -> TextColumn:
        return TextColumn(np.array(self._codes, np.int32), tuple(self._index))


def _whole(cell: str) -> int:
    if cell.isascii() and cell.isdigit():
        return int(cell)
    number = float(cell)
    # Some tables of whole numbers were written as 374.0.
    if not (math.isfinite(number) and number.is_integer() and number >= 0):
        raise ValueError
    return int(number)


def _date(cell: str) -> int:
    moment = datetime.fromisoformat(cell.strip())
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MICROSECOND
