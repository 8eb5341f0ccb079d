"""Specify and observe: a workload spec and a server in, a trace out."""

from __future__ import annotations

import asyncio
import gc
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from blis.clients.build import start
from blis.errors import InternalError
from blis.server.address import Address
from blis.server.call import Patience
from blis.server.keys import api_key
from blis.server.load import load_facts
from blis.server.openai import Limits, OpenAIServer, Recorder
from blis.server.pool import Pool
from blis.server.prepare import prepare
from blis.server.rows import NO_USAGE
from blis.server.run import Run
from blis.server.standing import Standing, Watch
from blis.server.wall_clock import WallClockEnvironment
from blis.spec.server import ServerSpec, load_server, server_from_dict
from blis.spec.workload import WorkloadSpec, workload_of
from blis.trace.header import TraceHeader
from blis.trace.observed import ObservedRows
from blis.trace.status import Status
from blis.trace.trace import Trace
from blis.units import US_PER_S

__all__ = ["Standing", "observe"]

_MOST_SOCKETS = 1 << 16
_USER_AGENT = "blis"
_NO_FAILURES = (Status.OK, Status.CANCELLED, Status.INCOMPLETE)
"""How requests end that didn't fail: completed, or given up by the client itself."""
_MOST_ERRORS = 10


@dataclass(frozen=True, slots=True)
class _Order:
    """What :func:`observe` was told, in its own words."""

    workload: WorkloadSpec
    server: ServerSpec
    warm_up_requests: int
    cut_at_horizon: bool
    drain_us: int
    recorders: tuple[Recorder, ...]
    progress: Callable[[Standing], None] | None
    warn: Callable[[str], None]


def observe(
    spec: WorkloadSpec | Mapping[str, Any] | str | Path,
    server: ServerSpec | Mapping[str, Any] | str | Path,
    *,
    warm_up_requests: int = 0,
    cut_at_horizon: bool = False,
    drain_us: int = 30 * US_PER_S,
    recorders: Sequence[Recorder] = (),
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
        recorders: Told of every request as it ends.
        progress: Called twice a second with where the run stands.
        warn: Called with a sentence for whatever is doubtful, and when the run is interrupted.

    Raises:
        SpecError: The workload or the server is described wrongly; names every problem.
        BlisError: The server serves nothing that could be asked for, or a key or file isn't there.
        InternalError: A request was lost, which is a bug in blis.
    """
    workload = workload_of(spec)
    order = _Order(
        workload, _server(server), warm_up_requests, cut_at_horizon, drain_us, tuple(recorders), progress, warn
    )
    for doubt in workload.warnings:
        warn(doubt)
    with _runner() as runner:
        return runner.run(_observe(order))


def _server(server: ServerSpec | Mapping[str, Any] | str | Path) -> ServerSpec:
    if isinstance(server, ServerSpec):
        return server
    if isinstance(server, str) and "://" in server:
        return server_from_dict({"url": server})
    return server_from_dict(server) if isinstance(server, Mapping) else load_server(server)


def _runner() -> asyncio.Runner:
    try:
        import uvloop
    except ImportError:
        return asyncio.Runner()
    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


async def _observe(order: _Order) -> Trace:
    spec = order.server
    key = api_key(spec.api_key)
    headers = {"User-Agent": _USER_AGENT, **spec.headers, **({"Authorization": f"Bearer {key}"} if key else {})}
    pool = Pool(Address.parse(spec.url), spec.connect_timeout / US_PER_S)
    env, rows = WallClockEnvironment(), ObservedRows()
    _allow_many_sockets()
    try:
        ready = await prepare(spec, pool, headers, order.workload.seed, order.warn)
        before = len(pool.setup_us)
        watch = Watch()
        limits = Limits(Patience(spec.timeout, spec.inactivity_timeout), spec.retries, spec.max_concurrency)
        target = OpenAIServer(env, pool, ready.writer, limits, (rows, watch, *order.recorders), (key,))
        with _quiet_collector():
            facts = await _run(order, env, target, watch)
    finally:
        await pool.close()
    if len(rows) != target.submitted:
        raise InternalError(f"{target.submitted} requests were sent, but {len(rows)} have a row; please report this")
    facts["connections"] = _connections(pool, before)
    return _trace(order, rows, {**facts, "own_delays_us": target.delays_us}, ready.facts, env.epoch_us)


async def _run(order: _Order, env: WallClockEnvironment, target: OpenAIServer, watch: Watch) -> dict[str, Any]:
    """Let the clients send, and return what was counted."""
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
    )
    cpu_s, began_s = time.process_time(), time.monotonic()
    await run.until(done)
    share = (time.process_time() - cpu_s) / (time.monotonic() - began_s)
    return {
        "span_us": max(env.clock_us(), 0),
        "injected": target.submitted,
        "interrupted": run.interrupted,
        "client_cpu_share": round(share, 4),
        "retried": target.retried,
        "held_back": target.held_back,
        **({"stage_starts_us": stage_starts_us} if workload.stages else {}),
    }


def _trace(order: _Order, rows: ObservedRows, facts: dict[str, Any], server: dict[str, Any], epoch_us: int) -> Trace:
    columns = rows.columns()
    load = load_facts(columns, facts.pop("own_delays_us"))
    messages = columns.text("error_message", 0, len(columns)).texts().tolist()
    statuses = columns.text("status", 0, len(columns)).texts().tolist()
    uncounted = sum(message.endswith(NO_USAGE) for message in messages)
    failed = Counter(pair for pair in zip(statuses, messages, strict=True) if pair[0] not in _NO_FAILURES)
    facts["error_share"] = failed.total() / len(columns) if len(columns) else 0.0
    if failed:
        facts["errors"] = [
            {"status": status, "message": message, "requests": count}
            for (status, message), count in failed.most_common(_MOST_ERRORS)
        ]
    notes = []
    if uncounted:
        notes.append(f"{uncounted} completed requests came without usage: their output_tokens are estimates.")
    if facts["interrupted"]:
        notes.append("The run was interrupted: the workload would have gone on.")
    header = TraceHeader.of_workload(
        order.workload,
        {**facts, "without_usage": uncounted, "load": load},
        mode="real",
        epoch_us=epoch_us,
        warm_up_requests=min(order.warm_up_requests, len(columns)),
        server=server,
        notes=notes,
    )
    # What a network of the spec would add is part of the times already.
    return Trace(header.model_copy(update={"network": {}}), columns, rows.gaps_us)


def _connections(pool: Pool, before: int) -> dict[str, Any]:
    """Return how many connections were opened, how many of them during the run, and the time that each took."""
    facts: dict[str, Any] = {"opened": len(pool.setup_us), "opened_in_run": len(pool.setup_us) - before}
    if len(pool.setup_us):
        p50, p99 = np.percentile(np.array(pool.setup_us), (50, 99)).tolist()
        facts["setup_us"] = {"p50": round(p50, 1), "p99": round(p99, 1)}
    return facts


@contextmanager
def _quiet_collector() -> Iterator[None]:
    """Let the garbage collector look at nothing that was there before, and less often: its pauses delay requests."""
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


def _allow_many_sockets() -> None:
    """Raise the limit of open files, of which every connection is one, as far as the system allows."""
    try:
        import resource
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_SOCKETS if hard == resource.RLIM_INFINITY else min(hard, _MOST_SOCKETS)
    if soft < wanted:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
