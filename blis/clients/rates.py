"""Rates over time: how the unit-rate arrivals of a client become microseconds.

A client's arrivals are U_1 < U_2 < ... of unit rate (:mod:`blis.clients.arrivals`) and happen at the times t with
Lambda(t) = U_i, where Lambda is its cumulative rate. The process is time-rescaled, never restarted: burstiness
carries over a change of rate, and the time a client is switched off is skipped.

Where clients share an aggregate rate A, client i has the rate A f_i(t) / F(t) at time t, with f_i(t) its rate
fraction, which may differ between its windows, and F(t) the sum over the clients active at t. All of them read one
shared :class:`Clock`, G(t) = integral of 1/F, on which client i runs at the rate A f_i, constant in each of its
windows; so a population of n clients costs memory in proportion to n, not n^2.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple, Protocol

import numpy as np

from blis.clients.arrivals import FloatArray, IntArray
from blis.units import US_PER_S

__all__ = [
    "ALWAYS",
    "END_OF_TIME_US",
    "Clock",
    "Profile",
    "RateProfile",
    "Stage",
    "Window",
    "shared_profiles",
    "whole_microseconds",
]

END_OF_TIME_US = 2**53
"""Arrivals at or after this time (285 years) never happen; whole microseconds are exact in floats up to here."""

Window = tuple[int, int]
"""A stretch of activity [start, end) in microseconds."""


class Stage(NamedTuple):
    """A stretch [start_us, end_us) in which an aggregate rate is multiplied by ``rate``."""

    start_us: int
    end_us: int
    rate: float


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


class Profile(Protocol):
    """A client's cumulative rate Lambda and its inverse; all that arrivals need to know about rates."""

    def expected(self, end_us: int) -> float:
        """Return Lambda(end_us), the mean number of arrivals in [0, end_us)."""
        ...

    def times(self, sums: FloatArray) -> FloatArray:
        """Return the times Lambda^-1(sums) in microseconds, float64; ``sums`` are increasing.

        Sums beyond the client's last activity have no time: the result is that much shorter than ``sums``. The rate
        must be above 0 at some time.
        """
        ...


@dataclass(frozen=True, slots=True)
class RateProfile:
    """The :class:`Profile` of a client whose rate is constant in each of its windows, on its clock.

    The client is active in ``windows`` (disjoint, in order); there Lambda grows by ``rate`` (requests/s) / 1e6 for
    each unit of ``clock``. ``weights``, one for each window, multiply the rate.
    """

    rate: float
    windows: tuple[Window, ...] = ALWAYS
    clock: Clock = PLAIN_CLOCK
    weights: tuple[float, ...] | None = None

    def expected(self, end_us: int) -> float:
        """Return Lambda(end_us), the mean number of arrivals in [0, end_us)."""
        return float(self._grown(end_us)[1].sum())

    def times(self, sums: FloatArray) -> FloatArray:
        """Return the times Lambda^-1(sums) in microseconds; see :class:`Profile`."""
        if self.windows == ALWAYS and self.weights is None:
            return self.clock.when(sums * US_PER_S / self.rate)
        starts, grown = self._grown(END_OF_TIME_US)
        reached = np.concatenate(([0.0], np.cumsum(grown)))
        sums = sums[: int(np.searchsorted(sums, reached[-1]))]
        at = np.searchsorted(reached, sums, side="right") - 1
        rates = self.rate if self.weights is None else self.rate * np.array(self.weights)[at]
        found = self.clock.when(starts[at] + (sums - reached[at]) * US_PER_S / rates)
        opens, closes = np.array(self.windows, dtype=np.float64).T
        # Rounding may carry a time a hair over its window's edge; the arrival belongs inside.
        result: FloatArray = np.clip(found, opens[at], np.nextafter(closes[at], 0))
        return result

    def steps(self) -> tuple[list[int], list[float]]:
        """Return the rate as steps: edges in microseconds from 0 on, and the requests/s from each to the next."""
        edges = sorted({0, *(edge for window in self.windows for edge in window), *map(int, self.clock.edges)})
        edges = [edge for edge in edges if edge < END_OF_TIME_US]
        paces = self.clock.paces[np.searchsorted(self.clock.edges, edges, side="right") - 1]
        at = np.searchsorted([start for start, _ in self.windows], edges, side="right") - 1
        weights = self.weights or (1.0,) * len(self.windows)
        return edges, [
            self.rate * weights[place] * float(pace) if place >= 0 and edge < self.windows[place][1] else 0.0
            for edge, place, pace in zip(edges, at.tolist(), paces, strict=True)
        ]

    def _grown(self, end_us: int) -> tuple[FloatArray, FloatArray]:
        """Return the clock's reading where each window starts, and how much Lambda grows in it before ``end_us``."""
        edges = np.minimum(np.array(self.windows, dtype=np.float64), float(end_us))
        shown = self.clock.read(edges.ravel()).reshape(-1, 2)
        grown = (shown[:, 1] - shown[:, 0]) * self.rate / US_PER_S
        return shown[:, 0], grown if self.weights is None else grown * np.array(self.weights)


def shared_profiles(
    fractions: Sequence[Sequence[float]],
    windows: Sequence[Sequence[Window]],
    aggregate_rate: float = 1.0,
    stages: Sequence[Stage] = (),
) -> list[RateProfile]:
    """Return the profiles of clients that share ``aggregate_rate`` (requests/s) by their rate fractions.

    At every moment the fractions are normalised among the clients active then, so that the aggregate holds whenever
    anyone is active. ``windows[i]`` are client i's active stretches, disjoint and in order, and ``fractions[i]`` its
    fraction in each; no window and one fraction mean always active. Only ratios of fractions matter, exactly: 7 and 3
    give the same floats as 0.7 and 0.3, since sums and ratios are taken over the decimal numbers as written. A fraction
    of 0 gives a rate of 0. With ``stages``, disjoint and in order, the aggregate rate is multiplied by theirs, and is 0
    outside them.
    """
    exact = [[Fraction(repr(float(fraction))) for fraction in own] for own in fractions]
    most = [max(own) for own in exact]
    total = sum(most, Fraction(0))
    always = ((stages[0].start_us, stages[-1].end_us),) if stages else ALWAYS
    active = [tuple(own) or always for own in windows]
    if total == 0:
        return [RateProfile(0.0, own) for own in active]
    clock = _shared_clock([[fraction / total for fraction in own] for own in exact], active, stages)
    return [
        RateProfile(float(top / total) * aggregate_rate, at, clock, _weights(own, top))
        for own, top, at in zip(exact, most, active, strict=True)
    ]


def _weights(fractions: Sequence[Fraction], most: Fraction) -> tuple[float, ...] | None:
    return None if len(set(fractions)) == 1 else tuple(float(fraction / most) for fraction in fractions)


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


def _shared_clock(
    shares: Sequence[Sequence[Fraction]], windows: Sequence[Sequence[Window]], stages: Sequence[Stage]
) -> Clock:
    changes: defaultdict[int, Fraction] = defaultdict(Fraction)
    changes[0] = Fraction(0)
    for own, at in zip(shares, windows, strict=True):
        for share, (start, end) in zip(own, at, strict=True):
            changes[start] += share
            changes[end] -= share
    changes.pop(END_OF_TIME_US, None)
    totals = {0: 0.0 if stages else 1.0}
    for stage in stages:
        # Where the next stage begins at once, it takes the place of the end.
        totals |= {stage.start_us: stage.rate, stage.end_us: 0.0}
    edges = sorted({*changes, *totals})
    paces: list[float] = []
    active, total = Fraction(0), 0.0
    for edge in edges:
        active += changes.get(edge, Fraction(0))
        total = totals.get(edge, total)
        paces.append(total * float(1 / active) if active > 0 else 0.0)
    return Clock.from_paces(edges, paces)
