"""Coefficients as they might have come out: draws from the distribution of a fit."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from blis.errors import BlisError
from blis.rng import stream

__all__ = ["drawn", "normal_draws"]

FloatArray = npt.NDArray[np.float64]

_ROUNDING = 1e-4
_LEAST = 1e-9


def normal_draws(count: int, size: int, seed: int) -> FloatArray:
    """Return standard normal numbers, shape (count, size), that cover each column's distribution evenly.

    They are a Latin hypercube (McKay, Beckman and Conover 1979) of the middles of ``count`` equally likely strata,
    in random order: a quantile of something that is linear in one of them is exact, of a sum nearly so.
    """
    from scipy.stats import norm, qmc

    places = qmc.LatinHypercube(size, scramble=False, rng=stream(seed, "uncertainty", "draws")).random(count)
    normal: FloatArray = norm.ppf(places)
    return normal


def drawn(centre: FloatArray, covariance: FloatArray, normal: FloatArray) -> FloatArray:
    """Turn standard normal draws, shape (n, k), into draws of k coefficients that aren't negative, shape (n, k).

    They have the mean ``centre``, shape (k,), and ``covariance``, (k, k). A draw with a negative coefficient is moved
    to the nearest without one, in the metric of the covariance: what non-negative least squares would have found in
    such a sample. So the sum of two coefficients that can't be told apart stays what it is known to be. Coefficients
    without variance stay at the centre.

    Raises:
        BlisError: the covariance isn't one.
    """
    spread = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    free = spread > 0
    draws = np.tile(centre, (len(normal), 1))
    if not free.any():
        return draws
    correlation = covariance[np.ix_(free, free)] / np.outer(spread[free], spread[free])
    sizes, vectors = np.linalg.eigh((correlation + correlation.T) / 2)
    if sizes[0] < -_ROUNDING * sizes[-1]:
        raise BlisError(
            "the latency model's covariance isn't one: in some direction its variance is negative; write the file anew"
            " with blis fit"
        )
    sizes = np.maximum(sizes, _LEAST)
    # In units of standard deviations, rows of `away` are x - centre, and `whitened @ away` is standard normal.
    away = normal[:, free] @ (vectors * np.sqrt(sizes)).T
    lowest = -centre[free] / spread[free]
    whitened = (vectors / np.sqrt(sizes)).T
    for row in np.flatnonzero((away < lowest).any(axis=1)):
        away[row] = _nearest(away[row], lowest, whitened)
    draws[:, free] = np.maximum(centre[free] + away * spread[free], 0.0)
    return draws


def _nearest(point: FloatArray, lowest: FloatArray, whitened: FloatArray) -> FloatArray:
    """Return the point >= ``lowest`` with the least distance to ``point``, as long as ``whitened`` makes it."""
    from scipy.optimize import nnls

    above, _ = nnls(whitened, whitened @ (point - lowest))
    nearest: FloatArray = above + lowest
    return nearest
