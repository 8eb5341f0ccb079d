"""The physics model fitted to two models predicts a third."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from blis.calibration.model_file import model_text
from blis.calibration.physics_fit import fit_physics
from blis.calibration.refine import predict
from blis.errors import BlisError
from blis.latency.physics import Physics
from blis.metrics import summarize
from blis.simulation import replay, simulate
from blis.spec.catalogue import gpu, model
from blis.spec.deployment import DeploymentSpec, deployment_from_dict
from blis.spec.latency import PhysicsSpec
from blis.trace import Trace

TRUE = {
    "weights": 1.2, "kv_cache": 0.8, "decode_compute": 0.6, "prefill_compute": 2.1, "layer_us": 9.0,
    "prefill_layer_us": 35.0, "sequence_us": 22.0, "step_us": 900.0, "request_us": 4000.0,
}  # fmt: skip
STEPS = {"decodes": (1.0, 4, 30, 120), "context": (300.0, 2000, 20_000, 90_000)}


def traced(name: str, rate: float, seed: int = 1, requests: int = 250, **more: Any) -> Trace:
    client = {
        "id": "a",
        "rate_fraction": 1,
        "arrival": {"process": "poisson"},
        "input_distribution": {"type": "gaussian", "params": {"mean": 900, "std_dev": 700, "min": 50, "max": 3000}},
        "output_distribution": {"type": "gaussian", "params": {"mean": 120, "std_dev": 80, "min": 10, "max": 300}},
    }
    spec = {"seed": seed, "aggregate_rate": rate, "num_requests": requests, "clients": [client]}
    latency = {"model": "physics", "physics": TRUE}
    return simulate(spec, {"model": name, "latency": latency, **more}, record_itl=True)


@pytest.fixture(scope="module")
def traces() -> dict[str, Trace]:
    return {
        "8b": traced("llama-3.1-8b", 8.0),
        "8b light": traced("llama-3.1-8b", 1.0, seed=2, requests=100),
        "14b": traced("qwen3-14b", 5.0, seed=3),
    }


def step_times(name: str, coefficients: dict[str, float], prefill: float = 0.0) -> np.ndarray:
    decodes, context = np.array(STEPS["decodes"]), np.array(STEPS["context"])
    chunk = np.full(4, prefill)
    sequences = decodes + (prefill > 0)
    return Physics(model(name), gpu("H100"), 1, PhysicsSpec(**coefficients)).exact_us(
        chunk, decodes, context, sequences, chunk**2 / 2, np.zeros(4)
    )


def test_two_models_give_the_coefficients_back_or_the_steps(traces: dict[str, Trace]) -> None:
    found = fit_physics(traces)
    assert found.method == "chunk-times"
    values = found.latency()["physics"]
    for name in ("kv_cache", "prefill_compute", "weights"):
        assert values[name] == pytest.approx(TRUE[name], rel=0.02)
    assert values["request_us"] == pytest.approx(TRUE["request_us"], abs=300)
    for name in ("llama-3.1-8b", "qwen3-14b"):
        for prefill in (0.0, 100.0, 1500.0):
            assert step_times(name, values, prefill) == pytest.approx(
                step_times(name, {**values, **TRUE}, prefill), rel=0.02
            )
    assert any("all_reduce" in text for text in found.warnings)
    assert not any("one model only" in text for text in found.warnings)


@pytest.mark.parametrize("chunk_times", [True, False])
def test_a_model_that_was_left_out_is_predicted_from_the_file(
    traces: dict[str, Trace], tmp_path: Path, chunk_times: bool
) -> None:
    found = fit_physics(traces, chunk_times=chunk_times)
    assert found.method == ("chunk-times" if chunk_times else "exposures")
    (tmp_path / "model.yaml").write_text(model_text(found, list(traces), {}))
    other = traced("codellama-34b", 1.0, seed=5, requests=100, total_kv_blocks=20_000)
    spec = deployment_from_dict(
        {"model": "codellama-34b", "total_kv_blocks": 20_000, "latency": {"model": "model.yaml"}}, tmp_path
    )
    real, predicted = (summarize(each).overall for each in (other, replay(other, spec)))
    near = 0.03 if chunk_times else 0.08
    assert predicted.e2e_us.mean == pytest.approx(real.e2e_us.mean, rel=near)
    assert predicted.ttft_us.mean == pytest.approx(real.ttft_us.mean, rel=3 * near)


def test_the_file_says_what_its_covariance_is_of(traces: dict[str, Trace]) -> None:
    data = yaml.safe_load(model_text(fit_physics(traces), list(traces), {}))
    names = data["validity"]["covariance_of"]
    assert names[0] == "request_us"
    assert np.array(data["validity"]["covariance"]).shape == (len(names),) * 2
    assert set(names) <= set(data["physics"])


def test_each_trace_is_predicted_on_its_own_server(traces: dict[str, Trace]) -> None:
    found = fit_physics(traces)
    for trace in traces.values():
        real, predicted = (summarize(each).overall.e2e_us.mean for each in (trace, predict(found, trace)))
        assert predicted == pytest.approx(real, rel=0.03)


def test_a_trace_that_was_not_fitted_to_is_predicted_on_what_its_header_says(traces: dict[str, Trace]) -> None:
    found = fit_physics({"14b": traces["14b"]}, [DeploymentSpec(hardware="A100-80")])
    assert found.deployment.hardware == "A100-80"
    other = found.deployment_for(traces["8b light"])
    assert (other.model, other.hardware) == ("llama-3.1-8b", "H100")
    header = traces["8b light"].header.model_copy(update={"deployment": None, "server": {"model": "mistral-nemo"}})
    bare = Trace.from_columns({"arrival_time_us": [0], "input_tokens": [1]}, header)
    assert (found.deployment_for(bare).model, found.deployment_for(bare).hardware) == ("mistral-nemo", "A100-80")
    nameless = Trace.from_columns({"arrival_time_us": [0], "input_tokens": [1]})
    with pytest.raises(BlisError, match="the trace to predict: its header doesn't say which model"):
        found.deployment_for(nameless)


def test_one_model_alone_is_warned_about(traces: dict[str, Trace]) -> None:
    found = fit_physics({"8b": traces["8b"], "8b light": traces["8b light"]})
    (text,) = (text for text in found.warnings if "one model only" in text)
    assert "llama-3.1-8b" in text
    assert "weights, layer_us, step_us" in text


def test_models_that_nobody_names(traces: dict[str, Trace]) -> None:
    nameless = traces["8b"].column("arrival_time_us")[:2]
    trace = Trace.from_columns({"arrival_time_us": nameless, "input_tokens": [1, 1]})
    with pytest.raises(BlisError, match="mine: its header doesn't say which model the server has"):
        fit_physics({"mine": trace})
    with pytest.raises(BlisError, match="at least one trace"):
        fit_physics({})


def test_a_given_model_beats_the_header(traces: dict[str, Trace]) -> None:
    found = fit_physics({"8b": traces["8b"]}, [DeploymentSpec(model="qwen3-14b")])
    assert found.deployment.model == "qwen3-14b"
