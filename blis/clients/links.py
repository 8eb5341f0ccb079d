"""The sessions of a trace: which request follows which, after how long, and whether its prompt grew on the last one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["NOBODY", "Links", "contexts", "growing", "lean", "link"]

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

NOBODY = -1
"""Stands for a place that isn't there."""


@dataclass(frozen=True, slots=True)
class Links:
    """Rounds of sessions, each int64, shape (n,).

    ``session`` numbers the sessions from 0; ``previous`` and ``following`` are the places of the rounds before and
    after a request; all are -1 where there is none.
    """

    session: IntArray
    previous: IntArray
    following: IntArray

    @property
    def later(self) -> BoolArray:
        """Which requests come after another one of their session."""
        later: BoolArray = self.previous != NOBODY
        return later


def link(session: IntArray, round_index: IntArray) -> Links:
    """Link the requests of each session by their rounds; those of one round as they come.

    ``session`` and ``round_index`` are int64, shape (n,), of requests in order of time.
    """
    count = len(session)
    nobody = np.broadcast_to(np.int64(NOBODY), count)
    if np.array_equal(session, nobody):
        return Links(nobody, nobody, nobody)
    order = np.lexsort((np.arange(count), round_index, session))
    order = order[session[order] != NOBODY]
    earlier, later = order[:-1], order[1:]
    same = session[earlier] == session[later]
    previous, following = (np.full(count, NOBODY, np.int64) for _ in range(2))
    previous[later[same]] = earlier[same]
    following[earlier[same]] = later[same]
    return Links(session, previous, following)


def lean(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The same values, in the room of one where they are all equal."""
    equal = array.size > 1 and bool((array == array[0]).all())
    return np.broadcast_to(array[0], array.shape) if equal else array


def growing(links: Links, context: IntArray) -> BoolArray:
    """Which prompts continue their session's tokens, or begin them; shape (n,).

    A round does if it has a context, of ``context`` tokens, and so does the first one of a session where another does.
    """
    grows: BoolArray = (links.session != NOBODY) & (context > 0)
    grew = np.zeros(int(links.session.max(initial=NOBODY)) + 1, np.bool_)
    grew[links.session[grows]] = True
    first = np.flatnonzero((links.session != NOBODY) & ~links.later)
    grows[first] |= grew[links.session[first]]
    return grows


def contexts(links: Links, input_tokens: IntArray, output_tokens: IntArray) -> IntArray:
    """Tokens of context within ``input_tokens``, int64, shape (n,), guessed where a trace doesn't say.

    If every later round of a session puts in at least what the round before it put in and out, its input is taken to
    begin with just that. Otherwise inputs are taken to be the rounds' own.
    """
    before = np.where(links.later, (input_tokens + output_tokens)[links.previous], 0)
    other = np.zeros(int(links.session.max(initial=NOBODY)) + 1, np.bool_)
    other[links.session[input_tokens < before]] = True
    return np.where(links.later & ~other[links.session], before, 0) if other.size else before
