"""ServeGen data as clients: each chunk walks the windows of its trace.

A window says how many requests per second the client sent and how they were spaced. By default (``normalize:
window``) ServeGen's rule holds within it: N = rate * length gaps of the window's shape, rescaled so that together
they span the window, which meets the rate however extreme the fitted shape is. N is rounded at random, up with the
probability of its fraction, so that nothing is lost on average. The N gaps are laid on the window as on a circle, from
a uniform place on: ServeGen's own generator starts the first gap at the window's start, which makes all bursty clients
send at once whenever windows change. A Poisson window is then exactly a Poisson process given its count.

``normalize: none`` gives a stationary renewal process of the window's rate and shape, independent of other windows.

The lengths in a window come from the latest non-empty dataset window that starts at or before it. Every client and
window has streams of its own, and a window that a span cuts is drawn whole and then cut; so neither the span nor
anything outside a window changes its requests. Only ``aggregate_rate`` does, as it scales the rates.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from blis.clients.arrivals import FloatArray, circular_gaps, shaped_gaps, stationary_first_gap
from blis.clients.rates import END_OF_TIME_US, whole_microseconds
from blis.clients.renewal import MAX_BLOCK, block_sizes
from blis.clients.servegen_fields import WindowFields, check_fields
from blis.clients.source import Block
from blis.errors import BlisError
from blis.request import ClientFacts
from blis.rng import stream
from blis.spec.servegen import ServeGenSpec
from blis.spec.servegen_data import PATTERNS, Dataset, TraceWindows
from blis.spec.servegen_pdf import Pdf
from blis.units import US_PER_S

__all__ = ["ChunkSource"]


class ChunkSource:
    """The requests of one chunk within the spec's span.

    ``windows`` are those of its trace that overlap the span, [``spec.span_start``, ``span_end``) in seconds, and
    ``lengths_from[i]`` is the start of the dataset window that window i takes its lengths from. ``scale`` multiplies
    all rates. Run time is data time less the span's start.
    """

    max_output_tokens = 0
    timeout_us = None
    not_before_us = 0

    def __init__(
        self,
        name: str,
        windows: TraceWindows,
        dataset: Dataset,
        lengths_from: list[float],
        spec: ServeGenSpec,
        span_end: float,
        seed: int,
    ) -> None:
        self.facts = ClientFacts(client_id=name)
        self.scale = 1.0
        self.windows = windows
        self.dataset = dataset
        self.lengths_from = lengths_from
        self._spec = spec
        self.end_us = round((span_end - spec.span_start) * US_PER_S)
        self._seed = seed
        self._held: tuple[float, WindowFields] | None = None

    def expected(self, end_us: int) -> float:
        """Return the mean number of arrivals in [0, end_us)."""
        low, high = self._spec.span_start, self._spec.span_start + min(end_us, self.end_us) / US_PER_S
        windows = self.windows
        overlaps = np.minimum(windows.ends, high) - np.maximum(windows.starts, low)
        return float((windows.rates * np.maximum(overlaps, 0)).sum()) * self.scale

    def check(self, end_us: int) -> list[tuple[float, str]]:
        """Read all dataset windows needed before ``end_us``; return the starts of those that can't be used, and why."""
        horizon = self._spec.span_start + end_us / US_PER_S
        needed = {start for start, at in zip(self.lengths_from, self.windows.starts, strict=True) if at < horizon}
        faults = []
        for start in sorted(needed):
            try:
                pdfs = self._read(start)
            except BlisError as error:
                faults.append((start, str(error)))
            else:
                # The first one is held for when the run starts.
                self._held = self._held or (start, WindowFields(pdfs))
        return faults

    def blocks(self, end_us: int = END_OF_TIME_US, likely: float | None = None) -> Iterator[Block]:
        """Iterate over the requests that arrive in [0, end_us)."""
        end = min(end_us, self.end_us)
        comonotonic = self._spec.length_correlation == "comonotonic"
        last = -1
        for at, start in enumerate(self.windows.starts.tolist()):
            offset = round((start - self._spec.span_start) * US_PER_S)
            if offset >= end:
                return
            named = partial(stream, self._seed, self.facts.client_id)
            sample = self._fields(self.lengths_from[at]).sampler(
                lambda *part, named=named, start=start: named("lengths", repr(start), *part), comonotonic=comonotonic
            )
            for times in self._times(at, named("arrival", repr(start))):
                columns = sample(len(times))
                low, high = (int(np.searchsorted(times, edge - offset)) for edge in (0, end))
                arrivals = whole_microseconds(np.floor(times[low:high]) + offset, last)
                arrivals = arrivals[: int(np.searchsorted(arrivals, end))]
                if len(arrivals):
                    yield Block(arrivals, columns.cut(low, low + len(arrivals)))
                    last = int(arrivals[-1])

    def _times(self, at: int, rng: np.random.Generator) -> Iterator[FloatArray]:
        """Iterate over blocks of arrival times in window ``at``, in microseconds since its start, in order."""
        windows = self.windows
        length = float(windows.ends[at] - windows.starts[at])
        mean = float(windows.rates[at]) * self.scale * length
        pattern, shape = PATTERNS[int(windows.patterns[at])].lower(), float(windows.shapes[at])
        if self._spec.normalize == "none":
            units = _stationary(rng, pattern, shape, mean)
        else:
            units = _spanning(rng, pattern, shape, mean)
        for unit in units:
            yield unit * (length * US_PER_S)

    def _fields(self, start: float) -> WindowFields:
        if self._held is None or self._held[0] != start:
            self._held = start, WindowFields(self._read(start))
        return self._held[1]

    def _read(self, start: float) -> dict[str, Pdf]:
        pdfs = self.dataset.read(start)
        check_fields(pdfs, f"{self.dataset.path}: window {start:g}")
        return pdfs


def _spanning(rng: np.random.Generator, pattern: str, shape: float, mean: float) -> Iterator[FloatArray]:
    """Iterate over arrivals in [0, 1): about ``mean`` gaps that span it, laid on a circle from a random place."""
    count = int(mean + rng.random())
    phase = rng.random()
    if count == 0:
        return
    places = np.cumsum(circular_gaps(rng, pattern, shape, count))
    places = places / places[-1] + phase
    wrapped = int(np.searchsorted(places, 1.0))
    places = np.concatenate((places[wrapped:] - 1.0, places[:wrapped]))
    for start in range(0, count, MAX_BLOCK):
        yield places[start : start + MAX_BLOCK]


def _stationary(rng: np.random.Generator, pattern: str, shape: float, mean: float) -> Iterator[FloatArray]:
    """Iterate over the arrivals in [0, 1) of a stationary renewal process with ``mean`` of them on average."""
    gaps_of = shaped_gaps(pattern, shape)
    total = stationary_first_gap(rng, pattern, shape)
    yield np.array([total / mean]) if total < mean else np.empty(0)
    for size in block_sizes(mean):
        if total >= mean:
            return
        gaps = gaps_of(rng, size)
        gaps[0] += total
        sums = np.cumsum(gaps)
        total = float(sums[-1])
        yield sums[: int(np.searchsorted(sums, mean))] / mean
