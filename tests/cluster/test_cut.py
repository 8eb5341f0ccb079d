"""A run cut short is the whole run up to there: who is in flight has the tokens that a plain simulator gave by then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import oracle
import oracle.cluster
import pytest
from engine_harness import row
from hypothesis import given
from hypothesis import strategies as st
from oracle.strategies import Scenario, instance_config, scenarios
from small_cases import config, outcomes, request

from blis.cluster.cluster import Cluster
from blis.cluster.virtual_time import VirtualTime
from blis.request import Request
from blis.spec.gateway import AdmissionSpec, RoutingSpec


def cut(configs: Any, requests: list[Request], at: int, **gateway: Any) -> tuple[Cluster, list[Any]]:
    """Serve the requests until ``at``, excluded; returns the cluster and what there is of each that has arrived."""
    env = VirtualTime()
    cluster = Cluster(env, configs, may_cut=True, **gateway)

    def send() -> Any:
        for one in requests:
            if one.arrival_us > env.now:
                yield env.timeout(one.arrival_us - env.now)
            cluster.submit(one)

    env.process(send())
    env.drain(at)
    cluster.cut()
    cluster.close()
    arrived = [one for one in requests if one.arrival_us < at]
    assert len(cluster.table) == len(arrived)
    return cluster, [row(cluster, one) for one in arrived]


def oracle_until(at: int, run: Callable[[], oracle.Result]) -> oracle.Result:
    """Let the oracle believe that nothing happens from ``at`` on."""

    class Stopping(oracle.cluster.Cluster):
        def schedule(self, time: int, kind: int, action: Callable[[int], None]) -> None:
            if time < at:
                super().schedule(time, kind, action)

        def check(self, results: Any) -> None:
            """Requests in flight are what this is about."""

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(oracle.cluster, "Cluster", Stopping)
        return run()


def check(scenario: Scenario, data: st.DataObject) -> None:
    def run() -> oracle.Result:
        return oracle.run(scenario.configs, scenario.requests, **scenario.gateway)

    whole = run()
    ends = sorted({step.end_us for instance in whole.instances for step in instance.steps})
    at = data.draw(st.sampled_from(ends or [0])) + data.draw(st.sampled_from((0, 0, 1, -1, 7)))
    want = oracle_until(at, run)
    cluster, served = cut(
        [instance_config(one) for one in scenario.configs],
        scenario.requests,
        at,
        admission=AdmissionSpec(latency_us=scenario.gateway["admission_latency_us"]),
        routing=RoutingSpec(latency_us=scenario.gateway["routing_latency_us"]),
    )
    for got, result in zip(served, want.requests, strict=False):
        assert got.status == (result.status or "incomplete")
        assert got.output_tokens == result.output_tokens
        assert (got.ttft_us if got.ttft_us is not None else -1) == result.ttft_us
        last = result.ttft_us + sum(result.itls) if result.ttft_us >= 0 else -1
        if got.status == "incomplete":
            assert (got.e2e_us if got.e2e_us is not None else -1) == last
        assert got.preemptions == result.preemptions
    assert cluster.injected == len(served)


PLAIN: dict[str, Any] = {"admissions": ("always",), "routings": ("round-robin",), "max_instances": 2}
SYNCHRONOUS = scenarios(asynchronous=False, **PLAIN)
ASYNCHRONOUS = scenarios(asynchronous=True, **PLAIN)


@given(SYNCHRONOUS, st.data())
def test_any_moment(scenario: Scenario, data: st.DataObject) -> None:
    check(scenario, data)


@given(ASYNCHRONOUS, st.data())
def test_any_moment_of_asynchronous_scheduling(scenario: Scenario, data: st.DataObject) -> None:
    check(scenario, data)


@pytest.mark.statistical
@given(st.one_of(SYNCHRONOUS, ASYNCHRONOUS), st.data())
def test_many_more_moments(scenario: Scenario, data: st.DataObject) -> None:
    """As many as the profile says."""
    check(scenario, data)


@pytest.mark.parametrize(
    ("at", "tokens", "last"),
    [(1, 0, None), (10, 0, None), (11, 1, 12), (20, 1, 12), (21, 2, 24), (505, 50, 600), (1000, 99, 1188)],
)
def test_a_lone_request(at: int, tokens: int, last: int | None) -> None:
    # Steps of 10, each token reported 2 later; 100 tokens in all.
    _, served = cut([config(alpha=(0, 0, 2))], [request(output=100)], at)
    assert outcomes(served) == [("incomplete", 12 if tokens else None, last, 0, tokens)]


def test_requests_that_have_not_reached_an_instance() -> None:
    # Queueing 5; admission takes 10 and routing 10. One is routed, two are admitted, one has come; one comes later.
    gateway = {"admission": AdmissionSpec(latency_us=10), "routing": RoutingSpec(latency_us=10)}
    cluster, served = cut(
        [config(alpha=(5, 0, 0))], [request(at, output=1) for at in (0, 3, 10, 20, 50)], 22, **gateway
    )
    assert [(one.status, one.instance) for one in served] == [
        ("incomplete", 0),
        ("incomplete", -1),
        ("incomplete", -1),
        ("incomplete", -1),
    ]
    assert cluster.injected == 4


def test_a_step_that_misses_a_sequence_takes_none_of_its_tokens() -> None:
    alone = config(6, block_size=2, max_num_seqs=2, max_num_batched_tokens=5, preemption="priority")
    requests = [request(4, 1, 7, slo_class="batch"), request(9, 6, 4, slo_class="critical")]
    _, served = cut([alone], requests, 45)
    assert outcomes(served)[1] == ("incomplete", 25, 35, 5, 2)
