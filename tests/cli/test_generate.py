"""``blis generate``."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from blis.trace import Trace

Run = Callable[..., Result]


def test_the_requests_are_those_of_a_simulation(blis: Run) -> None:
    blis("simulate", "spec.yaml", "--seed", "3", "--trace-out", "run", "-q")
    result = blis("generate", "spec.yaml", "--seed", "3", "--trace-out", "requests")
    assert result.exit_code == 0
    simulated, generated = Trace.read("run"), Trace.read("requests")
    assert generated.header.mode == "generated"
    assert generated.header.spec == simulated.header.spec
    for name in ("arrival_time_us", "client_id", "planned_output_tokens"):
        assert generated.column(name).tolist() == simulated.column(name).tolist()
    lines = result.stdout.splitlines()
    assert lines[:3] == ["Generated trace", "  Workload          spec.yaml", "  Trace             requests"]
    assert lines[3].startswith("  Requests          40 requests in ")
    tokens = (generated.column("prompt_tokens").sum(), generated.column("planned_output_tokens").sum())
    assert lines[4] == f"  Tokens            {tokens[0]:,} in prompts, {tokens[1]:,} planned in outputs"


def test_a_built_in_workload_without_a_word(blis: Run, folder: Path) -> None:
    result = blis("generate", "--workload", "chatbot", "--num-requests", "12", "--trace-out", "run.csv", "-q")
    assert (result.exit_code, result.output) == (0, "")
    assert len(Trace.read("run")) == 12
    assert '"command":' in (folder / "run.provenance.json").read_text()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("spec.yaml",), "--trace-out PREFIX is needed: it says where the trace goes"),
        (("spec.yaml", "--trace-out", "no/run"), "--trace-out no/run: no doesn't exist; make it first"),
        (("spec.yaml", "--trace-out", "spec"), "--trace-out spec: would overwrite spec.yaml, which this run reads;"),
        (("--trace-out", "run"), "no workload: give a SPEC file, a built-in one (--workload chatbot)"),
    ],
)
def test_refusals(refused: Callable[..., list[str]], arguments: tuple[str, ...], error: str) -> None:
    (line,) = refused("generate", *arguments)
    assert line.startswith(error)
    assert sorted(os.listdir()) == ["spec.yaml"]
