"""Intervals for statistics of requests that depend on each other: a block bootstrap.

Requests that were in the server together were delayed together, so resampling them one by one would promise too much.
Blocks of consecutive requests are drawn instead, starting anywhere and wrapping around the end: the circular block
bootstrap of Politis and Romano, "A circular block-resampling procedure for stationary data" (1992).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["CONFIDENCE", "Bootstrap", "Resampler", "block_length", "errors_block_length", "interval"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

CONFIDENCE = 0.95
_MOST_ATOMS = 4096
_ATOMS_PER_BLOCK = 4
_EXACT_SINGLE = 1 << 23
_FEWEST = 5


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """How intervals were made; ``block_requests`` is the length of the blocks of requests drawn together."""

    resamples: int
    seed: int
    block_requests: int
    confidence: float = CONFIDENCE


class Resampler:
    """Resamples of ``n`` items in the order of time, kept as weights: how often each resample has each item.

    Items are drawn in blocks of about ``block_length``. Blocks start at one of up to 4096 places, so that neighbours
    between two such places share a weight: ``places``, int64 of shape (n,), numbers the place of each item. Statistics
    of fewer than five items are NaN, since so few don't show how they vary.
    """

    def __init__(self, n: int, block_length: int, resamples: int, rng: np.random.Generator) -> None:
        wanted = max(n * min(_ATOMS_PER_BLOCK, block_length) // block_length, 1)
        count = min(wanted, _MOST_ATOMS)
        per_block = min(max(round(count * block_length / n), 1), count)
        drawn = rng.integers(0, count, (resamples, max(round(count / per_block), 1)))
        cells = drawn + count * np.arange(resamples)[:, None]
        starts = np.bincount(cells.ravel(), minlength=resamples * count).reshape(resamples, count).astype(np.float64)
        self.places: Ints = np.arange(n) * count // n
        self._weights = sum((np.roll(starts, shift, axis=1) for shift in range(1, per_block)), start=starts)
        # Whole numbers below 2^24 are exact in single precision, whose products are twice as fast.
        self._counts = self._weights.astype(np.float32) if n < _EXACT_SINGLE else self._weights

    def sums(self, columns: Sequence[npt.ArrayLike], places: Ints) -> Floats:
        """Sums of k columns over the items at ``places``, shape (m,), in each resample: shape (k, resamples)."""
        if places.size < _FEWEST:
            return np.full((len(columns), len(self._weights)), np.nan)
        count = self._weights.shape[1]
        sums = np.array([np.bincount(places, column, count) for column in columns])
        resampled: Floats = sums @ self._weights.T
        return resampled

    def quantiles(self, values: Floats, places: Ints, probabilities: Sequence[float]) -> Floats:
        """Quantiles of the values at ``places``, both of shape (m,), in each resample: shape (k, resamples).

        Linear between closest ranks, as :func:`numpy.quantile`; NaN where a resample has none of the items.
        """
        if places.size < _FEWEST:
            return np.full((len(probabilities), len(self._weights)), np.nan)
        order = np.argsort(values, kind="stable")
        ranked = _Ranked(self._counts, values[order], places[order])
        position = np.maximum(ranked.totals - 1, 0) * np.array(probabilities)[:, None]
        low = np.floor(position)
        found = []
        for ranks, fraction in zip(low, position - low, strict=True):
            first, second = ranked.at_and_after(ranks)
            found.append(first + (second - first) * fraction)
        return np.where(ranked.totals > 0, found, np.nan)


class _Ranked:
    """Weighted order statistics of sorted values, many weightings at once.

    Weights are summed over bins of neighbouring values first, about as many as a bin has values; only the bin that
    holds a rank is looked into.
    """

    def __init__(self, weights: npt.NDArray[Any], values: Floats, places: Ints) -> None:
        self._weights, self._values, self._places = weights, values, places
        self._step = math.isqrt(values.size)
        bins = np.arange(values.size) // self._step
        count = int(bins[-1]) + 1
        held = np.bincount(places * count + bins, minlength=weights.shape[1] * count).reshape(-1, count)
        self._ends = np.cumsum(weights @ held.astype(weights.dtype), axis=1, dtype=np.float64)
        self.totals: Floats = self._ends[:, -1]

    def at_and_after(self, ranks: Floats) -> tuple[Floats, Floats]:
        """The values of each weighting at its rank (from 0) and at the next, if there is one; (resamples,) each."""
        following = np.minimum(ranks + 1, self.totals - 1)
        items, passed, before = self._bin(np.arange(ranks.size), ranks)
        first = self._value(items, passed, ranks - before)
        second = self._value(items, passed, following - before)
        # The next rank may be in another bin.
        beyond = np.flatnonzero(passed[:, -1] <= following - before)
        if beyond.size:
            items, passed, before = self._bin(beyond, following[beyond])
            second[beyond] = self._value(items, passed, following[beyond] - before)
        return first, second

    def _bin(self, resamples: Ints, ranks: Floats) -> tuple[Ints, Floats, Floats]:
        """The first item of the bin that holds each rank, the weights summed along the bin, and those before it."""
        bins = np.minimum((self._ends[resamples] <= ranks[:, None]).sum(axis=1), self._ends.shape[1] - 1)
        before = np.where(bins > 0, self._ends[resamples, bins - 1], 0.0)
        items = (bins * self._step)[:, None] + np.arange(self._step)
        inside = self._places[np.minimum(items, self._values.size - 1)]
        return items[:, 0], np.cumsum(self._weights[resamples[:, None], inside], axis=1), before

    def _value(self, items: Ints, passed: Floats, ranks: Floats) -> Floats:
        """The values at ranks that count from the beginning of their bin."""
        index = items + (passed <= ranks[:, None]).sum(axis=1)
        found: Floats = self._values[np.minimum(index, self._values.size - 1)]
        return found


def interval(replicates: npt.NDArray[Any]) -> tuple[float, float] | tuple[None, None]:
    """The percentile interval of level :data:`CONFIDENCE`; nothing where resamples had no figure."""
    finite = replicates[np.isfinite(replicates)]
    if finite.size < replicates.size / 2 or not finite.size:
        return None, None
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(finite, (tail, 1 - tail)).tolist()
    return low, high


def block_length(series: Floats) -> int:
    """The block length that suits the dependence in a series, shape (n,), in the order of time.

    The rule of Politis and White, "Automatic block-length selection for the dependent bootstrap" (2004), corrected by
    Patton, Politis and White (2009), for circular blocks: autocorrelations are followed until they can't be told from
    0, and weighted down beyond half of that.
    """
    n = series.size
    centred = series - series.mean() if n else series
    if n < 4 or not np.any(centred):
        return 1
    run = max(5, int(np.ceil(np.log10(n))))
    most = min(int(np.ceil(np.sqrt(n))) + run, n - 1)
    from scipy.signal import correlate

    covariances = correlate(centred, centred, method="fft")[n - 1 : n + most] / n
    negligible = np.abs(covariances[1:]) < 2 * np.sqrt(np.log10(n) / n) * covariances[0]
    quiet = (lag for lag in range(most - run + 1) if negligible[lag : lag + run].all())
    followed = next(quiet, None)
    bandwidth = most if followed is None else min(2 * max(followed, 1), most)
    lags = np.arange(1, bandwidth + 1)
    tapered = np.minimum(1.0, 2 * (1 - lags / bandwidth)) * covariances[1 : bandwidth + 1]
    spectrum = covariances[0] + 2 * float(tapered.sum())
    slope = 2 * float((lags * tapered).sum())
    if spectrum <= 0:
        return 1
    ideal = (1.5 * slope**2 / spectrum**2 * n) ** (1 / 3)
    return int(np.clip(np.ceil(ideal), 1, max(min(3 * np.sqrt(n), n / 3), 1)))


def errors_block_length(real: Floats, simulated: Floats) -> int:
    """The longest block that the errors and the relative errors of pairs ask for, arrays of shape (n,)."""
    known = real > 0
    relative = np.abs(simulated[known] / real[known] - 1)
    return max(block_length(simulated - real), block_length(relative))
