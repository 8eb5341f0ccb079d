"""How much a server's pace differs from one trace of it to the next."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from blis.calibration.observed import Observed
from blis.calibration.steps import Steps

__all__ = ["between", "drift"]

FloatArray = npt.NDArray[np.float64]

_BLOCKS = 10
_FEWEST_STEPS = 10 * _BLOCKS


def drift(parts: Sequence[Observed], seen: Sequence[Steps], predicted: Sequence[FloatArray]) -> float | None:
    """Return the relative standard deviation of the pace of another run about that of the model.

    A trace's pace is the sum of its steps' durations over the sum of what the model says of them, ``predicted``, shape
    (m,) for each part. Its standard deviation between n traces, beyond what chance makes of one pace, is that of single
    runs; the model is their mean, which adds a factor of sqrt(1 + 1/n). None where fewer than two traces have steps
    enough.
    """
    found = []
    for part, steps, model in zip(parts, seen, predicted, strict=True) if seen else ():
        own = steps.usable & (steps.end_us <= part.end_us)
        if np.count_nonzero(own) >= _FEWEST_STEPS:
            found.append(_pace(steps.duration_us[own].astype(np.float64), model[own]))
    return between(found) * math.sqrt(1 + 1 / len(found)) if len(found) > 1 else None


def _pace(durations: FloatArray, predicted: FloatArray) -> tuple[float, float]:
    """Return the pace and its standard error, from that of ten blocks of the trace: near steps resemble each other."""
    blocks = [
        float(np.sum(real) / np.sum(expected))
        for real, expected in zip(np.array_split(durations, _BLOCKS), np.array_split(predicted, _BLOCKS), strict=True)
    ]
    return float(durations.sum() / predicted.sum()), float(np.std(blocks, ddof=1)) / math.sqrt(_BLOCKS)


def between(paces: Sequence[tuple[float, float]]) -> float:
    """Return the standard deviation between paces, each with a standard error.

    It is the root of the variance of the paces less the mean square of the errors (the method of moments of a
    random-effects analysis with equal weights), at least 0.
    """
    values, errors = np.array(paces).T
    return math.sqrt(max(0.0, float(np.var(values, ddof=1) - np.mean(errors**2))))
