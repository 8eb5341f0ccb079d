"""Samples as distributions of a workload spec: measured ones in short form, or the fitted one that comes closest."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from blis.characterise.fits import LEAST, LENGTHS, Fit, Grouped, fitted

__all__ = ["Method", "as_spec", "measured", "short", "weighted"]

Method = Literal["empirical", "fitted"]
Values = npt.NDArray[Any]

_MOST_VALUES = 400
_STARTS = np.concatenate((np.arange(0, 0.9, 1 / 200), np.arange(0.9, 0.99, 1 / 1000), np.arange(0.99, 1, 1 / 10_000)))
"""Where groups of a distribution of many values start, as shares of the whole."""
_DIGITS = 6
_CLOSE = 0.05
_CHANCE = 1.36
"""Over the root of the sample's size: the distance that one sample in twenty has from its own distribution."""
_IN_SPECS = tuple(family for family in LENGTHS if family.name != "gamma")


def as_spec(values: npt.NDArray[np.int64], method: Method) -> dict[str, Any]:
    """Return the distribution of whole numbers > 0, of which there is at least one, as a spec writes it.

    ``fitted`` takes the best (lowest AIC) of those that specs have formulas for, if it is close: where its
    Kolmogorov-Smirnov distance is above 0.05, and above what chance explains, the sample stays ``empirical``, and so
    does a small one.
    """
    if method == "fitted" and len(values) >= LEAST:
        best = fitted(_IN_SPECS, Grouped.of(values))[0]
        if best.ks <= max(_CLOSE, _CHANCE / math.sqrt(len(values))):
            return _formula(best, values)
    return measured(values)


def measured(values: Values) -> dict[str, Any]:
    """Return the distribution of numbers, of which there is at least one, as it was found; see :func:`weighted`."""
    unique, counts = np.unique(values, return_counts=True)
    return weighted(unique, counts)


def weighted(values: Values, weights: Values) -> dict[str, Any]:
    """Return a discrete distribution, of increasing ``values`` with ``weights`` > 0 of any sum, as a spec writes it.

    Up to 400 values are given one by one. More are put into groups, narrower towards the largest, that stand for their
    mean: below the 90th percentile each has about 1/200 of the whole, beyond it 1/1000 and, from the 99th on, 1/10,000.
    So the mean stays, and percentiles are off by a group at most.
    """
    if len(values) == 1:
        return {"type": "constant", "params": {"value": short(values[0])}}
    shares = weights / weights.sum()
    means = values.astype(np.float64)
    if len(values) > _MOST_VALUES:
        groups = np.searchsorted(_STARTS, np.cumsum(shares) - shares / 2, side="right")
        sizes = np.bincount(groups, shares)
        means = np.bincount(groups, shares * values)[sizes > 0] / sizes[sizes > 0]
        shares = sizes[sizes > 0]
    pdf: dict[float, float] = {}
    for value, share in zip(means.tolist(), shares.tolist(), strict=True):
        pdf[short(value)] = pdf.get(short(value), 0.0) + share
    return {"type": "empirical", "params": {value: short(share) for value, share in pdf.items()}}


def _formula(fit: Fit, values: npt.NDArray[np.int64]) -> dict[str, Any]:
    params = {name: short(value) for name, value in fit.params.items()}
    if fit.family == "gaussian":
        # Fitted as clipped to what was seen.
        params |= {"mean": max(params["mean"], 0.0), "min": short(values.min()), "max": short(values.max())}
    return {"type": fit.family, "params": params}


def short(value: Any) -> float:
    """Round a number to six digits; whole numbers stay whole."""
    number = float(f"{float(value):.{_DIGITS}g}")
    return int(number) if number.is_integer() else number
