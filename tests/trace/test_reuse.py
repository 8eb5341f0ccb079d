"""What of a session's prompt was cached: with the answers, or without."""

from __future__ import annotations

import pytest

from blis.simulation import replay
from blis.trace import ServerMetrics, Trace, TraceHeader
from blis.trace.reuse import answers_come_back, cached_tokens


def chat(hits: int | None, **more: object) -> Trace:
    """Two rounds: 100 tokens answered by 60, then a prompt of 200 tokens; and what the server says it found."""
    columns = {
        "session_id": ["s", "s"],
        "round_index": [0, 1],
        "input_tokens": [100, 40],
        "prompt_tokens": [100, 200],
        "server_input_tokens": [100, 200],
        "output_tokens": [60, 10],
        "arrival_time_us": [0, 3_000_000],
        "send_time_us": [0, 3_000_000],
        "first_chunk_time_us": [10_000, 3_010_000],
        "last_chunk_time_us": [900_000, 3_900_000],
        "status": ["ok", "ok"],
        **more,
    }
    trace = Trace.from_columns(columns, TraceHeader(mode="real", server={"block_size": 16}))
    if hits is not None:
        samples = [(0, 0, {"prefix_hits_total": 7.0}), (4_000_000, 0, {"prefix_hits_total": 7.0 + hits})]
        trace.metrics = ServerMetrics.of(samples)
    return trace


@pytest.mark.parametrize(("hits", "answers", "cached"), [(96, False, 96), (160, True, 160), (None, True, 160)])
def test_the_servers_count_tells_whether_answers_came_back(hits: int | None, answers: bool, cached: int) -> None:
    trace = chat(hits)
    assert answers_come_back(trace) is answers
    assert cached_tokens(trace, 16).tolist() == [0, cached]
    # A replay's cache finds as much.
    simulated = replay(trace, {"block_size": 16}, warn=str)
    assert simulated.column("cached_tokens").tolist() == [0, cached]


def test_a_server_that_tells_by_request_is_believed() -> None:
    assert cached_tokens(chat(96, cached_tokens=[0, 144]), 16).tolist() == [0, 144]


def test_prefixes_are_cached_from_the_second_request_of_their_group_on() -> None:
    columns = {
        "prefix_group": ["a", "b", "a", ""],
        "prefix_length": [40, 40, 40, 0],
        "input_tokens": [8, 8, 8, 48],
        "send_time_us": [0, 1, 2, 3],
        "status": ["ok"] * 4,
    }
    trace = Trace.from_columns(columns, TraceHeader(mode="real"))
    assert answers_come_back(trace)
    assert cached_tokens(trace, 16).tolist() == [0, 0, 32, 0]
