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
from blis.clients.rates import END_OF_TIME_US, Profile
from blis.rng import Streams
from blis.spec.arrival import ArrivalSpec
from blis.spec.client import ClientSpec

__all__ = ["MAX_BLOCK", "Gaps", "Turn", "arrival_turns", "block_sizes", "taking_turns", "unit_sums"]

MAX_BLOCK = 4096
_MIN_BLOCK = 8


class Gaps:
    """The gaps of one process, ``first`` before those drawn; they may be given back where they weren't needed."""

    __slots__ = ("_returned", "_rng", "_sampler")

    def __init__(self, sampler: GapSampler, rng: np.random.Generator, first: float | None = None) -> None:
        self._sampler = sampler
        self._rng = rng
        self._returned = np.empty(0) if first is None else np.array([first])

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


def unit_sums(
    client: ClientSpec, profile: Profile, named: Streams, likely: float, first: float | None = None
) -> Iterator[FloatArray]:
    """Iterate over the sums of a client's gaps, float64, in blocks fit for ``likely`` of them in all.

    ``named(*purpose)`` gives the client's random streams: one for its own arrival process, and one for each other that
    a window names. With ``first``, that is the first gap. The sums go on for ever, or at least to the end of the
    client's last window.
    """
    turns: list[tuple[int, Gaps]] = []
    processes: dict[ArrivalSpec, Gaps] = {}
    for end_us, arrival in arrival_turns(client):
        if arrival not in processes:
            names = () if arrival == client.arrival else _names(arrival)
            sampler = unit_gaps(arrival.process, arrival.cv)
            processes[arrival] = Gaps(sampler, named("arrival", *names), None if turns else first)
        turns.append((end_us, processes[arrival]))
    if len(turns) == 1:
        return taking_turns([(math.inf, turns[0][1])], likely)
    return taking_turns([(profile.expected(end_us), gaps) for end_us, gaps in turns], likely)


def arrival_turns(client: ClientSpec) -> list[tuple[int, ArrivalSpec]]:
    """Return the arrival processes of a client in order, each with the time in microseconds until which it holds.

    Two that follow each other are different; there is at least one.
    """
    own = client.arrival
    assert own is not None, "only closed loops have none"
    if client.lifecycle is None:
        return [(END_OF_TIME_US, own)]
    turns: list[tuple[int, ArrivalSpec]] = []
    for window in client.lifecycle.ordered:
        arrival = window.arrival or own
        if turns and turns[-1][1] == arrival:
            turns.pop()
        turns.append((window.end_us, arrival))
    return turns


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
    if expected >= MAX_BLOCK:
        size = MAX_BLOCK
    elif expected > 1:
        size = max(_MIN_BLOCK, min(MAX_BLOCK, int(expected + 3 * math.sqrt(expected)) + 1))
    while True:
        yield size
        size = min(MAX_BLOCK, 2 * size)
