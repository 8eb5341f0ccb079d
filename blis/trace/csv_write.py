"""Rows to CSV text, thousands at a time, without making a Python object per cell.

The lines of a stretch of rows are laid out in a matrix of bytes, a row of it per line. Every line starts as a copy of
one template, which holds the commas and the cells that all rows share; over it come the columns that vary, each in a
field as wide as its longest cell, with :data:`_HOLE` in the places a shorter one leaves free. Taking the holes out of
the whole text closes the gaps. Whole numbers are taken four digits at a time from a table of texts.

Cells too long to be given a field of that width have a :data:`_SLOT` in it, which is filled when the holes are gone.
No text in UTF-8 has either byte.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from blis.trace.columns import COLUMNS, MISSING, STEP_COLUMNS, Columns, TextColumn
from blis.trace.histogram import Histogram

__all__ = ["HEADER_LINE", "RowWriter", "guarded", "write_itl"]

HEADER_LINE = ",".join(column.name for column in COLUMNS) + "\n"
_STRETCH = 8192
_NEEDS_QUOTES = re.compile(r'[",\r\n]')
_FORMULA = frozenset("=+-@\t\r'")
_MOST_WORDS = 1 << 17
"""Columns of more words than this are reduced to those that occur, stretch by stretch."""
_WIDEST = 64
"""Cells of more bytes than this get a slot."""

_HOLE, _SLOT = b"\xff", b"\xfe"
_UNIT = 4
"""Fields begin and end at multiples of this many bytes, and are filled in units of it."""
_BASE = 10**_UNIT

Units = npt.NDArray[np.uint32]
IntArray = npt.NDArray[np.int64]


def guarded(text: str) -> str:
    """Put an apostrophe before a text that a spreadsheet could take for a formula.

    Those begin with ``= + - @``, a tab or a carriage return; texts that begin with an apostrophe get another, so that
    taking one off gives the text back.

    >>> guarded("=1+1"), guarded("plain")
    ("'=1+1", 'plain')
    """
    return "'" + text if text[:1] in _FORMULA and text else text


class RowWriter:
    """Appends rows to ``file``, one line each; the text is UTF-8, quoted as RFC 4180 says, lines end with a line feed.

    Cells of texts are kept for the columns written later, which may have the same.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._known: dict[str, _Cells] = {}

    def write_names(self) -> None:
        """Write the first line of a file."""
        self._file.write(HEADER_LINE.encode())

    def write(self, columns: Columns, start: int = 0, stop: int | None = None) -> None:
        """Write rows ``start`` to ``stop`` (excluded; default: all)."""
        stop = len(columns) if stop is None else stop
        for first in range(start, stop, _STRETCH):
            self._file.write(_lines(columns, first, min(first + _STRETCH, stop), self._known))


def write_itl(file: BinaryIO, itl: Histogram) -> None:
    """Write the distinct token gaps and how often each occurs."""
    file.write(b"itl_us,count\n")
    pairs = zip(itl.values.tolist(), itl.counts.tolist(), strict=True)
    file.writelines(b"%d,%d\n" % pair for pair in pairs)


@dataclass(frozen=True, slots=True)
class _Numbers:
    """A field of whole numbers; those that are :data:`MISSING` leave it empty."""

    values: IntArray
    units: int

    @classmethod
    def of(cls, values: IntArray) -> _Numbers:
        return cls(values, -(-len(str(int(values.max()))) // _UNIT))

    def fill(self, field: Units) -> None:
        """Write the cells into ``field``, shape (rows, units)."""
        missing = np.flatnonzero(self.values < 0)
        rest = self.values
        if missing.size:
            rest = rest.copy()
            rest[missing] = 0
        elif self.units <= 2:
            # Half the width, half the time; 8 digits always fit.
            rest = rest.astype(np.uint32)
        whole = rest
        for left in range(self.units - 1, -1, -1):
            digits = rest
            if left:
                digits = rest // _BASE**left
                rest = rest - digits * _BASE**left
            table = _DIGITS if left else _LAST_DIGITS
            if left < self.units - 1:
                # Below leading digits, zeros are digits too.
                digits = digits + (whole >= _BASE ** (left + 1)) * _BASE
            field[:, self.units - 1 - left] = table[digits]
        field[missing] = _EMPTY


@dataclass(frozen=True, slots=True)
class _Words:
    """A field of words: row i has ``table[codes[i]]``."""

    codes: npt.NDArray[Any]
    table: Units

    @property
    def units(self) -> int:
        return int(self.table.shape[1])

    def fill(self, field: Units) -> None:
        """Write the cells into ``field``, shape (rows, units)."""
        field[:] = self.table[self.codes]


class _Cells:
    """The cells that words have, and the words they are of."""

    def __init__(self, words: Sequence[str], cells: list[bytes]) -> None:
        self.words = words
        self.cells = cells
        self.table = _padded(cells) if max(map(len, cells)) <= _WIDEST else None

    @classmethod
    def of(cls, words: Sequence[str]) -> _Cells:
        """The words' cells, and an empty one at -1."""
        return cls(words, [*map(_cell, words), b""])

    def fits(self, words: Sequence[str]) -> bool:
        return self.words is words and len(self.cells) == len(words) + 1


class _Layout:
    """The matrix of a stretch in the making: the template so far, and where the fields are."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._template = bytearray()
        self._fields: list[tuple[int, _Numbers | _Words]] = []
        self._slots: list[list[bytes]] = []

    def add(self, text: bytes) -> None:
        """Add what all lines have here."""
        if len(text) <= _WIDEST:
            self._template += text
        else:
            self.add_long([text] * self._rows)

    def add_numbers(self, values: IntArray) -> None:
        """Add a cell of a whole number."""
        if values[0] == values[-1] and (values == values[0]).all():
            self.add(b"" if values[0] == MISSING else b"%d" % int(values[0]))
        else:
            self._add_field(_Numbers.of(values))

    def add_words(self, codes: npt.NDArray[Any], words: _Cells) -> None:
        """Add a cell that is one of ``words``."""
        if codes[0] == codes[-1] and (codes == codes[0]).all():
            self.add(words.cells[int(codes[0])])
        elif words.table is not None:
            self._add_field(_Words(codes, words.table))
        else:
            self.add_long([words.cells[code] for code in codes.tolist()])

    def add_long(self, cells: list[bytes]) -> None:
        """Add a cell of any length."""
        self._template += _SLOT
        self._slots.append(cells)

    def text(self) -> bytes:
        """Fill the matrix and close its gaps."""
        self._align()
        matrix = np.empty((self._rows, len(self._template) // _UNIT), np.uint32)
        matrix[:] = np.frombuffer(self._template, np.uint32)
        for start, field in self._fields:
            field.fill(matrix[:, start : start + field.units])
        text = matrix.tobytes().translate(None, _HOLE)
        if not self._slots:
            return text
        pieces = iter(text.split(_SLOT))
        whole = [next(pieces)]
        for row in zip(*self._slots, strict=True):
            for cell in row:
                whole += (cell, next(pieces))
        return b"".join(whole)

    def _add_field(self, field: _Numbers | _Words) -> None:
        self._align()
        self._fields.append((len(self._template) // _UNIT, field))
        self._template += _HOLE * (field.units * _UNIT)

    def _align(self) -> None:
        self._template += _HOLE * (-len(self._template) % _UNIT)


def _lines(columns: Columns, start: int, stop: int, known: dict[str, _Cells]) -> bytes:
    """The text of rows ``start`` to ``stop`` (excluded), of which there is at least one."""
    layout = _Layout(stop - start)
    for column in COLUMNS:
        if column is not COLUMNS[0]:
            layout.add(b",")
        match column.kind:
            case "int":
                layout.add_numbers(columns.numbers(column.name, start, stop))
            case "steps":
                _add_steps(layout, *(columns.numbers(step, start, stop) for step in STEP_COLUMNS))
            case "flag":
                layout.add_words(columns.numbers(column.name, start, stop).astype(np.int8), _FLAGS)
            case "ratio":
                _add_ratios(layout, columns.numbers(column.name, start, stop))
            case _:
                _add_texts(layout, columns.text(column.name, start, stop), column.name, known)
    layout.add(b"\n")
    return layout.text()


def _add_steps(layout: _Layout, first: IntArray, last: IntArray) -> None:
    there = first != MISSING
    layout.add_numbers(first)
    layout.add_words(there.astype(np.int8), _DASH)
    layout.add_numbers(np.where(there, last, MISSING))


def _add_ratios(layout: _Layout, ratios: npt.NDArray[np.float64]) -> None:
    if (ratios == ratios[0]).all():
        layout.add(_ratio(float(ratios[0])))
        return
    distinct, codes = np.unique(ratios, return_inverse=True)
    layout.add_words(codes, _Cells((), [_ratio(value) for value in distinct.tolist()]))


def _add_texts(layout: _Layout, text: TextColumn, name: str, known: dict[str, _Cells]) -> None:
    if len(text.words) > _MOST_WORDS:
        used, codes = np.unique(text.codes, return_inverse=True)
        layout.add_words(codes, _Cells.of(["" if code < 0 else text.words[code] for code in used.tolist()]))
        return
    cells = known.get(name)
    if cells is None or not cells.fits(text.words):
        cells = known[name] = _Cells.of(text.words)
    layout.add_words(text.codes, cells)


def _ratio(value: float) -> bytes:
    return (str(int(value)) if value in (0.0, 1.0) else repr(value)).encode()


def _cell(text: str) -> bytes:
    text = guarded(text)
    if _NEEDS_QUOTES.search(text):
        text = '"' + text.replace('"', '""') + '"'
    return text.encode("utf-8", "backslashreplace")


def _padded(texts: Sequence[bytes]) -> Units:
    """Texts as the rows of a table, with holes after the shorter ones."""
    width = -(-max(map(len, texts)) // _UNIT) * _UNIT
    return np.frombuffer(b"".join(text.ljust(width, _HOLE) for text in texts), np.uint32).reshape(len(texts), -1)


def _digit_table(zero: bool) -> Units:
    """The texts of 0 to 9999 as leading digits, 0 being there only if ``zero``, then as digits that follow others."""
    powers = 10 ** np.arange(_UNIT - 1, -1, -1)
    numbers = np.arange(_BASE)[:, np.newaxis]
    digits = (numbers // powers % 10 + ord("0")).astype(np.uint8)
    blank = numbers < powers
    blank[0, -1] = not zero
    leading = np.where(blank, np.uint8(ord(_HOLE)), digits)
    return np.concatenate((leading, digits)).view(np.uint32).ravel()


_DIGITS, _LAST_DIGITS = _digit_table(zero=False), _digit_table(zero=True)
_EMPTY = np.frombuffer(_HOLE * _UNIT, np.uint32)[0]
_FLAGS = _Cells((), [b"false", b"true"])
_DASH = _Cells((), [b"", b"-"])
