"""How an observed run is going, for whoever watches."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from blis.trace.columns import MISSING
from blis.trace.observed import ObservedRow
from blis.trace.status import Status

__all__ = ["Standing", "Watch"]

_RECENT = 1000


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a run is. Latencies are of the last thousand requests that have ended; None before there is one.

    ``rate`` is requests sent per second of the run so far.
    """

    now_us: int
    submitted: int
    in_flight: int
    done: int
    errors: int
    rate: float
    ttft_us: tuple[float, float] | None
    delay_us: tuple[float, float] | None


class Watch:
    """Keeps count of the requests that end."""

    def __init__(self) -> None:
        self.done = self.errors = 0
        self._ttft: deque[int] = deque(maxlen=_RECENT)
        self._delays: deque[int] = deque(maxlen=_RECENT)

    def record(self, row: ObservedRow, chunk_us: npt.NDArray[np.int64]) -> None:
        """Part of :class:`blis.server.openai.Recorder`."""
        self.done += 1
        self.errors += row.status != Status.OK
        if row.send_time_us == MISSING:
            return
        self._delays.append(row.send_time_us - row.arrival_time_us)
        if row.first_chunk_time_us != MISSING:
            self._ttft.append(row.first_chunk_time_us - row.send_time_us)

    def standing(self, now_us: int, submitted: int, in_flight: int) -> Standing:
        """Return where the run stands."""
        rate = submitted / now_us * 1e6 if now_us > 0 else 0.0
        figures = map(_figures, (self._ttft, self._delays))
        return Standing(now_us, submitted, in_flight, self.done, self.errors, rate, *figures)


def _figures(values: deque[int]) -> tuple[float, float] | None:
    if not values:
        return None
    p50, p99 = np.percentile(values, (50, 99)).tolist()
    return p50, p99
