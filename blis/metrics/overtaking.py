"""Who was passed by whom in a queue."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["passed_by_no_shorter", "sums_of_large"]

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


def sums_of_large(
    values: npt.NDArray[Any],
    sizes: npt.NDArray[Any],
    first: npt.NDArray[Any],
    last: npt.NDArray[Any],
    least: npt.NDArray[Any],
) -> npt.NDArray[np.int64]:
    """For each i, the sum of ``values[first[i]:last[i]]`` over those of which the size is at least ``least[i]``.

    O((k + n) log k) for k values and n questions: a wavelet matrix over the ranks of the sizes (Claude, Navarro and
    Ordóñez, "The wavelet matrix", 2015).

    >>> whole = np.array([0]), np.array([4])
    >>> sums_of_large(np.array([1, 10, 100, 1000]), np.array([7, 5, 9, 7]), *whole, np.array([7])).tolist()
    [1101]
    """
    distinct, ranks = np.unique(sizes, return_inverse=True)
    wanted = np.searchsorted(distinct, least, "left")
    found = np.zeros(len(wanted), np.int64)
    # A rank that nobody has needs one more bit, and leads to nothing.
    for bit in range(len(distinct).bit_length() - 1, -1, -1):
        high = (ranks >> bit) & 1 == 1
        highs = np.concatenate(([0], np.cumsum(high)))
        sums = np.concatenate(([0], np.cumsum(np.where(high, values, 0))))
        ask_high = (wanted >> bit) & 1 == 1
        found += np.where(ask_high, 0, sums[last] - sums[first])
        # The low ones move to the front, the high ones behind them.
        first, last = (np.where(ask_high, len(ranks) - highs[-1] + highs[at], at - highs[at]) for at in (first, last))
        if not bit:
            equal = np.concatenate(([0], np.cumsum(np.concatenate((values[~high], values[high])))))
            found += equal[last] - equal[first]
        values, ranks = (np.concatenate((row[~high], row[high])) for row in (values, ranks))
    return found
