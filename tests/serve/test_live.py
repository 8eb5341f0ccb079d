"""The cluster in real time does what the cluster in simulated time does, and tells of each token in its time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from asking import deployment
from engine_harness import row, serve
from small_cases import request

from blis.cluster.cluster import Cluster
from blis.cluster.virtual_time import VirtualTime
from blis.request import Outcome, Request
from blis.rng import stream
from blis.serve.live import LiveCluster
from blis.server.wall_clock import WallClockEnvironment
from blis.spec.deployment import deployment_from_dict

SLOT_US = 200
"""Tokens that fall due behind a step's end may leave that much later."""


class Told:
    """Keeps what it is told, with the environment's time."""

    def __init__(self, env: WallClockEnvironment) -> None:
        self.env = env
        self.tokens: dict[int, int] = {}
        self.began_us = -1
        self.outcome: Outcome | None = None
        self.ended_us = -1
        self.cached = -1

    def began(self) -> None:
        self.began_us = int(self.env.now)

    def grew(self, tokens: int) -> None:
        assert self.outcome is None
        self.tokens[tokens] = int(self.env.now)

    def ended(self, outcome: Outcome, cached: int) -> None:
        assert self.outcome is None
        self.outcome, self.ended_us, self.cached = outcome, int(self.env.now), cached


def live(spec: dict[str, Any], requests: list[Request]) -> list[Told]:
    """Submit requests in real time, about at their arrivals, which become the true ones."""

    async def run() -> list[Told]:
        env = WallClockEnvironment()
        cluster = LiveCluster(env, deployment_from_dict(spec))
        running = asyncio.create_task(env.run_async())
        await asyncio.sleep(0)
        told = []
        for one in requests:
            await asyncio.sleep((one.arrival_us - env.clock_us()) / 1e6)
            told.append(Told(env))
            cluster.submit(one, told[-1], env.clock_us())
        while not running.done() and any(one.outcome is None for one in told):
            await asyncio.sleep(0.005)
        if running.done():
            await running
        running.cancel()
        return told

    return asyncio.run(asyncio.wait_for(run(), 20))


def drawn(count: int) -> list[Request]:
    """Requests over a tenth of a second, some of which begin alike."""
    numbers = stream(1, "requests")
    found = []
    for arrival in sorted(numbers.integers(0, 100_000, count).tolist()):
        group, own, output = numbers.integers(0, 3), int(numbers.integers(1, 60)), int(numbers.integers(1, 30))
        found.append(request(int(arrival), ((f"group-{group}", 32), (None, own)), output))
    return found


@pytest.mark.parametrize(
    ("alpha", "settings"),
    [
        ((0, 0, 0), {}),
        ((1_000, 7, 40), {"instances": 2, "routing": {"policy": "least-loaded", "latency_us": 300}}),
        ((0, 0, 0), {"async_scheduling": True, "max_num_batched_tokens": 64}),
        ((0, 0, 900), {"total_kv_blocks": 24, "long_prefill_token_threshold": 20}),
    ],
)
def test_the_same_arrivals_give_the_same_times(alpha: tuple[int, int, int], settings: dict[str, Any]) -> None:
    spec = deployment(alpha, (1_500, 10, 20), **{"total_kv_blocks": 500, **settings})
    requests = drawn(40)
    told = live(spec, requests)
    made = deployment_from_dict(spec)
    again = [replace(one, request_id=-1) for one in sorted(requests, key=lambda one: one.request_id)]
    cluster, _ = serve(made.resolve(), again, routing=made.routing, log_steps=True)
    per_token = alpha[2]
    for got, one in zip(told, requests, strict=True):
        want = row(cluster, one)
        assert got.outcome is not None
        assert (got.outcome.status, got.outcome.output_tokens, got.cached) == (
            "ok",
            one.output_tokens,
            want.cached_tokens,
        )
        assert want.ttft_us is not None
        assert want.e2e_us is not None
        assert got.outcome.first_token_us == one.arrival_us + want.ttft_us
        assert got.outcome.last_token_us == got.ended_us == one.arrival_us + want.e2e_us
        assert got.began_us == one.arrival_us + made.routing.latency_us
        # The last token comes with the end.
        assert [*got.tokens] == sorted(got.tokens)
        if want.preemptions:
            continue
        ends = cluster.instances[want.instance].step_ends
        assert ends is not None
        assert [*got.tokens] == [*range(1, one.output_tokens)]
        at = ends.index(one.arrival_us + want.ttft_us - per_token)
        for tokens, told_us in got.tokens.items():
            due = ends[at + tokens - 1] + tokens * per_token
            assert due <= told_us <= due + (SLOT_US if per_token else 1)


def test_a_preempted_sequence_is_told_of_until_then_and_again_from_where_it_was() -> None:
    # 14 blocks of 16: both fit with their prompts, not with their outputs.
    spec = deployment((0, 0, 0), (400, 0, 0), total_kv_blocks=14)
    requests = [request(0, ((None, 96),), 40), request(1_000, ((None, 96),), 40)]
    first, second = live(spec, requests)
    for told in (first, second):
        assert told.outcome is not None
        assert told.outcome.status == "ok"
        assert [*told.tokens] == [*range(1, 40)], "each once, however often it was made"


def test_requests_are_entered_when_they_came_even_if_the_loop_was_busy() -> None:
    async def run() -> list[int]:
        env = WallClockEnvironment()
        cluster = LiveCluster(env, deployment_from_dict(deployment((0, 0, 0), (100, 0, 0))))
        running = asyncio.create_task(env.run_async())
        await asyncio.sleep(0)
        requests = [request(0, ((None, 5),), 2) for _ in range(3)]
        stamps = []
        for one in requests:
            stamps.append(env.clock_us())
            cluster.submit(one, Told(env), stamps[-1])
        await asyncio.sleep(0.02)
        running.cancel()
        return [one.arrival_us - stamp for one, stamp in zip(requests, stamps, strict=True)]

    assert asyncio.run(run()) == [0, 0, 0]


def test_virtual_time_can_be_followed_too() -> None:
    """When the next step ends is known whatever drives the clock."""
    env = VirtualTime()
    made = deployment_from_dict(deployment((50, 0, 0), (100, 0, 0)))
    cluster = Cluster(env, made.resolve(), may_cut=True)
    instance = cluster.instances[0]
    assert instance.next_change_us() > 1 << 60
    cluster.submit(request(0, ((None, 5),), 4))
    seen = []
    for at in (10, 60, 151, 200, 250, 251, 400):
        env.drain(at)
        seen.append(instance.next_change_us())
    assert seen == [50, 150, 250, 250, 250, 350, 450]
    env.drain()
    assert instance.next_change_us() > 1 << 60
