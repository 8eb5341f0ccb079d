"""Specify and predict: a workload spec and a deployment in, a trace out."""

from __future__ import annotations

import gc
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import simpy

from blis.clients.build import start
from blis.clients.network import ClientSide
from blis.cluster.cluster import Cluster
from blis.cluster.virtual_time import VirtualTime
from blis.errors import BlisError
from blis.spec import catalogue
from blis.spec.deployment import DeploymentSpec, deployment_from_dict, load_deployment
from blis.spec.instance import InstanceConfig
from blis.spec.workload import WorkloadSpec, workload_of
from blis.trace.header import TraceHeader, networks_of
from blis.trace.trace import Trace

__all__ = ["Progress", "simulate"]

_PROGRESS_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: simulated time, requests that arrived and that ended."""

    now_us: int
    arrived: int
    ended: int


def simulate(
    spec: WorkloadSpec | Mapping[str, Any] | str | Path,
    deployment: DeploymentSpec | Mapping[str, Any] | str | Path | None = None,
    *,
    cut_at_horizon: bool = False,
    progress: Callable[[Progress], None] | None = None,
    warn: Callable[[str], None] = warnings.warn,
) -> Trace:
    """Simulate a workload on a deployment and return its trace.

    Args:
        spec: A workload: a spec, its data as a dictionary, or the path of its YAML file.
        deployment: The cluster, in the same forms; one llama-3.1-8b instance on an H100 by default.
        cut_at_horizon: Stop at the horizon; requests in flight then get the status ``incomplete``. By default the
            horizon (excluded) ends the arrivals only, and what is in flight drains.
        progress: Called a few times a second, from another thread, while the simulation runs.
        warn: Called with a sentence for whatever is doubtful in the workload.

    Raises:
        SpecError: The spec or the deployment is wrong; names every problem.
        BlisError: Workload and deployment can't be run together.
        InternalError: A request or a KV block was lost, which is a bug in blis.

    >>> trace = simulate(
    ...     {
    ...         "version": "2",
    ...         "aggregate_rate": 10.0,
    ...         "num_requests": 3,
    ...         "clients": [
    ...             {
    ...                 "id": "chat",
    ...                 "rate_fraction": 1.0,
    ...                 "arrival": {"process": "constant"},
    ...                 "input_distribution": {"type": "constant", "params": {"value": 512}},
    ...                 "output_distribution": {"type": "constant", "params": {"value": 32}},
    ...             }
    ...         ],
    ...     },
    ...     {"model": "llama-3.1-8b", "hardware": "H100"},
    ... )
    >>> trace.column("arrival_time_us").tolist(), trace.column("status").tolist()
    ([100000, 200000, 300000], ['ok', 'ok', 'ok'])
    """
    workload = workload_of(spec)
    cluster_spec = _deployment(deployment)
    for doubt in workload.warnings:
        warn(doubt)
    env = VirtualTime()
    configs = cluster_spec.resolve()
    _check_models(workload, configs)
    cluster = Cluster(
        env,
        configs,
        workload.seed,
        admission=cluster_spec.admission,
        routing=cluster_spec.routing,
        may_cut=cut_at_horizon,
    )
    start(
        env,
        cluster,
        workload,
        horizon_us=workload.horizon,
        num_requests=workload.num_requests,
        warn=warn,
        answering=ClientSide(env, cluster, networks_of(workload), workload.seed),
    )
    with _lazy_collector(), _reported(env, cluster, progress):
        if cut_at_horizon:
            env.drain(workload.horizon)
            cluster.cut()
        else:
            env.drain()
    cluster.close()
    return Trace.from_table(cluster.table, _header(workload, cluster_spec, cluster), cluster.itl)


def _deployment(deployment: DeploymentSpec | Mapping[str, Any] | str | Path | None) -> DeploymentSpec:
    if isinstance(deployment, DeploymentSpec):
        return deployment
    if deployment is None:
        return DeploymentSpec()
    return deployment_from_dict(dict(deployment)) if isinstance(deployment, Mapping) else load_deployment(deployment)


def _check_models(workload: WorkloadSpec, configs: Sequence[InstanceConfig]) -> None:
    """Refuse clients that ask for a model the cluster doesn't serve, or one of several: nothing routes by model yet."""
    served = sorted({config.model.name for config in configs})
    for client in workload.clients:
        if not client.model:
            continue
        try:
            wanted = catalogue.model(client.model, workload.base_dir).name
        except BlisError:
            wanted = client.model
        if wanted not in served:
            raise BlisError(
                f"client {client.id!r} asks for the model {client.model!r}, but the deployment serves"
                f" {', '.join(served)}: deploy that model, or leave out the client's model"
            )
        if len(served) > 1:
            raise BlisError(
                f"client {client.id!r} asks for the model {client.model!r}, and the deployment's pools serve several"
                f" ({', '.join(served)}): routing by model is not modelled; simulate each model's clients and pools by"
                " themselves, or leave out the clients' models"
            )


def _header(workload: WorkloadSpec, deployment: DeploymentSpec, cluster: Cluster) -> TraceHeader:
    caches = [instance.scheduler.kv for instance in cluster.instances]
    run: dict[str, Any] = {
        "span_us": cluster.last_event_us,
        "injected": cluster.injected,
        "claimed_blocks": sum(kv.claimed for kv in caches),
        "allocated_blocks": sum(kv.allocated for kv in caches),
    }
    pools = {instance.config.name: instance.config.pool for instance in cluster.instances if instance.config.pool}
    if pools:
        run["pools"] = pools
    hardware = sorted({instance.config.hardware.name for instance in cluster.instances})
    return TraceHeader.of_workload(workload, run, hardware=", ".join(hardware), deployment=deployment.to_dict())


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
def _reported(env: simpy.Environment, cluster: Cluster, progress: Callable[[Progress], None] | None) -> Iterator[None]:
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
