"""Every record of an observed run against what the server itself counted: vLLM and llama.cpp, the genuine ones."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from real.counting import Counts, client, counted, rows
from real.servers import BLOCK_SIZE, CONTEXT, MODEL, RealServer

from blis.trace import Trace

pytestmark = pytest.mark.real_server

APIS = ["completion", "chat"]
REQUESTS = 16


def check(server: RealServer, trace: Trace, counts: Counts, requests: int = REQUESTS) -> None:
    """Check that rows and counters tell the same story, which holds for every run."""
    found = rows(trace)
    assert [row["status"] for row in found] == ["ok"] * requests, [row["error_message"] for row in found]
    assert len({(row["client_id"], row["client_seq"]) for row in found}) == requests == trace.header.run["injected"]
    total = {name: int(sum(row[name] for row in found)) for name in ("server_input_tokens", "output_tokens")}
    if server.kind == "vllm":
        assert counts["prompt_tokens_total"] == total["server_input_tokens"]
        assert counts["generation_tokens_total"] == total["output_tokens"]
        assert counts["request_success_total"] == counts["request_success_total length"] == requests
        assert counts["prefix_cache_queries_total"] == total["server_input_tokens"]
        assert counts["prefix_cache_hits_total"] == cached(trace)
    else:
        # Its prompt_tokens_total leaves out what was in the cache.
        assert counts["prompt_tokens_total"] == total["server_input_tokens"] - cached(trace)
        assert counts["tokens_predicted_total"] == total["output_tokens"]
    for row in found:
        assert row["output_tokens"] == row["planned_output_tokens"], row
        assert row["finish_reason"] == "length", row
        assert row["arrival_time_us"] <= row["send_time_us"] < row["last_chunk_time_us"], row
    check_chunks(trace, found)


def check_chunks(trace: Trace, found: list[dict[str, Any]]) -> None:
    """Check that a stream's chunks are in order, and no more than its tokens; what isn't streamed has none."""
    assert trace.chunks is not None
    for row in found:
        if not row["streaming"]:
            assert row["num_chunks"] == 1, row
            continue
        times = trace.chunks.of_request(row["request_id"])
        assert len(times) == row["num_chunks"], row
        assert 1 <= len(times) <= row["output_tokens"], row
        assert (times[0], times[-1]) == (row["first_chunk_time_us"], row["last_chunk_time_us"]), row
        assert (times[1:] >= times[:-1]).all(), row


def cached(trace: Trace) -> int:
    """Add up the tokens that answers say came from a cache."""
    return int(trace.column("cached_tokens").clip(0).sum())


def check_lengths(api: str, found: list[dict[str, Any]]) -> None:
    """Check the prompts' lengths: exact as token ids; as words each about right, and on average."""
    wanted = [row["prompt_tokens"] for row in found]
    got = [row["server_input_tokens"] for row in found]
    if api == "completion":
        assert got == wanted
    else:
        assert sum(got) == pytest.approx(sum(wanted), rel=0.05)
        assert all(abs(one - two) <= 5 + 0.2 * two for one, two in zip(got, wanted, strict=True)), (got, wanted)


@pytest.mark.parametrize("streaming", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("api", APIS)
def test_what_is_asked_for_is_what_is_served_and_counted(server: RealServer, api: str, streaming: bool) -> None:
    workload = {"num_requests": REQUESTS, "seed": 1, "clients": [client(streaming=streaming)]}
    trace, counts = counted(server, workload, api=api)
    check(server, trace, counts)
    check_lengths(api, rows(trace))
    facts = trace.header.server
    assert facts is not None
    assert (facts["type"], facts["model"], facts["max_model_len"]) == (server.kind, MODEL, CONTEXT)
    assert facts["output_length"] == "forced"
    assert facts["version"]
    if server.kind == "vllm":
        assert facts["block_size"] == BLOCK_SIZE
        assert facts["num_gpu_blocks"] > 0


@pytest.mark.parametrize("api", APIS)
def test_a_shared_prefix_is_found_in_the_servers_cache(server: RealServer, api: str) -> None:
    clients = [
        client(name, rate=1.0, prefix_group="shared", prefix_length=320, streaming=name == "a") for name in ("a", "b")
    ]
    trace, counts = counted(server, {"num_requests": 10, "seed": 2, "clients": clients}, api=api)
    check(server, trace, counts, 10)
    found = rows(trace)
    check_lengths(api, found)
    assert cached(trace) > 0
    if server.kind == "vllm":
        # Ten whole blocks, at most one less where words made the prefix; the server may have seen it before.
        wanted = 320 if api == "completion" else 320 * 0.8
        assert all(row["cached_tokens"] >= wanted for row in found[2:]), [row["cached_tokens"] for row in found]


@pytest.mark.parametrize("streaming", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("api", APIS)
def test_sessions_go_on_with_what_was_said(server: RealServer, api: str, streaming: bool) -> None:
    session = {"max_rounds": 3, "context_growth": "accumulate", "think_time_us": 100_000}
    workload = {"num_requests": 9, "seed": 3, "clients": [client(session=session, rate=2.0, streaming=streaming)]}
    trace, counts = counted(server, workload, api=api)
    check(server, trace, counts, 9)
    sessions: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(rows(trace), key=lambda row: row["round_index"]):
        sessions.setdefault(row["session_id"], []).append(row)
    assert any(len(rounds) == 3 for rounds in sessions.values())
    for rounds in sessions.values():
        for before, after in pairwise(rounds):
            context = before["prompt_tokens"] + before["output_tokens"]
            assert after["prompt_tokens"] == context + after["input_tokens"], after
            assert after["server_input_tokens"] > before["server_input_tokens"] + after["input_tokens"] * 0.8, after
            if api == "completion":
                assert after["server_input_tokens"] == after["prompt_tokens"], after
            if server.kind == "vllm" and api == "completion":
                # All of the context but its last token, whose keys and values nobody needed, in whole blocks.
                assert after["cached_tokens"] >= (context - 1) // BLOCK_SIZE * BLOCK_SIZE, after
            elif len(rounds) > 1 and before["prompt_tokens"] > 2 * BLOCK_SIZE:
                assert after["cached_tokens"] > 0, after


@pytest.mark.parametrize("streaming", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("api", APIS)
def test_what_is_refused_says_why(server: RealServer, api: str, streaming: bool) -> None:
    long = client(streaming=streaming, input_distribution={"type": "constant", "params": {"value": CONTEXT + 100}})
    trace, _ = counted(server, {"num_requests": 2, "clients": [long]}, api=api)
    for row in rows(trace):
        assert row["status"] == "http_error"
        assert row["error_message"].startswith("HTTP 400: ")
        assert "context" in row["error_message"], row["error_message"]


def test_idle_connections_that_the_server_closes_lose_nothing(server: RealServer) -> None:
    """Ten at once, and again when the server is about to close their connections, and is closing them."""
    burst = {"rate": 0.199, "streaming": False, "output_distribution": {"type": "constant", "params": {"value": 1}}}
    clients = [client(f"c{number}", **burst) for number in range(10)]
    trace, counts = counted(server, {"num_requests": 30, "clients": clients})
    check(server, trace, counts, 30)
