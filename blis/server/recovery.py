"""The trace of a run that didn't get to write it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from blis.server.traced import traced
from blis.trace.journal import read_journal
from blis.trace.trace import Trace

__all__ = ["Recovery", "recover"]

_MOST_LINES = 5


class Recovery(NamedTuple):
    """What could be had from a journal, and ``doubts``, in sentences, about what couldn't."""

    trace: Trace
    doubts: tuple[str, ...]


def recover(path: Path) -> Recovery:
    """Return the trace of all requests that a journal has.

    Raises:
        TraceError: it can't be read, or isn't a journal.
    """
    found = read_journal(path)
    doubts = []
    if found.broken:
        shown = ", ".join(map(str, found.broken[:_MOST_LINES])) + (", ..." if len(found.broken) > _MOST_LINES else "")
        many = f"{len(found.broken)} lines can't" if len(found.broken) > 1 else "1 line can't"
        doubts.append(f"{path.name}: {many} be read and had to be left out: {shown}")
    if found.cut_off:
        doubts.append(f"{path.name}: the last line was only written in part and is left out")
    if found.complete:
        # The header was the last to be written, and has everything.
        header = found.header.model_copy(update={"notes": [*found.header.notes, *doubts]})
        return Recovery(
            Trace(header, found.rows.columns(), found.rows.gaps_us, chunks=found.rows.chunks(), metrics=found.metrics),
            tuple(doubts),
        )
    note = "The run was cut off before its end: these are the requests that had ended by then, got from its journal."
    counted = {"interrupted": True, "recovered": True}
    return Recovery(traced(found.header, found.rows, counted, found.metrics, note, *doubts), tuple(doubts))
