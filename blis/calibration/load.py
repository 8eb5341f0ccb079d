"""The run cut into windows of time: how heavy the load was in each, and what was done in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from blis.units import US_PER_S

__all__ = ["PHASES", "Phase", "Windows"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

PHASES = ("low", "medium", "high")
_PER_WINDOW = 10
_MOST_WINDOWS = 60


@dataclass(frozen=True, slots=True)
class Phase:
    """The windows of one load phase: how many, and their lowest and highest rate of arrivals."""

    windows: int
    least_requests_per_s: float
    most_requests_per_s: float


class Windows:
    """Equal stretches between the first arrival and the last, with 10 arrivals each on average, at most 60.

    ``rates``, shape (k,), are the arrivals per second of each window. ``phases``, shape (k,), are indices of
    :data:`PHASES`: the windows whose rate is in the lowest third of all windows, in the middle or in the highest.
    They are all 0, and ``phased`` is false, where there are fewer than three windows or no differences in rate.
    """

    def __init__(self, arrivals_us: npt.NDArray[Any]) -> None:
        first, last = (int(arrivals_us.min()), int(arrivals_us.max())) if arrivals_us.size else (0, 0)
        count = min(arrivals_us.size // _PER_WINDOW, _MOST_WINDOWS) if last > first else 0
        self._edges = np.linspace(first, last, count + 1)
        self._seconds = (last - first) / US_PER_S / max(count, 1)
        self.rates = self._arrivals(arrivals_us) / self._seconds if count else np.empty(0)
        thirds = np.quantile(self.rates, (1 / 3, 2 / 3)) if count >= len(PHASES) else np.zeros(2)
        self.phased = bool(thirds[0] < thirds[1])
        self.phases: Ints = np.searchsorted(thirds, self.rates, side="left") if self.phased else np.zeros(count, int)

    def __len__(self) -> int:
        return self.rates.size

    def phase_of(self, arrivals_us: npt.NDArray[Any]) -> Ints:
        """The phase in which each request arrives, shape (n,), as an index of :data:`PHASES`."""
        return self.phases[np.clip(self._find(arrivals_us), 0, len(self) - 1)]

    def per_second(self, begins_us: Floats, ends_us: Floats, amounts: npt.NDArray[Any]) -> Floats:
        """What is done per second of each window, shape (k,).

        Each of the ``amounts`` is done evenly from its begin to its end, shapes (n,); at its end, where both are one.
        """
        spans = ends_us - begins_us
        slopes = np.divide(amounts, spans, out=np.zeros(spans.size), where=spans > 0)
        at_once = np.where(spans > 0, 0, amounts)
        done = (
            _since(self._edges, begins_us, slopes)
            - _since(self._edges, ends_us, slopes)
            + _below(self._edges, ends_us, at_once)
        )
        rates: Floats = np.diff(done) / self._seconds
        return rates

    def summary(self) -> dict[str, Phase]:
        """The phases by name; empty where they can't be told apart."""
        if not self.phased:
            return {}
        rates = [self.rates[self.phases == index] for index in range(len(PHASES))]
        return {
            name: Phase(own.size, float(own.min()), float(own.max()))
            for name, own in zip(PHASES, rates, strict=True)
            if own.size
        }

    def _find(self, times_us: npt.NDArray[Any]) -> Ints:
        """The window of each time; the last arrival belongs to the last window."""
        inside: Ints = np.searchsorted(self._edges, times_us, side="right") - 1
        return np.where(times_us == self._edges[-1], len(self._edges) - 2, inside)

    def _arrivals(self, arrivals_us: npt.NDArray[Any]) -> Ints:
        return np.bincount(self._find(arrivals_us), minlength=len(self._edges) - 1)


def _below(edges: Floats, times_us: Floats, amounts: npt.NDArray[Any]) -> Floats:
    """The sum of the amounts whose times are below each edge."""
    order = np.argsort(times_us, kind="stable")
    sums = np.concatenate(([0.0], np.cumsum(amounts[order])))
    below: Floats = sums[np.searchsorted(times_us[order], edges, side="left")]
    return below


def _since(edges: Floats, times_us: Floats, slopes: Floats) -> Floats:
    """The sum over times below each edge of slope * (edge - time)."""
    start = float(times_us.min(initial=0.0))
    moved = times_us - start
    return (edges - start) * _below(edges - start, moved, slopes) - _below(edges - start, moved, slopes * moved)
