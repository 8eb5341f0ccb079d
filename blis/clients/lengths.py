"""Samplers of token counts and ratios, drawn in blocks from named streams.

With z standard normal, e standard exponential and u uniform on [0, 1), a draw x is

* gaussian: mean + std_dev z, then clipped to [min, max];
* exponential: mean e;
* lognormal: exp(mu + sigma z);
* pareto_lognormal: xm exp(e / alpha) (Pareto, P(x > t) = (xm/t)^alpha) with probability mix_weight, otherwise
  exp(mu + sigma z);
* uniform: where whole numbers are drawn, min + floor((max - min + 1) u) with the ends rounded to whole numbers; as a
  ratio min + (max - min) u;
* constant: value;
* empirical: the smallest value whose cumulative probability exceeds u.

Exponential, lognormal and pareto_lognormal draws are clipped to [min, max] too, where these are given.

Lengths are x rounded to the nearest whole number (halves to even), at least 1; counts likewise, at least 0; ratios
are x clipped to [0, 1]. No length or count is above :data:`MAX_LENGTH`, no duration above 285 years. Every element
takes the same number of draws from each of its streams, in order, so that a sample doesn't depend on the sizes of the
blocks it is drawn in.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from blis.clients.arrivals import FloatArray, IntArray
from blis.rng import Streams
from blis.spec.distributions import (
    Constant,
    Distribution,
    Empirical,
    Exponential,
    ExponentialParams,
    Gaussian,
    GaussianParams,
    Lognormal,
    LognormalParams,
    ParetoLognormal,
    ParetoLognormalParams,
    Uniform,
    UniformParams,
)

__all__ = [
    "MAX_LENGTH",
    "InverseCdf",
    "clip",
    "counts",
    "durations",
    "empirical_table",
    "item_sums",
    "lengths",
    "ratios",
    "uniform_whole",
    "whole",
]

MAX_LENGTH = 10**9
"""No length or count exceeds this; heavy tails are cut here."""

_MAX_DURATION = 2**53
_LOG_MAX = math.log(_MAX_DURATION)

_Reals = Callable[[int], FloatArray]


def lengths(distribution: Distribution, streams: Streams) -> Callable[[int], IntArray]:
    """Return a sampler of token lengths: ``sample(n)`` gives the next n, int64, shape (n,), each at least 1."""
    return _rounded(distribution, streams, 1, MAX_LENGTH)


def counts(distribution: Distribution, streams: Streams) -> Callable[[int], IntArray]:
    """Return a sampler of counts: ``sample(n)`` gives the next n, int64, shape (n,), each at least 0."""
    return _rounded(distribution, streams, 0, MAX_LENGTH)


def durations(distribution: Distribution, streams: Streams) -> Callable[[int], IntArray]:
    """Return a sampler of times: ``sample(n)`` gives the next n in whole microseconds, int64, shape (n,), >= 0."""
    return _rounded(distribution, streams, 0, _MAX_DURATION)


def ratios(distribution: Distribution, streams: Streams) -> Callable[[int], FloatArray]:
    """Return a sampler of ratios: ``sample(n)`` gives the next n, float64, shape (n,), each in [0, 1]."""
    reals = _reals(distribution, streams)
    return lambda n: np.clip(reals(n), 0.0, 1.0)


def whole(values: FloatArray, least: int, most: int = MAX_LENGTH) -> IntArray:
    """Round to whole numbers from ``least`` to ``most``."""
    rounded = np.rint(values)
    # Twice as fast as np.clip on the short tables of measured data.
    return np.minimum(np.maximum(rounded, least), most).astype(np.int64)


def item_sums(sample: Callable[[int], IntArray], counts: IntArray) -> IntArray:
    """Return for each count c the sum of the next c draws; int64, of the shape of ``counts``, (n,)."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    running = np.concatenate(([0], np.cumsum(sample(total))))
    sums: IntArray = running[ends] - running[ends - counts]
    return sums


class InverseCdf:
    """The inverse of an empirical distribution's cumulative probability.

    ``values`` may be of any dtype, ``weights`` are >= 0 and needn't add up to 1; both have shape (n,), n >= 1, with a
    positive sum of weights. Values of weight 0 never come up.
    """

    __slots__ = ("_cdf", "_values")

    def __init__(self, values: FloatArray | IntArray, weights: FloatArray) -> None:
        cumulative = np.cumsum(weights)
        self._values = values
        self._cdf = cumulative / cumulative[-1]

    def at(self, uniform: FloatArray) -> np.ndarray:
        """Return the smallest values whose cumulative probability exceeds ``uniform`` (in [0, 1)), of its shape."""
        found: np.ndarray = self._values[np.searchsorted(self._cdf, uniform, side="right")]
        return found


def _rounded(distribution: Distribution, streams: Streams, least: int, most: int) -> Callable[[int], IntArray]:
    if isinstance(distribution, Empirical):
        # Rounded once, instead of at every draw.
        values, weights = empirical_table(distribution)
        inverse, rng = InverseCdf(whole(values, least, most), weights), streams()
        return lambda n: inverse.at(rng.random(n))
    if isinstance(distribution, Uniform):
        params, rng = distribution.params, streams()
        return lambda n: whole(uniform_whole(params, rng.random(n)), least, most)
    reals = _reals(distribution, streams)
    return lambda n: whole(reals(n), least, most)


def uniform_whole(params: UniformParams, uniform: FloatArray) -> FloatArray:
    """Return the whole numbers from min to max, both included, that numbers in [0, 1) stand for; of their shape."""
    low, high = round(params.min), round(params.max)
    values: FloatArray = low + np.floor((high - low + 1) * uniform)
    return values


def _reals(distribution: Distribution, streams: Streams) -> _Reals:
    match distribution:
        case Gaussian():
            return _gaussian(distribution.params, streams())
        case Exponential():
            return _exponential(distribution.params, streams())
        case Lognormal():
            return _lognormal(distribution.params, streams())
        case ParetoLognormal():
            return _pareto_lognormal(distribution.params, streams)
        case Uniform():
            return _uniform(distribution.params, streams())
        case Constant():
            value = distribution.params.value
            return lambda n: np.full(n, value)
        case Empirical():
            inverse, rng = InverseCdf(*empirical_table(distribution)), streams()
            return lambda n: inverse.at(rng.random(n))


def _gaussian(params: GaussianParams, rng: np.random.Generator) -> _Reals:
    return lambda n: np.clip(params.mean + params.std_dev * rng.standard_normal(n), params.min, params.max)


def clip(params: ExponentialParams | LognormalParams | ParetoLognormalParams, values: FloatArray) -> FloatArray:
    """Move values beyond the parameters' min and max, where they have them, to these ends."""
    if params.min is None and params.max is None:
        return values
    return np.clip(values, 0.0 if params.min is None else params.min, math.inf if params.max is None else params.max)


def _exponential(params: ExponentialParams, rng: np.random.Generator) -> _Reals:
    return lambda n: clip(params, params.mean * rng.standard_exponential(n))


def _lognormal(params: LognormalParams, rng: np.random.Generator) -> _Reals:
    return lambda n: clip(params, _exp(params.mu + params.sigma * rng.standard_normal(n)))


def _uniform(params: UniformParams, rng: np.random.Generator) -> _Reals:
    return lambda n: params.min + (params.max - params.min) * rng.random(n)


def _pareto_lognormal(params: ParetoLognormalParams, streams: Streams) -> _Reals:
    """Both parts are drawn for every element, so that another mix_weight changes no draw of either."""
    choice, pareto = streams("choice"), streams("pareto")
    body = streams("lognormal")
    log_xm = math.log(params.xm)

    def sample(n: int) -> FloatArray:
        tail = _exp(log_xm + pareto.standard_exponential(n) / params.alpha)
        inner = _exp(params.mu + params.sigma * body.standard_normal(n))
        return clip(params, np.where(choice.random(n) < params.mix_weight, tail, inner))

    return sample


def _exp(logs: FloatArray) -> FloatArray:
    """Raise e to ``logs``, cut where a float would overflow."""
    values: FloatArray = np.exp(np.minimum(logs, _LOG_MAX))
    return values


def empirical_table(distribution: Empirical) -> tuple[FloatArray, FloatArray]:
    """Return a measured distribution's values in increasing order, and their weights; float64, shape (k,) both."""
    pairs = sorted(distribution.params.pdf.items())
    values, weights = np.array(pairs, dtype=np.float64).T
    return values, weights
