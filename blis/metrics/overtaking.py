"""Who was passed by whom in a queue."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["largest_between", "passed_by_no_shorter"]

Flags = npt.NDArray[np.bool_]
_NOBODY = np.iinfo(np.int32).max


def passed_by_no_shorter(starts: npt.NDArray[Any], sizes: npt.NDArray[Any]) -> Flags:
    """Whether a later one of at least the same size started strictly before each; in order of arrival, shape (n,).

    Of those that came at the same time, whoever started first must be first. O(n log² n) where all have been passed,
    O(n) where nobody has.

    >>> passed_by_no_shorter(np.array([30, 10, 20]), np.array([5, 4, 5])).tolist()
    [True, False, False]
    """
    flags = np.zeros(len(starts), np.bool_)
    if len(starts) < 2:
        return flags
    soonest_later = np.minimum.accumulate(starts[::-1])[::-1]
    latest_earlier = np.maximum.accumulate(starts)
    involved = np.flatnonzero((soonest_later < starts) | (latest_earlier > starts))
    if involved.size:
        ranks = np.unique(starts[involved], return_inverse=True)[1].astype(np.int32)
        flags[involved] = _passed(ranks, sizes[involved])
    return flags


def _passed(starts: npt.NDArray[np.int32], sizes: npt.NDArray[Any]) -> Flags:
    """As above, by divide and conquer on the order of arrival.

    In each block of 2^k successive places, those of its first half are held against those of its second half, all in
    order of falling size, so that a running minimum of starts is over everybody who is at least as large.
    """
    count = len(starts)
    width = 1 << (count - 1).bit_length()
    flags = np.zeros(width, np.bool_)
    places = np.arange(width, dtype=np.int32)
    places[width - count :] = np.argsort(sizes, kind="stable")[::-1]
    places[: width - count] = np.arange(count, width)
    times = np.full(width, _NOBODY, np.int32)
    times[width - count :] = starts[places[width - count :]]
    while width > 1:
        half = width // 2
        later = (places & half) != 0
        soonest = np.where(later, times, _NOBODY).reshape(-1, width)
        np.minimum.accumulate(soonest, axis=1, out=soonest)
        flags[places[~later & (soonest.ravel() < times)]] = True
        places, times = _halves(places, later, half), _halves(times, later, half)
        width = half
    return flags[:count]


def _halves(values: npt.NDArray[np.int32], later: Flags, half: int) -> npt.NDArray[np.int32]:
    """Put the first half of each block before its second; the order within each stays."""
    return np.stack((values[~later].reshape(-1, half), values[later].reshape(-1, half)), axis=1).ravel()


def largest_between(values: npt.NDArray[Any], first: npt.NDArray[Any], last: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The largest of ``values[first[i]:last[i]]`` for each i, and 0 where that is nothing; values are above 0.

    >>> largest_between(np.array([5, 9, 2]), np.array([0, 2, 1]), np.array([3, 3, 1])).tolist()
    [9, 2, 0]
    """
    lengths = np.maximum(last - first, 0)
    found = np.zeros(len(lengths), values.dtype)
    reach, largest = 1, values
    while lengths.size and reach <= lengths.max():
        # ``largest[j]`` is over ``reach`` values from j on: two such stretches cover any that is not twice as long.
        asked = np.flatnonzero((lengths >= reach) & (lengths < 2 * reach))
        found[asked] = np.maximum(largest[first[asked]], largest[last[asked] - reach])
        largest = np.maximum(largest[:-reach], largest[reach:])
        reach *= 2
    return found
