"""Figures about sessions, and about the answer after the reasoning."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blis.metrics import Distribution, summarize
from blis.trace import STATUSES, Trace, TraceHeader

# Session a completes three rounds, b times out in its second, c overflows at once; the last request has no session.
ROWS = {
    "request_id": [0, 1, 2, 3, 4, 5, 6],
    "client_id": ["x"] * 7,
    "session_id": ["a", "b", "a", "b", "c", "a", ""],
    "round_index": [0, 0, 1, 1, 0, 2, -1],
    "streaming": [True] * 7,
    "arrival_time_us": [0, 100, 1000, 1100, 1200, 5000, 5100],
    "first_chunk_time_us": [10, 130, 1050, -1, -1, 5030, 5200],
    "last_chunk_time_us": [400, 900, 2000, -1, -1, 7000, 5300],
    "output_tokens": [4, 4, 4, 0, 0, 4, 4],
    "status": ["ok", "ok", "ok", "timeout", "context_overflow", "ok", "ok"],
}


def made(columns=ROWS, **facts):
    return Trace.from_columns(columns, TraceHeader(**facts))


def test_sessions_worked_out_by_hand():
    found = summarize(made()).sessions
    assert (found.sessions, found.completed) == (3, 1)
    assert found.ended == {"ok": 1, "timeout": 1, "context_overflow": 1}
    assert found.rounds == Distribution.of(np.array([3, 2, 1]))
    # First rounds that completed: 10 and 30. Means over rounds: (10 + 50 + 30) / 3 and 30.
    assert found.ttft_us == Distribution.of(np.array([10, 30]))
    assert found.mean_ttft_us == Distribution.of(np.array([30.0, 30.0]))
    # From the arrival of the first to the end of the last, the time to think included.
    assert found.duration_us == Distribution.of(np.array([7000]))


def test_durations_in_the_clients_view_end_when_the_answer_is_there():
    found = summarize(made(network={"x": {"rtt_ms": 2}})).client_view.sessions
    assert found.ttft_us == Distribution.of(np.array([2010, 2030]))
    assert found.duration_us.max == 9000


def test_sessions_with_a_warm_up_request_are_left_out():
    found = summarize(made(warm_up_requests=1)).sessions
    assert (found.sessions, found.completed) == (2, 0)
    assert found.duration_us == Distribution(0)
    nobody = summarize(made(warm_up_requests=7)).sessions
    assert (nobody.sessions, nobody.ended, nobody.rounds) == (0, {}, Distribution(0))


def test_no_sessions():
    assert summarize(made({**ROWS, "session_id": [""] * 7})).sessions is None


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", "a", "b", "c"]),
            st.sampled_from([*STATUSES, "ok"]),
            st.integers(0, 99),
            st.integers(-1, 99),
        ),
        max_size=15,
    ),
    st.randoms(use_true_random=False),
)
def test_the_order_of_rows_does_not_matter(requests, random):
    def summary_of(rows):
        names = ("session_id", "status", "arrival_time_us", "first_chunk_time_us", "round_index", "request_id")
        columns = dict(zip(names, zip(*rows, strict=True), strict=True)) if rows else {}
        if rows:
            columns["last_chunk_time_us"] = columns["first_chunk_time_us"]
        return summarize(made(columns)).sessions

    rows = [(*request, number, number) for number, request in enumerate(requests)]
    found = summary_of(rows)
    random.shuffle(rows)
    again = summary_of(rows)
    assert again == found
    if found:
        assert sum(found.ended.values()) == found.sessions == found.rounds.n == len({r[0] for r in requests} - {""})
        assert found.duration_us.n <= found.completed <= found.sessions


REASONING = {
    "request_id": [0, 1, 2, 3, 4, 5],
    "client_id": ["x"] * 6,
    "slo_class": ["a", "a", "a", "b", "b", "b"],
    "streaming": [True] * 6,
    "reason_ratio": [0.5, 0.29, 1.0, 0.0, 0.9, 0.5],
    "output_tokens": [11, 100, 10, 10, 1, 2],
    "arrival_time_us": [0] * 6,
    "first_chunk_time_us": [100, 100, 100, 100, 70, 100],
    "last_chunk_time_us": [1100, 10_000, 1000, 1000, 70, 200],
    "status": ["ok"] * 6,
}


def test_the_first_token_after_the_reasoning():
    summary = summarize(made(REASONING))
    # 5 of 11 tokens are reasoning: the 6th comes after 5 gaps of 100. 29 of 100, exactly: the 30th, 29 gaps later. All
    # of 10: no answer. No reasoning: not asked. None of 1: the first token. 1 of 2: the second.
    expected = [100 + 5 * 100, 100 + 29 * 100, 70, 200]
    assert summary.overall.first_answer_us == Distribution.of(np.array(expected, float))
    assert summary.slo_classes["a"].first_answer_us.n == 2
    assert summary.slo_classes["b"].first_answer_us.mean == 135


def test_the_clients_wait_for_it_longer():
    seen = summarize(made(REASONING, network={"x": {"rtt_ms": 1}})).client_view.overall
    assert seen.first_answer_us.max == pytest.approx(1000 + 3000)


def test_without_reasoning_there_is_no_such_figure():
    assert summarize(made({**REASONING, "reason_ratio": [0.0] * 6})).overall.first_answer_us == Distribution(0)
