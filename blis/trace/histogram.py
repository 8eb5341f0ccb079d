"""Exact counts of whole numbers: percentiles over billions of token gaps in little memory."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from blis.errors import InternalError

__all__ = ["Histogram", "interpolate", "ranks"]

IntArray = npt.NDArray[np.int64]

_PENDING = 1 << 16
_DENSE = 8
_EXACT = 1 << 53


class Histogram:
    """A multiset of whole numbers (microseconds, where blis uses it), kept as sorted distinct values with counts.

    Additions wait in a buffer and are merged in bulk, so that adding costs a list append; memory follows the number
    of distinct values. Every statistic is exact over the expanded multiset.

    >>> gaps = Histogram()
    >>> gaps.add(np.array([3000, 3100, 3000]), 2)
    >>> gaps.count, gaps.mean, gaps.percentile(50)
    (6, 3033.3333333333335, 3000.0)
    """

    __slots__ = ("_counts", "_cumulative", "_limit", "_one_by_one", "_pending", "_pending_size", "_values")

    def __init__(self, values: npt.ArrayLike = (), counts: npt.ArrayLike = ()) -> None:
        self._values: IntArray = np.empty(0, np.int64)
        self._counts: IntArray = np.empty(0, np.int64)
        self._pending: list[tuple[IntArray, IntArray | int]] = []
        self._pending_size = 0
        self._one_by_one: dict[int, int] = {}
        self._limit = _PENDING
        self._cumulative: IntArray | None = None
        given = np.asarray(values, np.int64)
        if given.size:
            self.add(given, np.asarray(counts, np.int64))

    def add(self, values: IntArray, weights: IntArray | int = 1) -> None:
        """Add each of ``values`` (int64, shape (n,)) ``weights`` times (a number, or int64 of shape (n,)).

        Negative weights take back what was added before. The arrays are kept as they are until they are merged:
        don't change them afterwards.
        """
        self._pending.append((values, weights))
        self._pending_size += len(values)
        if self._pending_size > self._limit:
            self._merge()

    def add_one(self, value: int, weight: int = 1) -> None:
        """Add a single ``value`` ``weight`` times; faster than :meth:`add` of an array of one."""
        self._one_by_one[value] = self._one_by_one.get(value, 0) + weight
        if len(self._one_by_one) > self._limit:
            self._merge()

    def merge(self, other: Histogram) -> None:
        """Add everything ``other`` holds."""
        self.add(other.values, other.counts)

    @property
    def values(self) -> IntArray:
        """The distinct values, ascending, int64, shape (k,)."""
        self._merge()
        return self._values

    @property
    def counts(self) -> IntArray:
        """How often each of ``values`` occurs, all positive, int64, shape (k,)."""
        self._merge()
        return self._counts

    @property
    def count(self) -> int:
        """Size of the multiset."""
        return int(self.counts.sum())

    @property
    def total(self) -> int:
        """Sum over the multiset."""
        values, counts = self.values, self.counts
        if not values.size:
            return 0
        if int(np.abs(values).max()) * self.count < 1 << 63:
            return int(np.dot(values, counts))
        return sum(value * count for value, count in zip(values.tolist(), counts.tolist(), strict=True))

    @property
    def mean(self) -> float | None:
        """Mean, None when empty."""
        count = self.count
        return self.total / count if count else None

    @property
    def min(self) -> int | None:
        """Smallest value, None when empty."""
        return int(self.values[0]) if self.values.size else None

    @property
    def max(self) -> int | None:
        """Largest value, None when empty."""
        return int(self.values[-1]) if self.values.size else None

    def percentile(self, p: float) -> float | None:
        """The ``p``-th percentile, linear between closest ranks; None when empty.

        Equals ``np.percentile(np.repeat(values, counts), p)`` exactly. Raises ValueError unless 0 <= p <= 100.
        """
        values, counts = self.values, self.counts
        if not values.size:
            return None
        if self._cumulative is None:
            self._cumulative = np.cumsum(counts)
        cumulative = self._cumulative
        low, high, fraction = ranks(int(cumulative[-1]), p)
        first = values[np.searchsorted(cumulative, low, side="right")]
        second = values[np.searchsorted(cumulative, high, side="right")]
        return interpolate(float(first), float(second), fraction, int(second) - int(first))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Histogram):
            return NotImplemented
        return np.array_equal(self.values, other.values) and np.array_equal(self.counts, other.counts)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Histogram of {self.count} values, {self.values.size} distinct>"

    def _merge(self) -> None:
        if not self._pending and not self._one_by_one:
            return
        values, weights = self._drain()
        values, counts = _distinct(values, weights)
        if self._values.size:
            values, counts = _distinct(np.concatenate((self._values, values)), np.concatenate((self._counts, counts)))
        keep = counts != 0
        if not keep.all():
            values, counts = values[keep], counts[keep]
        if counts.size and counts.min() < 0:
            raise InternalError("a histogram was asked to take back values it never held; please report this")
        self._values, self._counts = values, counts
        self._cumulative = None
        # Merging costs the distinct values there are: waiting for as many new ones keeps the cost per value constant.
        self._limit = max(_PENDING, values.size)

    def _drain(self) -> tuple[IntArray, IntArray]:
        pending, self._pending, self._pending_size = self._pending, [], 0
        singles, self._one_by_one = self._one_by_one, {}
        arrays = [values for values, _ in pending]
        sizes = [len(values) for values in arrays]
        if all(isinstance(weights, int) for _, weights in pending):
            factors = [np.repeat(np.array([weights for _, weights in pending], np.int64), sizes)]
        else:
            factors = [np.full(size, weights, np.int64) for size, (_, weights) in zip(sizes, pending, strict=True)]
        arrays.append(np.fromiter(singles.keys(), np.int64, len(singles)))
        factors.append(np.fromiter(singles.values(), np.int64, len(singles)))
        return np.concatenate(arrays), np.concatenate(factors)


def _distinct(values: IntArray, weights: IntArray) -> tuple[IntArray, IntArray]:
    """Sum ``weights`` of equal ``values``; returns the distinct values, ascending, and their sums (zeros included)."""
    if not values.size:
        return values, weights
    low, high = int(values.min()), int(values.max())
    if high - low < _DENSE * values.size and int(np.abs(weights).max()) * values.size < _EXACT:
        # bincount sums in float64, which is exact this far.
        sums = np.bincount(values - low, weights).astype(np.int64)
        present = np.flatnonzero(sums)
        return present + low, sums[present]
    order = np.argsort(values)
    values, weights = values[order], weights[order]
    starts = np.flatnonzero(np.concatenate(([True], values[1:] != values[:-1])))
    return values[starts], np.add.reduceat(weights, starts)


def ranks(n: int, p: float) -> tuple[int, int, float]:
    """Ranks (from 0) around the ``p``-th percentile of ``n`` sorted values, and how far it lies between them.

    The position is (n - 1) * p/100: type 7 of Hyndman and Fan, "Sample Quantiles in Statistical Packages" (1996).
    """
    if not 0 <= p <= 100:
        raise ValueError(f"a percentile must lie between 0 and 100, found {p!r}")
    position = (n - 1) * (p / 100)
    low = min(int(position), n - 1)
    return low, min(low + 1, n - 1), position - low


def interpolate(first: float, second: float, fraction: float, difference: float) -> float:
    """The point ``fraction`` of the way from ``first`` to ``second``, ``difference`` being second - first.

    Counts from the nearer end, which keeps results monotone in ``fraction`` and is what numpy does.
    """
    if fraction >= 0.5:
        return second - difference * (1 - fraction)
    return first + difference * fraction
