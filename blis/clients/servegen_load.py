"""From a folder of ServeGen files to sources: which chunks can be used, and at what scale."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from blis.clients.rates import END_OF_TIME_US
from blis.clients.servegen import ChunkSource
from blis.errors import BlisError
from blis.spec.servegen import ServeGenSpec
from blis.spec.servegen_data import Chunk, Dataset, TraceWindows, find_chunks, read_trace
from blis.spec.workload import WorkloadSpec
from blis.units import US_PER_S

__all__ = ["chunk_sources"]

_MOST_NAMES = 20


def chunk_sources(spec: WorkloadSpec, horizon_us: int | None, warn: Callable[[str], None]) -> list[ChunkSource]:
    """Return a source for every chunk of the spec's ServeGen folder that sends something in its span.

    The span is [span_start, span_end); without an end, to the end of the data. With an aggregate_rate above 0 all
    rates are multiplied by one factor, so that together they are that many requests per second on average over the
    span; the data's changes over time and its shares stay. What can't be used is left out: a chunk without trace,
    dataset or any activity, rows and dataset windows with unreadable numbers (an earlier dataset window then serves
    instead), and trace windows before the first dataset window. Each is named in a call of ``warn``, or all of them
    in a :class:`BlisError` if the data is ``strict``. Chunks that are silent in the span are named in one warning.
    """
    options, folder = spec.servegen_data, spec.servegen_path
    if options is None or folder is None:
        return []
    faults: list[str] = []
    traces = _traces(folder, options, faults.append)
    data_end = max((float(windows.ends[-1]) for _, windows in traces), default=0.0)
    span_end = data_end if options.span_end is None else options.span_end
    loader = _Loader(options, span_end, spec.seed, END_OF_TIME_US if horizon_us is None else horizon_us, faults, [])
    found = [source for chunk, windows in traces if (source := loader.load(chunk, windows)) is not None]
    if faults and options.strict:
        raise BlisError("\n".join(faults))
    for fault in faults:
        warn(fault)
    if loader.silent:
        names = ", ".join(loader.silent[:_MOST_NAMES])
        more = f" and {len(loader.silent) - _MOST_NAMES} more" if len(loader.silent) > _MOST_NAMES else ""
        span = f"[{options.span_start:.12g}, {span_end:.12g}) s"
        warn(f"{folder}: no requests in the span {span} (the data ends at {data_end:.12g} s): {names}{more}")
    if spec.aggregate_rate > 0 and found:
        whole_span = round((span_end - options.span_start) * US_PER_S)
        mean = sum(source.expected(whole_span) for source in found) / (span_end - options.span_start)
        for source in found:
            source.scale = spec.aggregate_rate / mean
    return found


def _traces(folder: Path, options: ServeGenSpec, report: Callable[[str], None]) -> list[tuple[Chunk, TraceWindows]]:
    """Return the chunks that have both files and are ever active, with their active windows."""
    found = []
    for chunk in find_chunks(folder, report):
        try:
            windows = read_trace(chunk.trace, options.time_window, report)
        except BlisError as error:
            report(str(error))
            continue
        if len(windows.starts) == 0:
            report(f"{chunk.trace}: never active, no window has a rate above 0; the chunk is left out")
        elif chunk.dataset is not None:
            found.append((chunk, windows))
    return found


@dataclass(slots=True)
class _Loader:
    """Turns chunks into sources; collects ``faults``, and in ``silent`` the chunks that send nothing in the span."""

    options: ServeGenSpec
    span_end: float
    seed: int
    horizon_us: int
    faults: list[str]
    silent: list[str]

    def load(self, chunk: Chunk, windows: TraceWindows) -> ChunkSource | None:
        inside = (windows.ends > self.options.span_start) & (windows.starts < self.span_end)
        if not inside.any():
            self.silent.append(chunk.name)
            return None
        windows = windows.where(inside)
        assert chunk.dataset is not None
        try:
            dataset = Dataset(chunk.dataset, self.faults.append)
        except BlisError as error:
            self.faults.append(str(error))
            return None
        return self._with_lengths(chunk, windows, dataset)

    def _with_lengths(self, chunk: Chunk, windows: TraceWindows, dataset: Dataset) -> ChunkSource | None:
        """Pair trace windows with dataset windows, trying again without those that turn out unreadable."""
        usable = list(dataset.starts)
        while True:
            at = [bisect_right(usable, start) - 1 for start in windows.starts.tolist()]
            served = np.array([place >= 0 for place in at])
            if not served.any():
                break
            source = ChunkSource(
                chunk.name,
                windows.where(served),
                dataset,
                [usable[place] for place in at if place >= 0],
                self.options,
                self.span_end,
                self.seed,
            )
            broken = source.check(self.horizon_us)
            if not broken:
                break
            self.faults += [text for _, text in broken]
            usable = [start for start in usable if start not in {bad for bad, _ in broken}]
        if not served.all():
            first = f"before {usable[0]:.12g} s" if usable else "at all"
            self.faults.append(
                f"{dataset.path}: no usable window {first}, so that {np.count_nonzero(~served)} active windows of "
                f"{chunk.trace.name}, from {windows.starts[0]:.12g} s on, have no lengths and are left out"
            )
        dataset.release()
        return source if served.any() else None
