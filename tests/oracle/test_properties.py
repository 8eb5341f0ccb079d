"""What holds in every run of the oracle, and what the strategies reach."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import blis.latency
from blis.spec.catalogue import gpu, model
from oracle import FromSums, Result, Roofline, TrainedPhysics, Work, run, sums
from oracle.strategies import GPUS, SHAPE, Scenario, instance_config, scenarios


def test_every_run_adds_up_and_the_strategies_reach_the_corners() -> None:
    reached: set[str] = set()

    @settings(max_examples=300, database=None)
    @given(scenarios())
    def explore(scenario: Scenario) -> None:
        result = run(scenario.configs, scenario.requests, **scenario.gateway)
        check_requests(scenario, result)
        check_instances(scenario, result)
        for config, instance in zip(scenario.configs, result.instances, strict=True):
            kind = "async" if config.async_scheduling else "sync"
            reached.update(f"{kind} {what}" for what, there in corners(result.requests, instance).items() if there)

    explore()
    wanted = {"preemption", "claim", "late with tokens", "late without", "unservable", "chunk"}
    assert reached >= {f"{kind} {what}" for kind in ("sync", "async") for what in wanted} | {"async empty batch"}


def check_requests(scenario: Scenario, result: Result) -> None:
    for request, r in zip(scenario.requests, result.requests, strict=True):
        assert r.request_id == request.request_id
        assert r.status in ("ok", "timeout", "unservable", "context_overflow", "rejected")
        assert len(r.itls) == max(r.output_tokens - 1, 0)
        assert r.left_us >= r.arrival_us
        if r.status == "ok":
            assert r.output_tokens == request.output_tokens
            assert request.deadline_us is None or r.left_us <= request.deadline_us
            assert 0 <= r.scheduling_delay_us < r.ttft_us <= r.e2e_us
        if r.status == "timeout":
            assert request.deadline_us is not None
            assert r.left_us >= request.deadline_us
        if r.status in ("unservable", "context_overflow", "rejected"):
            assert (r.scheduling_delay_us, r.ttft_us, r.output_tokens, r.preemptions) == (-1, -1, 0, 0)


def check_instances(scenario: Scenario, result: Result) -> None:
    for config, instance in zip(scenario.configs, result.instances, strict=True):
        assert instance.free_blocks == config.total_kv_blocks
        end = 0
        for index, step in enumerate(instance.steps):
            assert (step.index, step.start_us >= end, step.end_us > step.start_us) == (index, True, True)
            end = step.end_us
            assert step.sums.sequences <= config.max_num_seqs
            assert step.sums.prefill_tokens + step.sums.decodes <= config.max_num_batched_tokens


def corners(requests: list[Any], instance: Any) -> dict[str, bool]:
    late = [r for r in requests if r.status == "timeout"]
    return {
        "preemption": instance.preemptions > 0,
        "claim": instance.claimed_blocks > 0,
        "late with tokens": any(r.output_tokens for r in late),
        "late without": any(not r.output_tokens for r in late),
        "unservable": any(r.status == "unservable" for r in requests),
        "chunk": any(step.sums.prefill_context for step in instance.steps),
        "empty batch": any(step.sums.sequences == 0 for step in instance.steps),
    }


@settings(max_examples=30)
@given(scenarios(max_instances=1, asynchronous=False, deadlines=False, admissions=("always",)))
def test_without_preemption_every_token_is_computed_once(scenario: Scenario) -> None:
    configs = [replace(config, total_kv_blocks=10_000) for config in scenario.configs]
    result = run(configs, scenario.requests, **scenario.gateway)
    served = [(q, r) for q, r in zip(scenario.requests, result.requests, strict=True) if r.status == "ok"]
    steps = result.instances[0].steps
    assert sum(step.sums.decodes for step in steps) == sum(len(r.itls) for _, r in served)
    assert sum(step.sums.prefill_tokens for step in steps) == sum(q.prompt_tokens - r.cached_tokens for q, r in served)
    assert result.claimed_blocks * configs[0].block_size == sum(r.cached_tokens for _, r in served)


works = st.builds(
    lambda decode, new, context, claimed, rest: Work(
        decode, 1 if decode else new, context, context or claimed, (context or claimed) + new + rest
    ),
    st.booleans(), st.integers(1, 2048), st.integers(0, 30_000), st.integers(0, 1000), st.integers(0, 5000),
)  # fmt: skip
SHAPES = [(model("llama-3.1-8b"), gpu("H100")), (model("llama-2-70b"), gpu("A100-80")), *((SHAPE, g) for g in GPUS)]


@pytest.mark.parametrize("name", ["Roofline", "TrainedPhysics"])
@given(st.sampled_from(SHAPES), st.sampled_from((1, 2, 4)), st.lists(works, max_size=40))
def test_formulas_agree_with_blis(name: str, hardware: Any, tp: int, batch: list[Work]) -> None:
    own = {"Roofline": Roofline, "TrainedPhysics": TrainedPhysics}[name](*hardware, tp)
    other = FromSums(getattr(blis.latency, name)(*hardware, tp))
    assert own.overheads == other.overheads
    # Sums over sequences and sums over their parts may be a rounding apart, on either side of a whole microsecond.
    assert own.duration_us(batch) == pytest.approx(other.duration_us(batch), abs=1, rel=0)


def test_sums() -> None:
    batch = [
        Work(False, 6, 10, 10, 100),
        Work(False, 4, 0, 8, 12),
        Work(False, 1, 7, 7, 8),
        Work(False, 0, 0, 16, 16),
        Work(True, 1, 50, 50, 40),
        Work(True, 1, 3, 3, 2),
    ]
    got = sums(batch)
    assert (got.prefill_tokens, got.decodes, got.decode_context, got.sequences) == (11, 2, 53, 5)
    assert got.prefill_full_attention == 6 * 103 + 4 * 14 + 1 * 8.5
    assert got.prefill_chunk_attention == 6 * 12.5 + 4 * 1.5 + 7
    assert got.prefill_context == 17
    assert got.prefill_stored == 25
    assert got.prefill_causal_attention == 6 * 13 + 4 * 10 + 7.5


@settings(max_examples=20)
@given(scenarios())
def test_scenarios_are_deployments_of_blis(scenario: Scenario) -> None:
    for config in scenario.configs:
        made = instance_config(config)
        assert made.name == config.name
        blis.latency.build(made)
