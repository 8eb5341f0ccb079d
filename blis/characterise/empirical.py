"""Samples as distributions of a workload spec: measured ones in short form, or the fitted one that comes closest."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from blis.characterise.fits import LEAST, LENGTHS, Fit, Grouped, fitted

__all__ = ["Method", "as_spec", "measured", "short"]

Method = Literal["empirical", "fitted"]
Values = npt.NDArray[Any]

_MOST_VALUES = 400
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
    """Return the distribution of numbers, of which there is at least one, as it was found.

    Up to 400 different values are given one by one. More are put into groups, narrower towards the largest, that
    stand for their mean: of the values up to the 90th percentile each has 1/200 of the sample, of those beyond 1/1000
    and, from the 99th on, 1/10,000. So the mean is the sample's, and percentiles are off by a group at most.
    """
    unique, counts = np.unique(values, return_counts=True)
    if len(unique) == 1:
        return {"type": "constant", "params": {"value": short(unique[0])}}
    means = unique.astype(np.float64)
    if len(unique) > _MOST_VALUES:
        means, counts = _grouped(np.sort(values))
    pdf: dict[float, float] = {}
    for value, probability in zip(means.tolist(), (counts / len(values)).tolist(), strict=True):
        pdf[short(value)] = pdf.get(short(value), 0.0) + probability
    return {"type": "empirical", "params": {value: short(share) for value, share in pdf.items()}}


def _grouped(values: Values) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return the means and sizes of groups of sorted values."""
    body, upper, tail = np.arange(0, 0.9, 1 / 200), np.arange(0.9, 0.99, 1 / 1000), np.arange(0.99, 1, 1 / 10_000)
    starts = np.unique((np.concatenate((body, upper, tail)) * len(values)).astype(np.int64))
    sizes = np.diff(np.append(starts, len(values)))
    return np.add.reduceat(values, starts) / sizes, sizes


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
