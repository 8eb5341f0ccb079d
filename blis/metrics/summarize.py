"""A trace in figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt

from blis.metrics.anomalies import anomalies
from blis.metrics.client_view import ClientView, has_client_view
from blis.metrics.distribution import Distribution
from blis.metrics.fairness import jain_index
from blis.metrics.groups import Grouping, TooManyGroupsError, everything, grouped
from blis.metrics.latencies import KINDS, Kind, of_completed
from blis.metrics.results import Cache, ClientFigures, Conservation, GroupSummary, Intended, Latencies, Summary
from blis.metrics.sessions import sessions
from blis.metrics.stretch import statuses_of
from blis.metrics.tally import Tally
from blis.metrics.unservable import unservable
from blis.metrics.view import AsRecorded, SinceIntended, View
from blis.trace import MISSING, STATUS_CODES, Status, Trace
from blis.trace.status import DROPPED, FAILED
from blis.units import US_PER_S

__all__ = ["summarize"]

Found = dict[str, dict[str, dict[Kind, Distribution]]]

_EVENTS = ("arrival_time_us", "send_time_us", "first_chunk_time_us", "last_chunk_time_us")


def summarize(trace: Trace, view: View | None = None) -> Summary:
    """Everything blis says about ``trace``, from the trace alone, seen from ``view`` (default: as recorded).

    Only completed requests enter latencies and SLO attainment, and of those not the header's warm-up requests; counts
    and rates cover all requests. Rates are per second of the span: ``run.span_us`` of the header, or from 0 to the
    last event. Needs about 75 bytes per row for a while, 95 where there is a client view.
    """
    statuses = statuses_of(trace)
    marks = anomalies(trace, statuses)
    recorded = view or AsRecorded()
    of_sessions = sessions(trace, recorded, statuses)
    completed = statuses == STATUS_CODES[Status.OK]
    groupings, too_many = _groupings(trace, completed)
    span = _span_us(trace)
    tally = Tally(trace, recorded, statuses, _distinct(groupings), span / US_PER_S, marks)
    groups = _groups(tally, _latencies(trace, recorded, completed, _distinct(groupings)), groupings)
    (overall,) = groups.pop("overall").values()
    return Summary(
        mode=trace.header.mode,
        view="client" if trace.header.mode == "real" else "server",
        span_us=span,
        warm_up_requests=trace.header.warm_up_requests,
        overall=overall,
        itl_us=None if trace.itl is None else Distribution.of_histogram(trace.itl),
        client_view=_client_side(trace, statuses, groupings, span) if view is None else None,
        intended=_intended(trace, completed),
        sessions=of_sessions,
        conservation=_conservation(trace, statuses),
        unservable=unservable(trace, statuses),
        cache=_cache(trace),
        preempted_requests=int(np.count_nonzero(trace.column("preemptions") > 0)),
        jain_fairness=_jain_fairness(groupings.get("tenants"), tally),
        too_many=too_many,
        **{name: groups.get(name, {}) for name in _breakdowns(trace)},
    )


def _distinct(groupings: Mapping[str, Grouping]) -> dict[str, Grouping]:
    """Those that have figures of their own: what has one label only has those of the whole."""
    return {name: grouping for name, grouping in groupings.items() if name == "overall" or len(grouping.labels) > 1}


def _groups(tally: Tally, latencies: Found, groupings: Mapping[str, Grouping]) -> dict[str, dict[str, GroupSummary]]:
    distinct = _distinct(groupings)
    found = {
        name: [
            GroupSummary(**of_group, **counted)
            for of_group, counted in zip(latencies[name].values(), tally.groups(name), strict=True)
        ]
        for name in distinct
    }
    return {
        name: dict(zip(grouping.labels, found[name if name in distinct else "overall"], strict=True))
        for name, grouping in groupings.items()
    }


def _client_side(
    trace: Trace, statuses: npt.NDArray[np.int8], groupings: Mapping[str, Grouping], span_us: int
) -> ClientFigures | None:
    """What clients see where that isn't what was recorded."""
    if not has_client_view(trace.header):
        return None
    view = ClientView(trace.header)
    wanted = {name: groupings[name] for name in ("overall", "slo_classes") if name in groupings}
    tally = Tally(trace, view, statuses, _distinct(wanted), span_us / US_PER_S)
    latencies = _latencies(trace, view, statuses == STATUS_CODES[Status.OK], _distinct(wanted))
    groups = {
        name: {
            label: Latencies(**{item.name: getattr(group, item.name) for item in fields(Latencies)})
            for label, group in labelled.items()
        }
        for name, labelled in _groups(tally, latencies, wanted).items()
    }
    (overall,) = groups["overall"].values()
    return ClientFigures(overall, groups.get("slo_classes", {}), sessions(trace, view, statuses))


def _intended(trace: Trace, completed: npt.NDArray[np.bool_]) -> Intended | None:
    """Latencies from the intended send, of a trace that has an actual one too."""
    if trace.header.mode != "real":
        return None
    sent = trace.column("send_time_us")
    delays = sent - trace.column("arrival_time_us")
    measured = (sent != MISSING) & (trace.column("request_id") >= trace.header.warm_up_requests)
    whole = {"overall": everything(trace, completed)}
    (found,) = _latencies(trace, SinceIntended(), completed, whole)["overall"].values()
    return Intended(Distribution.of(delays[measured]), found["ttft_us"], found["e2e_us"])


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


def _latencies(trace: Trace, view: View, completed: npt.NDArray[np.bool_], groupings: Mapping[str, Grouping]) -> Found:
    """Distributions by breakdown, label and kind of latency, one kind at a time to save memory."""
    found: Found = {
        name: {label: dict.fromkeys(KINDS, Distribution(0)) for label in grouping.labels}
        for name, grouping in groupings.items()
    }
    for kind in KINDS:
        if kind == "first_answer_us" and not (trace.column("reason_ratio") > 0).any():
            continue
        values = of_completed(kind, trace, view, completed)
        for name, grouping in groupings.items():
            for group, label in enumerate(grouping.labels):
                part = grouping.pick(values, group)
                found[name][label][kind] = Distribution.of(part[part >= 0])
    return found


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
    return jain_index(tally.sums("tenants" if len(tenants.labels) > 1 else "overall", "output_tokens")[named])


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
