"""``blis trace recover`` as a user runs it, and what ``blis observe`` does for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faulty_server import Exchange, FaultyServer, running
from typer.testing import Result

from blis.errors import TraceError
from blis.trace import Trace

Run = Callable[..., Result]
JOURNAL = "run.journal.jsonl"


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with running() as found:
        found.answer = Exchange.good
        yield found


@pytest.fixture
def journal(blis: Run, folder: Path, server: FaultyServer) -> bytes:
    """A run of ten requests that was cut off: its journal, as it was before the last answer but one."""
    found = b""

    async def looking(x: Exchange) -> None:
        nonlocal found
        found = (folder / JOURNAL).read_bytes()
        await x.good()

    server.answer = looking
    arguments = ("--rate", 50, "--num-requests", 10, "--server-url", server.url, "--server-type", "vllm")
    assert blis("observe", *arguments, "--trace-out", "run", "-q").exit_code == 0
    for path in folder.glob("run.*"):
        path.unlink()
    (folder / JOURNAL).write_bytes(found)
    return found


@pytest.mark.parametrize("name", [JOURNAL, "run"])
def test_a_journal_becomes_a_trace(blis: Run, journal: bytes, name: str) -> None:
    result = blis("trace", "recover", name)
    assert result.exit_code == 0
    rows = journal.count(b"\n[[")
    assert result.stdout == f"run.csv: {rows} requests; {JOURNAL} is still there, and can be removed\n"
    assert result.stderr == ""
    assert len(Trace.read("run")) == rows > 3
    assert "Observed run" in blis("metrics", "run").stdout


def test_what_cannot_be_read_is_named(blis: Run, folder: Path, journal: bytes) -> None:
    lines = journal.splitlines(keepends=True)
    (folder / JOURNAL).write_bytes(b"".join([*lines[:2], b"rubbish\n", *lines[2:4], b"[]\n", *lines[4:], b"[[12,"]))
    result = blis("trace", "recover", JOURNAL, "-o", "saved")
    assert result.exit_code == 0
    assert result.stderr.splitlines() == [
        f"blis: warning: {JOURNAL}: 2 lines can't be read and had to be left out: 3, 6",
        f"blis: warning: {JOURNAL}: the last line was only written in part and is left out",
    ]
    assert any("left out: 3, 6" in note for note in Trace.read("saved").header.notes)


def test_the_error_of_a_missing_trace_leads_to_its_journal(blis: Run, journal: bytes) -> None:
    result = blis("metrics", "run")
    assert result.exit_code == 2
    assert f"'blis trace recover {JOURNAL}' makes one of what a run that was cut off has left" in result.stderr


def test_what_is_no_journal_is_refused(blis: Run, folder: Path) -> None:
    result = blis("trace", "recover", "spec.yaml", "-o", "saved")
    assert result.exit_code == 2
    assert "spec.yaml:1: isn't the journal of an observed run" in result.stderr
    assert f"can't read {JOURNAL}: No such file" in blis("trace", "recover", "run").stderr
    assert not list(folder.glob("saved*"))


def test_a_full_disk_still_gives_a_report(
    blis: Run, folder: Path, server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise TraceError("can't write run.csv: No space left on device")

    monkeypatch.setattr(Trace, "write", full)
    arguments = ("--rate", 200, "--num-requests", 5, "--server-url", server.url, "--server-type", "vllm")
    result = blis("observe", *arguments, "--trace-out", "run")
    assert result.exit_code == 2
    assert "Observed run" in result.stdout
    assert f"'blis trace recover {JOURNAL}' makes a trace of the requests that have ended" in result.stderr
    assert result.stderr.splitlines()[-1] == "blis: error: can't write run.csv: No space left on device"
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    assert blis("trace", "recover", JOURNAL).stdout.startswith("run.csv: 5 requests")


def test_metrics_are_in_the_report(blis: Run, folder: Path, server: FaultyServer) -> None:
    server.get["/metrics"] = (
        b"vllm:num_requests_running 3\nvllm:kv_cache_usage_perc 0.5\nvllm:num_preemptions_total 7\n"
    )
    arguments = ("--rate", 200, "--num-requests", 5, "--server-url", server.url, "--server-type", "vllm")
    result = blis("observe", *arguments, "--prometheus-url", server.url, "--trace-out", "run")
    assert result.exit_code == 0
    assert "running 3 (max 3), KV cache in use 50.0 % (max 50.0 %), 0 preemptions" in result.stdout
    assert (folder / "run.metrics.csv").exists()


def test_chunk_times_need_a_trace_to_lie_beside(blis: Run) -> None:
    result = blis("observe", "--server-url", "http://localhost:9", "--num-requests", 1, "--rate", 1, "--record-itl")
    assert result.exit_code == 2
    assert "--record-itl: the times go beside a trace; give --trace-out" in result.stderr
