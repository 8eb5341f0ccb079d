"""Rates over time: how the unit-rate arrivals of a client become microseconds.

A client's arrivals are U_1 < U_2 < ... of unit rate (:mod:`blis.clients.arrivals`) and happen at the times t with
Lambda(t) = U_i, where Lambda is its cumulative rate. The process is time-rescaled, never restarted: burstiness
carries over a change of rate, and the time a client is switched off is skipped.

Where clients share an aggregate rate A, client i has the rate A f_i / F(t) at time t, with F(t) the sum of the rate
fractions of the clients active at t. All of them read one shared :class:`Clock`, G(t) = integral of 1/F, on which
each runs at the constant rate A f_i; so a population of n clients costs memory in proportion to n, not n^2.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from blis.clients.arrivals import FloatArray, IntArray
from blis.units import US_PER_S

__all__ = [
    "ALWAYS",
    "END_OF_TIME_US",
    "Clock",
    "RateProfile",
    "Window",
    "merge_windows",
    "shared_profiles",
    "whole_microseconds",
]

END_OF_TIME_US = 2**53
"""Arrivals at or after this time (285 years) never happen; whole microseconds are exact in floats up to here."""

Window = tuple[int, int]
"""A stretch of activity [start, end) in microseconds."""

ALWAYS: tuple[Window, ...] = ((0, END_OF_TIME_US),)
"""The windows of a client without any."""


@dataclass(frozen=True, slots=True)
class Clock:
    """A piecewise linear, never decreasing function of time, and its inverse.

    From ``edges[i]`` (microseconds; edges[0] = 0) to the next edge, and from the last edge on for ever, the reading
    grows by ``paces[i]`` per microsecond from ``readings[i]``. All arrays are float64 of shape (k,).
    """

    edges: FloatArray
    paces: FloatArray
    readings: FloatArray

    @classmethod
    def from_paces(cls, edges: Sequence[int], paces: Sequence[float]) -> Clock:
        """Build the clock that starts at 0 and runs at ``paces[i]`` from ``edges[i]`` on."""
        grown = np.diff(np.array(edges, dtype=np.float64)) * np.array(paces[:-1], dtype=np.float64)
        readings = np.concatenate(([0.0], np.cumsum(grown)))
        return cls(np.array(edges, dtype=np.float64), np.array(paces, dtype=np.float64), readings)

    def read(self, times: FloatArray) -> FloatArray:
        """Return the readings at ``times`` (microseconds)."""
        at = np.searchsorted(self.edges, times, side="right") - 1
        result: FloatArray = self.readings[at] + (times - self.edges[at]) * self.paces[at]
        return result

    def when(self, readings: FloatArray) -> FloatArray:
        """Return the last time (microseconds) at which the clock shows each of ``readings``."""
        if len(self.edges) == 1:
            return readings / float(self.paces[0])
        at = np.searchsorted(self.readings, readings, side="right") - 1
        paces = self.paces[at]
        rest = np.divide(readings - self.readings[at], paces, out=np.zeros_like(readings), where=paces > 0)
        result: FloatArray = self.edges[at] + rest
        return result


PLAIN_CLOCK = Clock.from_paces([0], [1.0])


@dataclass(frozen=True, slots=True)
class RateProfile:
    """One client's cumulative rate Lambda and its inverse.

    The client is active in ``windows`` (disjoint, in order); there Lambda grows by ``rate`` (requests/s) / 1e6 for
    each unit of ``clock``.
    """

    rate: float
    windows: tuple[Window, ...] = ALWAYS
    clock: Clock = PLAIN_CLOCK

    def expected(self, end_us: int) -> float:
        """Return Lambda(end_us), the mean number of arrivals in [0, end_us)."""
        edges = np.minimum(np.array(self.windows, dtype=np.float64), float(end_us))
        shown = self.clock.read(edges.ravel()).reshape(-1, 2)
        return float((shown[:, 1] - shown[:, 0]).sum() * self.rate / US_PER_S)

    def times(self, sums: FloatArray) -> FloatArray:
        """Return the times Lambda^-1(sums) in microseconds, float64; ``sums`` are increasing.

        Sums beyond the last window have no time: the result is that much shorter than ``sums``. The rate must be
        above 0.
        """
        if self.windows == ALWAYS:
            return self.clock.when(sums * US_PER_S / self.rate)
        shown = self.clock.read(np.array(self.windows, dtype=np.float64).ravel()).reshape(-1, 2)
        reached = np.concatenate(([0.0], np.cumsum((shown[:, 1] - shown[:, 0]) * self.rate / US_PER_S)))
        sums = sums[: int(np.searchsorted(sums, reached[-1]))]
        at = np.searchsorted(reached, sums, side="right") - 1
        found = self.clock.when(shown[at, 0] + (sums - reached[at]) * US_PER_S / self.rate)
        starts, ends = np.array(self.windows, dtype=np.float64).T
        # Rounding may carry a time a hair over its window's edge; the arrival belongs inside.
        result: FloatArray = np.clip(found, starts[at], np.nextafter(ends[at], 0))
        return result


def shared_profiles(
    fractions: Sequence[float], windows: Sequence[Sequence[Window]], aggregate_rate: float
) -> list[RateProfile]:
    """Return the profiles of clients that share ``aggregate_rate`` (requests/s) by their rate fractions.

    At every moment the fractions are normalised among the clients active then, so that the aggregate holds whenever
    anyone is active. ``windows[i]`` are client i's active stretches; none means always active. Only ratios of
    fractions matter, exactly: 7 and 3 give the same floats as 0.7 and 0.3, since sums and ratios are taken over the
    decimal numbers as written. A fraction of 0 gives a profile of rate 0.
    """
    exact = [Fraction(repr(float(fraction))) for fraction in fractions]
    total = sum(exact, Fraction(0))
    if total == 0:
        return [RateProfile(0.0) for _ in exact]
    shares = [fraction / total for fraction in exact]
    active = [merge_windows(own) if own else ALWAYS for own in windows]
    clock = _shared_clock(shares, active)
    return [RateProfile(float(share) * aggregate_rate, own, clock) for share, own in zip(shares, active, strict=True)]


def merge_windows(windows: Sequence[Window]) -> tuple[Window, ...]:
    """Return the union of ``windows`` as disjoint stretches in order, empty ones left out."""
    merged: list[Window] = []
    for start, end in sorted(windows):
        if end <= start:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return tuple(merged)


def whole_microseconds(times: FloatArray, last: int) -> IntArray:
    """Floor increasing ``times`` to whole microseconds, each at least 1 after the one before.

    ``last`` is the arrival before the first, -1 without one. An arrival is moved only as far as the ones crowded
    before it demand, so the rate doesn't drift.
    """
    steps = np.arange(len(times), dtype=np.int64)
    arrivals = np.minimum(times, float(END_OF_TIME_US)).astype(np.int64) - steps
    if len(arrivals):
        arrivals[0] = max(int(arrivals[0]), last + 1)
    result: IntArray = np.maximum.accumulate(arrivals) + steps
    return result


def _shared_clock(shares: Sequence[Fraction], windows: Sequence[Sequence[Window]]) -> Clock:
    changes: defaultdict[int, Fraction] = defaultdict(Fraction)
    changes[0] = Fraction(0)
    for share, own in zip(shares, windows, strict=True):
        for start, end in own:
            changes[start] += share
            changes[end] -= share
    changes.pop(END_OF_TIME_US, None)
    edges = sorted(changes)
    paces: list[float] = []
    active = Fraction(0)
    for edge in edges:
        active += changes[edge]
        paces.append(float(1 / active) if active > 0 else 0.0)
    return Clock.from_paces(edges, paces)
