"""What is kept of an observed run, however it ends: journal, trace, chunk times and the server's own metrics."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faulty_server import Exchange, FaultyServer, running

import blis
from blis.errors import BlisError, TraceError, UnwrittenError
from blis.server.recovery import recover
from blis.trace import ServerMetrics, Trace
from blis.trace.journal import read_journal

PAGE = (
    b'vllm:num_requests_running{engine="0"} 3\nvllm:generation_tokens_total 700\n'
    b'vllm:cache_config_info{block_size="16",num_gpu_blocks="2048"} 1\n'
)
WORKLOAD = {
    "num_requests": 20,
    "clients": [
        {
            "id": "a",
            "rate": 100.0,
            "arrival": {"process": "poisson"},
            "input_distribution": {"type": "constant", "params": {"value": 20}},
            "output_distribution": {"type": "constant", "params": {"value": 3}},
        }
    ],
}


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with running() as found:
        found.answer = Exchange.good
        yield found


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    return tmp_path / "run"


def observe(server: FaultyServer, prefix: Path, workload: dict[str, Any] = WORKLOAD, **more: Any) -> Trace:
    settings = {"url": server.url, "model": "m", "type": "vllm", **more.pop("settings", {})}
    return blis.observe(workload, settings, trace_out=prefix, **{"warn": lambda _: None, **more})


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_journal_becomes_the_trace(server: FaultyServer, prefix: Path) -> None:
    seen: list[list[str]] = []

    async def looking(x: Exchange) -> None:
        seen.append(names(prefix.parent))
        await x.good()

    server.answer = looking
    trace = observe(server, prefix, provenance={"command": "mine"})
    assert seen[-1] == ["run.journal.jsonl"]
    assert names(prefix.parent) == ["run.csv", "run.itl.csv", "run.provenance.json", "run.yaml"]
    assert Trace.read(prefix) == trace
    assert '"command": "mine"' in (prefix.parent / "run.provenance.json").read_text()


@pytest.mark.parametrize("ending", ["", ".parquet"])
def test_chunk_times_and_metrics_lie_beside_the_trace(server: FaultyServer, prefix: Path, ending: str) -> None:
    if ending:
        pytest.importorskip("pyarrow")
    server.get["/metrics"] = PAGE
    urls = [f"{server.url}/metrics", server.url]
    place = prefix.with_name(prefix.name + ending)
    trace = observe(server, place, record_itl=True, settings={"prometheus_urls": urls})
    again = Trace.read(prefix)
    assert again == trace
    assert again.chunks is not None
    assert again.chunks.counts.tolist() == trace.column("num_chunks").tolist() == [3] * 20
    assert again.chunks.gaps() == trace.itl
    assert isinstance(again.metrics, ServerMetrics)
    assert set(again.metrics.replica.tolist()) == {0, 1}
    assert set(again.metrics.values["running"].tolist()) == {3}
    assert again.header.server is not None
    assert (again.header.server["block_size"], again.header.server["num_gpu_blocks"]) == (16, 2048)
    replicas = again.header.server["metrics"]
    assert [each["url"] for each in replicas] == [f"{server.url}/metrics"] * 2
    assert all(each["scrapes"] >= 2 and each["running"] == {"mean": 3.0, "max": 3.0} for each in replicas)


def test_a_page_of_metrics_that_is_not_there_is_warned_of_and_counted(server: FaultyServer, prefix: Path) -> None:
    warnings: list[str] = []
    trace = observe(server, prefix, settings={"prometheus_urls": [server.url]}, warn=warnings.append)
    assert any("HTTP 404; it is asked again every second" in text for text in warnings)
    assert trace.column("status").tolist() == ["ok"] * 20
    assert trace.header.server is not None
    (replica,) = trace.header.server["metrics"]
    assert (replica["scrapes"], replica["last_failure"]) == (0, "HTTP 404")
    assert replica["failed_scrapes"] >= 2
    assert trace.metrics is not None
    assert len(trace.metrics) == 0


def test_a_process_that_is_killed_leaves_every_request_that_had_ended(server: FaultyServer, prefix: Path) -> None:
    server.get["/metrics"] = PAGE
    script = (
        "import sys, blis\n"
        f"workload = { ({**WORKLOAD, 'num_requests': 100_000})!r}\n"
        f"server = {{'url': {server.url!r}, 'model': 'm', 'type': 'vllm', 'prometheus_urls': [{server.url!r}]}}\n"
        f"blis.observe(workload, server, trace_out={str(prefix)!r}, record_itl=True, warm_up_requests=5)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parents[1])
    with process:
        while len(server.received) < 60:
            time.sleep(0.01)
        completed = read_journal(prefix.with_name("run.journal.jsonl"))
        os.kill(process.pid, signal.SIGKILL)
    assert names(prefix.parent) == ["run.journal.jsonl"]
    trace, doubts = recover(prefix.with_name("run.journal.jsonl"))
    assert len(completed.rows) > 20
    assert len(completed.rows) <= len(trace) <= len(server.received)
    assert set(trace.column("status")) == {"ok"}
    header = trace.header
    assert (header.mode, header.warm_up_requests, header.run["recovered"]) == ("real", 5, True)
    assert header.epoch_us is not None
    assert abs(header.epoch_us / 1e6 - time.time()) < 60
    assert header.run["load"]["sent"] == len(trace)
    assert any("cut off before its end" in note for note in header.notes)
    assert trace.chunks is not None
    assert len(trace.chunks) == len(trace)
    assert trace.metrics is not None
    assert header.server is not None
    assert header.server["metrics"][0]["scrapes"] == len(trace.metrics) >= 1
    assert doubts == ()


def test_a_disk_that_fills_up_stops_the_run_and_loses_nothing(server: FaultyServer, prefix: Path) -> None:
    """The journal takes more room than the trace, which is written in the end."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (15_000, hard))
    try:
        trace = observe(server, prefix, {**WORKLOAD, "num_requests": 1000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert 20 < len(trace) < 100
    assert trace.header.run["injected"] == len(trace)
    assert trace.header.run["interrupted"]
    assert any(
        "run.journal.jsonl: File too large): the workload would have gone on" in note for note in trace.header.notes
    )
    assert Trace.read(prefix) == trace
    assert "run.journal.jsonl" not in names(prefix.parent)


def test_a_trace_that_cannot_be_written_is_in_the_error_and_the_journal(
    server: FaultyServer, prefix: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise TraceError("can't write run.csv: No space left on device")

    monkeypatch.setattr(Trace, "write", full)
    warnings: list[str] = []
    with pytest.raises(UnwrittenError, match=r"run\.csv: No space left") as error:
        observe(server, prefix, record_itl=True, warn=warnings.append)
    journal = prefix.with_name("run.journal.jsonl")
    assert warnings[-1] == f"'blis trace recover {journal}' makes a trace of the requests that have ended"
    assert recover(journal).trace == error.value.trace
    assert len(error.value.trace) == 20


def test_a_bug_leaves_the_journal(server: FaultyServer, prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from blis.errors import InternalError
    from blis.server.standing import Watch

    def broken(self: Watch, *_: Any) -> None:
        self.done += 1
        if self.done == 7:
            raise ZeroDivisionError("oops")

    monkeypatch.setattr(Watch, "record", broken)
    with pytest.raises(InternalError, match="oops"):
        observe(server, prefix)
    assert len(recover(prefix.with_name("run.journal.jsonl")).trace) == 6


def test_a_run_that_does_not_begin_leaves_nothing(server: FaultyServer, prefix: Path) -> None:
    server.get = {}
    with pytest.raises(BlisError, match="names no model"):
        observe(server, prefix, settings={"model": ""})
    with pytest.raises(BlisError, match="must begin with http"):
        observe(server, prefix, settings={"prometheus_urls": ["localhost:8000"]})
    assert names(prefix.parent) == []


def test_a_place_that_cannot_be_written_is_noticed_before_the_first_request(server: FaultyServer, prefix: Path) -> None:
    with pytest.raises(TraceError, match="no directory; make it first"):
        observe(server, prefix / "nowhere" / "run")
    prefix.with_name("run.journal.jsonl").write_text("another run's")
    with pytest.raises(TraceError, match="another run is writing it, or one was cut off"):
        observe(server, prefix)
    assert server.received == []
    assert prefix.with_name("run.journal.jsonl").read_text() == "another run's"
