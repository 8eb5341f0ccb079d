"""Running a simulation from its first event to its last."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from blis.cluster.cluster import Cluster
from blis.cluster.virtual_time import VirtualTime
from blis.spec.deployment import DeploymentSpec
from blis.trace.chunks import ChunkTimes
from blis.trace.status import STATUS_CODES, Status

__all__ = ["Progress", "built", "chunk_times", "counted", "run", "served_by"]

_PROGRESS_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: simulated time, requests that arrived and that ended."""

    now_us: int
    arrived: int
    ended: int


def built(env: VirtualTime, spec: DeploymentSpec, seed: int, *, may_cut: bool, log_steps: bool = False) -> Cluster:
    """Return the idle cluster that a deployment describes; with ``log_steps`` it keeps when each step ended."""
    cluster = Cluster(env, spec.resolve(), seed, admission=spec.admission, routing=spec.routing, may_cut=may_cut)
    if log_steps:
        cluster.log_steps()
    return cluster


def run(
    env: VirtualTime,
    cluster: Cluster,
    cut_us: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> None:
    """Run to the end, or to ``cut_us`` (excluded) and no further, and check that nothing was lost.

    ``progress`` is called a few times a second, from another thread. Raises :class:`blis.errors.InternalError` if a
    request or a block is missing.
    """
    with _lazy_collector(), _reported(env, cluster, progress):
        if cut_us is None:
            env.drain()
        else:
            env.drain(cut_us)
            cluster.cut()
    cluster.close()


def counted(cluster: Cluster) -> dict[str, Any]:
    """Return what a trace's header says about a run as a whole."""
    caches = [instance.scheduler.kv for instance in cluster.instances]
    facts: dict[str, Any] = {
        "span_us": cluster.last_event_us,
        "injected": cluster.injected,
        "claimed_blocks": sum(kv.claimed for kv in caches),
        "allocated_blocks": sum(kv.allocated for kv in caches),
    }
    pools = {instance.config.name: instance.config.pool for instance in cluster.instances if instance.config.pool}
    return {**facts, "pools": pools} if pools else facts


def chunk_times(cluster: Cluster) -> ChunkTimes:
    """Return when each token of the completed requests was reported, of a run whose steps were logged.

    Requests that a step passed over, for lack of budget or blocks, are left out.
    """
    ends = [np.array(instance.step_ends or (), np.int64) for instance in cluster.instances]
    delays = [instance.per_token_us for instance in cluster.instances]
    table = cluster.table
    names = ("instance", "first_step", "last_step", "output_tokens", "first_us", "last_us")
    rows = zip(*(table.column(name).tolist() for name in names), strict=True)
    ids: list[int] = []
    times: list[npt.NDArray[np.int64]] = []
    done = table.column("status") == STATUS_CODES[Status.OK]
    for request_id, (instance, first, last, tokens, first_us, last_us) in enumerate(rows):
        if not done[request_id] or not tokens:
            continue
        own = np.array([first_us], np.int64)
        if tokens > 1:
            if last - first + 1 != tokens:
                continue
            own = ends[instance][first - 1 : last] + delays[instance] * np.arange(1, tokens + 1)
        own[-1] = last_us
        ids.append(request_id)
        times.append(own)
    return ChunkTimes.of(ids, times)


def served_by(cluster: Cluster, deployment: DeploymentSpec) -> dict[str, Any]:
    """Return what a trace's header says about what served the requests."""
    hardware = sorted({instance.config.hardware.name for instance in cluster.instances})
    return {"hardware": ", ".join(hardware), "deployment": deployment.to_dict()}


@contextmanager
def _lazy_collector() -> Iterator[None]:
    """Let the garbage collector look rarely: a simulation makes many objects and hardly any cycles."""
    thresholds = gc.get_threshold()
    gc.set_threshold(200_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)


@contextmanager
def _reported(env: VirtualTime, cluster: Cluster, progress: Callable[[Progress], None] | None) -> Iterator[None]:
    """Report from a thread of its own, so that the simulation itself never waits for a screen."""
    if progress is None:
        yield
        return
    over = threading.Event()

    def report() -> None:
        while not over.wait(_PROGRESS_SECONDS):
            progress(Progress(int(env.now), cluster.injected, cluster.injected - cluster.in_flight))

    thread = threading.Thread(target=report, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
