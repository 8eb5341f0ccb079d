"""A trace in figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from blis.metrics.distribution import Distribution
from blis.metrics.fairness import jain_index
from blis.metrics.groups import Grouping, TooManyGroupsError, everything, grouped
from blis.metrics.latencies import KINDS, Kind, latency
from blis.metrics.results import Cache, Conservation, GroupSummary, Summary
from blis.metrics.stretch import statuses_of, stretches
from blis.metrics.tally import Counted, Tally
from blis.metrics.view import AsRecorded, View
from blis.trace import MISSING, STATUS_CODES, Status, Trace
from blis.trace.status import DROPPED, FAILED
from blis.units import US_PER_S

__all__ = ["summarize"]

_EVENTS = ("arrival_time_us", "send_time_us", "first_chunk_time_us", "last_chunk_time_us")


def summarize(trace: Trace, view: View | None = None) -> Summary:
    """Everything blis says about ``trace``, from the trace alone, seen from ``view`` (default: as recorded).

    Only completed requests enter latencies and SLO attainment, and of those not the header's warm-up requests; counts
    and rates cover all requests. Rates are per second of the span: ``run.span_us`` of the header, or from 0 to the
    last event. Needs about 60 bytes per row for a while.
    """
    view = view or AsRecorded()
    statuses = statuses_of(trace)
    completed = statuses == STATUS_CODES[Status.OK]
    span = _span_us(trace)
    conservation = _conservation(trace, statuses)
    groupings, too_many = _groupings(trace, completed)
    tally = Tally(trace, view, statuses, groupings, span / US_PER_S)
    latencies = _latencies(trace, view, completed, groupings)
    groups = {
        name: {
            label: _group(counted, latencies[name][label])
            for label, counted in zip(grouping.labels, tally.groups(name), strict=True)
        }
        for name, grouping in groupings.items()
    }
    (overall,) = groups.pop("overall").values()
    preemptions = trace.column("preemptions")
    return Summary(
        mode=trace.header.mode,
        span_us=span,
        warm_up_requests=trace.header.warm_up_requests,
        overall=overall,
        itl_us=None if trace.itl is None else Distribution.of_histogram(trace.itl),
        conservation=conservation,
        cache=_cache(trace),
        preempted_requests=int(np.count_nonzero(preemptions > 0)),
        jain_fairness=_jain_fairness(groupings.get("tenants"), tally),
        too_many=too_many,
        **{name: groups.get(name, {}) for name in _breakdowns(trace)},
    )


def _group(counted: Counted, latencies: Mapping[str, Distribution]) -> GroupSummary:
    return GroupSummary(
        ttft_us=latencies["ttft_us"],
        tpot_us=latencies["tpot_us"],
        e2e_us=latencies["e2e_us"],
        scheduling_delay_us=latencies["scheduling_delay_us"],
        **counted,
    )


def _breakdowns(trace: Trace) -> dict[str, tuple[str, Callable[[str], str] | None]]:
    """Breakdowns: the column each goes by, and how its labels are renamed."""
    pools = trace.header.run.get("pools")
    known: Mapping[str, Any] = pools if isinstance(pools, Mapping) else {}
    return {
        "slo_classes": ("slo_class", None),
        "tenants": ("tenant_id", None),
        "instances": ("instance", None),
        "pools": ("instance", lambda instance: str(known.get(instance, ""))),
        "clients": ("client_id", None),
    }


def _groupings(trace: Trace, completed: npt.NDArray[np.bool_]) -> tuple[dict[str, Grouping], dict[str, int]]:
    groupings = {"overall": everything(trace, completed)}
    too_many: dict[str, int] = {}
    for name, (column, rename) in _breakdowns(trace).items():
        try:
            grouping = grouped(trace, column, completed, rename)
        except TooManyGroupsError as error:
            too_many[name] = error.count
            continue
        if grouping is not None:
            groupings[name] = grouping
    return groupings, too_many


def _latencies(
    trace: Trace, view: View, completed: npt.NDArray[np.bool_], groupings: Mapping[str, Grouping]
) -> dict[str, dict[str, dict[str, Distribution]]]:
    """Distributions by breakdown, label and kind of latency, one kind at a time to save memory."""
    found: dict[str, dict[str, dict[str, Distribution]]] = {
        name: {label: {} for label in grouping.labels} for name, grouping in groupings.items()
    }
    for kind in KINDS:
        values = _completed_values(kind, trace, view, completed)
        for name, grouping in groupings.items():
            for group, label in enumerate(grouping.labels):
                part = grouping.pick(values, group)
                found[name][label][kind] = Distribution.of(part[part >= 0])
    return found


def _completed_values(kind: Kind, trace: Trace, view: View, completed: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    """A latency of each completed row, shape (k,), negative where there is none and for the warm-up."""
    values = np.empty(np.count_nonzero(completed), np.float64 if kind == "tpot_us" else np.int64)
    filled = 0
    for stretch in stretches(trace):
        found = latency(kind, stretch, view)
        if trace.header.warm_up_requests:
            found = np.where(stretch.column("request_id") < trace.header.warm_up_requests, MISSING, found)
        found = found[completed[stretch.start : stretch.stop]]
        values[filled : filled + len(found)] = found
        filled += len(found)
    return values


def _span_us(trace: Trace) -> int:
    given = trace.header.run.get("span_us")
    if isinstance(given, int):
        return given
    return max((int(trace.column(name).max(initial=0)) for name in _EVENTS), default=0)


def _jain_fairness(tenants: Grouping | None, tally: Tally) -> float | None:
    """Fairness between the named tenants, those that got nothing included."""
    if tenants is None:
        return None
    named = [index for index, label in enumerate(tenants.labels) if label]
    return jain_index(tally.sums("tenants", "output_tokens")[named])


def _conservation(trace: Trace, statuses: npt.NDArray[np.int8]) -> Conservation:
    counts = {status: int(np.count_nonzero(statuses == code)) for status, code in STATUS_CODES.items()}
    started = trace.column("scheduling_delay_us") != MISSING
    running = int(np.count_nonzero(started & (statuses == STATUS_CODES[Status.INCOMPLETE])))
    injected = trace.header.run.get("injected")
    return Conservation(
        injected=injected if isinstance(injected, int) else len(trace),
        completed=counts[Status.OK],
        running=running,
        # A request of a trace that was only generated has no status: it waits to be sent.
        queued=counts[Status.INCOMPLETE] - running + int(np.count_nonzero(statuses < 0)),
        rejected=counts[Status.REJECTED],
        dropped=sum(counts[status] for status in DROPPED),
        timed_out=counts[Status.TIMEOUT],
        failed=sum(counts[status] for status in FAILED),
    )


def _cache(trace: Trace) -> Cache:
    claimed, allocated = (trace.header.run.get(name) for name in ("claimed_blocks", "allocated_blocks"))
    rate = None
    if isinstance(claimed, int) and isinstance(allocated, int) and claimed + allocated > 0:
        rate = claimed / (claimed + allocated)
    cached = trace.column("cached_tokens")
    return Cache(rate, int(np.sum(cached, where=cached > 0)))
