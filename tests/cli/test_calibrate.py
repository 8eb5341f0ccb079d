"""``blis calibrate``: two runs of one workload, the second on a slower cluster."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

Run = Callable[..., Result]
Refused = Callable[..., list[str]]

FAST = ("--latency-model", "alpha-beta", "--alpha-coeffs", "0,0,0", "--beta-coeffs", "8000,20,10")
SLOW = (*FAST[:-1], "12000,30,15")


@pytest.fixture
def traces(blis: Run) -> tuple[str, str]:
    """Prefixes of the traces of both runs."""
    for name, latency in (("real", FAST), ("slow", SLOW)):
        assert blis("simulate", "spec.yaml", *latency, "--trace-out", name, "-q").exit_code == 0
    return "real", "slow"


def test_a_run_against_itself_is_perfect(blis: Run, traces: tuple[str, str]) -> None:
    result = blis("calibrate", "real", "real.csv", "--json", "--fail-below", "excellent")
    assert result.exit_code == 0
    data = json.loads(result.stdout)
    assert data["rating"] == "excellent"
    assert data["overall"]["ttft_us"]["mape"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert data["requests"]["calibrated"] == 40
    assert data["real"]["path"] == "real"
    assert data["simulated"]["path"] == "real.csv"
    assert set(data["slo_classes"]) == {"batch", "critical"}
    assert "history" not in data


def test_steps_half_as_long_again_make_latencies_so(blis: Run, traces: tuple[str, str]) -> None:
    result = blis("calibrate", *traces)
    assert result.exit_code == 0
    lines = {line.split()[0]: line.split() for line in result.stdout.splitlines() if line.strip()}
    assert 45 < float(lines["TPOT"][2]) < 70
    assert "By group" in result.stdout
    assert "This compares two simulations" not in result.stderr


def test_files(blis: Run, folder: Path, traces: tuple[str, str]) -> None:
    result = blis("calibrate", *traces, "--calibration-output", "out.json", "--html", "out.html", "--json")
    assert (folder / "out.json").read_text() == result.stdout
    page = (folder / "out.html").read_text()
    assert "Known limitations" in page
    assert "plotly-graph-div" in page


def test_numbers_that_steer_the_comparison(blis: Run, traces: tuple[str, str]) -> None:
    result = blis("calibrate", *traces, "--warm-up-requests", "5", "--resamples", "20", "--seed", "3", "--json")
    data = json.loads(result.stdout)
    assert data["requests"]["excluded"]["warm_up"] == 5
    assert data["requests"]["calibrated"] == 35
    assert (data["bootstrap"]["resamples"], data["bootstrap"]["seed"]) == (20, 3)


def test_without_a_simulated_trace_it_is_simulated(blis: Run, traces: tuple[str, str]) -> None:
    data = json.loads(blis("calibrate", "real", "--json").stdout)
    assert (data["rating"], data["simulated"]["mode"], data["matched_by"]) == ("excellent", "replayed", "request_id")
    slower = json.loads(blis("calibrate", "real", *SLOW, "--json").stdout)
    assert slower["rating"] == "poor"
    assert slower["overall"]["e2e_us"]["bias"]["direction"] == "over"


def test_a_network_for_all_clients(blis: Run, folder: Path, traces: tuple[str, str]) -> None:
    blis("simulate", "spec.yaml", *FAST, "--trace-out", "again", "-q")
    header = folder / "real.yaml"
    header.write_text(header.read_text().replace("mode: simulated", "mode: real"))
    result = blis("calibrate", "real", "again", "--rtt-ms", "10", "--bandwidth-mbps", "0.8", "--json")
    overall = json.loads(result.stdout)["overall"]
    # A token takes 40 µs: prompts of 200 or 1000, outputs of 20 or 50.
    assert 18_000 < overall["ttft_us"]["bias"]["size"]["value"] < 50_000
    assert 800 <= overall["e2e_us"]["bias"]["size"]["value"] - overall["ttft_us"]["bias"]["size"]["value"] <= 2000


@pytest.mark.parametrize(("rating", "code"), [("poor", 0), ("good", 3)])
def test_a_rating_below_what_is_asked_for_fails(blis: Run, traces: tuple[str, str], rating: str, code: int) -> None:
    result = blis("calibrate", *traces, "--fail-below", rating)
    assert result.exit_code == code
    assert "Calibration" in result.stdout
    assert ("blis: the rating is poor, below good" in result.stderr) == (code == 3)


def test_history(blis: Run, folder: Path, traces: tuple[str, str]) -> None:
    blis("calibrate", "real", "real", "--history", "kept")
    result = blis("calibrate", *traces, "--history", "kept", "--json")
    history = json.loads(result.stdout)["history"]
    assert [run["rating"] for run in history["runs"]] == ["excellent", "poor"]
    assert history["drift"]["ttft_us"]["worse"] is True
    assert len(list((folder / "kept").iterdir())) == 2
    shown = blis("calibrate", "--history", "kept", "--fail-below", "fair")
    assert shown.exit_code == 3
    assert "worse, beyond its interval" in shown.stdout
    assert json.loads(blis("calibrate", "--history", "kept", "--json").stdout) == {"history": history}


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((), "name an observed trace and a simulated one: blis calibrate REAL SIM"),
        (("real", "slow", "--tp", "2"), "--tp: slow was simulated already; leave out one of them"),
        (
            ("real", "--num-instances", "0"),
            "command line: --num-instances: must be a whole number in [1, 100000], found 0",
        ),
        (("real", "nowhere"), "nowhere: no header of a trace: nowhere.yaml or nowhere.yml not found"),
        (("real", "slow", "--html", "no/out.html"), "--html no/out.html: no doesn't exist; make it first"),
        (
            ("real", "slow", "--calibration-output", "slow.csv"),
            "--calibration-output slow.csv: would overwrite slow.csv, which this run reads; choose another name",
        ),
        (
            ("real", "slow", "--fail-below", "god"),
            "--fail-below: unknown rating 'god' (did you mean 'good'?); allowed: excellent, good, fair, poor",
        ),
        (("real", "slow", "--rtt-ms", "-1"), "command line: --rtt-ms: must be a number >= 0, found -1.0"),
        (("real", "slow", "--resamples", "0"), "resamples must be a whole number from 1 to 10,000, found 0"),
        (("real", "slow", "--warm-up-requests", "-1"), "warm_up_requests must be a whole number >= 0, found -1"),
        (
            ("real", "slow", "--warm-up-requests", "40"),
            "nothing to compare: of 40 real requests, 40 in the warm-up; compare runs of one workload, or simulate"
            " this trace's own requests with 'blis replay'",
        ),
        (("--history", "kept"), "kept is no folder; 'blis calibrate REAL SIM --history kept' starts one"),
        (("--history", "."), ".: no calibration was kept in this folder yet"),
        (
            ("--history", "kept", "--html", "out.html"),
            "--html: there is no report without traces; name them: blis calibrate REAL SIM",
        ),
    ],
)
def test_refusals(refused: Refused, traces: tuple[str, str], arguments: tuple[str, ...], error: str) -> None:
    assert refused("calibrate", *arguments) == [error]


def test_plots_without_plotly_say_what_to_install(
    refused: Refused, traces: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    assert refused("calibrate", *traces, "--html", "out.html") == [
        "plots need plotly, which isn't installed: pip install plotly"
    ]
