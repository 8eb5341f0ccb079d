"""``blis metrics``, ``validate``, ``schema``, ``version`` and the help."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from typer.testing import Result

import blis as package
from blis.cli.group import COMMANDS

Run = Callable[..., Result]


class TestMetrics:
    @pytest.mark.parametrize("name", ["run", "run.csv", "run.yaml"])
    def test_json_is_that_of_the_run(self, blis: Run, name: str) -> None:
        simulated = blis("simulate", "spec.yaml", "--trace-out", "run", "--json")
        assert blis("metrics", name, "--json").stdout == simulated.stdout

    def test_the_report_is_that_of_the_run(self, blis: Run) -> None:
        simulated = blis("simulate", "spec.yaml", "--trace-out", "run").stdout.splitlines()
        again = blis("metrics", "run").stdout.splitlines()
        assert again[1] == "  Workload          run: 20 requests/s, at most 40 requests, from 2 clients"
        assert again[2:] == simulated[2:]

    def test_a_file(self, blis: Run, folder: Path) -> None:
        blis("simulate", "spec.yaml", "--trace-out", "run", "--metrics-out", "one.json")
        blis("metrics", "run", "--metrics-out", "two.json")
        assert (folder / "one.json").read_bytes() == (folder / "two.json").read_bytes()

    def test_a_trace_of_another_tool(self, blis: Run, repository: Path) -> None:
        result = blis("metrics", repository / "tests" / "data" / "traces" / "older27")
        assert result.exit_code == 0
        assert "Latency, ms" in result.stdout


class TestReport:
    def test_a_page_about_two_traces(self, blis: Run, folder: Path) -> None:
        blis("simulate", "spec.yaml", "--trace-out", "one", "-q")
        blis("simulate", "spec.yaml", "--num-instances", "2", "--trace-out", "two", "-q")
        result = blis("report", "one", "two.csv", "-o", "page.html")
        assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")
        page = (folder / "page.html").read_text()
        assert "<h2>one</h2>" in page
        assert "<h2>two.csv</h2>" in page

    def test_a_trace_is_not_overwritten(self, blis: Run, folder: Path) -> None:
        blis("simulate", "spec.yaml", "--trace-out", "one", "-q")
        before = (folder / "one.csv").read_bytes()
        result = blis("report", "one", "-o", "one.csv")
        assert result.exit_code != 0
        assert "--output one.csv: would overwrite one.csv" in result.stderr
        assert (folder / "one.csv").read_bytes() == before

    def test_no_such_trace(self, blis: Run, folder: Path) -> None:
        result = blis("report", "nowhere", "-o", "page.html")
        assert result.exit_code != 0
        assert "nowhere" in result.stderr
        assert not (folder / "page.html").exists()

    def test_plots_need_plotly(self, blis: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        blis("simulate", "spec.yaml", "--trace-out", "one", "-q")
        monkeypatch.setitem(sys.modules, "plotly.offline", None)
        result = blis("report", "one", "-o", "page.html")
        assert result.exit_code != 0
        assert "pip install plotly" in result.stderr
        assert not (folder / "page.html").exists()


class TestValidate:
    def test_all_kinds(self, blis: Run, folder: Path) -> None:
        (folder / "cluster.yaml").write_text("instances: 3\nhardware: L40S\n")
        blis("simulate", "spec.yaml", "--trace-out", "run", "-q")
        result = blis("validate", "spec.yaml", "cluster.yaml", "run", "run.yaml", "run.csv")
        assert result.exit_code == 0
        assert result.stdout.splitlines() == [
            "spec.yaml: ok, a workload of 2 clients",
            "cluster.yaml: ok, a deployment of 3 instances",
            "run: ok, a simulated trace of 40 requests",
            "run.yaml: ok, a simulated trace of 40 requests",
            "run.csv: ok, a simulated trace of 40 requests",
        ]
        assert result.stderr == ""

    def test_problems_of_all_files(self, blis: Run, folder: Path) -> None:
        (folder / "wrong.yaml").write_text("instances: 0\nhardwar: L40S\n")
        (folder / "run.yaml").write_text("trace_version: 2\nmode: simulatd\n")
        result = blis("validate", "wrong.yaml", "spec.yaml", "nowhere.yaml", "run.yaml")
        assert result.exit_code == 2
        assert result.stdout == "spec.yaml: ok, a workload of 2 clients\n"
        errors = [line.removeprefix("blis: error: ").split(": ")[:2] for line in result.stderr.splitlines()]
        assert errors == [
            ["wrong.yaml:1", "instances"],
            ["wrong.yaml:2", "hardwar"],
            ["nowhere.yaml", "cannot be read"],
            ["run.yaml", "no data of a trace"],
        ]

    def test_shapes_that_do_not_go_together(self, blis: Run, folder: Path) -> None:
        (folder / "cluster.yaml").write_text("instances: 3\ntp: 3\n")
        result = blis("validate", "cluster.yaml")
        assert result.stderr.startswith("blis: error: cluster.yaml:2: tp: 3 does not divide")

    def test_doubts_are_warnings(self, blis: Run, folder: Path) -> None:
        (folder / "spec.yaml").write_text(
            (folder / "spec.yaml").read_text().replace("rate_fraction: 0.3", "rate_fraction: 0")
        )
        result = blis("validate", "spec.yaml")
        assert result.exit_code == 0
        assert result.stderr.startswith("blis: warning: spec.yaml:17: clients[1].rate_fraction: is 0")

    def test_servegen_data_is_read(self, blis: Run, folder: Path, repository: Path) -> None:
        data = repository / "tests" / "data" / "servegen" / "faulty"
        (folder / "spec.yaml").write_text(f"num_requests: 5\nservegen_data: {{path: {data}, strict: true}}\n")
        result = blis("validate", "spec.yaml")
        assert result.exit_code == 2
        assert "chunk-" in result.stderr

    def test_shipped_specs(self, blis: Run, repository: Path) -> None:
        files = [*(repository / "specs").glob("*.yaml"), *(repository / "specs" / "deployments").glob("*.yaml")]
        assert len(files) > 6
        assert blis("validate", *files).exit_code == 0

    @pytest.mark.parametrize("folder_name", ["invalid", "invalid-deployments"])
    def test_shipped_mistakes_are_all_found(self, blis: Run, repository: Path, folder_name: str) -> None:
        files = sorted((repository / "specs" / folder_name).glob("*.yaml"))
        result = blis("validate", *files)
        assert result.exit_code == 2
        assert result.stdout == ""
        missed = [file.name for file in files if str(file) not in result.stderr]
        assert missed == []


class TestSchema:
    @pytest.mark.parametrize(
        ("kind", "specs"),
        [
            ("workload", "specs/demo.yaml"),
            ("deployment", "specs/deployments/demo.yaml"),
            ("server", "specs/servers/local.yaml"),
        ],
    )
    def test_a_shipped_spec_fits(self, blis: Run, repository: Path, kind: str, specs: str) -> None:
        schema: dict[str, Any] = json.loads(blis("schema", kind).stdout)
        jsonschema.Draft202012Validator.check_schema(schema)
        jsonschema.validate(yaml.safe_load((repository / specs).read_text()), schema)


class TestVersion:
    def test_in_short(self, blis: Run) -> None:
        assert blis("--version").stdout == f"blis {package.__version__}\n"

    def test_at_length(self, blis: Run) -> None:
        names = [line.split()[0] for line in blis("version").stdout.splitlines()]
        assert names[:3] == ["blis", "python", "numpy"]


class TestHelp:
    def test_of_the_program(self, blis: Run) -> None:
        result = blis("--help")
        assert result.exit_code == 0
        for name in COMMANDS:
            assert name in result.stdout

    @pytest.mark.parametrize("name", COMMANDS)
    def test_of_a_command(self, blis: Run, name: str) -> None:
        result = blis(name, "-h")
        assert result.exit_code == 0
        assert f"Usage: blis {name}" in result.stdout

    def test_panels_of_simulate(self, blis: Run) -> None:
        page = blis("simulate", "--help").stdout
        for title in ("Workload", "Cluster", "Each instance", "Admission and routing", "Step times", "Output"):
            assert f"─ {title}" in page
        assert "blis simulate --servegen DATA" in page

    def test_every_flag_says_what_it_takes(self) -> None:
        import typer

        from blis.cli import app

        root: Any = typer.main.get_command(app)
        bare = [
            f"{name} {parameter.name}"
            for name, command in root.commands.items()
            for parameter in command.params
            if not parameter.help or (parameter.metavar is None and not getattr(parameter, "is_flag", False))
        ]
        assert bare == []
