"""The benchmark against measured H100s: the load is the one that was run, and what is committed belongs together."""

from __future__ import annotations

import importlib.util
import json
import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from blis.rng import stream
from blis.spec.catalogue import physics_coefficients
from blis.trace.status import STATUSES

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "h100"
sys.path.insert(0, str(FOLDER))
try:
    import bench
    import measurements
    import serving
    import tables
    from formula import Formula
finally:
    sys.path.remove(str(FOLDER))

PROMPTS = tuple(range(480, 580))


@pytest.fixture(scope="module")
def experiment() -> Any:
    server = {"max_num_seqs": 128, "max_num_batched_tokens": 2048, "max_model_len": 4096, "block_size": 16}
    stages = tuple(measurements.Stage(i, rate, 30.0, round(rate * 30), None) for i, rate in enumerate((8.0, 4.0)))
    return measurements.Experiment(
        "name",
        "title",
        "meta-llama/Llama-2-7b-hf",
        1,
        server | {"gpu_kv_blocks": 7463},
        PROMPTS,
        20,
        300.0,
        1.0,
        stages,
    )


@pytest.fixture(scope="module")
def served(experiment: Any) -> Any:
    return serving.serve_stages(experiment, {}, 3, 2)


def column(served: Any, name: str) -> np.ndarray:
    cluster, spans = served
    return cluster.table.column(name, 0, spans[-1].stop)


def test_every_prompt_but_the_first_hundred_is_cached_up_to_its_last_block(served: Any) -> None:
    prompts, cached = column(served, "prompt_tokens"), column(served, "cached_tokens")
    assert sorted(prompts[:100]) == list(PROMPTS)
    assert list(prompts[100:200]) == list(prompts[:100])
    assert (cached[:100] == 0).all()
    assert (cached[100:] == (prompts[100:] - 1) // 16 * 16).all()


def test_stages_have_their_counts_and_durations(served: Any) -> None:
    _, (first, second) = served
    assert (len(first), len(second)) == (240, 120)
    arrivals, ends = column(served, "arrival_us"), column(served, "last_us")
    assert arrivals[first.stop - 1] == 30_000_000
    drained = ends[: first.stop].max()
    assert arrivals[-1] == drained + 1_000_000 + 30_000_000
    gaps = np.diff(arrivals[: first.stop])
    assert 0.8 < gaps.std() / gaps.mean() < 1.2
    assert (column(served, "status") == STATUSES.index("ok")).all()
    assert (column(served, "output_tokens") == 20).all()


def test_arrivals_are_scaled_to_the_duration(experiment: Any) -> None:
    stage = experiment.stages[0]
    whole = serving.arrivals_us(stage, 1.0, stream(0, "test"))
    half = serving.arrivals_us(stage, 0.5, stream(0, "test"))
    assert (len(whole), whole[-1], len(half), half[-1]) == (240, 30_000_000, 120, 15_000_000)
    assert whole == sorted(whole)


def test_moments_are_those_of_the_requests(experiment: Any, served: Any) -> None:
    found = serving.serve(experiment, {}, 3, 2)[0]
    _, (first, _) = served
    sent, begun, ended = (column(served, name)[: first.stop] for name in ("arrival_us", "first_us", "last_us"))
    assert found["ttft_mean"] == pytest.approx((begun - sent).mean() / 1e3)
    assert found["e2e_p90"] == pytest.approx(np.quantile(ended - sent, 0.9) / 1e3)
    assert found["itl_mean"] == pytest.approx((ended - begun).mean() / 19 / 1e3)
    # Gaps and their mean: the middle is near the mean, and the longest are steps with a cold prompt.
    assert found["gap_p50"] == pytest.approx(found["itl_mean"], rel=0.25)
    assert found["gap_p50"] < found["gap_p90"] <= found["gap_p99.8"]


def test_errors_are_relative_and_signed(experiment: Any) -> None:
    stage = measurements.Stage(0, 1.0, 1.0, 1, {"e2e_mean": 200.0})
    known = {"name": experiment.__class__(**{**vars(experiment), "stages": (stage,)})}
    assert tables.errors(known, {("name", 0): {"e2e_mean": 190.0}}, "e2e_mean") == pytest.approx([-5.0])


def test_tables_go_between_their_marks() -> None:
    page = "a\n<!-- one -->\nold\n<!-- /one -->\nb\n"
    assert bench.with_tables(page, {"one": "| new |\n"}) == "a\n<!-- one -->\n| new |\n<!-- /one -->\nb\n"


def test_the_coefficients_that_come_with_blis_are_the_fitted_ones() -> None:
    committed = yaml.safe_load((FOLDER / "physics.yaml").read_text())
    assert committed["physics"] == physics_coefficients()


def test_without_data_the_benchmark_says_what_it_needs(capsys: Any, monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["bench.py"])
    for folder in ("", str(tmp_path)):
        monkeypatch.setenv("BLIS_DATA", folder)
        assert bench.main() == 2
        assert "set BLIS_DATA to the folder that holds h100/measured.json" in capsys.readouterr().err


@pytest.mark.real
class TestOnMeasurements:
    def test_every_cell_is_predicted(self, blis_data: Path) -> None:
        _, cells, _ = measurements.read(blis_data, "predict_inputs.json")
        predictions = json.loads((FOLDER / "predictions.json").read_text())
        assert [(name, int(stage)) for name, stages in predictions.items() for stage in stages] == cells
        for stages in predictions.values():
            for each in stages.values():
                assert 0 < each["ttft"]["p50"] < each["e2e"]["p50"] <= each["e2e"]["p90"] <= each["e2e"]["p99"]

    def test_the_official_score_reads_what_is_written(self, blis_data: Path) -> None:
        experiments, _, counting = measurements.read(blis_data, "measured.json")
        exact = {cell: dict(experiments[cell[0]].stages[cell[1]].measured) for cell in counting}
        spec = importlib.util.spec_from_file_location("score", blis_data / "h100" / "score.py")
        assert spec is not None
        assert spec.loader is not None
        score = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(score)
        measured = json.loads((blis_data / "h100" / "measured.json").read_text())["experiments"]
        records = score.score(bench.scored_form(exact), measured)
        totals = score.agg(records)
        for moment in (*tables.HEADLINES, "e2e_p99", "ttft_p50"):
            assert totals[moment]["n"] == len(counting) == 9
            assert totals[moment]["max"] == 0

    def test_committed_coefficients_predict_the_measurements(self, blis_data: Path) -> None:
        experiments, _, counting = measurements.read(blis_data, "measured.json")
        name = next(name for name, stage in counting if "7b" in name and stage == 1)
        found = serving.serve(experiments[name], {}, 0, 2, share=0.2)[1]
        predicted = {(name, 1): found}
        for moment, most in (("e2e_mean", 5), ("itl_mean", 5), ("ttft_p90", 8)):
            assert abs(tables.errors(experiments, predicted, moment)[0]) < most

    def test_the_formula_is_good_on_its_own_models_and_no_others(self, blis_data: Path) -> None:
        experiments, _, counting = measurements.read(blis_data, "measured.json")
        formula = Formula.fitted(experiments, counting)
        assert formula.step == pytest.approx([0.89, 0.74, 0.0577, 0.044, 2.63], rel=0.01)
        kept = bench.formula_left_out(experiments, counting, lambda experiment: "")
        lost = bench.formula_left_out(experiments, counting, lambda experiment: experiment.model)
        own, foreign = (
            statistics.median(abs(error) for error in tables.errors(experiments, way, "e2e_mean"))
            for way in (kept, lost)
        )
        assert own < 2
        assert foreign > 10
