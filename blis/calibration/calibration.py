"""A real trace and a simulated one in, a report out."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blis.calibration.configuration import Configuration, compare_configurations, with_server_facts
from blis.calibration.groups import Groups
from blis.calibration.limitations import doubts, limitations
from blis.calibration.load import Windows
from blis.calibration.pairing import By, match
from blis.calibration.results import Calibration, Run, worst
from blis.calibration.selection import Pairs, Requests, Side, select, throughput, token_mismatches
from blis.calibration.series import Series, compare_series, load_over_time
from blis.errors import BlisError
from blis.metrics import AsRecorded, ClientView, View
from blis.spec.deployment import DeploymentSpec
from blis.trace import NetworkFacts, Trace, TraceHeader
from blis.units import US_PER_MS

if TYPE_CHECKING:
    from blis.simulation import Progress

__all__ = ["calibrate"]

_MOST_RESAMPLES = 10_000


def calibrate(
    real: Trace | str | Path,
    simulated: Trace | str | Path | None = None,
    deployment: DeploymentSpec | Mapping[str, Any] | str | Path | None = None,
    *,
    warm_up_requests: int | None = None,
    network: NetworkFacts | None = None,
    resamples: int = 1000,
    seed: int = 0,
    progress: Callable[[Progress], None] | None = None,
) -> Calibration:
    """Compare a real run with a simulation of it.

    Args:
        real: An observed trace, or the path of one: its prefix, header or data.
        simulated: A simulated trace of the same workload, or a replay of the real one. By default the real trace's
            requests are simulated on ``deployment``.
        deployment: The cluster to simulate, as for :func:`blis.simulate`. What it doesn't say is taken from what the
            real trace's header says of the server.
        warm_up_requests: Request ids below this number are left out; the real trace's header says by default.
        network: The way between clients and servers, whose delays simulated latencies get. By default each client has
            its own, as the simulated trace's header says, or else the real one's, or the round trip measured there.
        resamples: Number of bootstrap resamples behind the 95 % intervals, from 1 to 10,000.
        seed: Seed of the bootstrap, >= 0; equal seeds give equal reports.
        progress: As for :func:`blis.simulate`.

    Raises:
        TraceError: A trace can't be read.
        SpecError: The deployment is wrong; names every problem.
        BlisError: There is nothing to compare, requests can't be told apart, or arguments are wrong.
    """
    _check("warm_up_requests", warm_up_requests or 0, 0)
    _check("resamples", resamples, 1, _MOST_RESAMPLES)
    _check("seed", seed, 0)
    if simulated is not None and deployment is not None:
        raise BlisError("there are both a simulated trace and a deployment to simulate; give one of them")
    notes: list[str] = []
    observed = _trace(real, "real")
    predicted = (
        _predicted(observed, deployment, progress, notes.append)
        if simulated is None
        else _trace(simulated, "simulated")
    )
    first, second = (Side(trace, _view(trace, observed.header, network)) for trace in (observed, predicted))
    matching = match(observed, predicted)
    start = observed.header.warm_up_requests if warm_up_requests is None else warm_up_requests
    pairs, requests = select(first, second, matching, start)
    if not len(pairs):
        raise BlisError(_nothing_left(requests))
    arrivals = observed.column("arrival_time_us")[observed.column("request_id") >= start]
    groups = Groups(pairs, Windows(arrivals), resamples, seed)
    runs = _run(real, observed), _run(simulated, predicted)
    series = load_over_time(observed, predicted, int(arrivals.min()))
    return _report(runs, pairs, matching.by, requests, groups, series, notes)


def _predicted(
    real: Trace,
    deployment: DeploymentSpec | Mapping[str, Any] | str | Path | None,
    progress: Callable[[Progress], None] | None,
    warn: Callable[[str], None],
) -> Trace:
    from blis.simulation import replay

    return replay(real, with_server_facts(deployment, real.header), progress=progress, warn=warn)


def _report(
    runs: tuple[Run, Run],
    pairs: Pairs,
    by: By,
    requests: Requests,
    groups: Groups,
    series: Mapping[str, Series],
    notes: Sequence[str],
) -> Calibration:
    overall = groups.overall()
    tokens = token_mismatches(pairs)
    configuration = compare_configurations(pairs.real.trace.header, pairs.simulated.trace.header)
    slo_classes, more_classes = groups.labelled("slo_class")
    tenants, more_tenants = groups.labelled("tenant_id")
    left_out = {"slo_classes": more_classes, "tenants": more_tenants}
    return Calibration(
        rating=worst(overall),
        real=runs[0],
        simulated=runs[1],
        matched_by=by,
        requests=requests,
        tokens=tokens,
        overall=overall,
        slo_classes=slo_classes,
        tenants=tenants,
        phases=groups.phases(),
        left_out={name: count for name, count in left_out.items() if count},
        load=groups.load(),
        servers={name: compare_series(name, levels, groups.bootstrap) for name, levels in series.items()},
        throughput=throughput(pairs),
        bootstrap=groups.bootstrap,
        configuration=configuration or Configuration(),
        limitations=limitations(pairs),
        warnings=(*notes, *doubts(pairs, by, requests, tokens, configuration, overall)),
        samples=groups.samples(),
        series=series,
    )


def _check(name: str, value: int, least: int, most: int | None = None) -> None:
    if value < least or (most is not None and value > most):
        limit = f">= {least}" if most is None else f"from {least} to {most:,}"
        raise BlisError(f"{name} must be a whole number {limit}, found {value}")


def _trace(given: Trace | str | Path, name: str) -> Trace:
    trace = given if isinstance(given, Trace) else Trace.read(given)
    if not len(trace):
        raise BlisError(f"the {name} trace is empty: there is nothing to compare")
    return trace


def _view(trace: Trace, real: TraceHeader, network: NetworkFacts | None) -> View:
    """The client's view: as recorded in a real trace, with the network's delays in any other."""
    if trace.header.mode == "real":
        return AsRecorded()
    networks = trace.header.network or real.network
    measured = (real.server or {}).get("rtt_us")
    if network is None and not networks and isinstance(measured, int | float) and measured > 0:
        network = NetworkFacts(rtt_ms=measured / US_PER_MS)
    if network is not None:
        networks = dict.fromkeys(trace.categories("client_id")[1], network)
    return ClientView(trace.header.model_copy(update={"network": networks}))


def _run(given: Trace | str | Path | None, trace: Trace) -> Run:
    header = trace.header
    path = os.fspath(given) if isinstance(given, str | Path) else ""
    return Run(path, header.mode, len(trace), header.seed, header.epoch_us, header.hardware)


def _nothing_left(requests: Requests) -> str:
    counts = ", ".join(f"{count} {reason}" for reason, count in requests.excluded.reasons().items())
    return (
        f"nothing to compare: of {requests.total} real requests, {counts}; compare runs of one workload, or simulate"
        " this trace's own requests with 'blis replay'"
    )
