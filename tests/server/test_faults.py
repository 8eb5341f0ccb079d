"""Every way in which a server can fail has a name, and no request is lost."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from faulty_server import FAULTS, TOKENS, FaultyServer, running

from blis.observation import observe
from blis.trace import MISSING, Trace

REQUESTS = 2


@pytest.fixture(scope="module")
def server() -> Iterator[FaultyServer]:
    with running() as found:
        yield found


def client(name: str, model: str, streaming: bool) -> dict[str, Any]:
    return {
        "id": name,
        "model": model,
        "streaming": streaming,
        "rate": 20.0,
        "arrival": {"process": "constant"},
        "input_distribution": {"type": "constant", "params": {"value": 7}},
        "output_distribution": {"type": "constant", "params": {"value": TOKENS}},
    }


def workload(faults: list[str]) -> dict[str, Any]:
    clients = [
        client(f"{fault} {'stream' if streaming else 'whole'}", fault, streaming)
        for fault in faults
        for streaming in (True, False)
    ]
    return {"horizon": f"{REQUESTS * 50_000 + 1}us", "clients": clients}


def settings(server: FaultyServer, **changes: Any) -> dict[str, Any]:
    return {
        "url": server.url,
        "model": "good",
        "type": "vllm",
        "timeout": "700ms",
        "inactivity_timeout": "350ms",
        **changes,
    }


def rows(trace: Trace) -> list[dict[str, Any]]:
    return [dict(row) for row in trace.to_frame().to_dict("records")]


def sockets_to(server: FaultyServer) -> int:
    """How many connections to the server this process holds (on Linux)."""
    port, count = int(server.url.rpartition(":")[2]), 0
    for number in map(int, os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ()):
        with suppress(OSError):
            if stat.S_ISSOCK(os.fstat(number).st_mode):
                with socket.socket(fileno=os.dup(number)) as found:
                    count += found.family == socket.AF_INET and found.getpeername()[1] == port
    return count


@pytest.fixture(scope="module", params=["completion", "chat"])
def trace(request: pytest.FixtureRequest, server: FaultyServer) -> Trace:
    """The trace of all faults at once, which has to end by itself."""
    found = observe(workload(list(FAULTS)), settings(server, api=request.param), warn=lambda _: None)
    assert sockets_to(server) == 0
    return found


def test_every_request_has_one_row_and_the_right_status(trace: Trace) -> None:
    wanted = {
        f"{fault} {way}": status
        for fault, (_, *statuses) in FAULTS.items()
        for way, status in zip(("stream", "whole"), statuses, strict=True)
    }
    found = {row["client_id"]: row["status"] for row in rows(trace)}
    assert found == wanted
    assert len(FAULTS) * 2 >= 18 * 2
    counts = Counter((row["client_id"], row["client_seq"]) for row in rows(trace))
    assert len(counts) == REQUESTS * len(wanted)
    assert set(counts.values()) == {1}


def test_each_row_keeps_the_times_it_reached_and_says_what_went_wrong(trace: Trace) -> None:
    for row in rows(trace):
        where = (row["client_id"], row["error_message"])
        assert row["send_time_us"] >= row["arrival_time_us"], where
        if row["status"] == "ok":
            assert row["output_tokens"] == TOKENS, where
            assert (row["first_chunk_time_us"] is not None) == row["streaming"], where
            assert row["last_chunk_time_us"] > row["send_time_us"], where
            assert row["num_chunks"] == (TOKENS if row["streaming"] else 1), where
        else:
            assert row["error_message"], where
    by_client = {row["client_id"]: row for row in rows(trace)}
    for fault in ("closed_within", "reset_within", "hang_within", "truncated", "bad_json", "error_inside"):
        row = by_client[f"{fault} stream"]
        assert row["first_chunk_time_us"] == row["last_chunk_time_us"] > row["send_time_us"], fault
        assert row["num_chunks"] == 1, fault
    messages = {name: row["error_message"] for name, row in by_client.items()}
    assert messages["http_500 stream"] == "HTTP 500: no 500"
    assert messages["html_404 whole"].startswith("HTTP 404: <html>")
    assert messages["busy_inside stream"] == "the answer is an error with code 503: it broke"
    assert messages["hang stream"] == "nothing heard for 0.35 s"
    assert messages["hang_within stream"] == "nothing heard for 0.35 s, after 1 chunk with tokens"
    assert messages["endless whole"] == "no complete answer within 0.7 s"
    assert "please log in" in messages["html_200 whole"]
    assert "isn't HTTP" in messages["not_http stream"]
    assert "in the middle of the answer, after 1 chunk" in messages["closed_within stream"]
    assert "before any answer" in messages["closed_before whole"]


def test_answers_without_usage_are_flagged(trace: Trace) -> None:
    for row in rows(trace):
        counted = not row["client_id"].startswith("no_usage")
        if row["status"] == "ok":
            assert (row["server_input_tokens"] == 7) == counted
            assert ("estimate" in row["error_message"]) != counted
    assert trace.header.run["without_usage"] == 2 * REQUESTS
    assert any("without usage" in note for note in trace.header.notes)


def test_the_header_counts_and_quotes_the_errors(trace: Trace) -> None:
    run = trace.header.run
    failed = sum(row["status"] != "ok" for row in rows(trace))
    assert run["error_share"] == pytest.approx(failed / len(trace))
    assert run["injected"] == len(trace) == REQUESTS * 2 * len(FAULTS)
    assert {"status", "message", "requests"} == set(run["errors"][0])
    assert trace.header.mode == "real"
    assert int(trace.column("deadline_us").max()) == MISSING


def test_no_task_is_left(server: FaultyServer) -> None:
    """Even where the loop goes on: nothing of a run outlives it."""
    from blis.observation import _observe, _Order, _server
    from blis.spec.workload import workload_from_dict

    spec = workload_from_dict(workload(["good", "hang", "done_then_hang", "reset_within"]))
    target = {**settings(server), "prometheus_urls": [server.url]}
    order = _Order(spec, _server(target), 0, False, 0, None, True, None, lambda _: None)

    async def main() -> set[Any]:
        await _observe(order, None)
        await asyncio.sleep(0)
        return asyncio.all_tasks() - {asyncio.current_task()}

    assert asyncio.run(main()) == set()
