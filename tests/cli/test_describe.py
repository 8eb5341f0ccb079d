"""``blis describe``."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from typer.testing import Result

Run = Callable[..., Result]


def test_a_workload(blis: Run) -> None:
    result = blis("describe", "spec.yaml", "--num-requests", "500")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[:2] == ["Traffic", "  Workload          spec.yaml"]
    assert lines[2].startswith("  Requests          500 requests in ")
    assert "  Clients           2 clients of 2 tenants; 1 sends half of the requests, 2 send 90 %" in lines
    (chat,) = (line.split() for line in lines if line.startswith("  chat"))
    assert chat[-2:] == ["200", "20"]
    titles = ("Burstiness", "Over time, per second from", "Lengths, tokens", "Fits", "Busiest clients")
    assert all(any(line.startswith(title) for line in lines) for title in titles)


def test_a_trace_says_what_its_workload_does(blis: Run) -> None:
    blis("generate", "spec.yaml", "--trace-out", "run", "-q")
    of_spec, of_trace = (json.loads(blis("describe", name, "--json").stdout) for name in ("spec.yaml", "run"))
    assert of_spec == of_trace
    assert of_spec["requests"] == 40
    assert blis("describe", "run.csv", "--top", "1").stdout.splitlines()[-1] == "  And 1 client more."


def test_a_long_workload_is_cut(blis: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blis.cli.describe._MOST", 30)
    result = blis("describe", "spec.yaml")
    assert result.stderr == (
        "blis: warning: spec.yaml: these are its first 30 requests; --num-requests takes more of them\n"
    )
    assert blis("describe", "spec.yaml", "--num-requests", "35").stderr == ""


@pytest.mark.parametrize("arguments", [("--horizon", "0"), ("--num-requests", "1"), ("--num-requests", "3")])
def test_hardly_any_requests(blis: Run, arguments: tuple[str, str]) -> None:
    assert blis("describe", "spec.yaml", *arguments).exit_code == 0
    assert blis("describe", "spec.yaml", *arguments, "--json").exit_code == 0


def test_refusals(blis: Run, refused: Callable[..., list[str]]) -> None:
    assert refused("describe", "spec.yaml", "--top", "-1") == ["command line: --top: must be at least 0, found -1"]
    blis("generate", "spec.yaml", "--trace-out", "run", "-q")
    assert refused("describe", "run", "--rate", "3", "--cv", "2") == [
        f"command line: {flag}: can't be used with a trace, whose requests are what they are"
        for flag in ("--rate", "--cv")
    ]
    assert refused("describe", "nothing.csv")[0].startswith("nothing.csv: no such file")
    assert refused("describe")[0].startswith("no workload")
