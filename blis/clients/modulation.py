"""Rates that change continuously: a daily rhythm, spikes, and traffic that drains away.

A rate is base(t) w(t), where base is piecewise linear (steps of a client's rate, ramps of a drain) and w is a
:class:`Wave`, w(t) = 1 + a cos(2 pi (t - peak) / day), whose mean over a day is 1. Its integral is known in closed
form,

    W(t) = t + (a / omega) (sin(omega (t - peak)) + sin(omega peak)),   omega = 2 pi / day,

so that on a step of rate r, from its start s on, Lambda grows by r (W(t) - W(s)), and Lambda's inverse is that of W: a
table over one day, improved by Newton's method. On a ramp r + c (t - s) it grows in addition by

    c integral of x w(s + x) dx = c (x^2 / 2 + (a / omega) x sin(theta) + (a / omega^2) (cos(theta) - cos(theta_s)))

with theta = omega (t - peak), and the inverse is found by Newton's method kept inside a bracket.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from blis.clients.arrivals import FloatArray, IntArray
from blis.units import US_PER_S

__all__ = ["FLAT", "ModulatedProfile", "Wave"]

_TABLE = 4096
_MOST_ROUNDS = 100
_CLOSE_US = 1e-3
_EPSILON = 1e-15


class Wave:
    """A daily rhythm of mean 1 with its peak at ``peak_us`` of each day of ``day_us`` and the given ``ratio``.

    ``ratio`` is that of peak to trough, (1 + a) / (1 - a). All times and readings are float64 of one shape.
    """

    def __init__(self, ratio: float, peak_us: float, day_us: int) -> None:
        self.amplitude = (ratio - 1) / (ratio + 1)
        self.omega = 2 * math.pi / day_us
        self._peak = peak_us
        self._day = float(day_us)
        self._offset = math.sin(self.omega * peak_us)
        self._times = np.linspace(0.0, self._day, _TABLE)
        self._readings = self.read(self._times)

    def at(self, times: FloatArray) -> FloatArray:
        """Return w at ``times``, in microseconds."""
        result: FloatArray = 1 + self.amplitude * np.cos(self.phase(times))
        return result

    def phase(self, times: FloatArray) -> FloatArray:
        """Return the angles omega (t - peak), less whole turns."""
        result: FloatArray = self.omega * np.mod(times - self._peak, self._day)
        return result

    def read(self, times: FloatArray) -> FloatArray:
        """Return W, the integral of w from 0 to ``times``."""
        if not self.amplitude:
            return times
        result: FloatArray = times + self.amplitude / self.omega * (np.sin(self.phase(times)) + self._offset)
        return result

    def moment(self, start: FloatArray, x: FloatArray) -> FloatArray:
        """Return the integral of u w(start + u) over u from 0 to ``x``."""
        first, last = self.phase(start), self.phase(start + x)
        swing = x * np.sin(last) + (np.cos(last) - np.cos(first)) / self.omega
        result: FloatArray = x * x / 2 + self.amplitude / self.omega * swing
        return result

    def when(self, readings: FloatArray) -> FloatArray:
        """Return the times at which W has these values."""
        if not self.amplitude:
            return readings
        # Over a day W grows by a day.
        days = np.floor(readings / self._day) * self._day
        rest = readings - days
        times = np.interp(rest, self._readings, self._times)
        for _ in range(2):
            times = times - (self.read(times) - rest) / self.at(times)
        result: FloatArray = days + times
        return result


FLAT = Wave(1.0, 0.0, US_PER_S)
"""No rhythm."""


class ModulatedProfile:
    """The :class:`~blis.clients.rates.Profile` of steps and ramps under a daily rhythm.

    From ``starts[i]`` (microseconds; starts[0] = 0) to the next start the rate is ``rates[i]`` requests/s and grows by
    ``slopes[i]`` requests/s per microsecond, times the wave; from the last start on for ever, without a slope. All
    three have shape (k,).
    """

    def __init__(self, starts: Sequence[int], rates: Sequence[float], slopes: Sequence[float], wave: Wave) -> None:
        self._starts = np.array(starts, dtype=np.float64)
        self._ends = np.append(self._starts[1:], np.inf)
        self._rates = np.array(rates, dtype=np.float64)
        self._slopes = np.array(slopes, dtype=np.float64)
        self._wave = wave
        self._read = wave.read(self._starts)
        grown = self._grown(np.arange(len(starts) - 1), np.diff(self._starts))
        self._reached = np.concatenate(([0.0], np.cumsum(grown))) / US_PER_S
        self._total = float(self._reached[-1]) if self._rates[-1] == 0 else math.inf

    def expected(self, end_us: int) -> float:
        """Return Lambda(end_us), the mean number of arrivals in [0, end_us)."""
        at = np.searchsorted(self._starts, [float(end_us)], side="right") - 1
        grown = self._grown(at, float(end_us) - self._starts[at])
        return float((self._reached[at] + grown / US_PER_S)[0])

    def times(self, sums: FloatArray) -> FloatArray:
        """Return the times Lambda^-1(sums) in microseconds; see :class:`~blis.clients.rates.Profile`."""
        if self._total < math.inf:
            sums = sums[: int(np.searchsorted(sums, self._total))]
        at = np.searchsorted(self._reached, sums, side="right") - 1
        lacking = (sums - self._reached[at]) * US_PER_S
        found = self._wave.when(self._read[at] + lacking / self._rates[at])
        ramps = np.flatnonzero(self._slopes[at])
        if len(ramps):
            found[ramps] = self._on_ramp(at[ramps], lacking[ramps])
        # Rounding may carry a time a hair over its step's edge; the arrival belongs inside.
        result: FloatArray = np.clip(found, self._starts[at], np.nextafter(self._ends[at], 0))
        return result

    def _grown(self, at: IntArray, x: FloatArray) -> FloatArray:
        """Return by how much 1e6 Lambda grows in the first ``x`` microseconds of the steps ``at``."""
        start, slope, wave = self._starts[at], self._slopes[at], self._wave
        steps = self._rates[at] * (wave.read(start + x) - self._read[at])
        result: FloatArray = steps + slope * wave.moment(start, x) if slope.any() else steps
        return result

    def _on_ramp(self, at: IntArray, lacking: FloatArray) -> FloatArray:
        """Return the times in the ramps ``at`` at which 1e6 Lambda has grown by ``lacking``."""
        start, rate, slope = self._starts[at], self._rates[at], self._slopes[at]
        low, high = np.zeros_like(start), self._ends[at] - start
        # Without the wave, the root of a quadratic equation.
        x = np.clip(2 * lacking / (rate + np.sqrt(np.maximum(rate**2 + 2 * slope * lacking, 0))), low, high)
        # Readings of the wave are as exact as floats are.
        close, moving = _EPSILON * rate * (start + high), np.ones(len(x), dtype=np.bool_)
        for _ in range(_MOST_ROUNDS):
            error = self._grown(at, x) - lacking
            low, high = np.where(error < 0, x, low), np.where(error < 0, high, x)
            with np.errstate(divide="ignore", invalid="ignore"):
                newton = x - error / ((rate + slope * x) * self._wave.at(start + x))
            # What has come close enough stays, so that a result doesn't depend on its neighbours.
            moving &= ~((np.abs(newton - x) <= _CLOSE_US) | (np.abs(error) <= close))
            if not moving.any():
                break
            step = np.where((newton > low) & (newton < high), newton, (low + high) / 2)
            x = np.where(moving, step, x)
        result: FloatArray = start + x
        return result
