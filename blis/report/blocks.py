"""What a report is made of, whatever it is shown on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Block", "Facts", "Grid", "Mood", "Row", "printable"]

Mood = Literal["", "good", "doubtful", "bad"]
"""How a line is to be taken; a renderer with colours shows it."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Labelled texts below a title."""

    title: str
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a grid: cells from the left, the first of which names the line.

    A row with one cell only is a heading of those that follow.
    """

    cells: tuple[str, ...]
    mood: Mood = ""


@dataclass(frozen=True, slots=True)
class Grid:
    """A table. ``head`` has a title for each column, the first that of the table; numbers are right-aligned.

    A title may have a line break where it can be broken. ``spare`` lists the columns to leave out where there is
    too little room, first to go first.
    """

    head: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    spare: tuple[int, ...] = ()


Block = Facts | Grid


def printable(text: str) -> str:
    """Return a text from a file as one line that can't steer a terminal.

    >>> printable("a\\x1b[31mb\\nc")
    'a\\\\x1b[31mb\\\\nc'
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
