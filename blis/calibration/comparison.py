"""How well a metric was predicted: errors per pair, correlation, percentiles, distances between distributions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from blis.calibration.bootstrap import Resampler, interval
from blis.calibration.figures import Bias, Comparison, Direction, Estimate, Figure, Ks, Qq, rate
from blis.trace import Histogram

__all__ = ["FEWEST", "compare", "compare_gaps", "pearson_r", "spearman_r"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Values = Floats | Ints

FEWEST = 3
"""Pairs that a correlation needs."""
_NAMES = ("p50", "p90", "p95", "p99")
_PROBABILITIES = (0.5, 0.9, 0.95, 0.99)
_QQ = ((np.arange(100) + 0.5) / 100).tolist()


def compare(real: Floats, simulated: Floats, places: Ints, resampler: Resampler) -> Comparison:
    """Compare n pairs of values >= 0, arrays of shape (n,); ``places`` are those of the pairs in ``resampler``."""
    n = real.size
    if not n:
        return Comparison(0, 0)
    difference = simulated - real
    known = real > 0
    errors = np.divide(np.abs(difference), real, out=np.zeros(n), where=known)
    x, y = real - real.mean(), simulated - simulated.mean()
    columns = (np.ones(n), known, errors, difference, real, x, y, x * x, y * y, x * y)
    count, used, absolute, excess, total, *moments = resampler.sums(columns, places)
    with np.errstate(divide="ignore", invalid="ignore"):
        size = _estimate(float(difference.mean()), excess / count)
        share = _estimate(float(difference.sum() / real.sum()), excess / total) if known.any() else None
        mape = _estimate(float(errors[known].mean()), absolute / used) if known.any() else None
    r = _estimate(pearson_r(real, simulated), _correlations(count, *moments))
    return Comparison(
        n=n,
        n_simulated=n,
        zero_reals=n - int(np.count_nonzero(known)),
        mape=mape,
        bias=Bias(_direction(size), size, share),
        pearson_r=r,
        spearman_r=spearman_r(real, simulated),
        figures={
            "mean": Figure(float(real.mean()), float(simulated.mean()), share),
            **_percentiles(real, simulated, places, resampler),
        },
        ks=_ks(real, simulated),
        wasserstein=_wasserstein(real, simulated),
        qq=Qq(tuple(np.quantile(real, _QQ).tolist()), tuple(np.quantile(simulated, _QQ).tolist())),
        rating=None if mape is None else rate(mape.value, r.value),
    )


def compare_gaps(real: Histogram, simulated: Histogram) -> Comparison:
    """Compare two multisets whose values don't go in pairs."""
    if not (real.count and simulated.count):
        return Comparison(real.count, simulated.count)

    def quantiles(gaps: Histogram, probabilities: Sequence[float]) -> list[float]:
        return [value for p in probabilities if (value := gaps.percentile(100 * p)) is not None]

    names = ("mean", *_NAMES)
    sides = ([gaps.total / gaps.count, *quantiles(gaps, _PROBABILITIES)] for gaps in (real, simulated))
    return Comparison(
        real.count,
        simulated.count,
        figures={name: _figure(first, second) for name, first, second in zip(names, *sides, strict=True)},
        ks=_ks(real.values, simulated.values, (real.counts, simulated.counts)),
        wasserstein=_wasserstein(real.values, simulated.values, (real.counts, simulated.counts)),
        qq=Qq(tuple(quantiles(real, _QQ)), tuple(quantiles(simulated, _QQ))),
    )


def pearson_r(x: Floats, y: Floats) -> float:
    """Pearson's correlation of two arrays of shape (n,); 0 for fewer than three pairs, or where one doesn't vary."""
    return float(np.corrcoef(x, y)[0, 1]) if _vary(x, y) else 0.0


def spearman_r(x: Floats, y: Floats) -> float:
    """Spearman's rank correlation, by the same rules."""
    from scipy.stats import spearmanr

    return float(spearmanr(x, y).statistic) if _vary(x, y) else 0.0


def _vary(x: Floats, y: Floats) -> bool:
    return x.size >= FEWEST and bool(np.ptp(x) and np.ptp(y))


def _correlations(count: Floats, x: Floats, y: Floats, xx: Floats, yy: Floats, xy: Floats) -> Floats:
    """Pearson's correlation from weighted sums over centred pairs; 0 where one side doesn't vary."""
    spread = np.maximum(count * xx - x * x, 0) * np.maximum(count * yy - y * y, 0)
    together = count * xy - x * y
    r = np.divide(together, np.sqrt(spread), out=np.zeros(count.size), where=spread > 0)
    return np.where(count > 0, np.clip(r, -1, 1), np.nan)


def _percentiles(real: Floats, simulated: Floats, places: Ints, resampler: Resampler) -> dict[str, Figure]:
    figures = {}
    resampled = (resampler.quantiles(side, places, _PROBABILITIES) for side in (real, simulated))
    point = (np.quantile(side, _PROBABILITIES).tolist() for side in (real, simulated))
    for name, first, second, many, predicted in zip(_NAMES, *point, *resampled, strict=True):
        with np.errstate(divide="ignore", invalid="ignore"):
            figures[name] = _figure(first, second, predicted / many - 1)
    return figures


def _figure(real: float, simulated: float, replicates: Floats | None = None) -> Figure:
    return Figure(real, simulated, _estimate(simulated / real - 1, replicates) if real else None)


def _estimate(value: float, replicates: Floats | None) -> Estimate:
    return Estimate(value) if replicates is None else Estimate(value, *interval(replicates))


def _direction(size: Estimate) -> Direction:
    if size.low is not None and size.low > 0:
        return "over"
    return "under" if size.high is not None and size.high < 0 else "none"


def _ks(real: Values, simulated: Values, counts: tuple[Ints | None, Ints | None] = (None, None)) -> Ks:
    from scipy.stats import kstwo

    values = np.union1d(real, simulated)
    shares, sizes = [], []
    for side, times in zip((real, simulated), counts, strict=True):
        order = np.argsort(side)
        reached = np.concatenate(([0], np.cumsum(np.ones(side.size) if times is None else times[order])))
        shares.append(reached[np.searchsorted(side[order], values, side="right")] / reached[-1])
        sizes.append(float(reached[-1]))
    d = float(np.abs(shares[0] - shares[1]).max())
    # The distribution of D for one sample, with the size that stands for two of them.
    size = round(sizes[0] * sizes[1] / (sizes[0] + sizes[1]))
    return Ks(d, float(np.clip(kstwo.sf(d, max(size, 1)), 0, 1)))


def _wasserstein(real: Values, simulated: Values, counts: tuple[Ints | None, Ints | None] = (None, None)) -> float:
    from scipy.stats import wasserstein_distance

    return float(wasserstein_distance(real, simulated, *counts))
