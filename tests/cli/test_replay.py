"""``blis replay``, the workload ``traces`` of ``blis simulate``, and ``blis trace convert``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

Run = Callable[..., Result]
Refused = Callable[..., list[str]]

SMALL = ("--num-instances", 2, "--hardware", "L40S")


@pytest.fixture
def foreign(repository: Path) -> Path:
    return repository / "tests" / "data" / "foreign"


@pytest.fixture
def recorded(blis: Run, folder: Path) -> Path:
    """A trace of the folder's workload, under the prefix ``run``."""
    assert blis("simulate", "spec.yaml", *SMALL, "--trace-out", "run", "--quiet").exit_code == 0
    return folder / "run"


def rows(folder: Path, prefix: str) -> bytes:
    return (folder / f"{prefix}.csv").read_bytes()


@pytest.mark.parametrize("given", ["run", "run.csv", "run.yaml"])
def test_the_same_deployment_gives_the_same_trace(blis: Run, recorded: Path, folder: Path, given: str) -> None:
    result = blis("replay", given, *SMALL, "--trace-out", "again")
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    assert "Replayed run\n" in result.stdout
    assert f"replay of {given}" in result.stdout
    assert rows(folder, "again") == rows(folder, "run")


@pytest.mark.parametrize("first", [("--workload", "traces"), ()])
def test_simulate_takes_traces_too(blis: Run, recorded: Path, folder: Path, first: tuple[str, ...]) -> None:
    (folder / "run.yaml").rename(folder / "elsewhere.yaml")
    flags = ("--workload-traces-filepath", "run.csv", "--trace-header", "elsewhere.yaml")
    assert blis("simulate", *first, *flags, *SMALL, "--trace-out", "again").exit_code == 0
    assert rows(folder, "again") == rows(folder, "run")


def test_flags_change_the_pace_and_the_end(blis: Run, recorded: Path) -> None:
    flags = ("--speed", 4, "--open-loop", "--intended", "--num-requests", 9, "--horizon", "1h", "--seed", 5, "--json")
    data = json.loads(blis("replay", "run", *flags).stdout)
    assert data["run"]["replay"] == {
        "of": "simulated", "speed": 4.0, "open_loop": True, "intended": True, "skipped": 0, "unsent_rounds": 0,
    }  # fmt: skip
    assert data["conservation"]["injected"] == 9
    assert data["run"]["seed"] == 5


def test_a_replay_may_be_cut(blis: Run, recorded: Path) -> None:
    data = json.loads(blis("replay", "run", "--horizon", "1s", "--cut-at-horizon", "--json").stdout)
    assert data["conservation"]["running"] > 0


@pytest.mark.parametrize(
    ("name", "requests"), [("azure.csv", 5), ("vidur.csv", 4), ("mooncake.jsonl", 5), ("token-lists.csv", 4)]
)
def test_other_formats(blis: Run, foreign: Path, name: str, requests: int) -> None:
    data = json.loads(blis("replay", foreign / name, "--json").stdout)
    assert data["conservation"]["completed"] == requests
    assert data["warnings"] == []


def test_warnings_name_the_trace(blis: Run, foreign: Path) -> None:
    trace = foreign / "burstgpt.csv"
    warning = f"{trace}: the output lengths of 1 of 5 requests aren't known: those are left out"
    result = blis("replay", trace, "--json")
    assert result.stderr == f"blis: warning: {warning}\n"
    assert json.loads(result.stdout)["warnings"] == [warning]
    assert blis("replay", trace, "--quiet").output == ""


class TestConvert:
    def test_another_format(self, blis: Run, folder: Path, foreign: Path) -> None:
        result = blis("trace", "convert", foreign / "mooncake.jsonl", "moon")
        assert result.stdout == "moon: a generated trace of 5 requests, prompts of 4 in segments\n"
        assert {path.name for path in folder.glob("moon*")} == {
            "moon.csv", "moon.yaml", "moon.segments.jsonl", "moon.provenance.json",
        }  # fmt: skip
        one, other = (
            json.loads(blis("replay", trace, "--json").stdout) for trace in (foreign / "mooncake.jsonl", "moon")
        )
        assert one["overall"] == other["overall"]

    def test_an_older_form(self, blis: Run, folder: Path, repository: Path) -> None:
        older = repository / "tests" / "data" / "traces" / "older22.csv"
        assert blis("trace", "convert", older, "newer").stdout == "newer: a generated trace of 2 requests\n"
        assert len((folder / "newer.csv").read_text().splitlines()[0].split(",")) > 27
        assert blis("validate", "newer", older).exit_code == 0

    def test_help_names_the_commands(self, blis: Run) -> None:
        assert "convert" in blis("trace", "--help").stdout
        assert "Usage: blis trace convert" in blis("trace", "convert", "--help").stdout


class TestRefusals:
    def test_all_flags_at_once(self, refused: Refused) -> None:
        assert refused("replay", "run", "--speed", 0, "--seed", -1, "--horizon", "soon", "--num-requests", 1.5)[-1] == (
            "command line: --num-requests: must be a whole number, found '1.5'"
        )
        assert refused("replay", "run", "--speed", 0, "--seed", -1, "--horizon", "soon", "--cut-at-horizon") == [
            "command line: --speed: must be a number > 0, found 0.0",
            "command line: --seed: must be a whole number >= 0, found -1",
            "command line: --horizon: must be a time >= 0: whole microseconds, or text with a unit such as '60s' or "
            "'10ms', found 'soon'; units are us, ms, s, min and h",
        ]
        assert refused("replay", "run", "--cut-at-horizon") == [
            "command line: --cut-at-horizon: there is no horizon to cut at; give one"
        ]

    def test_no_trace(self, refused: Refused) -> None:
        assert refused("replay") == ["Missing argument 'TRACE'."]
        assert refused("replay", "nothing.csv") == ["nothing.csv: no such file"]
        assert refused("simulate", "--workload", "traces") == [
            "--workload traces: say which trace to replay: --workload-traces-filepath TRACE"
        ]
        assert refused("replay", "spec.yaml")[0].startswith("spec.yaml: no data of a trace")

    def test_flags_that_a_trace_leaves_no_room_for(self, refused: Refused) -> None:
        trace = ("--workload", "traces", "--workload-traces-filepath", "run")
        assert refused("simulate", *trace, "--prompt-tokens", 5, "--cv", 2) == [
            "command line: --prompt-tokens: can't be used here: a trace has lengths and arrivals of its own",
            "command line: --cv: can't be used here: a trace has lengths and arrivals of its own",
        ]
        assert refused("simulate", *trace, "--rate", 5) == [
            "command line: --rate: can't be used here: a trace has arrivals of its own; 'blis replay TRACE --speed 2'"
            " plays it twice as fast"
        ]
        assert refused("simulate", *trace, "spec.yaml") == [
            "command line: --workload traces: spec.yaml is a workload too; leave one of them out"
        ]

    def test_a_trace_beside_another_workload(self, refused: Refused) -> None:
        why = "can't be used here: the workload is another one; --workload traces replays a trace"
        assert refused("simulate", "spec.yaml", "--workload-traces-filepath", "run", "--trace-header", "run.yaml") == [
            f"command line: --workload-traces-filepath: {why}",
            f"command line: --trace-header: {why}",
        ]

    def test_generate_has_nothing_to_generate(self, refused: Refused) -> None:
        (error,) = refused("generate", "--workload", "traces", "--trace-out", "x")
        assert error == "--workload traces: a trace has its requests already; blis simulate and blis replay send them"

    def test_nothing_that_is_read_is_overwritten(self, blis: Run, refused: Refused, recorded: Path) -> None:
        error = "would overwrite run.{}, which this run reads; choose another name"
        rows, parquet = error.format("csv"), error.format("parquet")
        assert refused("replay", "run", "--trace-out", "run") == [f"--trace-out run: {rows}"]
        assert refused("trace", "convert", "run.csv", "run") == [f"OUT run: {rows}"]
        assert refused("trace", "convert", "run", "run.parquet") == [f"OUT run.parquet: {parquet}"]

    def test_broken_traces(self, folder: Path, refused: Refused) -> None:
        (folder / "a.csv").write_text("TIMESTAMP,ContextTokens,GeneratedTokens\nnoon,1,2\n")
        assert refused("replay", "a.csv") == [
            "a.csv:2: column 1 (TIMESTAMP): found 'noon'; allowed is a date and time such as 2023-11-16 18:15:46.680590"
        ]
        (folder / "b.csv").write_text("when,what\n1,2\n")
        assert refused("replay", "b.csv")[0].startswith("b.csv:1: no known format of a trace; found the columns 'when'")
        assert refused("validate", "b.csv")[0].startswith("b.csv:1: no known format of a trace")
