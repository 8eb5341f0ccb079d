"""Quantiles of distributions of lengths, for lengths that leave nothing to chance."""

from __future__ import annotations

import numpy as np

from blis.clients.arrivals import FloatArray, IntArray
from blis.clients.lengths import InverseCdf, clip, empirical_table, uniform_whole, whole
from blis.spec.distributions import (
    Constant,
    Distribution,
    Empirical,
    Exponential,
    Gaussian,
    Lognormal,
    ParetoLognormal,
    ParetoLognormalParams,
    Uniform,
)

__all__ = ["quantile_lengths"]

_HALVINGS = 100


def quantile_lengths(distribution: Distribution, n: int) -> IntArray:
    """Return the quantiles (i + 1/2)/n, i = 0 to n - 1, as lengths: increasing, int64, shape (n,), each at least 1."""
    return whole(_quantiles(distribution, (np.arange(n) + 0.5) / n), 1)


def _quantiles(distribution: Distribution, u: FloatArray) -> FloatArray:
    from scipy.special import ndtri

    match distribution:
        case Gaussian(params=p):
            return np.clip(p.mean + p.std_dev * ndtri(u), p.min, p.max)
        case Exponential(params=p):
            return clip(p, -p.mean * np.log1p(-u))
        case Lognormal(params=p):
            return clip(p, _exp(p.mu + p.sigma * ndtri(u)))
        case ParetoLognormal(params=p):
            return clip(p, _exp(_log_of_mixture(p, u)))
        case Uniform(params=p):
            return uniform_whole(p, u)
        case Constant(params=p):
            return np.full(len(u), p.value)
        case Empirical():
            values: FloatArray = InverseCdf(*empirical_table(distribution)).at(u)
            return values


def _log_of_mixture(params: ParetoLognormalParams, u: FloatArray) -> FloatArray:
    """Return the logarithms of a mixture's quantiles, found by halving an interval that holds both parts' quantiles."""
    from scipy.special import ndtr, ndtri

    pareto: FloatArray = np.log(params.xm) - np.log1p(-u) / params.alpha
    body = params.mu + params.sigma * ndtri(u)
    low, high = np.minimum(pareto, body), np.maximum(pareto, body)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        tail = np.maximum(-np.expm1(-params.alpha * (middle - np.log(params.xm))), 0)
        inner = ndtr((middle - params.mu) / params.sigma) if params.sigma else (middle >= params.mu).astype(np.float64)
        below = params.mix_weight * tail + (1 - params.mix_weight) * inner < u
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    result: FloatArray = high
    return result


def _exp(logs: FloatArray) -> FloatArray:
    # Far more than a length may be, and still a float.
    values: FloatArray = np.exp(np.minimum(logs, 100.0))
    return values
