"""Clients that keep a number of requests, or sessions, going."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from answering import answered
from hypothesis import given, settings
from hypothesis import strategies as st

from blis.request import Request

Client = Callable[..., dict[str, Any]]

SECOND = 1_000_000


def loop(client: Client, concurrency: int = 2, name: str = "load", **changes: Any) -> dict[str, Any]:
    made = client(name, **changes, concurrency=concurrency)
    del made["arrival"]
    return made


def lines(requests: list[Request]) -> list[tuple[int, int]]:
    return [(r.arrival_us, r.client_seq) for r in requests]


def test_workers_send_wait_and_think(client: Client) -> None:
    clients = [loop(client, think_time_us="10us")]
    requests = answered({"horizon": 300, "clients": clients}, lambda r: (100 + r.client_seq % 2, "ok", 1))
    assert lines(requests) == [(0, 0), (0, 1), (110, 2), (111, 3), (220, 4), (222, 5)]
    assert {(r.session_id, r.round_index, r.deadline_us) for r in requests} == {("", 0, None)}
    assert requests[0].segments == ((None, 100),)


def test_never_more_than_so_many_are_in_flight(client: Client) -> None:
    flying: list[tuple[int, int]] = []

    def answers(request: Request) -> tuple[int, str, int]:
        delay = 50 + request.client_seq * 37 % 200
        flying.extend([(request.arrival_us, 1), (request.arrival_us + delay, -1)])
        return delay, "ok", 1

    answered({"horizon": 5000, "clients": [loop(client, 5)]}, answers)
    now, most = 0, 0
    for _, change in sorted(flying):
        now += change
        most = max(most, now)
    assert most == 5
    assert len(flying) > 100


def test_ramp_up_spreads_the_workers_starts(client: Client) -> None:
    clients = [loop(client, 4, ramp_up_us="1s")]
    requests = answered({"horizon": "2s", "clients": clients}, lambda r: (10 * SECOND, "ok", 1))
    assert lines(requests) == [(0, 0), (250_000, 1), (500_000, 2), (750_000, 3)]


def test_a_slow_worker_changes_nothing_for_the_others(client: Client) -> None:
    """Worker 1 hangs; the others go on with the numbers, and so the lengths, that are theirs."""
    lengths = {"type": "exponential", "params": {"mean": 100}}
    spec = {"horizon": 2000, "clients": [loop(client, 3, input_distribution=lengths, think_time_us=lengths)]}
    plain = answered(spec)
    slow = answered(spec, lambda r: (10**6 if r.client_seq == 1 else 100, "ok", 1))

    def of_workers(requests: list[Request]) -> list[tuple[int, int, int]]:
        return [(r.client_seq, r.arrival_us, r.input_tokens) for r in requests if r.client_seq % 3 != 1]

    assert of_workers(plain) == of_workers(slow)
    assert len(of_workers(plain)) > 10
    numbers = Counter(r.client_seq for r in plain)
    assert set(numbers.values()) == {1}


def test_num_requests_ends_a_loop(client: Client) -> None:
    assert len(answered({"num_requests": 17, "clients": [loop(client, 4)]})) == 17
    assert len(answered({"num_requests": 3, "clients": [loop(client, 8)]})) == 3


@pytest.mark.parametrize(("status", "pause"), [("rejected", SECOND), ("connect_error", SECOND), ("timeout", 1)])
def test_a_refused_worker_pauses(status: str, pause: int, client: Client) -> None:
    requests = answered(
        {"horizon": "2500ms", "num_requests": 4, "clients": [loop(client, 1)]}, lambda r: (0, status, 0)
    )
    assert [r.arrival_us for r in requests] == [at * pause for at in range(3 if pause == SECOND else 4)]


def test_workers_hold_sessions_one_after_another(client: Client) -> None:
    session = {"max_rounds": 2, "think_time_us": 5}
    clients = [loop(client, 2, session=session, think_time_us="1ms")]
    requests = answered({"horizon": 1400, "clients": clients})
    assert [(r.session_id, r.round_index, r.client_seq, r.arrival_us) for r in requests] == [
        ("load/0", 0, 0, 0),
        ("load/1", 0, 2, 0),
        ("load/0", 1, 1, 105),
        ("load/1", 1, 3, 105),
        ("load/2", 0, 4, 1205),
        ("load/3", 0, 6, 1205),
        ("load/2", 1, 5, 1310),
        ("load/3", 1, 7, 1310),
    ]
    assert requests[2].prompt_tokens == 210


def test_each_worker_may_have_a_single_session(client: Client) -> None:
    session = {"max_rounds": 2, "single_session": True}
    requests = answered({"horizon": "1s", "clients": [loop(client, 3, session=session)]})
    assert Counter(r.session_id for r in requests) == {"load/0": 2, "load/1": 2, "load/2": 2}


def test_nothing_is_sent_outside_the_windows(client: Client) -> None:
    windows = [{"start_us": 1000, "end_us": 1250}, {"start_us": 5000, "end_us": 5001}]
    requests = answered({"horizon": "1s", "clients": [loop(client, 1, lifecycle={"windows": windows})]})
    assert [r.arrival_us for r in requests] == [1000, 1101, 1202, 5000]


def test_ramp_up_starts_with_the_first_window(client: Client) -> None:
    lifecycle = {"windows": [{"start_us": 70, "end_us": 80}, {"start_us": 50, "end_us": 60}]}
    loops = [loop(client, 3, ramp_up_us=9, lifecycle=lifecycle)]
    for others in ([], [client("other", rate_fraction=0.0)]):
        spec = {"horizon": 100, "aggregate_rate": 5, "clients": loops + others}
        assert [r.arrival_us for r in answered(spec, lambda r: (10**6, "ok", 1))] == [50, 53, 56]


def test_closed_and_open_loops_side_by_side(client: Client) -> None:
    """Who loops takes no part in the sharing of the aggregate rate."""
    clients = [client("a", rate_fraction=1, arrival={"process": "constant"}), loop(client, 1)]
    requests = answered({"horizon": "10s", "aggregate_rate": 2, "clients": clients}, lambda r: (SECOND, "ok", 1))
    counts = Counter(r.client.client_id for r in requests)
    assert counts == {"a": 19, "load": 10}


@given(
    st.integers(1, 6), st.integers(0, 2000), st.sampled_from([0, 50, {"type": "exponential", "params": {"mean": 80}}])
)
@settings(max_examples=25)
def test_every_worker_goes_through_its_own_numbers(client: Client, workers: int, ramp: int, think: Any) -> None:
    clients = [loop(client, workers, ramp_up_us=ramp, think_time_us=think)]
    requests = answered({"horizon": 4000, "clients": clients}, lambda r: (1 + r.client_seq * 7919 % 400, "ok", 1))
    for worker in range(workers):
        mine = [r for r in requests if r.client_seq % workers == worker]
        assert [r.client_seq for r in mine] == [worker + workers * at for at in range(len(mine))]
        for one, two in pairwise(mine):
            assert two.arrival_us > one.arrival_us + one.client_seq * 7919 % 400
        assert not mine or mine[0].arrival_us == ramp * worker // workers
