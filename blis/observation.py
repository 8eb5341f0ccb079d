"""Specify and observe: a workload spec and a server in, a trace out."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from blis.clients.build import start
from blis.errors import InternalError, TraceError, UnwrittenError
from blis.server.address import Address
from blis.server.call import Patience
from blis.server.keys import api_key
from blis.server.loop import allow_many_sockets, loop_runner, quiet_collector
from blis.server.openai import Limits, OpenAIServer, Recorder
from blis.server.pool import Pool
from blis.server.prepare import prepare
from blis.server.prometheus import Scraper
from blis.server.run import Run
from blis.server.standing import Standing, Watch
from blis.server.traced import traced
from blis.server.wall_clock import WallClockEnvironment
from blis.spec.server import ServerSpec, load_server, server_from_dict
from blis.spec.workload import WorkloadSpec, workload_of
from blis.trace.files import check_writable
from blis.trace.header import TraceHeader
from blis.trace.journal import Journal
from blis.trace.observed import ObservedRows
from blis.trace.trace import Trace
from blis.units import US_PER_S

__all__ = ["Standing", "observe"]

_USER_AGENT = "blis"


@dataclass(frozen=True, slots=True)
class _Order:
    """What :func:`observe` was told, in its own words."""

    workload: WorkloadSpec
    server: ServerSpec
    warm_up_requests: int
    cut_at_horizon: bool
    drain_us: int
    trace_out: str | Path | None
    record_itl: bool
    progress: Callable[[Standing], None] | None
    warn: Callable[[str], None]


def observe(
    spec: WorkloadSpec | Mapping[str, Any] | str | Path,
    server: ServerSpec | Mapping[str, Any] | str | Path,
    *,
    warm_up_requests: int = 0,
    cut_at_horizon: bool = False,
    drain_us: int = 30 * US_PER_S,
    trace_out: str | Path | None = None,
    provenance: Mapping[str, Any] | None = None,
    record_itl: bool = False,
    progress: Callable[[Standing], None] | None = None,
    warn: Callable[[str], None] = warnings.warn,
) -> Trace:
    """Send a workload to a real server in real time and return the trace of what happened.

    Requests are sent when they are due, whatever the server does; each has a row in the trace, however it ended.

    Args:
        spec: A workload: a spec, its data as a dictionary, or the path of its YAML file.
        server: The URL of an OpenAI-compatible server, or a server in the same forms as a workload.
        warm_up_requests: The first so many requests are marked as warm-up, which metrics leave out.
        cut_at_horizon: Give up at the horizon what is in flight then, as ``incomplete``; by default it is waited for.
        drain_us: How long what is in flight may take to end once the run is interrupted (Ctrl-C).
        trace_out: Prefix to write the trace to. Until then every request is written down as it ends, in a journal
            beside it, so that none is lost if the run dies: see :func:`blis.server.recovery.recover`.
        provenance: What the trace's provenance is to say beside dates and versions.
        record_itl: Keep the time of every chunk of every stream, as the trace's ``chunks``.
        progress: Called twice a second with where the run stands.
        warn: Called with a sentence for whatever is doubtful, and when the run is interrupted.

    Raises:
        SpecError: The workload or the server is described wrongly; names every problem.
        BlisError: The server serves nothing that could be asked for, or a key or file isn't there.
        TraceError: The trace can't be written, as is known before the first request.
        UnwrittenError: The trace can't be written when the run is over; it is in the error, its rows in the journal.
        InternalError: A request was lost, which is a bug in blis.
    """
    workload = workload_of(spec)
    order = _Order(
        workload,
        _server(server),
        warm_up_requests,
        cut_at_horizon,
        drain_us,
        trace_out,
        record_itl,
        progress,
        warn,
    )
    for doubt in workload.warnings:
        warn(doubt)
    with _journal(order) as journal, loop_runner() as runner:
        trace = runner.run(_observe(order, journal))
        if journal is not None and trace_out is not None:
            journal.write_header(trace.header, complete=True)
            _write(trace, trace_out, provenance)
    return trace


def _write(trace: Trace, path: str | Path, provenance: Mapping[str, Any] | None) -> None:
    try:
        trace.write(path, provenance)
    except TraceError as error:
        raise UnwrittenError(str(error), trace) from None


@contextmanager
def _journal(order: _Order) -> Iterator[Journal | None]:
    """Keep a journal where there is to be a trace, and leave it where that didn't come about."""
    if order.trace_out is None:
        yield None
        return
    check_writable(order.trace_out)
    workload = order.workload
    expected = workload.num_requests
    if expected is None:
        expected = int((workload.aggregate_rate or 0) * (workload.horizon or 0) / US_PER_S)
    journal = Journal(order.trace_out, _header(order, {}, None), expected=expected, with_chunks=order.record_itl)
    try:
        yield journal
    except BaseException:
        if journal.rows:
            rest = "" if journal.close() else "; the last of them couldn't be written"
            order.warn(f"'blis trace recover {journal.path}' makes a trace of the requests that have ended{rest}")
        else:
            journal.discard()
        raise
    journal.discard()


def _header(order: _Order, server: dict[str, Any], epoch_us: int | None) -> TraceHeader:
    """Return the header of a run, as far as it's known before the run."""
    header = TraceHeader.of_workload(
        order.workload,
        {},
        mode="real",
        epoch_us=epoch_us,
        warm_up_requests=order.warm_up_requests,
        server=server,
    )
    # What a network of the spec would add is part of the times already.
    return header.model_copy(update={"network": {}})


def _server(server: ServerSpec | Mapping[str, Any] | str | Path) -> ServerSpec:
    if isinstance(server, ServerSpec):
        return server
    if isinstance(server, str) and "://" in server:
        return server_from_dict({"url": server})
    return server_from_dict(server) if isinstance(server, Mapping) else load_server(server)


async def _observe(order: _Order, journal: Journal | None) -> Trace:
    spec = order.server
    key = api_key(spec.api_key)
    headers = {"User-Agent": _USER_AGENT, **spec.headers, **({"Authorization": f"Bearer {key}"} if key else {})}
    pool = Pool(Address.parse(spec.url), spec.connect_timeout / US_PER_S)
    env, rows, watch = WallClockEnvironment(), ObservedRows(with_chunks=order.record_itl), Watch()
    recorders: list[Recorder] = [rows, watch, *([] if journal is None else [journal])]
    scraper = Scraper(spec.prometheus_urls, env.clock_us, None if journal is None else journal.record_metrics)
    allow_many_sockets()
    try:
        ready = await prepare(spec, pool, headers, order.workload.seed, order.warn)
        before = len(pool.setup_us)
        limits = Limits(Patience(spec.timeout, spec.inactivity_timeout), spec.retries, spec.max_concurrency)
        target = OpenAIServer(env, pool, ready.writer, limits, recorders, (key,))
        server = {**ready.facts, "metrics": scraper.tally()} if spec.prometheus_urls else ready.facts

        def begun(run: Run) -> None:
            if journal is not None:
                journal.write_header(_header(order, server, env.epoch_us))
                # Until here it was an error.
                journal.on_failure = run.stop

        with quiet_collector():
            async with scraper:
                counted, notes = await _run(order, env, target, watch, begun)
    finally:
        await pool.close()
    if len(rows) != target.submitted:
        raise InternalError(f"{target.submitted} requests were sent, but {len(rows)} have a row; please report this")
    counted["connections"] = _connections(pool, before)
    if not spec.prometheus_urls:
        return traced(_header(order, server, env.epoch_us), rows, counted, None, *notes)
    header = _header(order, {**server, "metrics": scraper.tally()}, env.epoch_us)
    return traced(header, rows, counted, scraper.metrics(), *notes)


async def _run(
    order: _Order, env: WallClockEnvironment, target: OpenAIServer, watch: Watch, begun: Callable[[Run], None]
) -> tuple[dict[str, Any], list[str]]:
    """Let the clients send, and return what was counted, and in sentences what else is to be known."""
    workload = order.workload
    stage_starts_us: list[int] = []
    done = start(
        env,
        target,
        workload,
        horizon_us=workload.horizon,
        num_requests=workload.num_requests,
        warn=order.warn,
        stage_starts_us=stage_starts_us,
    )
    run = Run(
        env,
        target,
        watch,
        drain_us=order.drain_us,
        cut_us=workload.horizon if order.cut_at_horizon else None,
        notice=order.warn,
        progress=order.progress,
        begun=lambda: begun(run),
    )
    cpu_s, began_s = time.process_time(), time.monotonic()
    await run.until(done)
    share = (time.process_time() - cpu_s) / (time.monotonic() - began_s)
    counted = {
        "span_us": max(env.clock_us(), 0),
        "injected": target.submitted,
        "interrupted": bool(run.stopped),
        "client_cpu_share": round(share, 4),
        "retried": target.retried,
        "held_back": target.held_back,
        **({"stage_starts_us": stage_starts_us} if workload.stages else {}),
    }
    return counted, [f"The run ended early ({run.stopped}): the workload would have gone on."] if run.stopped else []


def _connections(pool: Pool, before: int) -> dict[str, Any]:
    """Return how many connections were opened, how many of them during the run, and the time that each took."""
    facts: dict[str, Any] = {"opened": len(pool.setup_us), "opened_in_run": len(pool.setup_us) - before}
    if len(pool.setup_us):
        p50, p99 = np.percentile(np.array(pool.setup_us), (50, 99)).tolist()
        facts["setup_us"] = {"p50": round(p50, 1), "p99": round(p99, 1)}
    return facts
