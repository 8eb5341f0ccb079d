"""Runs requests through the real engine, for tests that hold it to golden cases or to the oracle."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import simpy

from blis.cluster.cluster import Cluster
from blis.cluster.virtual_time import VirtualTime
from blis.request import Request
from blis.spec.gateway import AdmissionSpec, RoutingSpec
from blis.spec.instance import InstanceConfig
from blis.trace.status import STATUSES

__all__ = ["Served", "serve"]


@dataclass(frozen=True)
class Served:
    """How the engine served one request; times in µs, None where they never came."""

    status: str
    instance: int
    ttft_us: int | None
    e2e_us: int | None
    scheduling_delay_us: int | None
    output_tokens: int
    preemptions: int
    cached_tokens: int


def _send(env: simpy.Environment, cluster: Cluster, requests: Sequence[Request]) -> Generator[simpy.Event, None, None]:
    for request in requests:
        if request.arrival_us > env.now:
            yield env.timeout(request.arrival_us - env.now)
        cluster.submit(request)


def serve(
    configs: Sequence[InstanceConfig],
    requests: Sequence[Request],
    *,
    admission: AdmissionSpec | None = None,
    routing: RoutingSpec | None = None,
    assign: Callable[[Request], int] | None = None,
    log_steps: bool = False,
) -> tuple[Cluster, dict[int, Served]]:
    """Simulate to the end and check conservation; ``requests`` are sorted by arrival."""
    env = VirtualTime()
    cluster = Cluster(env, configs, admission=admission, routing=routing, assign=assign)
    if log_steps:
        cluster.log_steps()
    env.process(_send(env, cluster, requests))
    env.drain()
    cluster.close()
    return cluster, {request.request_id: row(cluster, request) for request in requests}


def row(cluster: Cluster, request: Request) -> Served:
    """Read a request's row back."""
    table, at = cluster.table, request.request_id
    cell = {name: table.column(name, at, at + 1)[0].item() for name in _FIELDS}

    def since(name: str) -> int | None:
        return None if cell[name] < 0 else cell[name] - request.arrival_us

    delay = cell["scheduling_delay_us"]
    return Served(
        status=str(STATUSES[cell["status"]]),
        instance=cell["instance"],
        ttft_us=since("first_us"),
        e2e_us=since("last_us"),
        scheduling_delay_us=None if delay < 0 else delay,
        output_tokens=cell["output_tokens"],
        preemptions=cell["preemptions"],
        cached_tokens=cell["cached_tokens"],
    )


_FIELDS = (
    "status",
    "instance",
    "first_us",
    "last_us",
    "scheduling_delay_us",
    "output_tokens",
    "preemptions",
    "cached_tokens",
)
