"""Latency models in a deployment: by name, with coefficients, or from the file of a fitted one."""

from __future__ import annotations

from pathlib import Path

import pytest

from blis.errors import SpecError
from blis.spec.catalogue import physics_coefficients
from blis.spec.deployment import LatencySpec, PhysicsSpec, deployment_from_dict, load_deployment

FITTED = """\
model: physics
physics:
  weights: 1.25
  step_us: 1500
provenance:
  source: ten minutes of load on a test server
"""


def resolved(folder: Path, text: str, model: str = "fit.yaml") -> LatencySpec:
    (folder / "fit.yaml").write_text(text)
    (folder / "deployment.yaml").write_text(f"latency: {{model: {model}}}\n")
    return load_deployment(folder / "deployment.yaml").resolve()[0].latency


def test_physics_has_coefficients_of_its_own() -> None:
    own = PhysicsSpec().model_dump()
    assert own == dict(physics_coefficients())
    assert deployment_from_dict({"latency": {"model": "physics"}}).resolve()[0].latency == LatencySpec(
        "physics", physics=PhysicsSpec()
    )


def test_a_fitted_model_is_found_beside_the_deployment(tmp_path: Path) -> None:
    latency = resolved(tmp_path, FITTED)
    assert latency == LatencySpec("physics", physics=PhysicsSpec(weights=1.25, step_us=1500))
    assert resolved(tmp_path, FITTED, model="./fit.yaml") == latency
    assert resolved(tmp_path, FITTED, model=str(tmp_path / "fit.yaml")) == latency


def test_a_file_may_hold_any_model(tmp_path: Path) -> None:
    text = "model: alpha-beta\ncoefficients: {alpha: [1, 2, 3], beta: [4, 5, 6]}\n"
    assert resolved(tmp_path, text) == LatencySpec("alpha-beta", (1, 2, 3), (4, 5, 6))
    assert resolved(tmp_path, "model: roofline\n") == LatencySpec("roofline")


def test_a_deployment_with_a_file_round_trips(tmp_path: Path) -> None:
    resolved(tmp_path, FITTED)
    spec = load_deployment(tmp_path / "deployment.yaml")
    again = deployment_from_dict(spec.to_dict(), tmp_path)
    assert again.resolve() == spec.resolve()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "",
            "fit.yaml: the file is empty; expected a mapping with the keys model, coefficients, ph",
        ),
        ("physics: {weights: 1}\n", "fit.yaml:1: model: missing; expected one of trained-physics, roofline, "),
        (
            "model: other.yaml\n",
            "fit.yaml:1: model: must be one of trained-physics, roofline, alpha-beta, physics, fitted here",
        ),
        ("model: physics\nphysics:\n  weights: .inf\n", "fit.yaml:3: physics.weights: must be a finite number >= 0"),
        ("model: physics\nweights: 1\n", "fit.yaml:2: weights: unknown key 'weights'"),
        ("model: roofline\nphysics: {}\n", "fit.yaml:2: physics: only the model physics uses them"),
        ("model: alpha-beta\ncoefficients: {alpha: [1, 2, 3]}\n", "fit.yaml:2: coefficients.beta: missing"),
    ],
)
def test_a_wrong_file_is_refused_by_its_own_lines(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        resolved(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path}/deployment.yaml:1: latency: {tmp_path}/{message}")


def test_coefficients_stay_with_the_file(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"the coefficients of fit\.yaml are given by its file; remove these"):
        deployment_from_dict({"latency": {"model": "fit.yaml", "coefficients": {"alpha": [1, 2, 3]}}})
    with pytest.raises(SpecError, match=r"only the model physics uses them, but the model is fit\.yaml"):
        deployment_from_dict({"latency": {"model": "fit.yaml", "physics": {"weights": 1}}})


def test_text_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "fit.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(SpecError, match="isn't text in UTF-8: invalid start byte"):
        deployment_from_dict({"latency": {"model": "fit.yaml"}}, tmp_path).resolve()


def test_a_flag_replaces_the_model_and_what_belonged_to_it(tmp_path: Path) -> None:
    spec = deployment_from_dict({"latency": {"model": "physics", "physics": {"weights": 2.0}}})
    assert spec.with_overrides(latency_model="roofline").resolve()[0].latency == LatencySpec("roofline")
    (tmp_path / "fit.yaml").write_text(FITTED)
    flagged = spec.with_overrides(latency_model=str(tmp_path / "fit.yaml")).resolve()[0].latency
    assert flagged.physics == PhysicsSpec(weights=1.25, step_us=1500)
