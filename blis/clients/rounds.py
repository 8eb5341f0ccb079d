"""The rounds of sessions as requests that arrive as early as they could: when every answer comes at once.

A session's next round waits for an answer, and when that comes only a server can tell. With answers that take no time
round k arrives k think times after its session's start (each at least the microsecond that
:data:`~blis.clients.sessions.LEAST_WAIT_US` says), and its context is what was planned for the rounds before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from blis.clients.arrivals import IntArray
from blis.clients.columns import Columns
from blis.clients.plans import SessionBlock, SessionSource
from blis.clients.rates import END_OF_TIME_US
from blis.clients.sessions import LEAST_WAIT_US
from blis.clients.source import Block

__all__ = ["Round", "RoundBlock", "earliest_rounds"]


class Round(NamedTuple):
    """What a round of a session has besides its arrival and lengths; columns are int64, shape (n,).

    ``session`` is the session's number within its client, ``place`` the round's within the session, ``number`` the
    request's within its client, and ``context_tokens`` those of earlier rounds that its prompt repeats.
    """

    session: IntArray
    place: IntArray
    number: IntArray
    context_tokens: IntArray

    def at(self, places: npt.NDArray[Any] | slice) -> Round:
        """Return the rounds at these places."""
        return Round(*(column[places] for column in self))


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundBlock(Block):
    """Rounds of one client's sessions in order of arrival; arrivals may be equal, in one block and not in two."""

    rounds: Round

    def at(self, places: npt.NDArray[Any]) -> RoundBlock:
        """Return the rounds at these places."""
        columns = (None if column is None else column[places] for column in self.columns)
        return RoundBlock(self.arrival_us[places], Columns(*columns), rounds=self.rounds.at(places))  # type: ignore[arg-type]


def earliest_rounds(
    source: SessionSource, end_us: int = END_OF_TIME_US, likely: float | None = None
) -> Iterator[RoundBlock]:
    """Iterate over the rounds that could arrive in [0, end_us); ``likely`` is about how many sessions will be used."""
    waiting: RoundBlock | None = None
    for block in source.sessions(end_us, likely):
        if waiting is not None:
            # Nothing that is still to come starts before this block's first session.
            due = waiting.arrival_us < block.start_us[0]
            yield _in_order(waiting.at(due))
            waiting = waiting.at(~due)
        found = _rounds(block, accumulates=source.accumulates)
        found = found.at(found.arrival_us < end_us)
        waiting = found if waiting is None else _joined(waiting, found)
    if waiting is not None:
        yield _in_order(waiting)


def _rounds(block: SessionBlock, *, accumulates: bool) -> RoundBlock:
    """Return the rounds of some sessions, session by session."""
    counts, columns = block.rounds, block.requests.columns
    total = int(counts.sum())
    firsts = np.cumsum(counts) - counts

    def before(values: IntArray) -> IntArray:
        """Sum up the values of the rounds before each in its session."""
        sums = np.cumsum(values) - values
        result: IntArray = sums - np.repeat(sums[firsts], counts)
        return result

    waits = np.full(total, LEAST_WAIT_US) if block.think_us is None else np.maximum(block.think_us, LEAST_WAIT_US)
    context = before(columns.input_tokens + columns.output_tokens) if accumulates else np.zeros(total, np.int64)
    rounds = Round(
        block.first + np.repeat(np.arange(len(counts)), counts),
        np.arange(total) - np.repeat(firsts, counts),
        block.first_seq + np.arange(total),
        context,
    )
    return RoundBlock(block.requests.arrival_us + before(waits), columns, rounds=rounds)


def _in_order(block: RoundBlock) -> RoundBlock:
    """Sort by arrival; of one microsecond the earlier session comes first, as in a run."""
    return block.at(np.lexsort((block.rounds.session, block.arrival_us)))


def _joined(one: RoundBlock, other: RoundBlock) -> RoundBlock:
    columns = Columns(*(_both(*pair) for pair in zip(one.columns, other.columns, strict=True)))
    rounds = Round(*(np.concatenate(pair) for pair in zip(one.rounds, other.rounds, strict=True)))
    return RoundBlock(np.concatenate((one.arrival_us, other.arrival_us)), columns, rounds=rounds)


def _both(one: Any, other: Any) -> Any:
    return None if one is None else np.concatenate((one, other))
