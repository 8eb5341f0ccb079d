"""Curves of a trace, for plots: distributions, and what was going on over time."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from blis.metrics.groups import TooManyGroupsError, grouped
from blis.metrics.latencies import Kind, of_completed
from blis.metrics.stretch import statuses_of
from blis.metrics.view import AsRecorded, View
from blis.trace import MISSING, STATUS_CODES, Histogram, Status, Trace
from blis.units import US_PER_S

__all__ = ["Curve", "Timeline", "itl_curve", "latency_curves", "timeline"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_POINTS = 300
_OK, _TIMEOUT, _INCOMPLETE = (STATUS_CODES[status] for status in (Status.OK, Status.TIMEOUT, Status.INCOMPLETE))
_SHARES = np.unique(np.concatenate((np.linspace(0, 1, _POINTS), 1 - np.geomspace(1e-4, 1, 60))))


@dataclass(frozen=True, slots=True)
class Curve:
    """A cumulative distribution: the share ``y`` of the sample is at most ``x`` (in µs), both of shape (p,)."""

    x: FloatArray
    y: FloatArray


@dataclass(frozen=True, slots=True)
class Timeline:
    """What was going on, in equal stretches of time, arrays of shape (b,).

    ``at_s`` is the middle of each stretch, ``arrivals_per_s`` and ``completions_per_s`` the rates in it, ``in_flight``
    the requests that had arrived and not ended at its end, ``waiting`` those of them that hadn't been admitted (None
    where the trace doesn't say), and ``ttft_p50_us`` and ``ttft_p99_us`` those of the requests that arrived in it, NaN
    where none completed.
    """

    at_s: FloatArray
    arrivals_per_s: FloatArray
    completions_per_s: FloatArray
    in_flight: IntArray
    waiting: IntArray | None
    ttft_p50_us: FloatArray
    ttft_p99_us: FloatArray


def latency_curves(trace: Trace, kind: Kind, view: View | None = None) -> dict[str, Curve]:
    """The distribution of a latency of the completed requests, by SLO class and, under the empty label, of all.

    Classes are there if there are two or more, those without a latency aren't, and warm-up requests are left out.
    """
    completed = statuses_of(trace) == _OK
    values = of_completed(kind, trace, view or AsRecorded(), completed)
    found = {"": values}
    try:
        classes = grouped(trace, "slo_class", completed)
    except TooManyGroupsError:
        classes = None
    if classes is not None and len(classes.labels) > 1:
        found |= {label: classes.pick(values, group) for group, label in enumerate(classes.labels) if label}
    known = {label: part[part >= 0] for label, part in found.items()}
    return {label: Curve(np.quantile(part, _SHARES), _SHARES) for label, part in known.items() if part.size}


def itl_curve(gaps: Histogram) -> Curve | None:
    """The distribution of the gaps between tokens; None where there are none."""
    if not gaps.count:
        return None
    found = [gaps.percentile(100 * share) for share in _SHARES.tolist()]
    return Curve(np.array(found, np.float64), _SHARES)


def timeline(trace: Trace, parts: int | None = None) -> Timeline | None:
    """What was going on from the first arrival to the last event; None for a trace without requests or time.

    By default there are 20 to 200 ``parts``, of 20 requests or more on average where that is possible.
    """
    arrivals, ends = trace.column("arrival_time_us"), _ends(trace)
    if not len(trace) or max(arrivals.max(), ends.max()) <= arrivals.min():
        return None
    parts = parts or min(max(len(trace) // 20, 20), 200)
    edges = np.linspace(float(arrivals.min()), float(max(arrivals.max(), ends.max())), parts + 1)
    width_s = (edges[1] - edges[0]) / US_PER_S
    completed = statuses_of(trace) == _OK
    arrived = _until(edges, arrivals)
    p50, p99 = _ttft_over_time(trace, completed, edges)
    return Timeline(
        at_s=(edges[1:] + edges[:-1]) / 2 / US_PER_S,
        arrivals_per_s=np.diff(arrived, prepend=0) / width_s,
        completions_per_s=np.diff(_until(edges, ends[completed]), prepend=0) / width_s,
        in_flight=arrived - _until(edges, ends),
        waiting=_waiting(trace, ends, arrived, edges),
        ttft_p50_us=p50,
        ttft_p99_us=p99,
    )


def _until(edges: FloatArray, times: IntArray) -> IntArray:
    """How many of ``times`` there were up to the end of each stretch."""
    return np.searchsorted(np.sort(times), edges[1:], "right")


def _ends(trace: Trace) -> IntArray:
    """When each request left the system; whatever is known of no other time left as it came."""
    statuses = statuses_of(trace)
    arrivals, last, deadlines = (
        trace.column(name) for name in ("arrival_time_us", "last_chunk_time_us", "deadline_us")
    )
    ends: IntArray = np.maximum(last, arrivals)
    timed_out = (statuses == _TIMEOUT) & (deadlines != MISSING)
    ends = np.where(timed_out, np.maximum(deadlines, arrivals), ends)
    cut = trace.header.run.get("span_us")
    end_of_run = max(int(ends.max(initial=0)), cut if isinstance(cut, int) else 0)
    return np.where(statuses == _INCOMPLETE, end_of_run, ends)


def _waiting(trace: Trace, ends: IntArray, arrived: IntArray, edges: FloatArray) -> IntArray | None:
    delays = trace.column("scheduling_delay_us")
    if not (delays != MISSING).any():
        return None
    admitted = np.where(delays == MISSING, ends, trace.column("arrival_time_us") + delays)
    return arrived - _until(edges, admitted)


def _ttft_over_time(trace: Trace, completed: npt.NDArray[np.bool_], edges: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Median and 99th percentile of the TTFT by the stretch of the arrival."""
    ttft = of_completed("ttft_us", trace, AsRecorded(), completed)
    known = ttft >= 0
    stretch = np.searchsorted(edges[1:-1], trace.column("arrival_time_us")[completed][known], "left")
    order = np.argsort(stretch, kind="stable")
    ttft, bounds = ttft[known][order], np.searchsorted(stretch[order], np.arange(len(edges)))
    found = np.full((2, len(edges) - 1), np.nan)
    for index, (first, last) in enumerate(pairwise(bounds.tolist())):
        if first < last:
            found[:, index] = np.percentile(ttft[first:last], (50, 99))
    return found[0], found[1]
