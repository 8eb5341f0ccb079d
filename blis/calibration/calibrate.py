"""A real trace and a simulated one in, a report out."""

from __future__ import annotations

import os
from pathlib import Path

from blis.calibration.configuration import Configuration, compare_configurations
from blis.calibration.groups import Groups
from blis.calibration.limitations import doubts, limitations
from blis.calibration.load import Windows
from blis.calibration.pairing import By, match
from blis.calibration.results import Calibration, Run, worst
from blis.calibration.selection import Pairs, Requests, Side, select, throughput, token_mismatches
from blis.errors import BlisError
from blis.metrics import AsRecorded, ClientView, View
from blis.trace import NetworkFacts, Trace, TraceHeader

__all__ = ["calibrate"]

_MOST_RESAMPLES = 10_000


def calibrate(
    real: Trace | str | Path,
    simulated: Trace | str | Path,
    *,
    warm_up_requests: int | None = None,
    network: NetworkFacts | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Calibration:
    """Compare a real run with a simulation of it.

    Args:
        real: An observed trace, or the path of one: its prefix, header or data.
        simulated: A simulated trace of the same workload, or a replay of the real one.
        warm_up_requests: Request ids below this number are left out; the real trace's header says by default.
        network: The way between clients and servers, whose delays simulated latencies get. By default each client has
            its own, as the simulated trace's header says, or else the real one's.
        resamples: Number of bootstrap resamples behind the 95 % intervals, from 1 to 10,000.
        seed: Seed of the bootstrap, >= 0; equal seeds give equal reports.

    Raises:
        TraceError: A trace can't be read.
        BlisError: There is nothing to compare, requests can't be told apart, or a number is out of its range.
    """
    _check("warm_up_requests", warm_up_requests or 0, 0)
    _check("resamples", resamples, 1, _MOST_RESAMPLES)
    _check("seed", seed, 0)
    traces = _trace(real, "real"), _trace(simulated, "simulated")
    first, second = (Side(trace, _view(trace, traces[0].header, network)) for trace in traces)
    matching = match(first.trace, second.trace)
    start = first.trace.header.warm_up_requests if warm_up_requests is None else warm_up_requests
    pairs, requests = select(first, second, matching, start)
    if not len(pairs):
        raise BlisError(_nothing_left(requests))
    measured = first.trace.column("request_id") >= start
    windows = Windows(first.trace.column("arrival_time_us")[measured])
    groups = Groups(pairs, windows, resamples, seed)
    runs = _run(real, first.trace), _run(simulated, second.trace)
    return _report(runs, pairs, matching.by, requests, groups)


def _report(runs: tuple[Run, Run], pairs: Pairs, by: By, requests: Requests, groups: Groups) -> Calibration:
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
        throughput=throughput(pairs),
        bootstrap=groups.bootstrap,
        configuration=configuration or Configuration(),
        limitations=limitations(pairs),
        warnings=tuple(doubts(pairs, by, requests, tokens, configuration, overall)),
        samples=groups.samples(),
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
    if network is not None:
        networks = dict.fromkeys(trace.categories("client_id")[1], network)
    return ClientView(trace.header.model_copy(update={"network": networks}))


def _run(given: Trace | str | Path, trace: Trace) -> Run:
    header = trace.header
    path = "" if isinstance(given, Trace) else os.fspath(given)
    return Run(path, header.mode, len(trace), header.seed, header.epoch_us, header.hardware)


def _nothing_left(requests: Requests) -> str:
    reasons = {
        "in the warm-up": requests.excluded.warm_up,
        "not completed by the server": requests.excluded.failed,
        "without a simulated counterpart": requests.excluded.unmatched,
        "not completed in the simulation": requests.excluded.simulated_failed,
    }
    counts = ", ".join(f"{count} {reason}" for reason, count in reasons.items() if count)
    return (
        f"nothing to compare: of {requests.total} real requests, {counts}; compare runs of one workload, or simulate"
        " this trace's own requests with 'blis replay'"
    )
