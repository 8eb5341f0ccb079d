"""A distribution in the figures people ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from blis.trace.histogram import Histogram, interpolate, ranks

__all__ = ["Distribution", "percentile_of_sorted"]

_SHOWN = (50, 90, 95, 99)


@dataclass(frozen=True, slots=True)
class Distribution:
    """Size, mean, percentiles and largest value of a sample, in its own unit; all None but ``n`` when it's empty.

    Percentiles are linear between closest ranks: position p/100 * (n - 1) of the sorted sample.
    """

    n: int
    mean: float | None = None
    p50: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None
    max: float | None = None

    @classmethod
    def of(cls, values: npt.NDArray[Any]) -> Distribution:
        """The distribution of ``values`` (numbers, shape (n,)), which are put into another order.

        >>> import numpy as np
        >>> Distribution.of(np.array([40, 10, 30, 20])).p50
        25.0
        """
        if not values.size:
            return cls(0)
        # Only the places that are looked at need the value they would have in order.
        values.partition(sorted({rank for p in (*_SHOWN, 100) for rank in ranks(values.size, p)[:2]}))
        p50, p90, p95, p99 = (percentile_of_sorted(values, p) for p in _SHOWN)
        return cls(values.size, float(values.mean()), p50, p90, p95, p99, values[-1].item())

    @classmethod
    def of_histogram(cls, histogram: Histogram) -> Distribution:
        """The distribution of everything ``histogram`` counted, exactly."""
        p50, p90, p95, p99 = (histogram.percentile(p) for p in _SHOWN)
        return cls(histogram.count, histogram.mean, p50, p90, p95, p99, histogram.max)


def percentile_of_sorted(values: npt.NDArray[Any], p: float) -> float:
    """The ``p``-th percentile of a sample that isn't empty and is sorted, at least at the ranks around it.

    Equals ``np.percentile`` exactly.
    """
    low, high, fraction = ranks(values.size, p)
    first, second = values[low].item(), values[high].item()
    return interpolate(float(first), float(second), fraction, second - first)
