"""Distributions fitted to samples by maximum likelihood.

Samples are grouped first, since that is what they are: gaps between arrivals are known to the resolution of a clock,
lengths are whole tokens. With F the cumulative probability of a distribution with parameters q, and c_i the number of
values between the edges e_i and e_{i+1}, the log-likelihood is

    L(q) = sum of c_i log(F(e_{i+1}; q) - F(e_i; q)),

which is finite whatever the sample (a density isn't, at a gap of zero), and costs the same for any number of values.
Groups are about 2 % wide, which loses next to nothing. Candidates are compared by Akaike's information criterion,
AIC = 2 k - 2 L with k parameters (Akaike 1974); the lowest is best. The Kolmogorov-Smirnov distance, the largest
difference between the sample's and the fitted cumulative probability (here: at the edges), says how good the best is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit, gammainc, gammaincc, gammaln, logit, ndtr

__all__ = ["ARRIVALS", "LEAST", "LENGTHS", "Family", "Fit", "Grouped", "fitted", "weibull_cv"]

FloatArray = npt.NDArray[np.float64]
Tails = tuple[FloatArray, FloatArray]
"""Probabilities of at most x and of more than x, at each edge x."""

LEAST = 20
"""Fewer values than this aren't worth a fit."""
_WIDTH = 0.02
_FINE = 50
"""Up to this many times the resolution every value has a group of its own."""
_LARGEST = 1e18
_LEAST = 1e-300
_STEPS = 600


def _unit_edges() -> FloatArray:
    """Edges between whole numbers; 0 and 1 aren't parted."""
    coarse = _FINE * np.exp(_WIDTH * np.arange(1, math.log(_LARGEST / _FINE) / _WIDTH))
    return np.concatenate(([0.0], np.arange(1, _FINE + 1) + 0.5, np.unique(np.floor(coarse)) + 0.5))


_UNIT_EDGES = _unit_edges()


@dataclass(frozen=True, slots=True)
class Grouped:
    """A sample as counts, float64, shape (m,), between ``edges``, shape (m + 1,), ascending and >= 0."""

    edges: FloatArray
    counts: FloatArray
    mean: float
    """Of the values themselves."""

    @classmethod
    def of(cls, values: npt.NDArray[np.int64], resolution: int = 1) -> Grouped:
        """Group whole multiples of ``resolution``, all >= 0 and at least one.

        A value v stands for [v - resolution/2, v + resolution/2), and one of ``resolution`` for what is less, too.
        """
        edges = _UNIT_EDGES * resolution
        groups = np.searchsorted(edges, values, side="right") - 1
        first, last = int(groups.min()), int(groups.max())
        counts = np.bincount(groups - first, minlength=last - first + 1)
        return cls(edges[first : last + 2], counts.astype(np.float64), float(values.mean()))

    @property
    def middles(self) -> FloatArray:
        """A value for each group."""
        middles: FloatArray = (self.edges[:-1] + self.edges[1:]) / 2
        return middles

    def quantile(self, p: float) -> float:
        """The middle of the group in which a share ``p`` of the sample is reached."""
        cumulative = np.cumsum(self.counts)
        return float(self.middles[int(np.searchsorted(cumulative, p * cumulative[-1]))])

    def moments(self, *, logs: bool = False) -> tuple[float, float]:
        """Mean and standard deviation of the values, or of their logarithms, as far as the groups tell; none is 0."""
        values = np.log(self.middles) if logs else self.middles
        mean = float(np.average(values, weights=self.counts))
        deviation = math.sqrt(float(np.average((values - mean) ** 2, weights=self.counts)))
        return mean, max(deviation, 1e-3 * abs(mean), 1e-3)


@dataclass(frozen=True, slots=True)
class Family:
    """A kind of distribution.

    ``tails(q, x)`` gives its probabilities for parameters q (real numbers without limits) at the edges x; ``starts``
    the parameters to begin the search at; ``named`` the parameters as people know them.
    """

    name: str
    tails: Callable[[FloatArray, FloatArray], Tails]
    starts: Callable[[Grouped], Sequence[Sequence[float]]]
    named: Callable[[FloatArray], dict[str, float]]
    clipped: bool = False
    """Whether all that lies beyond the sample counts as its smallest and largest value."""


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted distribution: its parameters by name, its AIC and its Kolmogorov-Smirnov distance from the sample."""

    family: str
    aic: float
    ks: float
    params: dict[str, float] = field(default_factory=dict)


def fitted(families: Sequence[Family], sample: Grouped) -> list[Fit]:
    """Fit each of ``families`` to a sample, and return the fits with the best (lowest AIC) first.

    A sample within one group, all values being alike to 2 %, is ``constant``, and nothing else is fitted.
    """
    if len(sample.counts) == 1:
        return [Fit("constant", 2.0, 0.0, {"value": sample.mean})]
    fits = [_fit(family, sample) for family in families]
    return sorted(fits, key=lambda fit: fit.aic)


def _fit(family: Family, sample: Grouped) -> Fit:
    present = np.flatnonzero(sample.counts)

    def tails(q: FloatArray) -> Tails:
        with np.errstate(all="ignore"):
            below, above = family.tails(q, sample.edges)
        if family.clipped:
            below[0], above[0], below[-1], above[-1] = 0.0, 1.0, 1.0, 0.0
        return below, above

    def loss(q: FloatArray) -> float:
        below, above = tails(q)
        # Differences of small numbers only: what is far out has its digits in the upper tail.
        inside = np.where(below[:-1] < 0.5, np.diff(below), -np.diff(above))[present]
        logs = np.log(np.maximum(np.nan_to_num(inside), _LEAST))
        return -float(logs @ sample.counts[present])

    found = [
        minimize(loss, np.array(start), method="Nelder-Mead", options={"maxiter": _STEPS, "xatol": 1e-4, "fatol": 1e-2})
        for start in family.starts(sample)
    ]
    best = min(found, key=lambda result: float(result.fun))
    seen = np.concatenate(([0.0], np.cumsum(sample.counts))) / sample.counts.sum()
    ks = float(np.abs(tails(best.x)[0] - seen).max())
    return Fit(family.name, 2 * len(best.x) + 2 * float(best.fun), ks, family.named(best.x))


# ---- what can be fitted ----


def _exponential(q: FloatArray, x: FloatArray) -> Tails:
    ratio = x / np.exp(q[0])
    return -np.expm1(-ratio), np.exp(-ratio)


def _gamma(q: FloatArray, x: FloatArray) -> Tails:
    shape = np.exp(q[0])
    scaled = x / np.exp(q[1]) * shape
    return gammainc(shape, scaled), gammaincc(shape, scaled)


def _weibull(q: FloatArray, x: FloatArray) -> Tails:
    hazard = (x / np.exp(q[1])) ** np.exp(q[0])
    return -np.expm1(-hazard), np.exp(-hazard)


def _gaussian(q: FloatArray, x: FloatArray) -> Tails:
    z = (x - q[0]) / np.exp(q[1])
    return ndtr(z), ndtr(-z)


def _lognormal(q: FloatArray, x: FloatArray) -> Tails:
    z = (np.log(x) - q[0]) / np.exp(q[1])
    return ndtr(z), ndtr(-z)


def _pareto_lognormal(q: FloatArray, x: FloatArray) -> Tails:
    weight = expit(q[4])
    beyond = np.where(x > np.exp(q[1]), np.exp(np.exp(q[0]) * (q[1] - np.log(x))), 1.0)
    below, above = _lognormal(q[2:4], x)
    return weight * (1 - beyond) + (1 - weight) * below, weight * beyond + (1 - weight) * above


def _weibull_start(sample: Grouped) -> list[list[float]]:
    mean, deviation = sample.moments()
    # Close to the exact relation for any cv that occurs.
    shape = min(max((deviation / mean) ** -1.086, 0.05), 50.0)
    return [[math.log(shape), math.log(mean) - math.lgamma(1 + 1 / shape)]]


def _gamma_start(sample: Grouped) -> list[list[float]]:
    mean, deviation = sample.moments()
    return [[2 * math.log(mean / deviation), math.log(mean)]]


def _normal_start(sample: Grouped, *, logs: bool) -> list[list[float]]:
    mean, deviation = sample.moments(logs=logs)
    return [[mean, math.log(deviation)]]


def _tail_starts(sample: Grouped) -> list[list[float]]:
    """A tail of a tenth and of half of the sample, its index by Hill (1975)."""
    (body,) = _normal_start(sample, logs=True)
    starts = []
    for share in (0.1, 0.5):
        least = sample.quantile(1 - share)
        beyond = np.where(sample.middles > least, sample.counts, 0.0)
        mean_log = float(beyond @ np.log(np.maximum(sample.middles / least, 1.0))) / max(float(beyond.sum()), 1.0)
        starts.append([-math.log(max(mean_log, 1e-3)), math.log(least), *body, float(logit(share))])
    return starts


def weibull_cv(shape: float) -> float:
    """The coefficient of variation of a Weibull distribution: cv^2 = G(1 + 2/k) / G(1 + 1/k)^2 - 1."""
    return math.sqrt(max(math.expm1(float(gammaln(1 + 2 / shape) - 2 * gammaln(1 + 1 / shape))), 0.0))


def _weibull_params(q: FloatArray) -> dict[str, float]:
    shape = math.exp(q[0])
    return {"shape": shape, "scale": math.exp(q[1]), "cv": weibull_cv(shape)}


def _gamma_params(q: FloatArray) -> dict[str, float]:
    shape = math.exp(q[0])
    return {"shape": shape, "scale": math.exp(q[1]) / shape, "cv": 1 / math.sqrt(shape)}


def _pareto_lognormal_params(q: FloatArray) -> dict[str, float]:
    alpha, xm, mu, sigma = math.exp(q[0]), math.exp(q[1]), float(q[2]), math.exp(q[3])
    return {"alpha": alpha, "xm": xm, "mu": mu, "sigma": sigma, "mix_weight": float(expit(q[4]))}


_EXPONENTIAL = Family(
    "exponential", _exponential, lambda sample: [[math.log(sample.moments()[0])]], lambda q: {"mean": math.exp(q[0])}
)
_GAMMA = Family("gamma", _gamma, _gamma_start, _gamma_params)
_WEIBULL = Family("weibull", _weibull, _weibull_start, _weibull_params)
_GAUSSIAN = Family(
    "gaussian",
    _gaussian,
    lambda sample: _normal_start(sample, logs=False),
    lambda q: {"mean": float(q[0]), "std_dev": math.exp(q[1])},
    clipped=True,
)
_LOGNORMAL = Family(
    "lognormal",
    _lognormal,
    lambda sample: _normal_start(sample, logs=True),
    lambda q: {"mu": float(q[0]), "sigma": math.exp(q[1])},
)
_PARETO_LOGNORMAL = Family("pareto_lognormal", _pareto_lognormal, _tail_starts, _pareto_lognormal_params)

ARRIVALS = (_EXPONENTIAL, _GAMMA, _WEIBULL)
"""Candidates for gaps between arrivals."""
LENGTHS = (_GAUSSIAN, _EXPONENTIAL, _GAMMA, _LOGNORMAL, _PARETO_LOGNORMAL)
"""Candidates for lengths; what specs know, and gamma."""
