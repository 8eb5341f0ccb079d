"""Trouble that vLLM makes by itself: a queue that is full, and an end in the middle of answers."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from real.counting import client, rows
from real.servers import RealServer, started

import blis

pytestmark = pytest.mark.real_server

LONG = {"type": "constant", "params": {"value": 1500}}
SHORT = {"type": "constant", "params": {"value": 30}}


@pytest.fixture(scope="module")
def narrow(vllm_place: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    """A vLLM for one request at a time, with two in its queue; a test may end it, which none can come after."""
    limits = ("--max-num-seqs", "1", "--max-num-queued-reqs", "2")
    with started("vllm", vllm_place, tmp_path_factory.mktemp("narrow") / "log", *limits) as server:
        yield server


def statuses(found: list[dict[str, Any]]) -> Counter[str]:
    """Count how requests ended."""
    return Counter(str(row["status"]) for row in found)


@pytest.mark.parametrize("streaming", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("api", ["completion", "chat"])
def test_what_a_full_queue_turns_away_is_rejected(narrow: RealServer, api: str, streaming: bool) -> None:
    busy = client(streaming=streaming, rate=100.0, output_distribution=SHORT)
    trace = blis.observe({"num_requests": 20, "clients": [busy]}, {"url": narrow.url, "api": api}, warn=lambda _: None)
    found = rows(trace)
    assert len(found) == 20
    assert set(statuses(found)) == {"ok", "rejected"}, [row["error_message"] for row in found]
    for row in found:
        assert (row["status"] == "ok") == (row["output_tokens"] == 30), row
        if row["status"] == "rejected":
            assert "503" in row["error_message"], row


def test_a_server_that_is_stopped_leaves_no_request_without_an_end(narrow: RealServer) -> None:
    """Keep this last: three are under way when the server is told to stop, others come after it."""
    patient = client(rate=2.0, output_distribution=LONG, timeout="60s")
    threading.Timer(2.0, narrow.process.terminate).start()
    target = {"url": narrow.url, "inactivity_timeout": "3s"}
    trace = blis.observe({"num_requests": 12, "clients": [patient]}, target, warn=lambda _: None)
    found = rows(trace)
    assert len(found) == 12
    seen = statuses(found)
    # Malformed are streams that end with an error event: the engine is gone before its HTTP server.
    cut = {"timeout", "disconnected", "truncated", "malformed"}
    assert not set(seen) - cut - {"connect_error", "rejected", "http_error"}, seen
    assert all(row["error_message"] for row in found)
    begun = [row for row in found if row["num_chunks"]]
    assert begun, "the first was being answered"
    assert {row["status"] for row in begun} <= cut
    assert all("tokens" in row["error_message"] or "an error" in row["error_message"] for row in begun), begun
    assert all(row["last_chunk_time_us"] >= row["first_chunk_time_us"] for row in begun)
    assert trace.header.run["error_share"] == 1.0
