"""Exact inter-token latencies without a list of tokens.

All decoding sequences emit a token at the end of a step, so the ITLs of a step are one number with a weight. The log
keeps step durations only as long as a running sequence may still turn out to need them, and moves them into a
histogram.
"""

from __future__ import annotations

from array import array

import numpy as np
import numpy.typing as npt

from blis.trace.histogram import Histogram

__all__ = ["TokenLog"]

_FLUSH = 1 << 12


class TokenLog:
    """Durations of an instance's steps, and how many completed requests decoded a token in each.

    ``per_token_us`` is added to every ITL. Step numbers count from 1.
    """

    def __init__(self, histogram: Histogram, per_token_us: int) -> None:
        self._histogram = histogram
        self._per_token_us = per_token_us
        self._durations = array("q")
        self._first = 1
        self._starts: list[int] = []
        self._stops: list[int] = []
        self._carried = 0
        self._flush_at = _FLUSH

    def append(self, durations: list[int] | npt.NDArray[np.int64]) -> None:
        """Note the durations of the next steps, in order."""
        if type(durations) is list:
            self._durations.extend(durations)
        else:
            self._durations.frombytes(durations.tobytes())  # type: ignore[union-attr]

    def full(self) -> bool:
        """Whether it is time to :meth:`flush`."""
        return len(self._durations) >= self._flush_at

    def count(self, first: int, last: int) -> None:
        """Count one token in each of the steps ``first`` to ``last``, both included."""
        self._starts.append(first)
        self._stops.append(last + 1)

    def flush(self, needed_from: int | None) -> None:
        """Move steps before ``needed_from`` (None: all) into the histogram."""
        end = self._first + len(self._durations)
        stop = end if needed_from is None else max(min(needed_from, end), self._first)
        size = stop - self._first
        if size:
            change, self._starts = self._split(self._starts, stop)
            ended, self._stops = self._split(self._stops, stop)
            weights = np.cumsum(change - ended) + self._carried
            self._carried = int(weights[-1])
            durations = np.frombuffer(self._durations, np.int64, size)
            used = weights > 0
            self._histogram.add(durations[used] + self._per_token_us, weights[used])
            self._durations = self._durations[size:]
            self._first = stop
        self._flush_at = len(self._durations) * 2 + _FLUSH

    def _split(self, steps: list[int], stop: int) -> tuple[npt.NDArray[np.int64], list[int]]:
        """Count ``steps`` by their distance from the first step of the log, up to ``stop``; return the others too."""
        values = np.array(steps, np.int64)
        inside = values < stop
        counts = np.bincount(values[inside] - self._first, minlength=stop - self._first)
        return counts.astype(np.int64), values[~inside].tolist()
