"""``blis convert``, ``blis compose`` and ``blis describe --fit-spec``: specs that are written."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from blis.spec.presets import preset
from blis.spec.workload import load_workload, parse_workload

Run = Callable[..., Result]

CONFIG = """\
load: {type: constant, stages: [{rate: 4, duration: 30}]}
data: {type: shared_prefix, shared_prefix: {num_groups: 2}}
"""


def test_a_built_in_workload(blis: Run) -> None:
    arguments = ("--rate", "5", "--num-requests", "50", "--arrival", "gamma", "--cv", "3")
    result = blis("convert", "preset", "chatbot", *arguments)
    assert result.stdout.startswith("# The built-in workload chatbot.\nversion: '2'\n")
    assert parse_workload(result.stdout) == preset("chatbot", rate=5, num_requests=50, arrival="gamma", cv=3)
    assert blis("convert", "preset", "chatbot", *arguments, "-o", "chat.yaml").output == ""
    assert Path("chat.yaml").read_text() == result.stdout


def test_servegen_data(blis: Run, folder: Path, repository: Path) -> None:
    data = repository / "tests" / "data" / "servegen" / "language"
    os.symlink(data, folder / "data")
    (folder / "specs").mkdir()
    run = ("convert", "servegen", "data", "--span-end", "300")
    assert blis(*run, "--out", "specs/data.yaml").exit_code == 0
    spec = load_workload("specs/data.yaml")
    assert spec.servegen_data is not None
    assert spec.servegen_data.path == "../data"
    assert spec.horizon == 300_000_000
    assert blis("validate", "specs/data.yaml").exit_code == 0
    written = blis(*run, "--as-clients", "-o", "clients.yaml")
    assert written.exit_code == 0
    assert {client.id for client in load_workload("clients.yaml").clients} <= {f"chunk-{at}" for at in range(100)}


def test_inference_perf(blis: Run, folder: Path) -> None:
    (folder / "config.yml").write_text(CONFIG)
    result = blis("convert", "inference-perf", "config.yml", "--out", "workload.yaml")
    assert result.output == ""
    spec = load_workload("workload.yaml")
    assert ([stage.rate for stage in spec.stages], len(spec.clients)) == ([4], 2)


def test_several_workloads_as_one(blis: Run, folder: Path) -> None:
    result = blis("compose", "spec.yaml", "spec.yaml")
    assert result.stdout.startswith("# spec.yaml and spec.yaml together.\n")
    spec = parse_workload(result.stdout)
    assert [client.id for client in spec.clients] == ["spec-chat", "spec-reports", "spec-2-chat", "spec-2-reports"]
    assert [client.rate for client in spec.clients] == [14, 6, 14, 6]
    assert spec.num_requests == 80


def test_a_workload_like_a_trace(blis: Run, folder: Path) -> None:
    blis("generate", "spec.yaml", "--num-requests", "400", "--trace-out", "run", "-q")
    result = blis("describe", "run", "--fit-spec", "like.yaml", "--fit-lengths", "fitted", "--top", "0")
    assert result.stdout.startswith("Traffic\n  Trace             run\n")
    assert Path("like.yaml").read_text().startswith("# Traffic like that of run.\nversion: '2'\n")
    spec = load_workload("like.yaml")
    assert [client.id for client in spec.clients] == ["chat", "reports"]
    assert blis("describe", "like.yaml", "--top", "0").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("convert", "preset", "chatbox"), "command line: NAME: unknown workload 'chatbox' (did you mean 'chatbot'?)"),
        (("convert", "preset", "chatbot", "--rate", "-1"), "command line: --rate: must be a number >= 0, found -1"),
        (("convert", "servegen", "nowhere", "--span-end", "5"), "nowhere: no such folder"),
        (("convert", "servegen", "."), ".: say how much of the data to use: --span-end"),
        (("convert", "inference-perf", "spec.yaml"), "spec.yaml:1: load: missing"),
        (("convert", "inference-perf", "spec.yaml", "-o", "spec.yaml"), "--out spec.yaml: would overwrite spec.yaml"),
        (("convert", "preset", "chatbot", "-o", "no/x.yaml"), "--out no/x.yaml: no doesn't exist; make it first"),
        (("compose", "spec.yaml"), "spec.yaml alone is no composition; give two workloads or more"),
        (("compose", "spec.yaml", "other.yaml"), "other.yaml: cannot be read"),
        (("describe", "spec.yaml", "--fit-spec", "spec.yaml"), "--fit-spec spec.yaml: would overwrite spec.yaml"),
        (("describe", "spec.yaml", "--fit-lengths", "x"), "command line: --fit-lengths: must be one of empirical, fit"),
    ],
)
def test_refusals(refused: Callable[..., list[str]], arguments: tuple[str, ...], error: str) -> None:
    assert refused(*arguments)[0].startswith(error)
    assert sorted(os.listdir()) == ["spec.yaml"]
