"""Errors that reach a person.

A :class:`BlisError` is a mistake in what the user gave (a file, a flag, a value): its text is the whole
message, and the command line prints it and exits with code 2. An :class:`InternalError` is a mistake in blis
itself, such as a request lost by a simulation, and asks for a bug report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["BlisError", "InternalError", "Problem", "SpecError", "TraceError", "UnwrittenError"]

_MOST_SHOWN = 40


class BlisError(Exception):
    """A mistake in the user's input; ``str(error)`` says where, what was found, what is allowed and what to do."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding in an input file.

    ``path`` is the place inside the file (``clients[2].arrival.cv``); ``line`` counts from 1, or is None where the
    input had no lines (a Python dictionary, a flag).
    """

    file: str
    line: int | None
    path: str
    message: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.path}: {self.message}" if self.path else f"{place}: {self.message}"


class SpecError(BlisError):
    """A workload or deployment spec that can't be used; carries every problem found, not only the first.

    The message has the first 40: a slip that is repeated in hundreds of places is best mended before the rest is read.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        lines = [str(problem) for problem in self.problems[:_MOST_SHOWN]]
        if len(self.problems) > _MOST_SHOWN:
            lines.append(f"and {len(self.problems) - _MOST_SHOWN:,} problems more; mend these first")
        super().__init__("\n".join(lines))


class TraceError(BlisError):
    """A trace file that can't be read; names file, line and column."""


class UnwrittenError(TraceError):
    """The trace of a run that is over can't be written; ``trace`` is that trace."""

    def __init__(self, message: str, trace: Any) -> None:
        self.trace = trace
        super().__init__(message)


class InternalError(Exception):
    """An invariant of blis was broken; the message holds what a bug report needs, the seed included."""
