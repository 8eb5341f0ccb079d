"""The unit-rate arrivals of a client: one renewal process, or several that take turns.

The arrivals are the sums U_1 < U_2 < ... of gaps of mean 1; :mod:`blis.clients.rates` maps them to time. A client
whose windows name other arrival processes has one renewal process for each that is named. On the scale of the sums,
where switched-off time has no length, each is in force in some stretches. The gap under way where a stretch ends isn't
lost: of its length a part p is left, and the next stretch begins with the part p of the next gap of its own process.
So nothing restarts at a window's edge, and a process that comes back goes on with its own draws.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from blis.clients.arrivals import FloatArray, GapSampler, unit_gaps
from blis.clients.lengths import Streams
from blis.clients.rates import Profile
from blis.spec.arrival import ArrivalSpec
from blis.spec.client import ClientSpec

__all__ = ["MAX_BLOCK", "Gaps", "Turn", "block_sizes", "taking_turns", "unit_sums"]

MAX_BLOCK = 4096
_MIN_BLOCK = 8


class Gaps:
    """The gaps of one process, which may be given back where they weren't needed."""

    __slots__ = ("_returned", "_rng", "_sampler")

    def __init__(self, sampler: GapSampler, rng: np.random.Generator) -> None:
        self._sampler = sampler
        self._rng = rng
        self._returned = np.empty(0)

    def take(self, n: int) -> FloatArray:
        """Return the next n gaps, float64, shape (n,)."""
        known = self._returned
        if not len(known):
            return self._sampler(self._rng, n)
        self._returned = known[n:]
        return np.concatenate((known[:n], self._sampler(self._rng, max(0, n - len(known)))))

    def give_back(self, gaps: FloatArray) -> None:
        """Let ``gaps``, the last that were taken, come again."""
        self._returned = np.concatenate((gaps, self._returned))


Turn = tuple[float, Gaps]
"""Until which sum (excluded) which process is in force."""


def unit_sums(client: ClientSpec, profile: Profile, named: Streams, likely: float) -> Iterator[FloatArray]:
    """Iterate over the sums of a client's gaps, float64, in blocks fit for ``likely`` of them in all.

    ``named(*purpose)`` gives the client's random streams: one for its own arrival process, and one for each other that
    a window names. The sums go on for ever, or at least to the end of the client's last window.
    """
    own = client.arrival
    assert own is not None, "only closed loops have none"
    windows = () if client.lifecycle is None else client.lifecycle.ordered
    processes = {own: Gaps(unit_gaps(own.process, own.cv), named("arrival"))}
    turns: list[tuple[int, Gaps]] = []
    for window in windows:
        arrival = window.arrival or own
        if arrival not in processes:
            processes[arrival] = Gaps(unit_gaps(arrival.process, arrival.cv), named("arrival", *_names(arrival)))
        gaps = processes[arrival]
        if turns and turns[-1][1] is gaps:
            turns.pop()
        turns.append((window.end_us, gaps))
    if len(turns) > 1:
        return taking_turns([(profile.expected(end_us), gaps) for end_us, gaps in turns], likely)
    return taking_turns([(math.inf, turns[0][1] if turns else processes[own])], likely)


def _names(arrival: ArrivalSpec) -> tuple[str, ...]:
    return (arrival.process,) if arrival.cv is None else (arrival.process, repr(arrival.cv))


def taking_turns(turns: Sequence[Turn], likely: float) -> Iterator[FloatArray]:
    """Iterate over the sums of processes that take turns, in blocks, until the last turn ends.

    ``likely`` is about how many will be used in all.
    """
    at, left = 0.0, 1.0
    for end, process in turns:
        total, part = at, left
        for size in block_sizes(min(likely, end - at)):
            gaps = process.take(size)
            whole = float(gaps[0])
            gaps[0] = total + part * whole
            sums = np.cumsum(gaps)
            served = size if end == math.inf else int(np.searchsorted(sums, end))
            if served:
                yield sums[:served]
            if served < size:
                process.give_back(gaps[served + 1 :])
                length = float(gaps[served]) if served else whole
                left = min(1.0, (float(sums[served]) - end) / length) if length > 0 else 0.0
                break
            total, part = float(sums[-1]), 1.0
        at = end


def block_sizes(expected: float) -> Iterator[int]:
    """Iterate over sizes of blocks for ever: the first likely to hold ``expected`` draws, the next ones growing.

    Sizes lie between 8 and 4096, so that a client with few requests costs little and one with many runs fast.
    """
    size = _MIN_BLOCK
    if expected > _MIN_BLOCK:
        size = MAX_BLOCK if expected >= MAX_BLOCK else min(MAX_BLOCK, int(expected + 2 * math.sqrt(expected)) + 1)
    while True:
        yield size
        size = min(MAX_BLOCK, 2 * size)
