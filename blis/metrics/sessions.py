"""Figures about conversations of several rounds."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from blis.metrics.distribution import Distribution
from blis.metrics.latencies import latency
from blis.metrics.results import Sessions
from blis.metrics.stretch import stretches
from blis.metrics.view import View
from blis.trace import MISSING, STATUS_CODES, STATUSES, Status, Trace

__all__ = ["sessions"]

IntArray = npt.NDArray[np.int64]

_OK = STATUS_CODES[Status.OK]


def sessions(trace: Trace, view: View, statuses: npt.NDArray[np.int8]) -> Sessions | None:
    """What became of a trace's sessions, seen from ``view``; None where it has none.

    ``statuses`` are those of :func:`blis.metrics.stretch.statuses_of`.
    """
    codes, words = trace.categories("session_id")
    if not any(words):
        return None
    rows = np.flatnonzero(np.array([bool(word) for word in words])[codes])
    if trace.header.warm_up_requests:
        early = np.zeros(len(words), np.bool_)
        early[codes[rows[trace.column("request_id")[rows] < trace.header.warm_up_requests]]] = True
        rows = rows[~early[codes[rows]]]
    rows = rows[np.lexsort((trace.column("round_index")[rows], codes[rows]))]
    first = np.flatnonzero(np.diff(codes[rows], prepend=-1))
    last = np.append(first[1:], len(rows)) - 1
    if not rows.size:
        last = first
    completed = statuses[rows] == _OK
    whole = np.logical_and.reduceat(completed, first) if rows.size else completed
    ttft, e2e = _latencies(trace, view)
    ttft, e2e = np.where(completed, ttft[rows], MISSING), e2e[rows]
    arrivals = trace.column("arrival_time_us")[rows]
    durations = (arrivals[last] + e2e[last] - arrivals[first])[whole & (e2e[last] != MISSING)]
    ended = np.bincount(statuses[rows[last]] % (len(STATUSES) + 1), minlength=len(STATUSES) + 1)
    return Sessions(
        sessions=len(first),
        completed=int(np.count_nonzero(whole)),
        ended={word: count for word, count in zip((*STATUSES, ""), ended.tolist(), strict=True) if count},
        rounds=Distribution.of(last - first + 1),
        ttft_us=Distribution.of(ttft[first][ttft[first] != MISSING]),
        mean_ttft_us=Distribution.of(_means(ttft, first)),
        duration_us=Distribution.of(durations),
    )


def _latencies(trace: Trace, view: View) -> tuple[IntArray, IntArray]:
    """TTFT and E2E of all rows, each of shape (n,)."""
    ttft, e2e = np.empty(len(trace), np.int64), np.empty(len(trace), np.int64)
    for stretch in stretches(trace):
        ttft[stretch.start : stretch.stop] = latency("ttft_us", stretch, view)
        e2e[stretch.start : stretch.stop] = latency("e2e_us", stretch, view)
    return ttft, e2e


def _means(values: IntArray, first: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """Means over sessions that begin at ``first``, of what isn't missing; without those that have nothing."""
    if not first.size:
        return np.empty(0)
    known = values != MISSING
    counts = np.add.reduceat(known, first, dtype=np.int64)
    sums = np.add.reduceat(np.where(known, values, 0), first, dtype=np.float64)
    return sums[counts > 0] / counts[counts > 0]
