"""The columns of a trace: names, kinds, what a cell may hold, and the arrays behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from blis.errors import BlisError
from blis.trace.status import STATUSES

__all__ = [
    "COLUMNS",
    "MISSING",
    "OURS",
    "REQUIRED",
    "STEP_COLUMNS",
    "ArrayColumns",
    "Column",
    "Columns",
    "TextColumn",
    "column_named",
]

Kind = Literal["int", "flag", "ratio", "text", "status", "steps"]
IntArray = npt.NDArray[np.int64]

MISSING = -1
"""In whole-number columns: nothing there (blank in files). Everything else is 0 or more."""

STEP_COLUMNS = ("first_step", "last_step")
"""The two numbers behind ``token_time_ref``, which files show as ``first-last``."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a trace file.

    ``blank`` says whether a cell may be empty: then it is :data:`MISSING`, an empty text or 0 (a ratio).
    """

    name: str
    kind: Kind = "int"
    blank: bool = True

    @property
    def allowed(self) -> str:
        """What a cell may hold, in words."""
        what = {
            "int": "a whole number from 0 to 9223372036854775807",
            "flag": "true or false",
            "ratio": "a number from 0 to 1",
            "text": "text",
            "status": "one of " + ", ".join(STATUSES),
            "steps": "two step numbers such as 120-375",
        }[self.kind]
        return f"{what}, or nothing" if self.blank and self.kind != "text" else what


_TEXTS = {
    "client_id",
    "tenant_id",
    "slo_class",
    "session_id",
    "prefix_group",
    "model",
    "error_message",
    "finish_reason",
    "instance",
}
_KINDS: dict[str, Kind] = {
    "streaming": "flag",
    "reason_ratio": "ratio",
    "status": "status",
    "token_time_ref": "steps",
    **dict.fromkeys(_TEXTS, "text"),
}
_NEVER_BLANK = {"request_id", "streaming", "input_tokens", "arrival_time_us"}

REQUIRED = tuple(
    "request_id client_id tenant_id slo_class session_id round_index prefix_group streaming input_tokens output_tokens"
    " text_tokens image_tokens audio_tokens video_tokens reason_ratio arrival_time_us send_time_us first_chunk_time_us"
    " last_chunk_time_us num_chunks status error_message".split()
)
"""The 22 columns that every form of the format has."""

_NAMES = (
    "request_id client_id tenant_id slo_class session_id round_index prefix_group prefix_length streaming input_tokens"
    " output_tokens text_tokens image_tokens audio_tokens video_tokens reason_ratio model deadline_us"
    " server_input_tokens arrival_time_us send_time_us first_chunk_time_us last_chunk_time_us num_chunks status"
    " error_message finish_reason instance scheduling_delay_us preemptions cached_tokens prompt_tokens"
    " max_output_tokens planned_output_tokens client_seq token_time_ref"
).split()

COLUMNS = tuple(Column(name, _KINDS.get(name, "int"), name not in _NEVER_BLANK) for name in _NAMES)
"""Every column, in the order files have them."""
OURS = frozenset(_NAMES[27:])
"""Columns that only blis writes; a file without any of them is in one of the older forms."""
_BY_NAME = {column.name: column for column in COLUMNS} | {name: Column(name) for name in STEP_COLUMNS}


def column_named(name: str) -> Column:
    """The column called ``name``; raises :class:`blis.errors.BlisError` with the names there are."""
    try:
        return _BY_NAME[name]
    except KeyError:
        raise BlisError(f"a trace has no column {name!r}; its columns are {', '.join(_NAMES)}") from None


@dataclass(frozen=True, slots=True, eq=False)
class TextColumn:
    """Texts that repeat: row i holds ``words[codes[i]]``, or nothing where the code is -1.

    ``codes`` is int32, shape (n,); ``words`` may hold words twice, or words no row uses.
    """

    codes: npt.NDArray[np.int32]
    words: Sequence[str]

    @classmethod
    def of(cls, texts: Sequence[str]) -> TextColumn:
        """Number ``texts`` in order of appearance."""
        index: dict[str, int] = {}
        codes = np.fromiter((index.setdefault(text, len(index)) for text in texts), np.int32, len(texts))
        return cls(codes, tuple(index))

    def texts(self) -> npt.NDArray[np.object_]:
        """The texts themselves, an object array of shape (n,)."""
        words = np.empty(len(self.words) + 1, object)
        words[: len(self.words)] = self.words
        words[-1] = ""
        return words[self.codes]

    def repetitions(self) -> IntArray:
        """How many rows before each one have the same code, int64, shape (n,)."""
        order = np.argsort(self.codes, kind="stable")
        ordered = self.codes[order]
        begins = np.flatnonzero(np.diff(ordered, prepend=ordered[:1] - 1))
        found = np.empty(len(order), np.int64)
        found[order] = np.arange(len(order)) - np.repeat(begins, np.diff(begins, append=len(order)))
        return found

    def normalised(self) -> TextColumn:
        """The same texts with each word once and no code below 0; empty rows have the word ``""``."""
        index: dict[str, int] = {}
        numbers = [index.setdefault(word, len(index)) for word in self.words]
        if self.codes.size and int(self.codes.min()) < 0:
            numbers.append(index.setdefault("", len(index)))
        else:
            numbers.append(-1)
        return TextColumn(np.array(numbers, np.int32)[self.codes], tuple(index))


class Columns(Protocol):
    """Where a trace's rows come from: a simulation's table, or arrays."""

    def __len__(self) -> int: ...

    def numbers(self, name: str, start: int, stop: int) -> npt.NDArray[Any]:
        """Rows ``start`` to ``stop`` (excluded) of a column of whole numbers (int64), flags (bool) or ratios."""
        ...

    def text(self, name: str, start: int, stop: int) -> TextColumn:
        """Rows ``start`` to ``stop`` (excluded) of a column of texts or statuses."""
        ...


class ArrayColumns:
    """Columns held as arrays, by name; columns that aren't given have their neutral value.

    ``values`` maps names to sequences of n numbers, flags or texts, or to a :class:`TextColumn`. Neutral are
    :data:`MISSING` (0 in columns without blanks), false, 0.0 and the empty text; requests are numbered from 0, and
    ``prefix_length`` is 0 where there is no prefix group.

    Raises:
        BlisError: for an unknown name, unequal lengths, or a number out of its range.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        given: dict[str, npt.NDArray[Any] | TextColumn] = {}
        for name, data in values.items():
            given[name] = checked = _checked(column_named(name), data)
            if isinstance(checked, np.ndarray):
                # A trace hands out views.
                given[name] = checked = checked.view()
                checked.flags.writeable = False
        lengths = {name: len(data.codes if isinstance(data, TextColumn) else data) for name, data in given.items()}
        if len(set(lengths.values())) > 1:
            raise BlisError(f"all columns of a trace must have the same length, found {lengths}")
        self._length = next(iter(lengths.values()), 0)
        self._given = given

    def __len__(self) -> int:
        return self._length

    def numbers(self, name: str, start: int, stop: int) -> npt.NDArray[Any]:
        data = self._given.get(name)
        if isinstance(data, np.ndarray):
            return data[start:stop]
        count = max(min(stop, self._length) - start, 0)
        kind = column_named(name).kind
        if kind == "flag":
            return np.zeros(count, np.bool_)
        if kind == "ratio":
            return np.zeros(count)
        if name == "prefix_length":
            group = self.text("prefix_group", start, stop)
            empty = np.array([not word for word in (*group.words, "")])
            return np.where(empty[group.codes], 0, MISSING)
        if name == "request_id":
            return np.arange(start, start + count)
        return np.full(count, MISSING if column_named(name).blank else 0, np.int64)

    def text(self, name: str, start: int, stop: int) -> TextColumn:
        data = self._given.get(name)
        if isinstance(data, TextColumn):
            return TextColumn(data.codes[start:stop], data.words)
        return TextColumn(np.full(max(min(stop, self._length) - start, 0), -1, np.int32), ())


def _checked(column: Column, data: Any) -> npt.NDArray[Any] | TextColumn:
    name = column.name
    if column.kind in ("text", "status"):
        text = data if isinstance(data, TextColumn) else TextColumn.of([str(item) for item in data])
        if column.kind == "status":
            wrong = sorted(set(text.words) - {*STATUSES, ""})
            if wrong:
                raise BlisError(f"column {name}: found {wrong[0]!r}; allowed is {column.allowed}")
        return text
    if column.kind == "steps":
        raise BlisError(f"give {' and '.join(STEP_COLUMNS)} instead of {name}")
    array = np.asarray(data)
    if not array.size:
        array = array.astype(np.int64)
    if column.kind == "flag" and array.dtype.kind in "bi" and np.isin(array, (0, 1)).all():
        return array.astype(np.bool_)
    if column.kind == "ratio" and array.dtype.kind in "fi" and bool(((array >= 0) & (array <= 1)).all()):
        return array.astype(np.float64)
    if column.kind == "int" and array.dtype.kind in "iu" and bool((array >= (MISSING if column.blank else 0)).all()):
        if array.dtype.kind == "i" or bool((array <= np.iinfo(np.int64).max).all()):
            return array.astype(np.int64, copy=False)
    raise BlisError(f"column {name}: allowed is {column.allowed} ({MISSING} for nothing); found {array!r:.200}")
