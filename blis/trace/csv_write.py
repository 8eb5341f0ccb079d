"""Rows to CSV text, in stretches: constant columns once, neighbouring whole numbers together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import TextIO

import numpy as np
import numpy.typing as npt
import orjson

from blis.trace.columns import COLUMNS, MISSING, STEP_COLUMNS, Columns, TextColumn
from blis.trace.histogram import Histogram

__all__ = ["HEADER_LINE", "guarded", "write_itl", "write_rows"]

HEADER_LINE = ",".join(column.name for column in COLUMNS) + "\n"
_STRETCH = 16384
_NEEDS_QUOTES = re.compile(r'[",\r\n]')
_FORMULA = frozenset("=+-@\t\r'")
_KNOWN_WORDS = 4096

Cells = list[str] | str
"""The cells of a stretch of rows, or the one text they all have."""


def guarded(text: str) -> str:
    """Put an apostrophe before a text that a spreadsheet could take for a formula.

    Those begin with ``= + - @``, a tab or a carriage return; texts that begin with an apostrophe get another, so that
    taking one off gives the text back.

    >>> guarded("=1+1"), guarded("plain")
    ("'=1+1", 'plain')
    """
    return "'" + text if text[:1] in _FORMULA and text else text


def write_rows(file: TextIO, columns: Columns, start: int = 0, stop: int | None = None) -> None:
    """Append rows ``start`` to ``stop`` (excluded; default: all) to ``file``, one line each, without the header line.

    Quoting follows RFC 4180; lines end with a line feed.
    """
    stop = len(columns) if stop is None else stop
    words: dict[str, list[str]] = {}
    for first in range(start, stop, _STRETCH):
        last = min(first + _STRETCH, stop)
        rows = zip(*_fragments(columns, first, last, words), strict=False)
        file.write("\n".join(map(",".join, rows)))
        file.write("\n")


def write_itl(file: TextIO, itl: Histogram) -> None:
    """Write the distinct token gaps and how often each occurs."""
    file.write("itl_us,count\n")
    pairs = zip(itl.values.tolist(), itl.counts.tolist(), strict=True)
    file.writelines(f"{value},{count}\n" for value, count in pairs)


def _fragments(columns: Columns, start: int, stop: int, words: dict[str, list[str]]) -> Iterator[Iterable[str]]:
    """Yield pieces of lines, left to right; at least one of them is a list of ``stop - start`` texts."""
    constant: list[str] = []
    numbers: list[npt.NDArray[np.int64]] = []
    for column in COLUMNS:
        if column.kind == "int":
            values = columns.numbers(column.name, start, stop)
            if values[0] != values[-1] or (values != values[0]).any() or column.name == "request_id":
                if constant:
                    yield repeat(",".join(constant))
                    constant = []
                numbers.append(values)
                continue
            cells: Cells = "" if values[0] == MISSING else str(int(values[0]))
        else:
            cells = _cells(columns, column.name, column.kind, start, stop, words)
        if numbers:
            yield _number_cells(numbers)
            numbers = []
        if isinstance(cells, str):
            constant.append(cells)
            continue
        if constant:
            yield repeat(",".join(constant))
            constant = []
        yield cells
    if numbers:
        yield _number_cells(numbers)
    if constant:
        yield repeat(",".join(constant))


def _number_cells(columns: Sequence[npt.NDArray[np.int64]]) -> list[str]:
    """Cells of neighbouring columns, comma separated, a text per row.

    JSON shows whole numbers as CSV does, and orjson writes an array of them an order of magnitude faster than str().
    """
    table = np.column_stack(columns) if len(columns) > 1 else columns[0].reshape(-1, 1)
    text = orjson.dumps(np.ascontiguousarray(table), option=orjson.OPT_SERIALIZE_NUMPY).decode()
    # The only negative number there is stands for nothing.
    return text.replace(str(MISSING), "")[2:-2].split("],[")


def _cells(columns: Columns, name: str, kind: str, start: int, stop: int, words: dict[str, list[str]]) -> Cells:
    if kind == "flag":
        flags = columns.numbers(name, start, stop)
        return _mixed(["false", "true"], flags.astype(np.int32))
    if kind == "ratio":
        ratios = columns.numbers(name, start, stop)
        if (ratios == ratios[0]).all():
            return _ratio(float(ratios[0]))
        return [_ratio(value) for value in ratios.tolist()]
    if kind == "steps":
        first, last = (columns.numbers(step, start, stop) for step in STEP_COLUMNS)
        if (first == MISSING).all():
            return ""
        return ["" if a == MISSING else f"{a}-{b}" for a, b in zip(first.tolist(), last.tolist(), strict=True)]
    return _text_cells(name, columns.text(name, start, stop), words)


def _ratio(value: float) -> str:
    return str(int(value)) if value in (0.0, 1.0) else repr(value)


def _text_cells(name: str, text: TextColumn, known: dict[str, list[str]]) -> Cells:
    if len(text.words) > _KNOWN_WORDS:
        used, codes = np.unique(text.codes, return_inverse=True)
        return _mixed([_cell(text.words[code]) if code >= 0 else "" for code in used.tolist()], codes)
    cells = known.get(name)
    if cells is None or len(cells) != len(text.words) + 1:
        cells = known[name] = [*map(_cell, text.words), ""]
    return _mixed(cells, text.codes)


def _mixed(cells: list[str], codes: npt.NDArray[np.int32] | npt.NDArray[np.intp]) -> Cells:
    if (codes == codes[0]).all():
        return cells[int(codes[0])]
    return [cells[code] for code in codes.tolist()]


def _cell(text: str) -> str:
    text = guarded(text)
    return '"' + text.replace('"', '""') + '"' if _NEEDS_QUOTES.search(text) else text
