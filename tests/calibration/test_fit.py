"""Fits to runs whose coefficients are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from calibration.fitting import ALPHA, BETA, run

from blis.calibration.fit import fit
from blis.calibration.model_file import model_text
from blis.calibration.refine import predict, refine, served_by
from blis.calibration.suggest import suggested_workload
from blis.calibration.validate import error_figures, held_out, predictions
from blis.errors import BlisError
from blis.latency.fitted import BETA as NAMES
from blis.simulation import simulate
from blis.spec.deployment import DeploymentSpec, deployment_from_dict
from blis.spec.workload import workload_from_dict
from blis.trace import Trace


@pytest.fixture(scope="module")
def trace() -> Trace:
    return run()


@pytest.mark.parametrize("asynchronous", [False, True])
def test_chunk_times_give_the_coefficients_back(asynchronous: bool) -> None:
    found = fit([run(asynchronous=asynchronous), run(0.8, seed=2, asynchronous=asynchronous)])
    assert found.method == "chunk-times"
    assert found.beta == pytest.approx(BETA, rel=0.02)
    assert found.async_scheduling is asynchronous
    assert found.overhead.us == pytest.approx(ALPHA[0], abs=300)
    assert found.on_time == 1.0


def test_first_and_last_chunks_give_about_the_same_steps(trace: Trace) -> None:
    found = fit([trace, run(0.8, seed=2)], chunk_times=False)
    assert found.method == "exposures"
    for decodes, context in ((1, 400), (4, 1600), (8, 3200)):
        true = BETA[0] + BETA[1] * decodes + BETA[2] * context
        assert found.beta[0] + found.beta[1] * decodes + found.beta[2] * context == pytest.approx(true, rel=0.03)


def test_a_delay_of_each_token_is_seen_through(trace: Trace) -> None:
    late = run(alpha=(5000.0, 0.0, 45.0, 700.0))
    assert fit([late]).beta == pytest.approx(BETA, rel=0.02)


def test_alpha_beta_form() -> None:
    plain = (9000.0, 450.0, 0.0, 480.0, 0.0, 0.0)
    found = fit([run(beta=plain)], form="alpha-beta")
    assert found.beta == pytest.approx((9000, 480, 450), rel=0.02)
    assert len(found.alpha) == 3


def test_a_left_out_load_is_predicted(trace: Trace) -> None:
    model = fit([trace, run(0.8, seed=2)])
    (errors,) = (error_figures(one) for one in predictions(model, {"busy": run(3.0, seed=3)}).values())
    assert abs(errors["e2e_us"]["mean"]) < 0.02
    assert abs(errors["ttft_us"]["mean"]) < 0.04
    assert errors["e2e_us"]["pearson_r"] > 0.99


def test_a_held_out_part_is_predicted_from_the_rest(trace: Trace) -> None:
    (calibration,) = held_out(fit([trace], share=0.7), {"t": trace}, 0.3).values()
    assert 0 < calibration.requests.calibrated < len(trace) / 2
    assert abs(error_figures(calibration)["e2e_us"]["mean"]) < 0.02


def test_a_knee_in_what_sequences_cost_is_found() -> None:
    knee = (*BETA, 900.0, 5.0)
    found = fit([run(3.0, beta=knee), run(2.0, seed=2, beta=knee)])
    assert found.knee == 5.0
    assert found.latency()["coefficients"]["beta"] == pytest.approx(knee, rel=0.02)
    assert found.covariance().shape == (12, 12)


def test_there_is_no_knee_where_one_slope_does(trace: Trace) -> None:
    assert fit([trace]).knee is None
    assert fit([run(3.0), run(0.8, seed=2)]).knee is None


def test_refinement_mends_a_wrong_pace(trace: Trace) -> None:
    model = replace(fit([trace]), method="exposures")
    slow = replace(model, beta=tuple(1.04 * value for value in model.beta), estimate=model.estimate.scaled(1.04))
    mended = refine(slow, [trace, run(0.8, seed=2), run(1.4, seed=3)])
    assert mended.beta[0] == pytest.approx(BETA[0], rel=0.015)
    assert mended.alpha[0] == pytest.approx(ALPHA[0], abs=700)


def test_refinement_leaves_steps_alone_that_were_seen(trace: Trace) -> None:
    model = fit([trace])
    slow = replace(model, beta=tuple(1.04 * value for value in model.beta), estimate=model.estimate.scaled(1.04))
    assert refine(slow, [trace]).beta[0] == pytest.approx(slow.beta[0], rel=0.015)
    assert refine(model, [trace], rounds=0) is model


def test_the_file_is_a_latency_model_of_a_deployment(trace: Trace, tmp_path: Path) -> None:
    model = fit([trace, run(0.8, seed=2, asynchronous=False)])
    text = model_text(model, ["a", "b"], {})
    (tmp_path / "model.yaml").write_text(text)
    data = yaml.safe_load(text)
    assert list(data) == ["model", "coefficients", "validity", "provenance"]
    assert set(NAMES) <= set(data["provenance"]["coefficients"])
    deployment = deployment_from_dict({"latency": {"model": "model.yaml"}}, tmp_path)
    (config,) = deployment.resolve()
    assert config.latency.beta == pytest.approx(model.beta, rel=1e-6)
    assert config.async_scheduling is False


def test_a_deployment_that_says_otherwise_beats_the_detected_scheduling(trace: Trace) -> None:
    model = fit([trace])
    assert model.async_scheduling is False
    forced = deployment_from_dict({"async_scheduling": True, "latency": model.latency()})
    assert forced.resolve()[0].async_scheduling is True


def test_predictions_use_the_server_that_was_fitted(trace: Trace) -> None:
    model = fit([trace])
    config = served_by(model).resolve()[0]
    assert (config.max_num_seqs, config.max_num_batched_tokens) == (16, 512)
    assert len(predict(model, trace)) == len(trace)


def test_what_a_trace_cannot_tell_is_said() -> None:
    found = fit([run(0.8, requests=20)])
    assert any("only 20 requests" in text for text in found.warnings)
    assert any("one trace only" in text for text in found.warnings)


def test_nothing_to_fit(trace: Trace) -> None:
    with pytest.raises(BlisError, match="at least one trace"):
        fit([])
    failed = Trace.from_columns({"arrival_time_us": [0], "input_tokens": [1], "status": ["timeout"]})
    with pytest.raises(BlisError, match="no completed, streamed request"):
        fit([failed])


def test_chunk_times_of_a_simulation_begin_and_end_where_its_rows_say(trace: Trace) -> None:
    assert trace.chunks is not None
    first, last = trace.column("first_chunk_time_us"), trace.column("last_chunk_time_us")
    assert np.array_equal(trace.chunks.times_us[trace.chunks.starts[:-1]], first)
    assert np.array_equal(trace.chunks.times_us[trace.chunks.starts[1:] - 1], last)
    assert np.array_equal(trace.chunks.counts, trace.column("output_tokens"))


def test_the_suggested_workload_tells_every_coefficient() -> None:
    config = deployment_from_dict({"max_num_seqs": 16, "max_num_batched_tokens": 512}).resolve()[0]
    data = suggested_workload(2.0, config)
    spec = workload_from_dict({**data, "horizon": "360s"})
    latency = {"model": "fitted", "coefficients": {"alpha": list(ALPHA), "beta": list(BETA)}}
    server = {"max_num_seqs": 16, "max_num_batched_tokens": 512, "total_kv_blocks": 20_000, "latency": latency}
    found = fit([simulate(spec, server, record_itl=True)], DeploymentSpec())
    assert not found.estimate.bounded
    assert found.beta == pytest.approx(BETA, rel=0.02)
    with pytest.raises(BlisError, match="must be above 0"):
        suggested_workload(0, config)
