"""The engine and the plain oracle give the same results, request by request and step by step."""

from __future__ import annotations

from typing import Any

import oracle
import pytest
from engine_harness import Served, serve
from hypothesis import given
from hypothesis import strategies as st
from oracle.strategies import GPUS, ROUTINGS, SHAPE, Latency, Scenario, instance_config, scenarios

from blis.request import ClientFacts, Request
from blis.rng import stream
from blis.spec.gateway import AdmissionSpec, RoutingSpec
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


def test_a_finishing_sequence_fills_no_block_beyond_its_last_token() -> None:
    """With asynchronous scheduling, somebody may look at its chain when steps beyond its last are formed already."""
    session = "session-a"
    rows = (
        (695, ((session, 6),), 0),
        (878, ((None, 34),), 0),
        (1027, ((session, 11), (None, 6)), 19),
        (1027, ((session, 7),), 27),
        (1219, ((session, 51),), 0),
    )
    requests = [
        Request(
            client=ClientFacts("client"),
            client_seq=number,
            arrival_us=arrival,
            input_tokens=segments[-1][1],
            prompt_tokens=sum(tokens for _, tokens in segments),
            segments=segments,
            output_tokens=output,
            request_id=number,
        )
        for number, (arrival, segments, output) in enumerate(rows)
    ]
    beta = (0.15, 0.6, 0.01, 1.9, 1.36, 0.75, 3.2, 0.5762970447540283, 3.4454314708709717, 0.0, 0.75)
    config = oracle.Config(
        total_kv_blocks=26,
        latency=Latency("trained-physics", (0.0, 12.0, 7.0), beta),
        block_size=2,
        max_num_seqs=4,
        max_num_batched_tokens=53,
        long_prefill_token_threshold=3,
        max_model_len=60,
        scheduler="sjf",
        priority_policy="constant",
        preemption="priority",
        async_scheduling=True,
        model=SHAPE,
        hardware=GPUS[0],
    )
    gateway = {
        "admission": "always",
        "routing": "round-robin",
        "admission_latency_us": 7,
        "routing_latency_us": 3,
        "snapshot_interval_us": 0,
    }
    check(Scenario([config], requests, gateway))
