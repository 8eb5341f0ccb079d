"""The scenarios that come with blis."""

from __future__ import annotations

import pytest

from blis.errors import BlisError
from blis.metrics import summarize
from blis.simulation import simulate
from blis.spec.scenarios import SCENARIOS, about, scenario_file
from blis.spec.workload import load_workload


def test_every_file_is_named() -> None:
    folder = scenario_file("bursty").parent
    assert {path.stem for path in folder.iterdir()} == set(SCENARIOS)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_runs_and_says_why_it_is_so(name: str) -> None:
    workload = load_workload(scenario_file(name), overrides={"num_requests": 60})
    assert not workload.warnings
    assert len(about(name)) > 80
    trace = simulate(workload)
    summary = summarize(trace)
    assert summary.conservation.injected == 60
    assert summary.overall.completed == 60
    match name:
        case "agentic":
            assert trace.column("round_index").max() >= 3
            assert summary.cache.hit_rate is not None
            assert summary.cache.hit_rate > 0.5
        case "prefix-heavy":
            assert summary.cache.hit_rate is not None
            assert summary.cache.hit_rate > 0.8
        case "reasoning":
            assert 0.5 < trace.column("reason_ratio").mean() < 1
        case "image-chat":
            assert trace.column("image_tokens").sum() > trace.column("text_tokens").sum()
        case "unfair-tenants":
            assert summary.tenants["noisy"].requests > 40
        case "rag":
            assert trace.column("input_tokens").mean() > 10 * trace.column("output_tokens").mean()
        case "mixed-slo":
            assert set(summary.slo_classes) == {"critical", "standard", "batch"}


def test_an_unknown_name_is_an_error_with_a_hint() -> None:
    with pytest.raises(
        BlisError, match="unknown scenario 'agentik' \\(did you mean 'agentic'\\?\\); allowed: bursty, "
    ):
        scenario_file("agentik")
