"""Cells to arrays: a column's texts are parsed a stretch at a time."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt

from blis.trace.columns import MISSING, STEP_COLUMNS, Column, TextColumn
from blis.trace.status import STATUSES

__all__ = ["Collector", "complaint"]

Cells = tuple[str, ...]

_DECIMAL = re.compile(r"[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]{1,3})?|[0-9]+\.")
_STEPS = re.compile(r"([0-9]{1,19})-([0-9]{1,19})")
_FLAGS = {"true": True, "false": False, "True": True, "False": False, "TRUE": True, "FALSE": False}
_STATUS_WORDS = frozenset((*STATUSES, ""))
_RECENT = 128
"""Stretches that are joined at a time, so that memory isn't held in many small arrays."""


class Collector:
    """Parses one column, stretch by stretch, and holds what came so far.

    ``unguard`` takes off the apostrophe that :func:`blis.trace.csv_write.guarded` puts before some texts.
    """

    def __init__(self, column: Column, unguard: bool) -> None:
        self.column = column
        self._unguard = unguard
        self._recent: list[npt.NDArray[Any]] = []
        self._blocks: list[npt.NDArray[Any]] = []
        self._first: npt.NDArray[Any] | None = None
        self._constant = 0
        self._index: dict[str, int] = {}

    def add(self, cells: Cells) -> None:
        """Parse a stretch of cells; raises ValueError or OverflowError if one of them is bad."""
        same = cells[0] == cells[-1] and cells.count(cells[0]) == len(cells)
        parsed = self._parse(cells[:1] if same else cells)
        if self._first is None:
            self._first = parsed[:1]
        if same and not self._recent and not self._blocks and np.array_equal(parsed, self._first):
            self._constant += len(cells)
            return
        if self._constant:
            self._recent.append(np.repeat(self._first, self._constant, axis=0))
            self._constant = 0
        self._recent.append(np.repeat(parsed, len(cells), axis=0) if same else parsed)
        if len(self._recent) == _RECENT:
            self._blocks.append(np.concatenate(self._recent))
            self._recent = []

    def result(self) -> dict[str, npt.NDArray[Any] | TextColumn]:
        """The column by name; for ``token_time_ref`` the two columns behind it. Constant columns take no room."""
        kind = self.column.kind
        whole = self.numbers()
        if kind == "steps":
            return {name: whole[:, i] for i, name in enumerate(STEP_COLUMNS)}
        if kind in ("text", "status"):
            words = [word[1:] if self._unguard and word[:1] == "'" else word for word in self._index]
            return {self.column.name: TextColumn(whole, words)}
        return {self.column.name: whole}

    def numbers(self) -> npt.NDArray[Any]:
        """What was parsed as one array: numbers, flags, codes of texts, or pairs of steps."""
        if self._constant and self._first is not None:
            return np.broadcast_to(self._first, (self._constant, *self._first.shape[1:]))
        whole = np.concatenate([*self._blocks, *self._recent] or [self._parse(())])
        self._blocks, self._recent = [], []
        return whole

    def _parse(self, cells: Cells) -> npt.NDArray[Any]:
        match self.column.kind:
            case "int":
                return _whole_numbers(cells, self.column.blank)
            case "flag":
                return np.array([_flag(cell) for cell in cells], np.bool_)
            case "ratio":
                return np.array([_ratio(cell) for cell in cells], np.float64)
            case "steps":
                return np.array([_steps(cell) for cell in cells], np.int64).reshape(-1, 2)
            case "status" if not _STATUS_WORDS.issuperset(cells):
                raise ValueError
        index = self._index
        for word in dict.fromkeys(cells):
            index.setdefault(word, len(index))
        return np.array([index[cell] for cell in cells], np.int32)


def complaint(column: Column, cell: str) -> str | None:
    """What is wrong with a cell, as the part of a sentence after "found ...", or None."""
    try:
        Collector(column, False).add((cell,))
    except (ValueError, OverflowError):
        hint = ""
        if column.kind == "int" and re.fullmatch(r"[0-9]+\.0*", cell):
            hint = "; leave out the decimal point"
        return f"allowed is {column.allowed}{hint}"
    return None


def _whole_numbers(cells: Cells, blank: bool) -> npt.NDArray[np.int64]:
    digits = "".join(cells)
    # int() takes more than a file may hold: signs, blanks, underscores, digits of other scripts.
    if digits and not (digits.isascii() and digits.isdigit()):
        raise ValueError
    if "" not in cells:
        return np.array(list(map(int, cells)), np.int64)
    if not blank:
        raise ValueError
    return np.array([int(cell) if cell else MISSING for cell in cells], np.int64)


def _flag(cell: str) -> bool:
    try:
        return _FLAGS[cell]
    except KeyError:
        raise ValueError from None


def _ratio(cell: str) -> float:
    if not cell:
        return 0.0
    if not _DECIMAL.fullmatch(cell) or not 0 <= (value := float(cell)) <= 1:
        raise ValueError
    return value


def _steps(cell: str) -> tuple[int, int]:
    if not cell:
        return MISSING, MISSING
    match = _STEPS.fullmatch(cell)
    if match is None:
        raise ValueError
    return int(match[1]), int(match[2])
