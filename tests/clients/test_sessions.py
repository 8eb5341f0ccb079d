"""Sessions: rounds wait for answers, contexts grow by what was produced, and nothing else changes a draw."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from typing import Any

import pytest
from answering import answered
from hypothesis import given, settings
from hypothesis import strategies as st

from blis.clients.build import sources
from blis.clients.plans import SessionSource
from blis.request import Request
from blis.spec.workload import workload_from_dict

Client = Callable[..., dict[str, Any]]

CONSTANT = {"process": "constant"}
SECOND = 1_000_000


def chat(client: Client, name: str = "chat", rounds: Any = 3, **changes: Any) -> dict[str, Any]:
    session = {"max_rounds": rounds, **changes.pop("session", {})}
    return client(name, **{"rate": 1.0, "arrival": CONSTANT, **changes}, session=session)


def by_session(requests: list[Request]) -> dict[str, list[Request]]:
    ordered = sorted(requests, key=lambda request: request.session_id)
    return {name: list(rounds) for name, rounds in groupby(ordered, lambda request: request.session_id)}


def test_rounds_follow_answers_and_thought(client: Client) -> None:
    requests = answered({"horizon": "2s", "clients": [chat(client, session={"think_time_us": "5ms"})]})
    assert [(r.session_id, r.round_index, r.client_seq, r.arrival_us) for r in requests] == [
        ("chat/0", 0, 0, SECOND),
        ("chat/0", 1, 1, SECOND + 5_100),
        ("chat/0", 2, 2, SECOND + 10_200),
    ]


def test_sessions_do_not_wait_for_one_another(client: Client) -> None:
    requests = answered({"horizon": "3s", "clients": [chat(client)]}, lambda request: (10 * SECOND, "ok", 1))
    assert [r.arrival_us for r in requests] == [SECOND, 2 * SECOND]


def test_the_next_round_is_never_in_the_microsecond_of_the_answer(client: Client) -> None:
    requests = answered({"horizon": "2s", "clients": [chat(client)]}, lambda request: (0, "ok", 1))
    assert [r.arrival_us for r in requests] == [SECOND, SECOND + 1, SECOND + 2]


def test_context_grows_by_what_was_produced(client: Client) -> None:
    """100 tokens in, 7 out of the 10 that were planned, and the prefix only once."""
    clients = [chat(client, prefix_group="g", prefix_length=50)]
    requests = answered({"horizon": "2s", "clients": clients}, lambda request: (100, "ok", 7))
    assert [r.input_tokens for r in requests] == [100, 100, 100]
    assert [r.prompt_tokens for r in requests] == [150, 257, 364]
    assert [r.context_tokens for r in requests] == [0, 107, 214]
    assert [r.segments for r in requests] == [
        (("g", 50), ("chat/0", 100)),
        (("g", 50), ("chat/0", 207)),
        (("g", 50), ("chat/0", 314)),
    ]


def test_fixed_context_is_each_rounds_own(client: Client) -> None:
    requests = answered({"horizon": "2s", "clients": [chat(client, session={"context_growth": "fixed"})]})
    assert [r.segments for r in requests] == [((None, 100),)] * 3
    assert [r.session_id for r in requests] == ["chat/0"] * 3


@pytest.mark.parametrize("status", ["timeout", "rejected", "context_overflow", "http_error", "disconnected"])
def test_a_round_that_is_not_completed_ends_its_session(status: str, client: Client) -> None:
    def answers(request: Request) -> tuple[int, str, int]:
        failed = request.session_id == "chat/0" and request.round_index == 1
        return 100, status if failed else "ok", request.output_tokens

    sessions = by_session(answered({"horizon": "2500ms", "clients": [chat(client)]}, answers))
    assert {name: len(rounds) for name, rounds in sessions.items()} == {"chat/0": 2, "chat/1": 3}
    # The unused round keeps its number.
    assert [r.client_seq for r in sessions["chat/1"]] == [3, 4, 5]


def test_rounds_due_at_the_horizon_are_not_sent(client: Client) -> None:
    def count(horizon: int) -> int:
        clients = [chat(client, rounds=9, session={"think_time_us": 900})]
        return len(answered({"horizon": horizon, "clients": clients}))

    assert [count(SECOND + 2000 + more) for more in (0, 1)] == [2, 3]


def test_num_requests_counts_rounds(client: Client) -> None:
    clients = [chat(client, rounds=5, session={"think_time_us": "1s"}), client("plain", rate=1.0, arrival=CONSTANT)]
    requests = answered({"num_requests": 6, "clients": clients})
    assert len(requests) == 6
    everything = answered({"horizon": "10s", "clients": clients})
    assert [r.arrival_us for r in requests] == [r.arrival_us for r in everything[:6]]


def test_a_single_session_is_one(client: Client) -> None:
    requests = answered({"horizon": "100s", "clients": [chat(client, rounds=4, session={"single_session": True})]})
    assert [(r.session_id, r.arrival_us) for r in requests][::3] == [("chat/0", SECOND), ("chat/0", SECOND + 303)]


def test_rounds_time_out_after_five_minutes_unless_the_client_says_otherwise(client: Client) -> None:
    def patience(**changes: Any) -> int:
        (request,) = answered({"num_requests": 1, "clients": [chat(client, **changes)]})
        assert request.deadline_us is not None
        return request.deadline_us - request.arrival_us

    assert patience() == 300 * SECOND
    assert patience(timeout="2s") == 2 * SECOND


def test_rounds_of_one_microsecond_come_in_order_of_clients_and_sessions(client: Client) -> None:
    """All first rounds are answered at 10 s, those that came last first."""
    clients = [chat(client, name, rounds=2) for name in ("b", "a")]

    def answers(request: Request) -> tuple[int, str, int]:
        return 10 * SECOND - request.arrival_us if request.arrival_us < 10 * SECOND else 1, "ok", 1

    requests = answered({"horizon": "11s", "clients": clients}, answers)
    second = [r.session_id for r in requests if r.round_index == 1 and r.arrival_us == 10 * SECOND + 1]
    assert second == [f"{name}/{number}" for name in "ab" for number in range(9)]


LENGTHS = st.sampled_from(
    [
        {"type": "exponential", "params": {"mean": 50}},
        {"type": "gaussian", "params": {"mean": 30, "std_dev": 20, "min": 1, "max": 90}},
        {"type": "constant", "params": {"value": 8}},
    ]
)


@st.composite
def talkers(draw: st.DrawFn) -> list[dict[str, Any]]:
    return [
        {
            "id": name,
            "rate": draw(st.sampled_from([0.3, 1.0, 3.0])),
            "arrival": draw(st.sampled_from([CONSTANT, {"process": "poisson"}, {"process": "gamma", "cv": 3}])),
            "input_distribution": draw(LENGTHS),
            "output_distribution": draw(LENGTHS),
            "session": {
                "max_rounds": draw(st.sampled_from([1, 4, {"type": "exponential", "params": {"mean": 3}}])),
                "think_time_us": draw(st.sampled_from([0, "300ms", {"type": "exponential", "params": {"mean": 1e6}}])),
                "context_growth": draw(st.sampled_from(["accumulate", "fixed"])),
            },
            "prefix_group": "g",
            "prefix_length": draw(st.sampled_from([0, 16])),
        }
        for name in draw(st.lists(st.sampled_from("abcd"), min_size=2, max_size=3, unique=True))
    ]


def uneven(request: Request) -> tuple[int, str, int]:
    """An answer that depends on what was asked: slow for long ones, cut for some, and sometimes none."""
    status = "timeout" if request.client_seq % 7 == 6 else "ok"
    return request.prompt_tokens * 1000, status, max(1, request.output_tokens - request.client_seq % 3)


def planned(requests: list[Request]) -> dict[tuple[str, int], tuple[Any, ...]]:
    return {
        (r.client.client_id, r.client_seq): (r.session_id, r.round_index, r.input_tokens, r.output_tokens)
        for r in requests
    }


@given(talkers())
@settings(max_examples=25)
def test_rounds_wait_and_contexts_are_exact(clients: list[dict[str, Any]]) -> None:
    spec = {"seed": 5, "horizon": "6s", "clients": clients}
    sessions = by_session(answered(spec, uneven))
    growing = {client["id"] for client in clients if client["session"]["context_growth"] == "accumulate"}
    for rounds in sessions.values():
        context = 0
        for at, r in enumerate(rounds):
            delay, status, tokens = uneven(r)
            assert (r.round_index, r.client_seq) == (at, rounds[0].client_seq + at)
            assert r.context_tokens == context
            assert r.prompt_tokens == r.client.prefix_length + context + r.input_tokens
            context += (r.input_tokens + tokens) * (r.client.client_id in growing)
            if r is not rounds[-1]:
                assert status == "ok"
                assert rounds[at + 1].arrival_us > r.arrival_us + delay


@given(talkers(), st.randoms(use_true_random=False))
@settings(max_examples=25)
def test_draws_depend_on_nothing_but_the_clients_own_plan(clients: list[dict[str, Any]], shuffler: Any) -> None:
    """Neither another client, the order of the file nor what became of earlier rounds."""
    spec = {"seed": 5, "horizon": "6s", "clients": clients}
    everything = answered(spec, uneven)
    shuffled = list(clients)
    shuffler.shuffle(shuffled)
    again = answered({**spec, "clients": shuffled}, uneven)
    assert [(r.session_id, r.client_seq, r.arrival_us) for r in again] == [
        (r.session_id, r.client_seq, r.arrival_us) for r in everything
    ]
    plans = planned(everything)
    without = planned(answered({**spec, "clients": clients[1:]}, uneven))
    assert without.items() <= plans.items()
    faster = planned(answered(spec))
    assert all(faster[key] == plans[key] for key in faster.keys() & plans.keys())
    starts = {r.session_id: r.arrival_us for r in everything if not r.round_index}
    assert starts == {r.session_id: r.arrival_us for r in answered(spec) if not r.round_index}


@given(talkers(), st.sampled_from([None, 3.0, 1e9]))
@settings(max_examples=25)
def test_the_plan_is_what_is_sent(clients: list[dict[str, Any]], likely: float | None) -> None:
    """Read without a simulation, in blocks of any size."""
    spec = {"seed": 5, "horizon": "6s", "clients": clients}
    sent = planned(answered(spec))
    found: dict[tuple[str, int], tuple[Any, ...]] = {}
    for source in sources(workload_from_dict(spec), None, pytest.fail):
        assert isinstance(source, SessionSource)
        name = source.facts.client_id
        for block in source.sessions(6 * SECOND, likely):
            for plan in block.plans():
                for at, (start, size, output, *_) in enumerate(plan.rows):
                    found[name, plan.first_seq + at] = (f"{name}/{plan.number}", at, size, output)
                    assert start == plan.start_us
    assert sent.items() <= found.items()
    assert {key for key, row in found.items() if not row[1]} == {key for key, row in sent.items() if not row[1]}


def test_very_long_sessions_are_drawn_in_portions(client: Client) -> None:
    clients = [chat(client, rounds={"type": "constant", "params": {"value": 1e6}}, rate=100.0)]
    (source,) = sources(workload_from_dict({"horizon": "10s", "clients": clients}), None, pytest.fail)
    assert isinstance(source, SessionSource)
    blocks = source.sessions(10 * SECOND)
    sizes = [
        (len(block.start_us), int(block.rounds.sum()), block.first_seq) for block, _ in zip(blocks, "ab", strict=False)
    ]
    assert sizes == [(1, 10_000, 0), (1, 10_000, 10_000)]
