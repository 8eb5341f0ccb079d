"""How a run ends when it can't end well: interrupted, unread, a full disk, a bug."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from blis.errors import InternalError

Run = Callable[..., Result]

LONG = ("--rate", "5000", "--num-requests", "1e9", "--trace-out", "run")


@pytest.fixture
def environment(repository: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(repository)}


def shell(command: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command line of bash; ``blis`` stands for the program."""
    text = f'set -o pipefail; blis() {{ "{sys.executable}" -m blis "$@"; }}; {command}'
    return subprocess.run(
        ["bash", "-c", text], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60
    )


def replaced(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Let every simulation raise ``error``."""

    def fail(*arguments: Any, **settings: Any) -> None:
        raise error

    monkeypatch.setattr("blis.simulation.simulate", fail)


class TestInterrupted:
    def test_a_running_simulation(self, folder: Path, environment: dict[str, str]) -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", "blis", "simulate", "spec.yaml", *LONG],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        time.sleep(2.5)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=30)
        assert (process.returncode, stdout, stderr) == (130, "", "blis: interrupted\n")
        assert os.listdir(folder) == ["spec.yaml"]

    def test_while_files_are_written(self, blis: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupt(writer: Any, rows: Any) -> None:
            writer.write_names()
            raise KeyboardInterrupt

        (folder / "run.csv").write_text("an older trace")
        monkeypatch.setattr("blis.trace.store.RowWriter.write", interrupt)
        result = blis("simulate", "spec.yaml", "--trace-out", "run", "--metrics-out", "metrics.json")
        assert (result.exit_code, result.stdout, result.stderr) == (130, "", "blis: interrupted\n")
        assert sorted(os.listdir(folder)) == ["run.csv", "spec.yaml"]
        assert (folder / "run.csv").read_text() == "an older trace"

    def test_before_anything_is_loaded(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        from blis import __main__ as program

        def interrupt() -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(program, "_look_for_the_other_blis", interrupt)
        with pytest.raises(SystemExit) as exit_:
            program.main()
        assert exit_.value.code == 130
        assert capsys.readouterr().err == "blis: interrupted\n"


class TestStandardOutput:
    def test_nobody_reads_it(self, folder: Path, environment: dict[str, str]) -> None:
        # The reader has gone before the report comes.
        run = shell("blis simulate spec.yaml --trace-out run | true", folder, environment)
        assert (run.returncode, run.stderr) == (141, "")
        assert (folder / "run.csv").exists()

    def test_it_is_full(self, folder: Path, environment: dict[str, str]) -> None:
        run = shell("blis simulate spec.yaml --json > /dev/full", folder, environment)
        assert run.returncode == 2
        assert run.stderr == "blis: error: can't write to standard output: No space left on device\n"

    def test_it_is_closed(self, folder: Path, environment: dict[str, str]) -> None:
        run = shell("blis --version >&-", folder, environment)
        assert (run.returncode, run.stderr) == (0, "")

    def test_a_narrow_encoding(self, folder: Path, environment: dict[str, str]) -> None:
        (folder / "spec.yaml").write_text(
            (folder / "spec.yaml").read_text().replace("tenant_id: web", "tenant_id: Büro")
        )
        run = shell("PYTHONIOENCODING=ascii blis simulate spec.yaml", folder, environment)
        assert run.returncode == 0
        assert "B\\xfcro" in run.stdout


class TestBugs:
    def test_a_broken_invariant_asks_for_a_report(self, blis: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        replaced(monkeypatch, InternalError("request 7 was lost (seed 42)"))
        result = blis("simulate", "spec.yaml")
        assert result.exit_code == 70
        assert result.stdout == ""
        assert result.stderr.startswith(
            "blis: internal error: request 7 was lost (seed 42)\n"
            "This is a bug in blis, not in your input. Please report it"
        )

    def test_any_other_exception_too(self, blis: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        replaced(monkeypatch, ZeroDivisionError("division by zero"))
        result = blis("simulate", "spec.yaml")
        assert result.exit_code == 70
        assert result.stderr.startswith("blis: internal error: ZeroDivisionError: division by zero\n")

    def test_where_it_happened_is_there_on_request(
        self, folder: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from typer.testing import CliRunner

        from blis.cli import app

        replaced(monkeypatch, ZeroDivisionError("division by zero"))
        result = CliRunner().invoke(app, ["simulate", "spec.yaml"], env={"BLIS_DEBUG": "1"})
        assert result.exit_code == 70
        assert "Traceback" in result.stderr

    def test_a_lack_of_memory_is_none(self, blis: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        replaced(monkeypatch, MemoryError())
        result = blis("simulate", "spec.yaml")
        assert result.exit_code == 2
        assert result.stderr == (
            "blis: error: not enough memory for this run; fewer requests or a shorter horizon need less\n"
        )


def test_what_a_piped_run_does_not_need_is_not_loaded(folder: Path, environment: dict[str, str]) -> None:
    """The cold start of `blis simulate` depends on it."""
    late = ["rich", "pandas", "scipy.stats", "statsmodels", "pyarrow", "asyncio", "aiohttp", "plotly"]
    others = ["blis.cli.validate", "blis.cli.schema", "blis.cli.metrics", "blis.report.terminal"]
    code = (
        "import sys\nfrom blis.cli import app\n"
        "try:\n    app(['simulate', 'spec.yaml', '-q', '--metrics-out', 'm.json'])\n"
        f"except SystemExit:\n    print([name for name in {late + others!r} if name in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert run.stdout == "[]\n"
    assert (folder / "m.json").exists()
