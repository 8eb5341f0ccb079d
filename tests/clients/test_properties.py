"""What may change a request and what must not: the reason for named streams."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from populations import ARRIVALS, DISTRIBUTIONS, populations

from blis.request import Request

Record = Callable[..., list[Request]]
Values = dict[str, list[tuple[Any, ...]]]


def by_client(requests: list[Request]) -> Values:
    found: Values = {}
    for number, r in enumerate(requests):
        assert number == 0 or requests[number - 1].arrival_us <= r.arrival_us
        mine = found.setdefault(r.client.client_id, [])
        assert r.client_seq == len(mine)
        mine.append((r.arrival_us, r.input_tokens, r.output_tokens, r.capped, r.prompt_tokens))
    return found


def spec(clients: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    return {"seed": 11, "horizon": "20s", "clients": clients, **changes}


def same(requests: list[Request]) -> list[tuple[Any, ...]]:
    return [(r.client, r.client_seq, r.arrival_us, r.input_tokens, r.output_tokens) for r in requests]


@given(populations())
@settings(max_examples=30)
def test_same_seed_same_requests(record: Record, clients: list[dict[str, Any]]) -> None:
    assert same(record(spec(clients))) == same(record(spec(clients)))


@given(populations(least=2), st.randoms(use_true_random=False))
@settings(max_examples=30)
def test_the_files_order_changes_nothing(record: Record, clients: list[dict[str, Any]], shuffler: Any) -> None:
    shuffled = list(clients)
    shuffler.shuffle(shuffled)
    assert same(record(spec(shuffled))) == same(record(spec(clients)))
    shared = [{**client, "rate_fraction": client["rate"], "rate": None} for client in clients]
    reordered = [{**client, "rate_fraction": client["rate"], "rate": None} for client in shuffled]
    assert same(record(spec(shared, aggregate_rate=20))) == same(record(spec(reordered, aggregate_rate=20)))


@given(populations(least=2))
@settings(max_examples=30)
def test_another_client_changes_no_request(record: Record, clients: list[dict[str, Any]]) -> None:
    everyone = by_client(record(spec(clients)))
    fewer = by_client(record(spec(clients[1:])))
    everyone.pop(clients[0]["id"], None)
    assert everyone == fewer


@given(populations(), st.sampled_from(["21s", "60s", "200s"]))
@settings(max_examples=30)
def test_a_longer_horizon_only_adds_requests(record: Record, clients: list[dict[str, Any]], longer: str) -> None:
    short = record(spec(clients))
    long = record(spec(clients, horizon=longer))
    assert same(long)[: len(short)] == same(short)
    assert all(r.arrival_us >= 20_000_000 for r in long[len(short) :])


@given(populations(), DISTRIBUTIONS)
@settings(max_examples=30)
def test_another_distribution_changes_its_own_column_only(
    record: Record, clients: list[dict[str, Any]], other: dict[str, Any]
) -> None:
    before = by_client(record(spec(clients)))
    changed = [{**clients[0], "input_distribution": other}, *clients[1:]]
    after = by_client(record(spec(changed)))
    assert before.keys() == after.keys()
    for name, mine in before.items():
        for one, two in zip(mine, after[name], strict=True):
            if name == clients[0]["id"]:
                assert (one[0], *one[2:4]) == (two[0], *two[2:4])
            else:
                assert one == two


@given(populations(), st.floats(0.1, 3), ARRIVALS)
@settings(max_examples=30)
def test_another_rate_or_process_changes_no_length(
    record: Record, clients: list[dict[str, Any]], factor: float, arrival: dict[str, Any]
) -> None:
    before = by_client(record(spec(clients)))
    changed = [{**clients[0], "rate": clients[0]["rate"] * factor, "arrival": arrival}, *clients[1:]]
    after = by_client(record(spec(changed)))
    for name in before.keys() & after.keys():
        for one, two in zip(before[name], after[name], strict=False):
            assert one[1:] == two[1:]


@given(populations(), st.integers(1, 60))
@settings(max_examples=30)
def test_num_requests_takes_the_first(record: Record, clients: list[dict[str, Any]], number: int) -> None:
    everything = record(spec(clients))
    some = record(spec(clients, num_requests=number))
    assert same(some) == same(everything)[:number]


def shared(record: Record, cv: float = 2.0, rate: float = 50, **fractions: float) -> list[Request]:
    clients = [
        {
            "id": name,
            "rate_fraction": fraction,
            "arrival": {"process": "gamma", "cv": cv},
            "input_distribution": {"type": "exponential", "params": {"mean": 100}},
            "output_distribution": {"type": "exponential", "params": {"mean": 100}},
        }
        for name, fraction in fractions.items()
    ]
    return record({"seed": 3, "aggregate_rate": rate, "horizon": "200s", "clients": clients})


def test_a_client_more_rescales_the_others_times_in_proportion(record: Record) -> None:
    alone = by_client(shared(record, a=1.0))["a"]
    together = by_client(shared(record, a=1.0, b=1.0))["a"]
    assert len(together) > 4000
    for one, two in zip(alone, together, strict=False):
        assert one[1:] == two[1:]
        # Both are floored to whole microseconds, and arrivals of one burst are kept a microsecond apart.
        assert two[0] == pytest.approx(2 * one[0], abs=100)


def test_fractions_7_and_3_are_those_of_0_7_and_0_3(record: Record) -> None:
    assert same(shared(record, a=7, b=3)) == same(shared(record, a=0.7, b=0.3))


def test_fractions_decide_how_many_requests_a_client_sends(record: Record) -> None:
    sent = by_client(shared(record, cv=1.0, rate=200, a=0.7, b=0.3))
    total = len(sent["a"]) + len(sent["b"])
    assert total == pytest.approx(40_000, rel=0.05)
    assert len(sent["a"]) / total == pytest.approx(0.7, rel=0.05)
    assert len(sent["b"]) / total == pytest.approx(0.3, rel=0.05)
