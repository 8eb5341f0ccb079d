"""What a sequence of arrivals is like: how fast, how its rate changes, how bursty it is, and which process fits.

Burstiness has two figures. The coefficient of variation of the gaps (cv, standard deviation over mean; a Poisson
process has 1) tells how uneven neighbouring gaps are. The index of dispersion for counts in windows of a length t,
variance over mean of the number of arrivals (Poisson: 1 for all t), tells what is left of that over longer times: for a
renewal process it tends to cv^2 as t grows (Cox and Lewis 1966, section 4.5), and it goes on growing where the rate
changes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc

from blis.characterise.fits import ARRIVALS, LEAST, Fit, Grouped, fitted
from blis.units import US_PER_S

__all__ = ["Arrivals", "Trend", "dispersion", "nice_width", "of_arrivals"]

IntArray = npt.NDArray[np.int64]

_WINDOWS = (288, 144, 96, 48, 24, 12, 8, 6, 4)
_PER_WINDOW = 100
_SURE = 1e-4
_CLEAR = 0.1
_LEAST_COUNTS = 20
_MOST_LENGTHS = 4
_NICE_S = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 21600, 43200, 86400)


@dataclass(frozen=True, slots=True)
class Trend:
    """A rate that changes: requests/s in windows of equal length from 0 on, and the gaps' cv around it."""

    window_us: float
    rates_per_s: list[float]
    cv: float


@dataclass(frozen=True, slots=True)
class Arrivals:
    """One sequence of arrivals.

    ``cv`` is None with fewer than two gaps. ``trend`` is None where the rate could as well be constant. ``fits`` has
    the best first, of the gaps in microseconds; with a trend, of the gaps as they would be at the mean rate.
    """

    requests: int
    rate_per_s: float | None
    cv: float | None
    trend: Trend | None
    fits: list[Fit]

    @property
    def steady_cv(self) -> float | None:
        """The cv without what the changes of the rate add to it."""
        return self.cv if self.trend is None else self.trend.cv


def of_arrivals(arrival_us: IntArray, span_us: int) -> Arrivals:
    """Return the figures of arrivals in [0, ``span_us``], int64, shape (n,), ascending."""
    count = len(arrival_us)
    rate = count / span_us * US_PER_S if span_us > 0 else None
    gaps = np.diff(arrival_us)
    if len(gaps) < 2 or not gaps.any():
        return Arrivals(count, rate, None, None, [])
    cv, resolution = float(gaps.std() / gaps.mean()), int(np.gcd.reduce(gaps))
    trend, gaps = _trend(arrival_us, span_us) or (None, gaps)
    fits = fitted(ARRIVALS, Grouped.of(gaps, resolution)) if len(gaps) >= LEAST else []
    return Arrivals(count, rate, cv, trend, fits)


def _trend(arrival_us: IntArray, span_us: int) -> tuple[Trend, IntArray] | None:
    """Return how the rate changes, if it clearly does, and the gaps with these changes taken out, in microseconds.

    They are taken out by measuring time in expected arrivals. Windows are the shortest in which a process that is as
    bursty as what is left has at most 10 % of noise in its counts. The rate changes if the counts vary by more than
    that, and by more than chance explains: their sum of squares over (mean x cv^2) is then far out in the chi-squared
    distribution.
    """
    count = len(arrival_us)
    for windows in _WINDOWS:
        mean = count / windows
        if mean < _PER_WINDOW:
            continue
        length = span_us / windows
        counts = np.bincount(np.minimum((arrival_us / length).astype(np.int64), windows - 1), minlength=windows)
        edges = np.arange(windows + 1) * length
        own = np.diff(np.interp(arrival_us, edges, np.concatenate(([0], np.cumsum(counts)))))
        cv = float(own.std() / own.mean())
        if mean < _PER_WINDOW * cv * cv:
            continue
        excess = float(((counts - mean) ** 2).sum() / mean) / max(cv, _CLEAR) ** 2
        if chdtrc(windows - 1, excess) > _SURE or counts.std() < _CLEAR * mean:
            return None
        trend = Trend(length, (counts / length * US_PER_S).tolist(), cv)
        return trend, np.rint(own * (span_us / count)).astype(np.int64)
    return None


def dispersion(arrival_us: IntArray, span_us: int) -> dict[int, float]:
    """Return the index of dispersion for counts by length of window, powers of ten of a microsecond.

    Windows hold at least one arrival on average, and there are at least 20 whole ones; of the lengths that leaves, the
    longest four.
    """
    found: dict[int, float] = {}
    if not len(arrival_us) or span_us <= 0:
        return found
    width = 10 ** max(0, math.floor(math.log10(span_us / _LEAST_COUNTS)))
    while width >= 1 and len(found) < _MOST_LENGTHS and width * len(arrival_us) >= span_us:
        windows = span_us // width
        counts = np.bincount(arrival_us[arrival_us < windows * width] // width, minlength=windows)
        if counts.any():
            found[width] = float(counts.var() / counts.mean())
        width //= 10
    return dict(sorted(found.items()))


def nice_width(span_us: int, most: int) -> int:
    """Return a width in microseconds that people use for time, with at most ``most`` of it in the span.

    >>> nice_width(60_000_000, 24), nice_width(86_400_000_000, 24), nice_width(30_000, 24)
    (5000000, 3600000000, 2000)
    """
    least = max(span_us / most, 1.0)
    if least > _NICE_S[-1] * US_PER_S:
        return math.ceil(least / (_NICE_S[-1] * US_PER_S)) * _NICE_S[-1] * US_PER_S
    if least > US_PER_S:
        return next(nice * US_PER_S for nice in _NICE_S if nice * US_PER_S >= least)
    power: int = 10 ** math.floor(math.log10(least))
    return next(nice * power for nice in (1, 2, 5, 10) if nice * power >= least)
