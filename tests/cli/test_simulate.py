"""``blis simulate``: what is run, and where the results go."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from blis.spec.overrides import FLAGS, flag
from blis.trace import Trace

Run = Callable[..., Result]
Simulated = Callable[..., dict[str, Any]]

LENGTHS = {
    "distribution": (512, 512),
    "chatbot": (256, 256),
    "summarization": (4096, 512),
    "contentgen": (1024, 1024),
    "multidoc": (10240, 1536),
}
"""Mean prompt and output tokens of the built-in workloads."""


def column(prefix: str, name: str) -> list[Any]:
    values: list[Any] = Trace.read(prefix).column(name).tolist()
    return values


class TestWhatIsRun:
    def test_a_spec(self, simulated: Simulated) -> None:
        data = simulated("spec.yaml")
        assert data["conservation"]["completed"] == 40
        assert data["run"]["seed"] == 7
        assert set(data["clients"]) == {"chat", "reports"}

    def test_a_spec_by_flag(self, simulated: Simulated) -> None:
        assert simulated("--workload-spec", "spec.yaml") == simulated("spec.yaml")
        assert simulated("spec.yaml", "--workload-spec", "./spec.yaml") == simulated("spec.yaml")

    def test_workload_spec_wins_over_workload(self, blis: Run) -> None:
        result = blis("simulate", "--workload", "chatbot", "--workload-spec", "spec.yaml", "--json")
        assert set(json.loads(result.stdout)["clients"]) == {"chat", "reports"}
        assert result.stderr == (
            "blis: warning: --workload chatbot isn't used, since --workload-spec spec.yaml wins over it\n"
        )

    @pytest.mark.parametrize("name", LENGTHS)
    def test_built_in_workloads(self, blis: Run, name: str) -> None:
        assert blis("simulate", "--workload", name, "--rate", 4, "--trace-out", "run", "-q").exit_code == 0
        inputs, outputs = column("run", "input_tokens"), column("run", "output_tokens")
        assert len(inputs) == 100
        # A mean of 100 draws is within 15 % of it for all of them, spread and clipping included.
        assert sum(inputs) / 100 == pytest.approx(LENGTHS[name][0], rel=0.15)
        assert sum(outputs) / 100 == pytest.approx(LENGTHS[name][1], rel=0.15)
        assert column("run", "arrival_time_us")[:3] == [250_000, 500_000, 750_000]

    def test_distribution_is_the_default_shape(self, simulated: Simulated) -> None:
        shape = ("--rate", 5, "--num-requests", 10)
        assert simulated(*shape) == simulated("--workload", "distribution", *shape)

    def test_every_flag_of_lengths(self, blis: Run) -> None:
        prompt = ("--prompt-tokens", 100, "--prompt-tokens-stdev", 30, "--prompt-tokens-min", 90)
        output = ("--output-tokens", 20, "--output-tokens-stdev", 30, "--output-tokens-min", 15)
        limits = ("--prompt-tokens-max", 110, "--output-tokens-max", 25)
        blis("simulate", "--workload", "distribution", *prompt, *output, *limits, "--trace-out", "run", "-q")
        inputs, outputs = column("run", "input_tokens"), column("run", "output_tokens")
        assert (min(inputs), max(inputs)) == (90, 110)
        assert (min(outputs), max(outputs)) == (15, 25)

    def test_prefix_and_arrival(self, blis: Run) -> None:
        shape = ("--prefix-tokens", 640, "--arrival", "gamma", "--cv", 3, "--rate", 10)
        assert blis("simulate", "--workload", "chatbot", *shape, "--trace-out", "run", "-q").exit_code == 0
        assert set(column("run", "prefix_length")) == {640}
        arrivals = column("run", "arrival_time_us")
        gaps = [later - earlier for earlier, later in pairwise(arrivals)]
        assert len(set(gaps)) > 50

    def test_flags_override_the_spec(self, simulated: Simulated) -> None:
        data = simulated("spec.yaml", "--seed", 9, "--num-requests", 1000, "--horizon", "2s", "--rate", 50)
        assert data["run"]["seed"] == 9
        assert data["run"]["horizon_us"] == 2_000_000
        assert data["run"]["aggregate_rate"] == 50
        assert 50 < data["conservation"]["injected"] < 160

    def test_times_are_microseconds_or_have_a_unit(self, simulated: Simulated) -> None:
        assert simulated("spec.yaml", "--horizon", "1500000") == simulated("spec.yaml", "--horizon", "1.5s")

    def test_whole_numbers_may_have_an_exponent(self, simulated: Simulated) -> None:
        assert simulated("spec.yaml", "--num-requests", "1e1")["conservation"]["injected"] == 10

    def test_a_cut_run(self, simulated: Simulated) -> None:
        data = simulated("spec.yaml", "--horizon", "1s", "--cut-at-horizon")
        counts = data["conservation"]
        assert counts["running"] + counts["queued"] > 0
        assert data["span_us"] <= 1_000_000


class TestCluster:
    def test_a_deployment_file_and_flags(self, simulated: Simulated, folder: Path) -> None:
        (folder / "cluster.yaml").write_text("instances: 3\nmodel: qwen2.5-7b\nhardware: L40S\n")
        deployment = simulated("spec.yaml", "--deployment", "cluster.yaml", "--hardware", "h100")["run"]["deployment"]
        assert (deployment["instances"], deployment["model"], deployment["hardware"]) == (3, "qwen2.5-7b", "h100")

    def test_every_override_has_a_flag(self, blis: Run) -> None:
        """Rich would break long names over lines, so the page is made as wide as it needs."""
        result = blis("simulate", "--help")
        missing = [name for name in FLAGS if flag(name) not in result.stdout]
        assert missing == []

    @pytest.mark.parametrize(
        ("arguments", "place", "value"),
        [
            (("--num-instances", 2), ("instances",), 2),
            (("--tp", 2), ("tp",), 2),
            (("--max-num-seqs", 8), ("max_num_seqs",), 8),
            (("--max-num-batched-tokens", 512), ("max_num_batched_tokens",), 512),
            (("--block-size", 32), ("block_size",), 32),
            (("--total-kv-blocks", 5000), ("total_kv_blocks",), 5000),
            (("--gpu-memory-utilization", 0.8), ("gpu_memory_utilization",), 0.8),
            (("--long-prefill-token-threshold", 256), ("long_prefill_token_threshold",), 256),
            (("--max-model-len", 4096), ("max_model_len",), 4096),
            (("--scheduler", "sjf"), ("scheduler",), "sjf"),
            (("--priority-policy", "constant"), ("priority_policy",), "constant"),
            (("--preemption", "priority"), ("preemption",), "priority"),
            (("--async-scheduling",), ("async_scheduling",), True),
            (("--latency-model", "roofline"), ("latency", "model"), "roofline"),
            (("--admission-latency", "2ms"), ("admission", "latency_us"), 2000),
            (("--routing-policy", "least-loaded"), ("routing", "policy"), "least-loaded"),
            (("--routing-latency", "300"), ("routing", "latency_us"), 300),
            (("--snapshot-interval", "50ms"), ("routing", "snapshot_interval_us"), 50_000),
        ],
    )
    def test_flags_reach_the_deployment(
        self, simulated: Simulated, arguments: tuple[object, ...], place: tuple[str, ...], value: object
    ) -> None:
        found = simulated("spec.yaml", "--num-requests", 2, *arguments)["run"]["deployment"]
        for key in place:
            found = found[key]
        assert found == value

    def test_flags_that_belong_together(self, simulated: Simulated) -> None:
        bucket = ("--token-bucket-capacity", 5000, "--token-bucket-refill-rate", 100)
        admission = ("--admission-policy", "token-bucket", *bucket)
        routing = ("--routing-policy", "weighted", "--routing-scorers", "queue-depth:2,kv-utilization")
        steps = ("--latency-model", "alpha-beta", "--alpha-coeffs", "1,0,2.5", "--beta-coeffs", "1000,1,5")
        deployment = simulated("spec.yaml", "--num-requests", 2, *admission, *routing, *steps)["run"]["deployment"]
        assert deployment["admission"]["refill_rate"] == 100
        assert deployment["routing"]["scorers"] == {"queue-depth": 2, "kv-utilization": 1}
        assert deployment["latency"]["coefficients"] == {"alpha": [1, 0, 2.5], "beta": [1000, 1, 5]}


class TestServeGen:
    @pytest.fixture
    def data(self, repository: Path) -> Path:
        return repository / "tests" / "data" / "servegen" / "language"

    def test_a_folder(self, simulated: Simulated, data: Path) -> None:
        found = simulated("--servegen", data, "--span-end", 1200)
        assert found["run"]["horizon_us"] == 1_200_000_000
        assert all(client.startswith("chunk-") for client in found["clients"])

    def test_span_and_rate(self, simulated: Simulated, data: Path) -> None:
        found = simulated("--servegen", data, "--span-start", 600, "--span-end", 1200, "--rate", 2)
        assert found["run"]["horizon_us"] == 600_000_000
        assert found["conservation"]["injected"] == pytest.approx(1200, rel=0.15)

    def test_in_place_of_a_specs_folder(self, simulated: Simulated, folder: Path, data: Path) -> None:
        (folder / "measured.yaml").write_text(
            "num_requests: 5\nservegen_data: {path: nowhere, span_end: 600, normalize: none}\n"
        )
        assert simulated("measured.yaml", "--servegen", data)["conservation"]["injected"] == 5

    def test_what_cannot_be_used_is_named(self, blis: Run, repository: Path) -> None:
        faulty = repository / "tests" / "data" / "servegen" / "faulty"
        result = blis("simulate", "--servegen", faulty, "--num-requests", 3, "--json")
        assert result.exit_code == 0
        warnings = [line for line in result.stderr.splitlines() if line.startswith("blis: warning: ")]
        assert len(warnings) >= 4
        assert len(json.loads(result.stdout)["warnings"]) >= 4

    def test_strict_data_stops_the_run(self, blis: Run, repository: Path) -> None:
        faulty = repository / "tests" / "data" / "servegen" / "faulty"
        result = blis("simulate", "--servegen", faulty, "--num-requests", 3, "--strict")
        assert result.exit_code == 2
        assert result.stdout == ""
        assert "chunk-" in result.stderr


class TestResults:
    def test_the_report(self, blis: Run) -> None:
        lines = blis("simulate", "spec.yaml", "--num-instances", 2).stdout.splitlines()
        assert lines[0] == "Simulated run"
        assert "  Workload          spec.yaml: 20 requests/s, at most 40 requests, from 2 clients" in lines
        assert "  Deployment        2 instances of llama-3.1-8b on H100" in lines
        for title in ("Requests", "Latency, ms", "Service", "By group"):
            assert any(line.startswith(title) for line in lines), title
        for group in ("SLO class", "Tenant", "Instance"):
            assert group in lines

    def test_a_piped_report_is_plain(self, blis: Run) -> None:
        result = blis("simulate", "spec.yaml")
        assert result.stdout.isascii()
        assert "\x1b" not in result.stdout
        assert result.stderr == ""

    def test_equal_runs_give_equal_bytes(self, blis: Run, folder: Path) -> None:
        written = []
        for name in ("one", "two"):
            outputs = ("--trace-out", f"{name}/run", "--metrics-out", f"{name}/metrics.json")
            (folder / name).mkdir()
            report = blis("simulate", "spec.yaml", *outputs).stdout
            files = ("run.csv", "run.yaml", "run.itl.csv", "metrics.json")
            written.append((report, [(folder / name / file).read_bytes() for file in files]))
        assert written[0] == written[1]

    def test_metrics_out_is_what_json_prints(self, blis: Run, folder: Path) -> None:
        result = blis("simulate", "spec.yaml", "--json", "--metrics-out", "metrics.json")
        assert result.stdout == (folder / "metrics.json").read_text()

    def test_devices_and_links_stay_what_they_are(self, blis: Run, folder: Path) -> None:
        os.mkfifo(folder / "pipe")
        (folder / "link.json").symlink_to("target.json")
        reader = os.open(folder / "pipe", os.O_RDONLY | os.O_NONBLOCK)
        try:
            assert blis("simulate", "spec.yaml", "--metrics-out", "pipe", "-q").exit_code == 0
            assert os.read(reader, 20).startswith(b"{")
        finally:
            os.close(reader)
        assert (folder / "pipe").is_fifo()
        assert blis("simulate", "spec.yaml", "--metrics-out", "link.json", "-q").exit_code == 0
        assert (folder / "link.json").is_symlink()
        assert (folder / "target.json").read_text().startswith("{")

    def test_json_has_figures(self, simulated: Simulated) -> None:
        data = simulated("spec.yaml")
        assert data["overall"]["ttft_us"]["n"] == 40
        assert data["overall"]["ttft_us"]["p50"] > 0
        assert data["overall"]["slo"] == {
            "with_targets": data["clients"]["chat"]["requests"],
            "attainment": 1.0,
            "goodput_requests_per_s": data["overall"]["throughput"]["requests_per_s"],
            "goodput_tokens_per_s": data["overall"]["throughput"]["output_tokens_per_s"],
        }
        assert data["warnings"] == []

    def test_the_provenance_holds_the_command(self, blis: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.argv", ["/usr/bin/blis", "simulate", "my spec.yaml"])
        blis("simulate", "spec.yaml", "--trace-out", "run")
        provenance = json.loads((folder / "run.provenance.json").read_text())
        assert provenance["command"] == "blis simulate 'my spec.yaml'"

    def test_quiet_says_nothing(self, blis: Run, folder: Path) -> None:
        result = blis("simulate", "spec.yaml", "--num-requests", 0, "-q", "--trace-out", "run")
        assert (result.stdout, result.stderr) == ("", "")
        assert (folder / "run.csv").exists()

    def test_quiet_json_is_printed(self, blis: Run) -> None:
        result = blis("simulate", "spec.yaml", "--num-requests", 0, "--quiet", "--json")
        assert json.loads(result.stdout)["conservation"]["injected"] == 0
        assert result.stderr == ""

    def test_warnings_go_to_standard_error_once(self, blis: Run) -> None:
        result = blis("simulate", "spec.yaml", "--num-requests", 0)
        assert result.exit_code == 0
        assert result.stderr == (
            "blis: warning: spec.yaml:4: num_requests: is 0: no requests will be sent; leave num_requests out for no"
            " such limit\n"
        )
        assert "  Warnings          1, on standard error and in --json" in result.stdout.splitlines()

    def test_a_warning_about_no_file_names_the_workload(self, blis: Run) -> None:
        result = blis("simulate", "--workload", "chatbot", "--rate", 0)
        assert result.stderr.startswith("blis: warning: built-in workload chatbot: aggregate_rate: is 0")


FITTED = """\
model: fitted
coefficients: {alpha: [5000, 0, 0, 0], beta: [12000, 300, 2, 40, 0, 6000]}
validity:
  running: [1, 2]
  drift: 0.05
  covariance: [[0,0,0,0,0,0,0,0,0,0],[0,0,0,0,0,0,0,0,0,0],[0,0,0,0,0,0,0,0,0,0],[0,0,0,0,0,0,0,0,0,0],
               [0,0,0,0,10000,0,0,0,0,0],[0,0,0,0,0,0,0,0,0,0],[0,0,0,0,0,0,0,0,0,0],[0,0,0,0,0,0,0,0,0,0],
               [0,0,0,0,0,0,0,0,0,0],[0,0,0,0,0,0,0,0,0,0]]
"""


def test_a_fitted_model_outside_its_range_is_warned_about_once(blis: Run, folder: Path) -> None:
    (folder / "fitted.yaml").write_text(FITTED)
    result = blis("simulate", "spec.yaml", "--latency-model", "fitted.yaml", "--json")
    assert result.exit_code == 0
    assert result.stderr.count("1 to 2 sequences at once fitted") == 1
    assert sum("sequences at once fitted" in text for text in json.loads(result.stdout)["warnings"]) == 1


@pytest.mark.parametrize("command", ["simulate", "replay"])
def test_uncertainty_is_given_beside_the_figures(blis: Run, folder: Path, command: str) -> None:
    (folder / "fitted.yaml").write_text(FITTED)
    blis("simulate", "spec.yaml", "--latency-model", "fitted.yaml", "--trace-out", "run", "-q")
    what = {"simulate": "spec.yaml", "replay": "run"}[command]
    asked = (command, what, "--latency-model", "fitted.yaml", "--uncertainty", "--draws", 20, "--workers", 2)
    data = json.loads(blis(*asked, "--json").stdout)
    found = data["uncertainty"]
    assert (found["level"], found["draws"], found["draw_seed"], found["drift"]) == (0.95, 20, 0, 0.05)
    e2e = found["figures"]["e2e_us"]["p90"]
    assert e2e["low"] < e2e["value"] == data["overall"]["e2e_us"]["p90"] < e2e["high"]
    assert found["figures"]["throughput"]["requests_per_s"]["low"] > 0
    shown = blis(*asked)
    assert shown.exit_code == 0, shown.stderr
    report = shown.stdout
    assert "95 % prediction interval" in report
    assert "the server's pace drifts by" in report


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--uncertainty",), "trained-physics, doesn't say how sure its coefficients are"),
        (("--draws", "50"), "--draws: needs --uncertainty"),
        (("--uncertainty", "--draws", "5", "--latency-model", "fitted.yaml"), "needs 20 draws or more, found 5"),
    ],
)
def test_mistakes_about_uncertainty(blis: Run, folder: Path, flags: tuple[str, ...], message: str) -> None:
    (folder / "fitted.yaml").write_text(FITTED)
    result = blis("simulate", "spec.yaml", *flags)
    assert result.exit_code == 2
    assert message in result.stderr
