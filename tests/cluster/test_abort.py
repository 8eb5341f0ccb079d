"""Requests that their clients give up: like a deadline that passes at that moment, but for the name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from engine_harness import Served, row, serve
from hypothesis import given, settings
from oracle.strategies import Scenario, instance_config, scenarios
from small_cases import config, outcomes, request

from blis.cluster.cluster import Cluster
from blis.cluster.virtual_time import VirtualTime
from blis.request import Request
from blis.spec.gateway import AdmissionSpec, RoutingSpec


def abort(configs: Any, requests: list[Request], at: dict[int, int], **gateway: Any) -> tuple[Cluster, list[Served]]:
    """Serve the requests, giving up those that ``at`` has a time for, by their place in the list."""
    env = VirtualTime()
    cluster = Cluster(env, configs, may_cut=True, **gateway)

    def send() -> Any:
        for number, one in enumerate(requests):
            if one.arrival_us > env.now:
                yield env.timeout(one.arrival_us - env.now)
            cluster.submit(one)
            if number in at:
                env.process(give_up(number, at[number]))

    def give_up(number: int, time: int) -> Any:
        yield env.timeout(time - env.now)
        cluster.abort(number)

    env.process(send())
    env.drain()
    cluster.close()
    return cluster, [row(cluster, one) for one in requests]


def check(scenario: Scenario) -> None:
    configs = [instance_config(one) for one in scenario.configs]
    _, timed = serve(configs, scenario.requests)
    at = {n: one.deadline_us for n, one in enumerate(scenario.requests) if one.deadline_us is not None}
    patient = [replace(one, deadline_us=None) for one in scenario.requests]
    _, given_up = abort(configs, patient, at)
    for number, want in timed.items():
        got = given_up[number]
        # A deadline that passes on the way into the queue is noticed there, a client that has left at once.
        assert got == replace(want, status="cancelled" if want.status == "timeout" else want.status)


@settings(max_examples=15)
@given(scenarios(asynchronous=False, admissions=("always",), routings=("round-robin",), max_instances=2))
def test_like_a_deadline(scenario: Scenario) -> None:
    check(scenario)


@settings(max_examples=15)
@given(scenarios(asynchronous=True, admissions=("always",), routings=("round-robin",), max_instances=2))
def test_like_a_deadline_with_asynchronous_scheduling(scenario: Scenario) -> None:
    check(scenario)


def test_a_running_one_leaves_at_the_end_of_its_step_with_the_tokens_it_has() -> None:
    # Steps of 10; the second request has the only slot when the first has gone.
    alone = config(max_num_seqs=1)
    _, served = abort([alone], [request(output=100), request(1, output=2)], {0: 35})
    assert outcomes(served) == [("cancelled", 10, 40, 0, 4), ("ok", 49, 59, 39, 2)]


@pytest.mark.parametrize(("at", "left"), [(0, 20), (1, 20), (10, 20), (20, 20), (21, 21), (24, 24)])
def test_wherever_the_request_is(at: int, left: int) -> None:
    # Through the gateway from 0 to 20, on its way into the queue to 25.
    gateway = {"admission": AdmissionSpec(latency_us=10), "routing": RoutingSpec(latency_us=10)}
    cluster, served = abort([config(alpha=(5, 0, 0))], [request(output=3)], {0: at}, **gateway)
    assert outcomes(served) == [("cancelled", None, None, None, 0)]
    assert cluster.last_event_us == left


def test_what_has_ended_or_is_refused_stays_so() -> None:
    cluster, served = abort(
        [config(4, block_size=1, alpha=(5, 0, 0))], [request(0, 9), request(1, 1, 1)], {0: 3, 1: 90}
    )
    assert [one.status for one in served] == ["unservable", "ok"]
    assert cluster.live(1) is None
