"""What is wrong is said in one clear line each, with exit code 2, before anything is run or written."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

Run = Callable[..., Result]
Refused = Callable[..., list[str]]

HERE = "command line: "


@pytest.mark.parametrize(
    ("arguments", "errors"),
    [
        (
            ("spec.yaml", "--workload", "chatbot"),
            ["--workload chatbot: spec.yaml is a workload too; leave one of them out"],
        ),
        (
            ("spec.yaml", "--workload-spec", "other.yaml"),
            ["--workload-spec: is other.yaml, but SPEC is spec.yaml; leave one of them out"],
        ),
        (
            ("spec.yaml", "--prompt-tokens", "5", "--cv", "2"),
            [
                f"{flag}: can't be used here: spec.yaml says this itself; change it there, or use --workload in place"
                " of the spec"
                for flag in ("--prompt-tokens", "--cv")
            ],
        ),
        (
            ("spec.yaml", "--servegen", "data"),
            [
                "--servegen: can't be used here: spec.yaml has clients and no servegen_data; to run both together, add"
                " servegen_data to the file"
            ],
        ),
        (
            ("--workload", "chatbot", "--span-end", "60"),
            [
                "--span-end: can't be used here: the built-in workload chatbot has no ServeGen data; give --servegen"
                " FOLDER"
            ],
        ),
        (
            ("--workload", "chatbot", "--servegen", "data"),
            ["--servegen: --workload chatbot is another workload; leave one of them out"],
        ),
        (
            ("--servegen", "data", "--arrival", "poisson"),
            ["--arrival: can't be used here: --servegen has lengths and arrivals of its own"],
        ),
        (
            ("spec.yaml", "--routing-scorers", "queue-depth:1"),
            [
                "--routing-scorers: only the policy weighted uses scorers, but the policy is round-robin; remove one of"
                " them"
            ],
        ),
        (
            ("spec.yaml", "--token-bucket-capacity", "10"),
            [
                "--token-bucket-capacity: only the policy token-bucket uses it, but the policy is always; remove one of"
                " them"
            ],
        ),
        (
            ("--workload", "chatbot", "--prompt-tokens", "5000"),
            ["--prompt-tokens: is 5000, beyond the workload's own limit of 800; give --prompt-tokens-max too"],
        ),
        (
            ("--workload", "chatbot", "--cv", "2"),
            [
                "--cv: the cv of a constant process is always 0; leave it out, or choose gamma or weibull; found 2.0",
            ],
        ),
    ],
)
def test_contradictions(refused: Refused, arguments: tuple[str, ...], errors: list[str]) -> None:
    assert refused("simulate", *arguments) == [f"{HERE}{error}" for error in errors]


def test_a_total_rate_contradicts_rates_of_their_own(refused: Refused, folder: Path) -> None:
    text = (folder / "spec.yaml").read_text().replace("aggregate_rate: 20\n", "")
    (folder / "own.yaml").write_text(text.replace("rate_fraction: 0.7", "rate: 3").replace("rate_fraction", "rate"))
    assert refused("simulate", "own.yaml", "--rate", 5) == [
        "command line: --rate: is a total for clients to share, but own.yaml gives them rates of their own"
        " (clients[0].rate is 3); change those, or give each a rate_fraction in their place"
    ]


def test_pools_contradict_a_number_of_instances(refused: Refused, folder: Path) -> None:
    (folder / "pools.yaml").write_text("pools: [{name: a, instances: 2}, {name: b}]\n")
    (error,) = refused("simulate", "spec.yaml", "--deployment", "pools.yaml", "--num-instances", 2)
    assert error.startswith("command line: --num-instances: the deployment has pools")


def test_no_horizon_to_cut_at(refused: Refused) -> None:
    assert refused("simulate", "spec.yaml", "--cut-at-horizon") == [
        "--cut-at-horizon: the workload has no horizon to cut at; give --horizon"
    ]


def test_no_workload_at_all(refused: Refused) -> None:
    (error,) = refused("simulate", "--num-instances", 2)
    assert error.startswith("no workload: give a SPEC file, a built-in one (--workload chatbot)")


def test_data_without_an_end(refused: Refused) -> None:
    assert refused("simulate", "--servegen", "data") == [
        "--servegen: say how much of the data to run: --span-end, --horizon or --num-requests"
    ]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--tp", "x"), "--tp: must be a whole number, found 'x'"),
        (("--tp", "1.5"), "--tp: must be a whole number, found '1.5'"),
        (("--rate", "fast"), "--rate: must be a number, found 'fast'"),
        (("--rate", "-1"), "--rate: must be a number >= 0, found -1.0"),
        (("--rate", "nan"), "--rate: must be a finite number >= 0, found nan"),
        (("--num-requests", "1e400"), "--num-requests: must be a whole number, found '1e400'"),
        (("--seed", ""), "--seed: is empty; give a value, or leave it out"),
        (("--seed", "-4"), "--seed: must be a whole number >= 0, found -4"),
        (("--max-num-seqs", "0"), "--max-num-seqs: must be a whole number >= 1, found 0"),
        (
            ("--alpha-coeffs", "1,b,2"),
            "--alpha-coeffs: must be numbers with commas between them, such as 1.5,0,2; found '1,b,2'",
        ),
        (("--tp", "3"), "--tp: 3 does not divide the 32 heads of llama-3.1-8b; use one of 1, 2, 4, 8"),
        (
            ("--scheduler", "fcsf"),
            "--scheduler: unknown scheduler 'fcsf' (did you mean 'fcfs'?); allowed: fcfs, sjf, priority-fcfs,"
            " reverse-priority",
        ),
        (
            ("--horizon", "10x"),
            "--horizon: must be a time >= 0: whole microseconds, or text with a unit such as '60s' or '10ms', found"
            " '10x'; units are us, ms, s, min and h",
        ),
    ],
)
def test_values(refused: Refused, arguments: tuple[str, ...], error: str) -> None:
    assert refused("simulate", "spec.yaml", *arguments) == [f"{HERE}{error}"]


def test_all_values_at_once(refused: Refused) -> None:
    errors = refused("simulate", "spec.yaml", "--tp", "x", "--rate", "y", "--metrics-out", "")
    assert [error.split(":")[1].strip() for error in errors] == ["--rate", "--tp", "--metrics-out"]


def test_an_unknown_flag(blis: Run) -> None:
    result = blis("simulate", "spec.yaml", "--num-instance", "2")
    assert result.stderr == (
        "blis: error: unknown flag --num-instance (did you mean '--num-instances'?)\n"
        "'blis simulate --help' shows what there is.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("simulat", "spec.yaml"), "No such command 'simulat'. Did you mean 'simulate'?"),
        (("spec.yaml",), "No such command 'spec.yaml'. To simulate a workload: blis simulate spec.yaml"),
        (("simulate", "spec.yaml", "other.yaml"), "Got unexpected extra argument(s) (other.yaml)"),
        (("metrics",), "Missing argument 'TRACE'."),
        (("schema",), "Missing argument 'KIND'."),
        (
            ("schema", "wrkload"),
            "schema: unknown kind 'wrkload' (did you mean 'workload'?); allowed: workload, deployment, server",
        ),
    ],
)
def test_commands_and_arguments(refused: Refused, arguments: tuple[str, ...], error: str) -> None:
    assert refused(*arguments) == [error]


def test_no_command_shows_the_help(blis: Run) -> None:
    result = blis()
    assert result.exit_code == 2
    assert "simulate" in result.stdout + result.stderr


class TestInputFiles:
    @pytest.mark.parametrize("flag", [(), ("--deployment",)])
    def test_missing(self, refused: Refused, flag: tuple[str, ...]) -> None:
        (error,) = refused("simulate", *(("spec.yaml", *flag) if flag else ()), "nowhere.yaml")
        assert error.startswith("nowhere.yaml: ")
        assert error.endswith("No such file or directory")

    @pytest.mark.parametrize("flag", [(), ("--deployment",)])
    def test_a_directory(self, refused: Refused, folder: Path, flag: tuple[str, ...]) -> None:
        (error,) = refused("simulate", *(("spec.yaml", *flag) if flag else ()), folder)
        assert error.startswith(f"{folder}: ")
        assert error.endswith("Is a directory")

    @pytest.mark.parametrize("flag", [(), ("--deployment",)])
    @pytest.mark.parametrize("content", [b"\x7fELF\x02\x01\xff\xfe", b"\x00\x00\x00\x01", b"\xff" * 100])
    def test_binary(self, refused: Refused, folder: Path, flag: tuple[str, ...], content: bytes) -> None:
        (folder / "binary").write_bytes(content)
        (error,) = refused("simulate", *(("spec.yaml", *flag) if flag else ()), "binary")
        assert error.startswith("binary")

    def test_unreadable(self, refused: Refused, folder: Path) -> None:
        """A socket can't be opened as a file, whoever asks; permissions wouldn't stop root."""
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("pipe.yaml")
            (error,) = refused("simulate", "pipe.yaml")
        assert error.startswith("pipe.yaml: cannot be read")

    def test_a_deployment_in_the_place_of_a_workload(self, refused: Refused, folder: Path) -> None:
        (folder / "cluster.yaml").write_text("instances: 3\nmodel: qwen2.5-7b\n")
        assert refused("simulate", "cluster.yaml") == [
            "cluster.yaml: is a deployment, not a workload; give it with --deployment"
        ]

    def test_a_workload_in_the_place_of_a_deployment(self, refused: Refused) -> None:
        assert refused("simulate", "spec.yaml", "--deployment", "spec.yaml") == [
            "spec.yaml: is a workload, not a deployment; give it as SPEC"
        ]

    def test_a_trace_in_the_place_of_a_workload(self, blis: Run, refused: Refused) -> None:
        blis("simulate", "spec.yaml", "--trace-out", "run")
        assert refused("simulate", "run.yaml") == [
            "run.yaml: is a trace, not a spec; 'blis replay' sends its requests again, 'blis metrics' reports on it"
        ]

    def test_all_problems_of_a_spec(self, refused: Refused, folder: Path) -> None:
        text = (folder / "spec.yaml").read_text()
        (folder / "wrong.yaml").write_text(text.replace("seed: 7", "sed: 7").replace("gamma", "gama"))
        errors = refused("simulate", "wrong.yaml")
        assert len(errors) == 2
        assert errors[0].startswith("wrong.yaml:2: sed: unknown key 'sed' (did you mean 'seed'?)")
        assert errors[1].startswith("wrong.yaml:18: clients[1].arrival.process: ")

    def test_no_trace(self, refused: Refused) -> None:
        assert refused("metrics", "nowhere") == ["nowhere: no header of a trace: nowhere.yaml or nowhere.yml not found"]


class TestOutputFiles:
    """Refused before the run starts: nothing is simulated and nothing is written."""

    @pytest.fixture(autouse=True)
    def nothing_is_run(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*arguments: object, **settings: object) -> None:
            raise AssertionError("the simulation was started")

        monkeypatch.setattr("blis.simulation.simulate", fail)

    @pytest.mark.parametrize(
        ("arguments", "error"),
        [
            (("--trace-out", "no/run"), "--trace-out no/run: no doesn't exist; make it first"),
            (("--metrics-out", "no/m.json"), "--metrics-out no/m.json: no doesn't exist; make it first"),
            (("--trace-out", "spec.yaml/run"), "--trace-out spec.yaml/run: spec.yaml isn't a directory"),
            (
                ("--trace-out", "taken/"),
                "--trace-out taken/: names a folder; add the start of the files' names: taken/run",
            ),
            (("--metrics-out", "taken"), "--metrics-out taken: taken is a directory; give the name of a file"),
            (
                ("--trace-out", "spec"),
                "--trace-out spec: would overwrite spec.yaml, which this run reads; choose another name",
            ),
            (
                ("--metrics-out", "./spec.yaml"),
                "--metrics-out ./spec.yaml: would overwrite spec.yaml, which this run reads; choose another name",
            ),
            (
                ("--trace-out", "run", "--metrics-out", "run.csv"),
                "--metrics-out run.csv: run.csv is written by --trace-out run too; choose another name",
            ),
        ],
    )
    def test_paths(self, refused: Refused, folder: Path, arguments: tuple[str, ...], error: str) -> None:
        (folder / "taken").mkdir()
        before = sorted(os.listdir(folder))
        assert refused("simulate", "spec.yaml", *arguments) == [error]
        assert sorted(os.listdir(folder)) == before

    def test_a_folder_without_permission(self, refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("os.access", lambda path, mode: False)
        assert refused("simulate", "spec.yaml", "--metrics-out", "m.json") == [
            "--metrics-out m.json: you may not write to ."
        ]

    def test_parquet_without_its_library(self, refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("blis.cli.outputs._importable", lambda module: False)
        (error,) = refused("simulate", "spec.yaml", "--trace-out", "run.parquet")
        assert error.startswith("--trace-out run.parquet: Parquet needs pyarrow, which isn't installed")


def test_a_report_does_not_overwrite_its_trace(blis: Run, refused: Refused) -> None:
    blis("simulate", "spec.yaml", "--trace-out", "run")
    assert refused("metrics", "run", "--metrics-out", "run.itl.csv") == [
        "--metrics-out run.itl.csv: would overwrite run.itl.csv, which this run reads; choose another name"
    ]
