"""Draws are lazy: memory follows the requests that are used, not the horizon."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import simpy

from blis.clients.build import sources, start
from blis.request import Request
from blis.spec.workload import workload_from_dict

Client = Callable[..., dict[str, Any]]


class Forget:
    """A target that keeps nothing."""

    def __init__(self, env: simpy.Environment) -> None:
        self.sent = 0
        self._event = env.event()

    def submit(self, request: Request) -> simpy.Event:
        self.sent += 1
        return self._event


def peak(spec: dict[str, Any]) -> tuple[int, int]:
    """Return requests sent, and the peak of memory allocated on the way, in bytes."""
    workload = workload_from_dict(spec)
    env = simpy.Environment()
    target = Forget(env)
    tracemalloc.start()
    env.run(until=start(env, target, workload, horizon_us=workload.horizon, num_requests=None, warn=print))
    used = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return target.sent, used


def test_memory_does_not_grow_with_the_horizon(client: Client) -> None:
    clients = [client("a", rate=1000.0)]
    few, short = peak({"horizon": "20s", "clients": clients})
    many, long = peak({"horizon": "80s", "clients": clients})
    assert many > 3.9 * few
    assert long < 1.2 * short


def test_clients_with_few_requests_draw_few(client: Client) -> None:
    """A thousand clients that were drawn a full block ahead would take 100 MB."""
    clients = [client(f"c{number}", rate=0.1) for number in range(1000)]
    sent, used = peak({"horizon": "60s", "clients": clients})
    assert sent > 5000
    assert used < 20_000_000


def test_a_million_years_of_arrivals_cost_nothing_until_read(client: Client) -> None:
    spec = workload_from_dict({"num_requests": 1, "clients": [client("a", rate=1e6)]})
    (source,) = sources(spec, None, print)
    assert len(next(source.blocks()).arrival_us) == 4096
    assert len(next(source.blocks(likely=1.0)).arrival_us) == 8
