"""Admission and routing of the oracle, worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from blis.request import ClientFacts, Request, Segment
from oracle import AlphaBeta, Config, run

CLIENT = ClientFacts("client")


def request(arrival: int, prompt: int = 1, output: int = 2, segments: tuple[Segment, ...] = ()) -> Request:
    return Request(CLIENT, 0, arrival, prompt, prompt, segments or ((None, prompt),), output)


def instances(number: int, requests: Sequence[Request], **gateway: Any) -> list[int]:
    model = AlphaBeta((0, 0, 0), (10, 0, 0))
    configs = [Config(100, block_size=4) for _ in range(number)]
    return [r.instance for r in run(configs, requests, latency=lambda _: model, **gateway).requests]


def test_token_bucket() -> None:
    # 10 tokens at first, one more every 2 us: 10 - 6 = 4; + 1 = 5, too few for 6; + 1 = 6; at 40 full again, 10.
    requests = [request(0, 6), request(2, 6), request(4, 6), request(40, 10), request(40, 1)]
    bucket = {"admission": "token-bucket", "bucket_capacity": 10, "bucket_refill_rate": 500_000}
    assert instances(1, requests, **bucket) == [0, -1, 0, 0, -1]
    assert instances(1, requests, admission="reject-all") == [-1] * 5


def test_latencies_come_before_the_instance() -> None:
    model = AlphaBeta((5, 0, 0), (10, 0, 0))
    result = run([Config(10)], [request(3)], latency=lambda _: model, admission_latency_us=7, routing_latency_us=20)
    assert result.requests[0].scheduling_delay_us == 7 + 20 + 5
    assert result.requests[0].ttft_us == 7 + 20 + 5 + 10


def test_round_robin_skips_nobody_and_counts_admitted_requests() -> None:
    assert instances(3, [request(t) for t in range(5)]) == [0, 1, 2, 0, 1]


def test_least_loaded_asks_only_on_ties() -> None:
    asked = []

    def choose(candidates: list[int]) -> int:
        asked.append(candidates)
        return candidates[-1]

    # Loads at 0: 0, 0, 0. Then the third is taken, then the second.
    # At 12: the third and the second run, with a load of 2 each (running and in flight).
    requests = [request(0), request(0), request(12), request(12)]
    assert instances(3, requests, routing="least-loaded", choose=choose) == [2, 1, 0, 0]
    assert asked == [[0, 1, 2], [0, 1]]


def test_in_flight_is_live_though_snapshots_are_stale() -> None:
    # With snapshots every 1000 us all that is known by 500 is in flight: 1 and 0, then 1 and 1, then 2 and 1.
    requests = [request(0, output=90), request(12), request(13), request(14)]
    first = {"routing": "least-loaded", "choose": lambda candidates: candidates[0]}
    assert instances(2, requests, snapshot_interval_us=1000, **first) == [0, 1, 0, 1]
    # Live, a running one counts twice: 2 and 0, then 2 and 1 (in flight, queued after this microsecond's arrivals).
    # At 14 the second runs one: 2 and 2.
    assert instances(2, requests, **first) == [0, 1, 0, 1]
    assert instances(2, [*requests[:2], request(12), request(12)], **first) == [0, 1, 1, 0]


def test_always_busiest() -> None:
    assert instances(3, [request(t) for t in range(4)], routing="always-busiest") == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("scorers", "wanted"),
    [
        ({"precise-prefix-cache": 1}, 1),
        ({"prefix-affinity": 1}, 1),
        ({"active-requests": 1}, 0),
        ({"running-requests": 1}, 0),
        ({"load-balance": 1}, 0),
        ({"kv-utilization": 1}, 0),
        ({"precise-prefix-cache": 1, "running-requests": 2}, 0),
        ({"precise-prefix-cache": 2, "running-requests": 1}, 1),
        (None, 1),
    ],
)
def test_weighted(scorers: dict[str, float] | None, wanted: int) -> None:
    # The first request goes to the second of two instances, by choice, and still runs there when the other comes.
    prompt: tuple[Segment, ...] = (("p", 8), (None, 1))
    requests = [request(0, 9, 20, prompt), request(50, 9, 2, prompt)]
    got = instances(2, requests, routing="weighted", scorers=scorers, choose=lambda candidates: candidates[-1])
    assert got == [1, wanted]


@pytest.mark.parametrize("scorer", ["queue-depth", "load-aware"])
def test_weighted_by_queue(scorer: str) -> None:
    # One place per instance: at 5 the first runs one and queues one, the second runs one.
    model = AlphaBeta((0, 0, 0), (10, 0, 0))
    configs = [Config(100, max_num_seqs=1) for _ in range(2)]
    requests = [request(0), request(1), request(2), request(5)]
    asked = []

    def choose(candidates: list[int]) -> int:
        asked.append(candidates)
        return candidates[0]

    result = run(configs, requests, latency=lambda _: model, routing="weighted", scorers={scorer: 1}, choose=choose)
    # At 1 and 2 nobody has queued anything yet as the first request runs alone; the third finds one queued.
    assert [r.instance for r in result.requests] == [0, 0, 1, 1]
    assert asked == [[0, 1], [0, 1]]


def test_forced() -> None:
    assert instances(3, [request(0), request(1)], forced={0: 2, 1: 1}) == [2, 1]
