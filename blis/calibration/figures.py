"""What is said about one predicted metric. Values are in the metric's unit, errors are fractions."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Bias", "Comparison", "Direction", "Estimate", "Figure", "Ks", "Qq", "Rating", "rate"]

Direction = Literal["over", "under", "none"]


class Rating(enum.StrEnum):
    """How good a prediction is, by MAPE and Pearson r together."""

    EXCELLENT = "excellent"
    GOOD = "good"
    FAIR = "fair"
    POOR = "poor"

    def below(self, other: Rating) -> bool:
        """Whether this is a worse rating than ``other``.

        >>> Rating.FAIR.below(Rating.GOOD), Rating.GOOD.below(Rating.GOOD)
        (True, False)
        """
        order = list(Rating)
        return order.index(self) > order.index(other)


_LIMITS = ((Rating.EXCELLENT, 0.10, 0.95), (Rating.GOOD, 0.20, 0.85), (Rating.FAIR, 0.35, 0.70))


def rate(mape: float, r: float) -> Rating:
    """Excellent: MAPE < 10 % and r > 0.95; good: < 20 %, > 0.85; fair: < 35 %, > 0.70; otherwise poor.

    >>> rate(0.05, 0.99).value, rate(0.05, 0.9).value, rate(0.4, 1.0).value
    ('excellent', 'good', 'poor')
    """
    return next((rating for rating, most, least in _LIMITS if mape < most and r > least), Rating.POOR)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its 95 % bootstrap interval, both ends of which are None where there is none."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Bias:
    """Mean of simulated minus real.

    ``size`` is in the metric's unit, ``share`` a fraction of the real mean (None where that is 0). ``direction`` is
    ``over`` or ``under`` where the interval of the size leaves 0 out, and otherwise ``none``.
    """

    direction: Direction
    size: Estimate
    share: Estimate | None


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of both distributions; ``error`` is (simulated - real) / real, None where real is 0."""

    real: float
    simulated: float
    error: Estimate | None


@dataclass(frozen=True, slots=True)
class Ks:
    """Two-sample Kolmogorov-Smirnov test: largest distance D between the distribution functions, and its p-value.

    The p-value takes the values for independent, which those of requests that share a server aren't.
    """

    d: float
    p: float


@dataclass(frozen=True, slots=True)
class Qq:
    """Quantiles of both distributions at the probabilities 0.005, 0.015, ..., 0.995: one hundred each."""

    real: tuple[float, ...]
    simulated: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One metric, real and simulated.

    Where values go in pairs, ``n`` and ``n_simulated`` are the number of pairs. Otherwise they count the values of
    each side, and what needs pairs is None: MAPE, bias, correlations, rating and all intervals. ``mape`` leaves out
    the ``zero_reals``, pairs whose real value is 0. ``figures`` has the mean, p50, p90, p95 and p99 by name.
    Everything is None or empty where there are no values.
    """

    n: int
    n_simulated: int
    zero_reals: int = 0
    mape: Estimate | None = None
    bias: Bias | None = None
    pearson_r: Estimate | None = None
    spearman_r: float | None = None
    figures: dict[str, Figure] = field(default_factory=dict)
    ks: Ks | None = None
    wasserstein: float | None = None
    qq: Qq | None = None
    rating: Rating | None = None
