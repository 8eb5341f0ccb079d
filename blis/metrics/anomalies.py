"""Requests that waited for other reasons than load: docs/reference/metrics.md has the definitions.

All of them are about the queue of one instance, from arrivals, admissions and prompt lengths. None follows from a
request being longer than others, and first-come-first-served admission has neither inversions nor starvation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from blis.metrics.limits import instance_limits
from blis.metrics.overtaking import passed_by_no_shorter, sums_of_large
from blis.metrics.queues import Queue, queues
from blis.trace import Trace

__all__ = ["BLOCKED", "INVERTED", "JUDGED", "STARVED", "Marks", "anomalies"]

Flags = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

JUDGED, INVERTED, BLOCKED, STARVED = 1, 2, 4, 8
"""Bits of :attr:`Marks.of_rows`."""

_PASSED = 10
"""A starved request was admitted at least so many places later than it came ..."""
_TIMES = 10
"""... and waited more than so many times what it would have in its turn."""
_STANDSTILL = 4
"""A queue stands still where nobody is admitted for longer than so many output tokens take."""
_SHORTER = 2
"""A request is blocked only by prompts that are so many times longer ..."""
_MOSTLY = 0.5
"""... and if they take more than this share of its time in the queue."""


@dataclass(frozen=True, slots=True)
class Marks:
    """What was found of each row, int8, shape (n,): the sum of the bits that apply.

    ``blocking_known`` says whether :data:`BLOCKED` could be told everywhere.
    """

    of_rows: npt.NDArray[np.int8]
    blocking_known: bool


def anomalies(trace: Trace, statuses: npt.NDArray[np.int8]) -> Marks | None:
    """Find who waited without need; None where the trace doesn't say when requests were admitted.

    ``statuses`` are those of :func:`blis.metrics.stretch.statuses_of`. O(n log n), or O(n log² n) where most requests
    were passed by others.
    """
    limits = instance_limits(trace.header)
    marks = np.zeros(len(trace), np.int8)
    known = True
    for instance, queue in queues(trace, statuses):
        marks[queue.rows] = JUDGED
        marks[queue.rows[_inverted(queue)]] |= INVERTED
        marks[queue.rows[_starved(queue)]] |= STARVED
        config = limits.get(instance)
        known &= config is not None
        if config is not None:
            marks[queue.rows[_blocked(queue, config.max_num_seqs)]] |= BLOCKED
    return Marks(marks, known) if marks.any() else None


def _inverted(queue: Queue) -> Flags:
    """Who was passed by a later one of the same class that is no shorter."""
    flags = np.zeros(len(queue.rows), np.bool_)
    for label in np.unique(queue.slo_class):
        members = np.flatnonzero(queue.slo_class == label)
        flags[members] = passed_by_no_shorter(queue.start[members], queue.prompt[members])
    return flags & ~queue.again


def _starved(queue: Queue) -> Flags:
    """Who was passed by many, and waited far longer than in its turn.

    The i-th to arrive would in its turn have been the i-th to be admitted, when that one was.
    """
    order = queue.by_start()
    turns = np.arange(len(order))
    place = np.empty_like(order)
    place[order] = turns
    in_turn = np.maximum(queue.start[order] - queue.arrival, np.median(queue.wait[queue.admitted]))
    # One that was preempted before its first token hasn't been served at all until its last admission.
    served = queue.again & (queue.first < queue.start)
    flags: Flags = (place - turns >= _PASSED) & (queue.wait > _TIMES * in_turn) & ~served
    return flags


def _blocked(queue: Queue, slots: int) -> Flags:
    """Who spent most of its wait behind much longer prompts that kept the queue still, fewer than ``slots`` running.

    A standstill ends with the admission of the prompt it was for, its head.
    """
    ready = queue.arrival + queue.least_delay_us()
    margin = _STANDSTILL * queue.median_gap_us()
    order = queue.by_start()
    line = order[queue.admitted[order]]
    still_since = _still_since(queue, line, ready)
    heads = np.flatnonzero(queue.start[line] - still_since > margin)
    heads = heads[queue.running(still_since[heads]) < slots]
    if not heads.size:
        return np.zeros(len(order), np.bool_)
    began, ended, sizes = still_since[heads], queue.start[line[heads]], queue.prompt[line[heads]]
    least = queue.prompt.astype(np.int64) * _SHORTER
    # It was behind those heads that were admitted after its own entry, and before its own admission.
    first: IntArray = np.searchsorted(ended, ready, "right")
    last: IntArray = np.maximum(np.searchsorted(ended, queue.start, "left"), first)
    still = sums_of_large(ended - began, sizes, first, last, least)
    # It may have come in the middle of the first.
    met = np.minimum(first, len(heads) - 1)
    still -= np.where((first < last) & (sizes[met] >= least), np.maximum(ready - began[met], 0), 0)
    flags: Flags = (still > margin) & (still > _MOSTLY * (queue.start - ready)) & ~queue.again
    return flags


def _still_since(queue: Queue, line: npt.NDArray[np.intp], ready: IntArray) -> IntArray:
    """Since when the queue stood still for each of ``line``, which are in order of admission.

    Since the last admission before its own and the end of all prefills begun so far, and since it was in the queue.
    """
    busy = np.maximum.accumulate(np.maximum(queue.first[line], queue.start[line]))
    since = ready[line]
    since[1:] = np.maximum(since[1:], busy[:-1])
    return since
