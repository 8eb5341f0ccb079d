"""From whose point of view latencies are counted.

A simulated trace holds the server's view, a real one the client's. Another view, such as that of
:class:`blis.metrics.ClientView`, is another class with these two methods: every latency of a summary follows from them.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from blis.metrics.stretch import Stretch
from blis.trace import MISSING

__all__ = ["AsRecorded", "SinceIntended", "View"]

IntArray = npt.NDArray[np.int64]


class View(Protocol):
    """Latencies of a stretch of m rows; both methods return a new array."""

    def ttft_us(self, stretch: Stretch) -> IntArray:
        """Time to the first token, int64, shape (m,); :data:`blis.trace.MISSING` where there was none."""
        ...

    def e2e_us(self, stretch: Stretch) -> IntArray:
        """Time to the last token, int64, shape (m,); :data:`blis.trace.MISSING` where there was none."""
        ...


class AsRecorded:
    """The times as the trace has them.

    Latency counts from the arrival in a simulation, and from the actual send in a real trace (how late a request was
    sent is the generator's doing, not the server's).
    """

    def ttft_us(self, stretch: Stretch) -> IntArray:
        """First chunk less start; see :class:`View`."""
        return _since(_start(stretch), stretch, "first_chunk_time_us")

    def e2e_us(self, stretch: Stretch) -> IntArray:
        """Last chunk less start; see :class:`View`."""
        return _since(_start(stretch), stretch, "last_chunk_time_us")


class SinceIntended:
    """Latency from when a request was due, so that a load generator that fell behind doesn't flatter the server."""

    def ttft_us(self, stretch: Stretch) -> IntArray:
        """First chunk less arrival; see :class:`View`."""
        return _since("arrival_time_us", stretch, "first_chunk_time_us")

    def e2e_us(self, stretch: Stretch) -> IntArray:
        """Last chunk less arrival; see :class:`View`."""
        return _since("arrival_time_us", stretch, "last_chunk_time_us")


def _start(stretch: Stretch) -> str:
    return "send_time_us" if stretch.header.mode == "real" else "arrival_time_us"


def _since(begin: str, stretch: Stretch, event: str) -> IntArray:
    start, end = stretch.column(begin), stretch.column(event)
    return np.where((start == MISSING) | (end == MISSING), MISSING, end - start)
