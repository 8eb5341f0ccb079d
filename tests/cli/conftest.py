"""Running the command line as a user does, in a folder of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from blis.cli import app

Run = Callable[..., Result]

TWO_CLIENTS = """\
version: "2"
seed: 7
aggregate_rate: 20
num_requests: 40
clients:
  - id: chat
    tenant_id: web
    slo_class: critical
    rate_fraction: 0.7
    arrival: {process: poisson}
    input_distribution: {type: constant, params: {value: 200}}
    output_distribution: {type: constant, params: {value: 20}}
    slo_targets: {ttft_us: 10s}
  - id: reports
    tenant_id: office
    slo_class: batch
    rate_fraction: 0.3
    arrival: {process: gamma, cv: 2}
    input_distribution: {type: constant, params: {value: 1000}}
    output_distribution: {type: constant, params: {value: 50}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder; it holds ``spec.yaml``, a workload of two clients."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spec.yaml").write_text(TWO_CLIENTS)
    return tmp_path


@pytest.fixture
def blis(folder: Path) -> Run:
    """Run a command; every run must end without a traceback and with an exit code that has a meaning."""

    def run(*arguments: object) -> Result:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="blis")
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert "Traceback" not in result.output
        assert result.exit_code in (0, 2, 3, 70, 130), result.output
        return result

    return run


@pytest.fixture
def simulated(blis: Run) -> Callable[..., dict[str, Any]]:
    """Simulate with ``--json`` and return the object; standard output must hold nothing else."""

    def run(*arguments: object) -> dict[str, Any]:
        result = blis("simulate", *arguments, "--json")
        assert result.exit_code == 0, result.stderr
        data: dict[str, Any] = json.loads(result.stdout)
        return data

    return run


@pytest.fixture
def refused(blis: Run) -> Callable[..., list[str]]:
    """Run what must be refused, and return the lines of the errors without their mark."""

    def run(*arguments: object) -> list[str]:
        result = blis(*arguments)
        assert result.exit_code == 2, result.output
        assert result.stdout == ""
        mark = "blis: error: "
        return [line.removeprefix(mark) for line in result.stderr.splitlines() if line.startswith(mark)]

    return run
