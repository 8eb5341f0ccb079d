"""The engine and the plain oracle give the same results, request by request and step by step."""

from __future__ import annotations

from typing import Any

import oracle
import pytest
from engine_harness import Served, serve
from hypothesis import given
from hypothesis import strategies as st
from oracle.strategies import ROUTINGS, Scenario, instance_config, scenarios

from blis.rng import stream
from blis.spec.deployment import AdmissionSpec, RoutingSpec
from blis.trace.histogram import Histogram


def gateway_specs(gateway: dict[str, Any]) -> tuple[AdmissionSpec, RoutingSpec]:
    """The specs that say what the oracle's keyword arguments say."""
    bucket = {}
    if gateway["admission"] == "token-bucket":
        bucket = {"capacity": gateway["bucket_capacity"], "refill_rate": gateway["bucket_refill_rate"]}
    admission = AdmissionSpec.model_construct(
        policy=gateway["admission"], latency_us=gateway["admission_latency_us"], **bucket
    )
    routing = RoutingSpec(
        policy=gateway["routing"],
        scorers=gateway.get("scorers"),
        latency_us=gateway["routing_latency_us"],
        snapshot_interval_us=gateway["snapshot_interval_us"],
    )
    return admission, routing


def expected(result: oracle.RequestResult) -> Served:
    """An oracle's result in the engine's terms."""

    def blank(value: int) -> int | None:
        return None if value < 0 else value

    return Served(
        status=result.status,
        instance=result.instance,
        ttft_us=blank(result.ttft_us),
        e2e_us=blank(result.e2e_us),
        scheduling_delay_us=blank(result.scheduling_delay_us),
        output_tokens=result.output_tokens,
        preemptions=result.preemptions,
        cached_tokens=result.cached_tokens,
    )


def check(scenario: Scenario) -> None:
    ties = stream(0, "router", "ties")
    want = oracle.run(
        scenario.configs,
        scenario.requests,
        choose=lambda candidates: candidates[int(ties.random() * len(candidates))],
        **scenario.gateway,
    )
    admission, routing = gateway_specs(scenario.gateway)
    cluster, served = serve(
        [instance_config(config) for config in scenario.configs],
        scenario.requests,
        admission=admission,
        routing=routing,
        log_steps=True,
    )
    assert served == {result.request_id: expected(result) for result in want.requests}
    for instance, wanted in zip(cluster.instances, want.instances, strict=True):
        kv = instance.scheduler.kv
        assert instance.step_ends == [step.end_us for step in wanted.steps]
        assert (kv.claimed, kv.allocated, kv.free) == (
            wanted.claimed_blocks,
            wanted.allocated_blocks,
            wanted.free_blocks,
        )
    gaps = [gap for result in want.requests if result.status == "ok" for gap in result.itls]
    assert cluster.itl == Histogram(gaps, [1] * len(gaps))


ONE_INSTANCE = scenarios(max_instances=1, asynchronous=False, routings=ROUTINGS[:1])
CLUSTERS = scenarios(asynchronous=False)
ASYNCHRONOUS = scenarios(max_instances=2, asynchronous=True)


@given(ONE_INSTANCE)
def test_one_instance(scenario: Scenario) -> None:
    check(scenario)


@given(CLUSTERS)
def test_clusters(scenario: Scenario) -> None:
    check(scenario)


@given(ASYNCHRONOUS)
def test_asynchronous_scheduling(scenario: Scenario) -> None:
    check(scenario)


@pytest.mark.statistical
@given(st.one_of(ONE_INSTANCE, CLUSTERS, ASYNCHRONOUS))
def test_many_more(scenario: Scenario) -> None:
    """As many as the profile says: `make test-statistical` runs thousands, new ones each time."""
    check(scenario)
