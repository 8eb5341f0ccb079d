"""The queues behind a trace, one per instance, and what can be asked of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from blis.metrics.stretch import stretches
from blis.trace import MISSING, STATUS_CODES, Status, Trace

__all__ = ["Queue", "queues"]

IntArray = npt.NDArray[np.int64]
SmallArray = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]

_NEVER = np.iinfo(np.int64).max
_OK, _TIMEOUT, _INCOMPLETE = (STATUS_CODES[status] for status in (Status.OK, Status.TIMEOUT, Status.INCOMPLETE))


@dataclass(slots=True)
class Queue:
    """Requests that queued on one instance, in order of arrival; times in µs, arrays of shape (n,).

    Those that arrived at the same time are in order of their start. ``rows`` are their rows in the trace. ``start`` is
    when a request was admitted to a batch, or left the queue without (not ``admitted``); of one that was preempted
    (``again``), only the last admission is known. ``first`` and ``end`` are its first token and its end.
    """

    rows: SmallArray
    arrival: IntArray
    start: IntArray
    first: IntArray
    end: IntArray
    prompt: SmallArray
    outputs: SmallArray
    slo_class: SmallArray
    admitted: Flags
    again: Flags

    def part(self, places: slice) -> Queue:
        """Some of the requests."""
        return Queue(*(getattr(self, name)[places] for name in self.__slots__))

    @property
    def wait(self) -> IntArray:
        """Time in the queue and on the way to it."""
        return self.start - self.arrival

    def by_start(self) -> npt.NDArray[np.intp]:
        """Places in order of start, at the same time those that came earlier first."""
        return np.argsort(self.start, kind="stable")

    def median_gap_us(self) -> float:
        """Median over the completed requests of their mean gap between two tokens; 0 where nobody has two."""
        some = np.flatnonzero((self.outputs > 1) & self.admitted & (self.end < _NEVER))
        gaps = (self.end[some] - self.first[some]) / (self.outputs[some] - 1)
        return float(np.median(gaps)) if some.size else 0.0

    def running(self, times: IntArray) -> IntArray:
        """How many were running at each of ``times``."""
        came, went = np.sort(self.start[self.admitted]), np.sort(self.end[self.admitted])
        return np.searchsorted(came, times, "right") - np.searchsorted(went, times, "right")

    def least_delay_us(self) -> IntArray:
        """A bound on the part of each one's wait that comes before the queue, a constant and so much per token.

        That part is at most what any equal or longer prompt waited, and at most in proportion to what a shorter one
        did. Somebody must have been admitted.
        """
        size = np.maximum(self.prompt, 1)
        order = np.argsort(size, kind="stable")
        wait = np.where(self.admitted, self.wait, _NEVER)[order].astype(np.float64)
        in_proportion = np.minimum.accumulate(wait / size[order]) * size[order]
        of_longer = np.minimum.accumulate(wait[::-1])[::-1]
        bound = np.empty(len(wait), np.int64)
        bound[order] = np.minimum(in_proportion, of_longer)
        return bound


def queues(trace: Trace, statuses: npt.NDArray[np.int8]) -> Iterator[tuple[str, Queue]]:
    """The queue of each instance that admitted anybody, after the instance's name.

    Those were in a queue that have a scheduling delay, or that timed out or were cut before they had. ``statuses`` are
    those of :func:`blis.metrics.stretch.statuses_of`.
    """
    delays = trace.column("scheduling_delay_us")
    if not (delays != MISSING).any():
        return
    instances, names = trace.categories("instance")
    arrivals, deadlines = trace.column("arrival_time_us"), trace.column("deadline_us")
    queued = (delays != MISSING) | (statuses == _INCOMPLETE) | ((statuses == _TIMEOUT) & (deadlines != MISSING))
    rows = np.flatnonzero(queued & np.array([bool(name) for name in names])[instances]).astype(np.int32)
    del queued
    start = arrivals + delays
    waiting = delays == MISSING
    start[waiting] = np.where(statuses[waiting] == _TIMEOUT, deadlines[waiting], _NEVER)
    del delays, deadlines
    if len(rows) < len(trace):
        start, arrivals, instances = start[rows], arrivals[rows], instances[rows]
    order = np.lexsort((start, arrivals, instances)).astype(np.int32)
    rows, start, instances = rows[order], start[order], instances[order]
    del arrivals, order
    whole = _queue(trace, statuses, rows, start)
    edges = np.flatnonzero(np.diff(instances, prepend=-1, append=-1)).tolist()
    for first, last in pairwise(edges):
        queue = whole.part(slice(first, last))
        if queue.admitted.any():
            yield names[instances[first]], queue


def _queue(trace: Trace, statuses: npt.NDArray[np.int8], rows: SmallArray, start: IntArray) -> Queue:
    """The rows as one queue."""
    place = np.full(len(trace), MISSING, np.int32)
    place[rows] = np.arange(len(rows), dtype=np.int32)

    def column(name: str, kind: type[np.signedinteger[Any]] = np.int64) -> npt.NDArray[Any]:
        """A column of the rows, moved a stretch at a time: whole columns are large."""
        moved = np.empty(len(rows), kind)
        for stretch in stretches(trace):
            to = place[stretch.start : stretch.stop]
            values = stretch.prompt_tokens() if name == "prompt_tokens" else stretch.column(name)
            moved[to[to >= 0]] = np.minimum(values[to >= 0], np.iinfo(kind).max)
        return moved

    ended = statuses[rows]
    end = column("last_chunk_time_us")
    end[(ended != _OK) | (end == MISSING)] = _NEVER
    gone = np.flatnonzero(ended == _TIMEOUT)
    deadlines = column("deadline_us")[gone]
    end[gone] = np.where(deadlines == MISSING, _NEVER, deadlines)
    first = column("first_chunk_time_us")
    np.copyto(first, end, where=first == MISSING)
    return Queue(
        rows=rows,
        arrival=column("arrival_time_us"),
        start=start,
        first=first,
        end=end,
        prompt=column("prompt_tokens", np.int32),
        outputs=column("output_tokens", np.int32),
        slo_class=trace.categories("slo_class")[0][rows],
        admitted=column("scheduling_delay_us") != MISSING,
        again=column("preemptions") > 0,
    )
