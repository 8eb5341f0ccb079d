"""A trace a stretch of rows at a time, so that figures over many rows need little memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from blis.trace import MISSING, STATUS_CODES, TextColumn, Trace, TraceHeader

__all__ = ["Stretch", "statuses_of", "stretches"]

_ROWS = 65536


@dataclass(frozen=True, slots=True)
class Stretch:
    """Rows ``start`` to ``stop`` (excluded) of a trace; m of them."""

    trace: Trace
    start: int
    stop: int

    @property
    def header(self) -> TraceHeader:
        """The header of the trace."""
        return self.trace.header

    def column(self, name: str) -> npt.NDArray[Any]:
        """Numbers or flags of a column, shape (m,)."""
        return self.trace.rows.numbers(name, self.start, self.stop)

    def prompt_tokens(self) -> npt.NDArray[np.int64]:
        """Tokens of whole prompts, shape (m,); the requests' own parts where the trace doesn't say."""
        prompts, own = self.column("prompt_tokens"), self.column("input_tokens")
        return np.where(prompts == MISSING, own, prompts)

    def text(self, name: str) -> TextColumn:
        """Texts of a column; its words are the same object for every stretch of a trace."""
        return self.trace.rows.text(name, self.start, self.stop)


def stretches(trace: Trace) -> Iterator[Stretch]:
    """The trace from its first row to its last."""
    for start in range(0, len(trace), _ROWS):
        yield Stretch(trace, start, min(start + _ROWS, len(trace)))


def statuses_of(trace: Trace) -> npt.NDArray[np.int8]:
    """Status codes, int8, shape (n,); -1 where a trace that was only generated has none."""
    codes, words = trace.categories("status")
    numbers = np.array([STATUS_CODES.get(word, -1) for word in words], np.int8)
    found: npt.NDArray[np.int8] = numbers[codes]
    return found
