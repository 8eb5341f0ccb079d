"""Several workloads as one, each with the rates it has alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any

from blis.clients.profiles import active_windows, timetable
from blis.clients.rates import END_OF_TIME_US, RateProfile, shared_profiles
from blis.convert.names import Names
from blis.errors import BlisError
from blis.spec.client import ClientSpec
from blis.spec.cohort import CohortSpec
from blis.spec.population import levels
from blis.spec.workload import WorkloadSpec, workload_from_dict
from blis.units import US_PER_S

__all__ = ["compose"]

Fields = dict[str, Any]

_SHARE = "rate_fraction"


def compose(workloads: Mapping[str, WorkloadSpec], warn: Callable[[str], None]) -> WorkloadSpec:
    """Return a workload that sends what all ``workloads``, by their names, send together.

    Every client or cohort sends at the rate it has in its own workload: shares of an aggregate rate become rates in
    requests/s, over time where windows change them. Clients of one id, and prefix groups of one name, in several
    workloads are different ones, and get their workload's name before theirs (:mod:`blis.convert.names`). The horizon
    is the longest; clients of a
    workload with a shorter one stop there. Where no workload has a horizon, their numbers of requests are added up. The
    seed is the first one's; since a client's draws go by the seed and its id, clients that keep both send the very same
    requests.

    Raises:
        BlisError: There is nothing to compose, or something that can't be kept as it is: stages that drain, ServeGen
            data in two workloads or under an aggregate rate.
    """
    if not workloads:
        raise BlisError("there is no workload to compose; give two or more")
    seeds = {name: spec.seed for name, spec in workloads.items()}
    seed = next(iter(seeds.values()))
    if len(set(seeds.values())) > 1:
        warn(f"the seeds differ; that of the first workload, {seed}, serves all")
    for name, spec in workloads.items():
        if any(stage.drain for stage in spec.stages[:-1]):
            raise BlisError(f"{name}: its stages drain, and when one is over only a server can tell: leave drain out")
    ends = _ends(workloads, warn)
    names = Names(workloads)
    senders: dict[str, list[Fields]] = {"clients": [], "cohorts": []}
    for name, spec in workloads.items():
        for sender, fields in _senders(spec, ends.get("horizon")):
            kind = "cohorts" if isinstance(sender, CohortSpec) else "clients"
            senders[kind].append(fields | names.of(name, sender))
    categories = [spec.category for spec in workloads.values()]
    category = next((one for one in ("multimodal", "reasoning") if one in categories), "language")
    data = {"version": "2", "seed": seed, "category": category, **ends, **senders}
    data |= _servegen(workloads, ends.get("horizon"))
    return workload_from_dict(data)


def _ends(workloads: Mapping[str, WorkloadSpec], warn: Callable[[str], None]) -> Fields:
    horizons = [horizon for spec in workloads.values() if (horizon := _horizon(spec)) is not None]
    if not horizons:
        return {"num_requests": sum(spec.num_requests or 0 for spec in workloads.values())}
    for name, spec in workloads.items():
        if spec.num_requests is not None:
            warn(f"{name}: num_requests ({spec.num_requests:,}) isn't kept, since a horizon ends the whole")
    return {"horizon": max(horizons)}


def _horizon(spec: WorkloadSpec) -> int | None:
    """Return when a workload's arrivals end: at its horizon, with its stages, or else with its ServeGen data."""
    data = spec.servegen_data
    if spec.stages:
        end = timetable(spec)[-1].end_us
        return end if spec.horizon is None else min(end, spec.horizon)
    if spec.horizon is None and spec.num_requests is None and data is not None and data.span_end is not None:
        return round((data.span_end - data.span_start) * US_PER_S)
    return spec.horizon


def _senders(spec: WorkloadSpec, horizon: int | None) -> Iterator[tuple[ClientSpec, Fields]]:
    """Yield a workload's clients and cohorts, and as plain data with own rates, active until the workload's horizon."""
    own = _horizon(spec)
    ends = END_OF_TIME_US if own is None or own == horizon else own
    sharing = [sender for sender in spec.senders if sender.concurrency is None and spec.shared]
    given = [levels(sender, shared=True) for sender in sharing]
    windows = [active_windows(sender) if sender.lifecycle else () for sender in sharing]
    total, stages = (1.0, timetable(spec)) if spec.stages else (spec.aggregate_rate, ())
    profiles = shared_profiles(given, windows, total, stages=stages)
    rates = {sender.id: _rates(sender, profile) for sender, profile in zip(sharing, profiles, strict=True)}
    for sender in spec.senders:
        data = sender.model_dump(exclude_defaults=True)
        if sender.id in rates:
            data.pop(_SHARE, None)
            data |= rates[sender.id]
        whole = data.get("lifecycle", {}).get("windows") or _whole(END_OF_TIME_US)
        cut = [{**window, "end_us": min(window["end_us"], ends)} for window in whole if window["start_us"] < ends]
        # One that never is active before its workload's horizon sends nothing.
        if cut:
            yield sender, data if cut == _whole(END_OF_TIME_US) else {**data, "lifecycle": {"windows": cut}}


def _whole(end_us: int) -> list[Fields]:
    return [{"start_us": 0, "end_us": end_us}]


def _rates(client: ClientSpec, profile: RateProfile) -> Fields:
    """Return a client's or cohort's rate over time, and what else its windows have."""
    edges, rates = profile.steps()
    if len(set(rates)) == 1 and client.lifecycle is None:
        return {"rate": rates[0]}
    given = (
        []
        if client.lifecycle is None
        else [window.model_dump(exclude_none=True) for window in client.lifecycle.ordered]
    )
    windows = []
    for (start, end), rate in zip(pairwise([*edges, END_OF_TIME_US]), rates, strict=True):
        if rate > 0:
            own = next((window for window in given if window["start_us"] <= start < window["end_us"]), {})
            rest = {key: value for key, value in own.items() if key != _SHARE}
            windows.append({**rest, "start_us": start, "end_us": end, "rate": rate})
    return {"rate": max(rates), "lifecycle": {"windows": windows}} if windows else {"rate": 0.0}


def _servegen(workloads: Mapping[str, WorkloadSpec], horizon: int | None) -> Fields:
    found = [(name, spec) for name, spec in workloads.items() if spec.servegen_data is not None]
    if not found:
        return {}
    name, spec = found[0]
    hint = "write it out first: blis convert servegen FOLDER --as-clients"
    if len(found) > 1:
        raise BlisError(f"{name} and {found[1][0]} both have ServeGen data, and a workload has one; {hint}")
    if spec.aggregate_rate > 0:
        raise BlisError(f"{name}: an aggregate_rate scales its ServeGen data, which can't be kept; {hint}")
    assert spec.servegen_data is not None
    data = {**spec.servegen_data.model_dump(exclude_defaults=True), "path": str(spec.servegen_path)}
    if (own := _horizon(spec)) is not None and own != horizon:
        end = spec.servegen_data.span_start + own / US_PER_S
        data["span_end"] = end if spec.servegen_data.span_end is None else min(end, spec.servegen_data.span_end)
    return {"servegen_data": data}
