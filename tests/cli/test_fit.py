"""The command blis fit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from calibration.fitting import run

PHYSICS = ("busy", "--latency-model", "physics")


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fit")
    run(2.0, requests=120).write(folder / "busy")
    run(0.8, requests=120, seed=2).write(folder / "light")
    return folder


def test_fits_predicts_and_writes_a_model_that_simulate_takes(blis, traces: Path) -> None:
    model = traces / "model.yaml"
    done = blis("fit", traces / "busy", "--validate", traces / "light", "-o", model, "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert abs(found["held_out"][str(traces / "light")]["e2e_us"]["mean"]) < 0.03
    assert yaml.safe_load(model.read_text())["model"] == "fitted"
    again = blis("simulate", "--workload", "chatbot", "--rate", 1, "--num-requests", 5, "--latency-model", model)
    assert again.exit_code == 0, again.stderr


def test_the_report_begins_with_what_was_held_out(blis, traces: Path) -> None:
    done = blis("fit", traces / "busy", traces / "light", "--refine", 0)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("Held out")
    assert "us per decoding sequence" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name the traces to fit to"),
        (("missing",), "no header of a trace"),
        (("busy", "--hold-out", "1"), "--hold-out: must be a share from 0 to 0.9, found 1"),
        (("busy", "--latency-model", "roofline"), "allowed are fitted, alpha-beta, physics, found 'roofline'"),
        (("busy", "--models", "llama-3.1-8b"), "it belongs to --latency-model physics"),
        ((*PHYSICS, "--models", "a,b"), "names 2, but there are 1 traces"),
        ((*PHYSICS, "--models", "llama-9"), "unknown model 'llama-9'"),
        ((*PHYSICS, "--models", "llama-3.1-8b", "--model", "qwen3-14b"), "contradicts --model"),
        ((*PHYSICS, "--refine", "1"), "isn't refined"),
        (("--suggest-workload", "w.yaml"), "--suggest-workload needs --rate"),
    ],
)
def test_mistakes(blis, traces: Path, monkeypatch, arguments: tuple[str, ...], message: str) -> None:
    monkeypatch.chdir(traces)
    done = blis("fit", *arguments)
    assert done.exit_code == 2
    assert message in done.stderr


def test_a_suggested_workload_is_a_valid_spec(blis, tmp_path: Path) -> None:
    done = blis("fit", "--suggest-workload", tmp_path / "w.yaml", "--rate", 2, "--max-num-seqs", 16)
    assert done.exit_code == 0, done.stderr
    assert blis("validate", tmp_path / "w.yaml").exit_code == 0


def test_physics_of_two_models_predicts_another(blis, traces: Path) -> None:
    model = traces / "physics.yaml"
    asked = ("fit", traces / "busy", traces / "light", "--latency-model", "physics", "-o", model)
    done = blis(*asked, "--models", "llama-3.1-8b,qwen3-14b")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("Held out")
    assert "prefill_compute" in done.stdout
    data = yaml.safe_load(model.read_text())
    assert data["model"] == "physics"
    again = blis(
        "simulate", "--workload", "chatbot", "--rate", 1, "--num-requests", 5, "--latency-model", model,
        "--model", "mistral-nemo", "--uncertainty", "--draws", 20, "--json",
    )  # fmt: skip
    assert again.exit_code == 0, again.stderr
    assert json.loads(again.stdout)["uncertainty"]["figures"]["e2e_us"]["mean"]["low"] > 0
