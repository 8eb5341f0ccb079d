"""Requests are matched by what they are, never by where they stand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blis.calibration.pairing import match
from blis.errors import BlisError
from blis.trace import Trace, TraceHeader


def trace(mode: str, **columns) -> Trace:
    n = len(next(iter(columns.values())))
    given = {"client_id": ["a"] * n, "input_tokens": [1] * n, "arrival_time_us": np.arange(n), **columns}
    return Trace.from_columns(given, TraceHeader(mode=mode))


def test_a_replay_is_matched_by_request_id():
    real = trace("real", request_id=[10, 11, 12, 13])
    found = match(real, trace("replayed", request_id=[13, 10, 99, 11]))
    assert found.by == "request_id"
    assert found.counterpart.tolist() == [1, 3, -1, 0]
    assert found.unmatched_simulated == 1


def test_other_runs_are_matched_by_key():
    real = trace("real", client_id=["a", "b", "a", "b"], client_seq=[0, 0, 1, 1])
    simulated = trace("simulated", client_id=["b", "b", "c", "a"], client_seq=[1, 0, 0, 0])
    found = match(real, simulated)
    assert found.by == "key"
    assert found.counterpart.tolist() == [3, 1, -1, 0]
    assert found.unmatched_simulated == 1


@settings(max_examples=25)
@given(st.integers(1, 60), st.integers(1, 5), st.randoms(use_true_random=False))
def test_the_order_of_rows_never_matters(n: int, clients: int, shuffler):
    names = [f"client {i % clients}" for i in range(n)]
    sequence = [i // clients for i in range(n)]
    order = list(range(n))
    shuffler.shuffle(order)
    simulated = trace(
        "simulated",
        client_id=[names[i] for i in order],
        client_seq=[sequence[i] for i in order],
        request_id=shuffler.sample(range(1000), n),
    )
    found = match(trace("real", client_id=names, client_seq=sequence), simulated)
    assert [order[row] for row in found.counterpart] == list(range(n))
    assert found.unmatched_simulated == 0


def test_rounds_of_a_session_are_matched_whenever_they_were_sent():
    """Sequence numbers of clients that count as they send follow the answers; session and round don't."""
    real = trace("real", session_id=["s", "t", "s"], round_index=[0, 0, 1], client_seq=[0, 1, 2])
    simulated = trace("simulated", session_id=["s", "s", "t"], round_index=[0, 1, 0], client_seq=[0, 1, 2])
    assert match(real, simulated).counterpart.tolist() == [0, 2, 1]


def test_a_blank_round_is_the_first():
    real = trace("real", round_index=[-1], client_seq=[0])
    assert match(real, trace("simulated", round_index=[0], client_seq=[0])).counterpart.tolist() == [0]


@pytest.mark.parametrize("lacking", ["real", "simulated", "both"])
def test_without_sequence_numbers_the_order_of_arrival_counts(lacking: str):
    first = {"client_id": ["a", "b", "a"], "arrival_time_us": [10, 20, 30], "client_seq": [0, 0, 1]}
    second = {"client_id": ["a", "a", "b"], "arrival_time_us": [31, 11, 5], "client_seq": [1, 0, 0]}
    if lacking in ("real", "both"):
        del first["client_seq"]
    if lacking in ("simulated", "both"):
        del second["client_seq"]
    found = match(trace("real", **first), trace("simulated", **second))
    assert found.by == "order"
    assert found.counterpart.tolist() == [1, 2, 0]


def test_arrivals_at_one_time_are_ordered_by_request_id():
    real = trace("real", request_id=[5, 4], arrival_time_us=[0, 0])
    simulated = trace("simulated", request_id=[8, 9], arrival_time_us=[0, 0])
    assert match(real, simulated).counterpart.tolist() == [1, 0]


@pytest.mark.parametrize("side", ["real", "simulated"])
def test_two_requests_of_one_key_are_refused(side: str):
    good, bad = {"client_seq": [0, 1]}, {"client_seq": [3, 3], "request_id": [7, 9]}
    real, simulated = (bad, good) if side == "real" else (good, bad)
    with pytest.raises(BlisError, match=f"the {side} trace has two requests of one key, 7 and 9 .client_id 'a', "):
        match(trace("real", **real), trace("simulated", **simulated))


def test_the_replay_of_another_trace_is_refused():
    with pytest.raises(BlisError, match="not of this real one: request 1 is of client 'a' here and of 'b' there"):
        match(trace("real", client_id=["a", "a"]), trace("replayed", client_id=["a", "b"]))


def test_an_empty_trace_matches_nothing():
    real = trace("real", request_id=[0])
    empty = Trace.from_columns({"request_id": [], "client_id": [], "arrival_time_us": []}, TraceHeader())
    assert match(real, empty).counterpart.tolist() == [-1]
    assert match(empty, real).unmatched_simulated == 1
