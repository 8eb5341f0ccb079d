"""Gaps between arrivals: renewal processes of unit rate, drawn in blocks.

Every client's arrivals are the sums U_1 < U_2 < ... of independent gaps of mean 1; :mod:`blis.clients.rates` maps
them to time through the inverse of the client's cumulative rate. A process is therefore fixed by its shape alone,
and the same draws serve any rate. With cv the coefficient of variation of a gap (standard deviation / mean):

* poisson: exponential gaps, cv 1;
* gamma: shape 1/cv^2 and scale cv^2, so that mean is 1 and variance cv^2;
* weibull: shape k solved from cv^2 = G(1 + 2/k) / G(1 + 1/k)^2 - 1 and scale 1/G(1 + 1/k), G the gamma function;
* constant: every gap is 1.

All samplers consume their generator element by element, so that a stream cut into other blocks gives the same gaps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from blis.errors import BlisError
from blis.rng import Streams

__all__ = [
    "FloatArray",
    "GapSampler",
    "IntArray",
    "circular_gaps",
    "shaped_gaps",
    "stationary_first_gap",
    "stationary_first_gaps",
    "unit_gaps",
    "weibull_shape",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

GapSampler = Callable[[np.random.Generator, int], FloatArray]
"""``sampler(rng, n)`` gives the next n gaps, float64, shape (n,), mean 1."""

_NEARLY_CONSTANT_CV = 1e-8
_SMALL_GAMMA_SHAPE = 0.1
_TINY = 1e-300
_WEIBULL_SHAPES = (0.02, 1e9)


def unit_gaps(process: str, cv: float | None = None) -> GapSampler:
    """Return the gap sampler of a ``process`` (poisson, gamma, weibull, constant) with coefficient of variation ``cv``.

    ``cv`` is needed for gamma and weibull and ignored by the others. Raises :class:`BlisError` for an unknown
    process, or a cv that is missing or not positive.
    """
    if process == "poisson":
        return _exponential_gaps
    if process == "constant":
        return _constant_gaps
    if process not in ("gamma", "weibull"):
        raise BlisError(f"arrival process {process!r} is unknown: use poisson, gamma, weibull or constant")
    if cv is None or not cv > 0 or not math.isfinite(cv):
        raise BlisError(f"arrival process {process} needs a finite cv above 0, found {cv}: set arrival.cv")
    if cv < _NEARLY_CONSTANT_CV:
        return _constant_gaps
    if process == "gamma":
        return shaped_gaps("gamma", 1 / cv**2)
    return shaped_gaps("weibull", weibull_shape(cv))


def shaped_gaps(process: str, shape: float) -> GapSampler:
    """Return the sampler of gamma or weibull gaps of mean 1 with the given ``shape``; poisson ignores it."""
    if process == "gamma":
        return lambda rng, n: rng.standard_gamma(shape, n) / shape
    if process == "weibull":
        log_mean = math.lgamma(1 + 1 / shape)
        # In logarithms, since the mean of a very small shape is beyond floats (shape 0.005: about 1e375).
        return lambda rng, n: _exp(_log(rng.standard_exponential(n)) / shape - log_mean)
    return _exponential_gaps


@lru_cache(maxsize=4096)
def weibull_shape(cv: float) -> float:
    """Solve cv^2 = G(1 + 2/k) / G(1 + 1/k)^2 - 1 for the Weibull shape k.

    Solved as log(1 + cv^2) = lgamma(1 + 2/k) - 2 lgamma(1 + 1/k) in log k, which is monotone and never overflows.
    Raises :class:`BlisError` if no shape within [0.02, 1e9] has this cv.
    """
    from scipy.optimize import brentq
    from scipy.special import gammaln

    target = math.log1p(cv * cv)

    def excess(log_shape: float) -> float:
        inverse = math.exp(-log_shape)
        return float(gammaln(1 + 2 * inverse) - 2 * gammaln(1 + inverse)) - target

    low, high = (math.log(shape) for shape in _WEIBULL_SHAPES)
    if not excess(high) <= 0 <= excess(low):
        raise BlisError(f"no Weibull shape has cv {cv}: use a cv between 0.01 and 10.4")
    return math.exp(float(brentq(excess, low, high, xtol=1e-13, rtol=1e-14)))


def circular_gaps(rng: np.random.Generator, process: str, shape: float, n: int) -> FloatArray:
    """Draw n gaps of a shape whose common scale doesn't matter, float64, shape (n,), finite and with a positive sum.

    Small shapes have gaps far outside the range of floats (a gamma gap of shape 0.0108 is often below 1e-308), so
    they are drawn as logarithms and scaled by their largest before they are raised: gamma of shape k < 0.1 as
    log g = log Gamma(k + 1) + log(u) / k (Marsaglia and Tsang 2000, section 8), Weibull as log g = log(e) / k with
    e exponential.
    """
    if process == "weibull":
        logs = _log(rng.standard_exponential(n)) / shape
    elif process == "gamma" and shape < _SMALL_GAMMA_SHAPE:
        logs = np.log(rng.standard_gamma(shape + 1, n)) - rng.standard_exponential(n) / shape
    elif process == "gamma":
        return rng.standard_gamma(shape, n)
    else:
        return np.maximum(rng.standard_exponential(n), _TINY)
    return _exp(logs - logs.max())


def stationary_first_gap(rng: np.random.Generator, process: str, shape: float) -> float:
    """Draw the time to the first arrival of a renewal process of mean gap 1 that has been running for ever.

    ``shape`` is that of gamma and weibull gaps; see :func:`stationary_first_gaps`.
    """
    return float(_first_gaps(rng, rng, process, shape, 1)[0])


def stationary_first_gaps(streams: Streams, process: str, cv: float | None, n: int) -> FloatArray:
    """Draw the times to the first arrivals of n renewal processes that have been running for ever; shape (n,).

    Such a time is a uniform part of a gap drawn in proportion to its length (Cox 1962, section 5.2): Gamma(k + 1)/k
    for gamma gaps, lambda * Gamma(1 + 1/k)^(1/k) for Weibull gaps of scale lambda, and 1 for constant ones. With it the
    expected number of arrivals in any stretch is rate times time, however bursty the process. ``streams(part)`` gives
    the generators of the uniform parts and of the lengths; the first draws don't depend on n.
    """
    if process == "constant" or (cv is not None and cv < _NEARLY_CONSTANT_CV):
        return streams("part").random(n)
    shape = 1.0 if cv is None else 1 / cv**2 if process == "gamma" else weibull_shape(cv)
    return _first_gaps(streams("part"), streams("length"), process, shape, n)


def _first_gaps(
    parts: np.random.Generator, gaps: np.random.Generator, process: str, shape: float, n: int
) -> FloatArray:
    part = parts.random(n)
    if process == "gamma":
        return part * gaps.standard_gamma(shape + 1, n) / shape
    if process == "weibull":
        return part * _exp(_log(gaps.standard_gamma(1 + 1 / shape, n)) / shape - math.lgamma(1 + 1 / shape))
    return part * gaps.standard_gamma(2.0, n)


def _exponential_gaps(rng: np.random.Generator, n: int) -> FloatArray:
    return rng.standard_exponential(n)


def _constant_gaps(rng: np.random.Generator, n: int) -> FloatArray:
    return np.ones(n)


def _log(values: FloatArray) -> FloatArray:
    logs: FloatArray = np.log(np.maximum(values, _TINY))
    return logs


def _exp(logs: FloatArray) -> FloatArray:
    with np.errstate(over="ignore", under="ignore"):
        values: FloatArray = np.exp(logs)
    return values
