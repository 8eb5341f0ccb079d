"""The oracle gives the golden results, its own transcription of the step formulas agreeing with blis.latency's.

Both behaviours of the reference that the rules don't have can be switched on; then its own six files match too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from golden_cases import SKIP_REASON, GoldenCase, Row, differences, find, root
from oracle import AlphaBeta, Config, FromSums, Gpu, Result, Roofline, Shape, Switches, TrainedPhysics, Work, run

import blis.latency
from blis.latency import Overheads
from blis.spec.catalogue import gpu, model

CASES = find()
SPECIAL = [case for case in CASES if case.corrected is not None]
SHAPE = Shape(hidden=4096, layers=32, heads=32, kv_heads=8, ffn=14336)
H100 = Gpu(peak_tflops=989.5, bandwidth_tbs=3.35, mfu_prefill=0.45, mfu_decode=0.30)

pytestmark = [pytest.mark.real, pytest.mark.skipif(root() is None, reason=SKIP_REASON)]


@dataclass(frozen=True)
class Agreed:
    """Durations that the oracle's formulas and those of blis.latency agree on."""

    own: Any
    other: FromSums

    @property
    def overheads(self) -> Overheads:
        assert self.own.overheads == self.other.overheads
        return self.other.overheads

    def duration_us(self, batch: Sequence[Work]) -> int:
        duration = self.own.duration_us(batch)
        assert self.other.duration_us(batch) == duration
        return duration


def formulas(case: GoldenCase) -> Agreed:
    assert (case.model, case.gpu, case.tp) == ("meta-llama/llama-3.1-8b-instruct", "H100", 1)
    shape, hardware = model(case.model), gpu(case.gpu)
    match case.latency_model:
        case "roofline":
            own, other = Roofline(SHAPE, H100), blis.latency.Roofline(shape, hardware, 1)
        case "trained-physics":
            own, other = TrainedPhysics(SHAPE, H100), blis.latency.TrainedPhysics(shape, hardware, 1)
        case _:
            own, other = AlphaBeta(case.alpha, case.beta), blis.latency.AlphaBeta(case.alpha, case.beta)
    return Agreed(own, FromSums(other))


def serve(case: GoldenCase, switches: Switches) -> Result:
    agreed = formulas(case)
    configs = [Config(**case.engine_settings) for _ in range(case.instances)]
    return run(
        configs, case.requests, latency=lambda _: agreed, forced=case.forced, switches=switches,
        **case.gateway_settings,
    )  # fmt: skip


def rows(result: Result) -> dict[int, Row]:
    found = {}
    for request in result.requests:
        if request.status != "ok":
            continue
        step = result.instances[request.instance].steps[request.last_step]
        found[request.request_id] = Row(
            request.ttft_us, request.e2e_us, request.scheduling_delay_us, request.itl_sum_us, request.output_tokens,
            step.end_us - step.start_us,
        )  # fmt: skip
    return found


def check_totals(case: GoldenCase, result: Result) -> None:
    aggregate = case.results["aggregate"]
    if case.suite == "alpha_beta":
        assert [len(instance.steps) for instance in result.instances] == aggregate["steps_per_instance"]
        return
    # The reference averages the rates of its instances.
    rates = [instance.cache_hit_rate for instance in result.instances]
    assert sum(rates) / len(rates) == pytest.approx(aggregate["cache_hit_rate"], rel=1e-12, abs=0)
    assert sum(instance.preemptions for instance in result.instances) == aggregate["preemption_count"]


def test_all_cases_are_there() -> None:
    assert len(CASES) == 12 * 2 + 8
    assert len(SPECIAL) == 6


@pytest.mark.parametrize("case", CASES, ids=str)
def test_golden(case: GoldenCase) -> None:
    result = serve(case, Switches())
    assert differences(case, rows(result)) == []
    assert [request.request_id for request in result.requests if request.status == "rejected"] == case.rejected
    if case.corrected is None:
        check_totals(case, result)


@pytest.mark.parametrize("case", SPECIAL, ids=str)
def test_the_reference_itself(case: GoldenCase) -> None:
    assert differences(case, rows(serve(case, Switches())), original=True) != []
    result = serve(case, Switches(idle_early=True, free_when_cached=True))
    assert differences(case, rows(result), original=True) == []
    check_totals(case, result)
