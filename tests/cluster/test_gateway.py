"""Admission, routers and scorers, with the values that follow from the rules."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import simpy
from engine_harness import serve
from small_cases import Segment, Served, config, outcomes, request, run

from blis.cluster.admission import TokenBucket, build_admission
from blis.cluster.cluster import Cluster
from blis.cluster.scorers import AFFINITY_BLOCKS, PrefixAffinity, scorer
from blis.request import Request
from blis.spec.gateway import SCORERS, AdmissionSpec, RoutingSpec
from blis.spec.instance import InstanceConfig

# ---- admission ----


def test_token_bucket() -> None:
    # 10 tokens at first, one more every 2 us: 10 - 6 = 4; + 1 = 5, too few for 6; + 1 = 6; at 40 full again, 10.
    bucket = TokenBucket(10, 500_000)
    asked = [(0, 6), (2, 6), (4, 6), (40, 10), (40, 1)]
    assert [bucket.admits(request(at, prompt), at) for at, prompt in asked] == [True, False, True, True, False]


def test_a_refusal_costs_nothing_and_fractions_of_tokens_add_up() -> None:
    # Three tokens per second, asked for one four times a second: 0.75 more each time.
    bucket = TokenBucket(1, 3)
    got = [bucket.admits(request(0, 1), quarter * 250_000) for quarter in range(9)]
    # 1; 0.75; full at 1; 0.75 more and so on.
    assert got == [True, False, True, False, True, False, True, False, True]
    assert not bucket.admits(request(0, 2), 10**9)


def test_the_bucket_counts_the_whole_prompt() -> None:
    bucket = TokenBucket(10, 1)
    assert not bucket.admits(request(0, (("p", 8), (None, 3))), 0)
    assert bucket.admits(request(0, (("p", 8), (None, 2))), 0)


def test_always_and_never() -> None:
    assert build_admission(AdmissionSpec()).admits(request(0, 10**9), 0)
    assert not build_admission(AdmissionSpec(policy="reject-all")).admits(request(0, 1), 0)


def test_the_bucket_is_asked_when_the_admission_latency_has_passed() -> None:
    bucket = AdmissionSpec(policy="token-bucket", capacity=10, refill_rate=500_000, latency_us=20)
    # The first, at 20, takes all; the second, at 39, finds 9.5; the third, at 41, 10 again (it cost nothing).
    _, served = run(config(), *(request(at, 10, 1) for at in (0, 19, 21)), admission=bucket)
    assert outcomes(served) == [
        ("ok", 30, 30, 20, 1),
        ("rejected", None, None, None, 0),
        ("ok", 30, 30, 20, 1),
    ]
    assert served[1] == Served("rejected", -1, None, None, None, 0, 0, 0)


# ---- routers, through a cluster ----


def instances(number: int, *requests: Request, **routing: Any) -> list[int]:
    """Where the requests go among ``number`` instances with 100 blocks of 4 tokens and steps of 10 µs."""
    return [s.instance for s in run([config(block_size=4)] * number, *requests, routing=RoutingSpec(**routing))[1]]


def test_round_robin_counts_admitted_requests_only() -> None:
    assert instances(3, *(request(at) for at in range(5))) == [0, 1, 2, 0, 1]
    bucket = AdmissionSpec(policy="token-bucket", capacity=5, refill_rate=1)
    _, served = run([config()] * 3, *(request(at, prompt) for at, prompt in enumerate((2, 9, 2, 1))), admission=bucket)
    assert [s.instance for s in served] == [0, -1, 1, 2]


def test_least_loaded_evens_out() -> None:
    # Each of the first three finds the instances taken by the others at 1, those not taken at 0.
    got = instances(3, *(request(0) for _ in range(3)), policy="least-loaded")
    assert sorted(got) == [0, 1, 2]


def test_least_loaded_counts_a_running_request_twice() -> None:
    # At 12 the first one runs and is in flight: 2. The next two are in flight only: 0, and then 1, is less.
    a, b, c = instances(2, *(request(at, output=50) for at in (0, 12, 12)), policy="least-loaded")
    assert (b, c) == (1 - a, 1 - a)


def test_in_flight_is_live_though_snapshots_are_stale() -> None:
    # Until 1000 all that is known is what is in flight: 1 and 0, then 1 and 1.
    got = instances(
        2, *(request(at, output=90) for at in (0, 12, 13)), policy="least-loaded", snapshot_interval_us=1000
    )
    assert got[1] == 1 - got[0]
    # A short request that has ended is forgotten at once: 0 and 1, though nobody has looked since 0.
    a, b, c = instances(
        2, request(0, output=1), request(5, output=90), request(15), policy="least-loaded", snapshot_interval_us=1000
    )
    assert (b, c) == (1 - a, a)


@pytest.mark.parametrize(
    ("interval", "at", "known_busy"),
    [(0, 50, True), (50, 50, True), (51, 50, False), (50, 79, True), (0, 99, False), (50, 99, True), (50, 100, False)],
)
def test_the_age_of_a_snapshot_counts_from_its_last_reading(interval: int, at: int, known_busy: bool) -> None:
    # One request runs from 0 to 80 and counts against its instance. One more at 50 makes the router look. Then twelve
    # come at once: all go to the other instance if the router takes the first one to be busy, at random otherwise.
    scorers = {"running-requests": 1}
    requests = [request(0, output=8), request(50, output=1), *(request(at, output=1) for _ in range(12))]
    first, *_ = got = instances(2, *requests, policy="weighted", scorers=scorers, snapshot_interval_us=interval)
    assert set(got[2:]) == ({1 - first} if known_busy else {0, 1})


def test_always_busiest() -> None:
    assert instances(3, *(request(at) for at in range(4)), policy="always-busiest") == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("scorers", "same"),
    [
        ({"precise-prefix-cache": 1}, True),
        ({"prefix-affinity": 1}, True),
        ({"active-requests": 1}, False),
        ({"running-requests": 1}, False),
        ({"load-balance": 1}, False),
        ({"kv-utilization": 1}, False),
        ({"precise-prefix-cache": 1, "running-requests": 2}, False),
        ({"precise-prefix-cache": 2, "running-requests": 1}, True),
        ({"prefix-affinity": 1, "queue-depth": 0}, True),
        (None, True),
    ],
)
def test_weighted(scorers: dict[str, float] | None, same: bool) -> None:
    # The first request still runs when the other, with the same prefix, comes: after it, or away from it?
    prompt: tuple[Segment, ...] = (("p", 8), (None, 1))
    a, b = instances(2, request(0, prompt, 20), request(50, prompt, 2), policy="weighted", scorers=scorers)
    assert (a == b) == same


def test_ties_are_random_even_and_hang_on_the_seed_alone() -> None:
    def first_choices(seed: int) -> list[int]:
        env = simpy.Environment()
        cluster = Cluster(env, [config()] * 4, seed, routing=RoutingSpec(policy="weighted", scorers={"load-aware": 1}))
        for _ in range(4000):
            cluster.submit(request(0, output=1))
        env.run()
        cluster.close()
        return cluster.table.column("instance").tolist()

    chosen = first_choices(1)
    assert chosen == first_choices(1)
    assert chosen != first_choices(2)
    # Nobody waits at 0, so each of the four gets 1000, give or take 5 standard deviations of 27.
    assert all(abs(chosen.count(index) - 1000) < 137 for index in range(4))


def test_assign_overrides_the_router() -> None:
    routing = RoutingSpec(policy="least-loaded")
    chosen = [2, 1, 2]
    _, served = run(
        [config()] * 3,
        *(request(at) for at in (0, 0, 1)),
        routing=routing,
        assign=lambda made: chosen[made.request_id],
    )
    assert [s.instance for s in served] == chosen


def test_pools_may_differ_in_everything() -> None:
    # Round robin: the second instance is slower, of other blocks, and can't take the long one.
    configs: list[InstanceConfig] = [config(), config(3, beta=(25, 0, 0), block_size=4)]
    _, served = run(configs, request(0, 20, 2), request(0, 20, 2), request(1, 5, 2), request(1, 5, 2))
    assert outcomes(served) == [
        ("ok", 10, 20, 0, 2),
        ("unservable", None, None, None, 0),
        ("ok", 19, 29, 9, 2),
        ("ok", 25, 50, 0, 2),
    ]


# ---- scorers, one by one ----


def view(waiting: int = 0, running: int = 0, in_flight: int = 0, utilization: float = 0.0, cached: int = 0) -> Any:
    return SimpleNamespace(
        waiting=waiting,
        running=running,
        in_flight=in_flight,
        utilization=utilization,
        load=waiting + running + in_flight,
        cached_blocks=lambda _: cached,
    )


LOADED = [view(2, 8, 10, 0.5, 3), view(0, 4, 4, 0.25, 0), view(6, 8, 20, 1.0, 6)]
IDLE = [view(), view()]


@pytest.mark.parametrize(
    ("name", "loaded", "idle"),
    [
        ("queue-depth", [4 / 6, 1.0, 0.0], [1.0, 1.0]),
        ("kv-utilization", [0.5, 0.75, 0.0], [1.0, 1.0]),
        ("load-balance", [1 / 21, 1 / 9, 1 / 35], [1.0, 1.0]),
        ("precise-prefix-cache", [0.5, 0.0, 1.0], [1.0, 1.0]),
        ("active-requests", [0.5, 0.8, 0.0], [1.0, 1.0]),
        ("running-requests", [0.0, 1.0, 0.0], [1.0, 1.0]),
        ("load-aware", [0.5 * 126 / 128, 0.5, 0.5 * 122 / 128], [0.5, 0.5]),
        ("prefix-affinity", [0.0, 0.0, 0.0], [0.0, 0.0]),
    ],
)
def test_scores(name: str, loaded: list[float], idle: list[float]) -> None:
    assert scorer(name, [16, 16, 16])(request(0, 100), LOADED) == pytest.approx(loaded, rel=1e-15)
    assert scorer(name, [16, 16])(request(0, 100), IDLE) == idle


def test_every_scorer_of_the_spec_is_there_and_stays_between_0_and_1() -> None:
    assert len(SCORERS) == 8
    for name in SCORERS:
        assert all(0 <= score <= 1 for score in scorer(name, [16] * 3)(request(0, 100), LOADED))


@pytest.mark.parametrize(("waiting", "score"), [(0, 0.5), (64, 0.25), (127, 0.5 / 128), (128, 0.0), (1000, 0.0)])
def test_load_aware_stops_at_a_queue_of_128(waiting: int, score: float) -> None:
    assert scorer("load-aware", [16])(request(), [view(waiting)]) == [score]


def test_prefix_affinity() -> None:
    affinity = PrefixAffinity([4, 4])
    shared = request(0, (("p", 10), ("s", 6), (None, 4)))
    assert affinity(shared, IDLE) == [0.0, 0.0]
    affinity.routed(shared, 1)
    # Four of the five blocks have an identity.
    assert affinity(shared, IDLE) == [0.0, 0.8]
    assert affinity(request(0, (("p", 10), ("t", 6), (None, 4))), IDLE) == [0.0, 2 / 5]
    assert affinity(request(0, (("p", 3),)), IDLE) == [0.0, 0.0]
    assert affinity(request(0, (("p", 8), ("s", 8))), IDLE) == [0.0, 2 / 4]


def test_prefix_affinity_forgets_what_was_sent_longest_ago() -> None:
    affinity = PrefixAffinity([1])

    def send(number: int, *segments: Segment) -> None:
        made = request(0, segments)
        made.request_id = number
        affinity.routed(made, 0)

    def known(key: str, blocks: int) -> float:
        return blocks * affinity(request(0, ((key, blocks),)), IDLE[:1])[0]

    send(0, ("a", 40))
    send(1, ("b", 60))
    assert (known("a", 40), known("b", 60)) == (40, 60)
    # Tokens nobody shares take their room too: 10 of a's blocks, the first ones, must go.
    send(2, (None, AFFINITY_BLOCKS - 90))
    assert (known("a", 40), known("b", 60)) == (0, 60)
    send(3, ("b", 60))
    send(4, ("c", AFFINITY_BLOCKS - 60))
    assert (known("b", 60), known("c", AFFINITY_BLOCKS - 60)) == (60, AFFINITY_BLOCKS - 60)
    send(5, ("d", AFFINITY_BLOCKS + 5))
    assert (known("b", 60), known("c", 10)) == (0, 0)


def test_weights_are_relative() -> None:
    def chosen(scale: float) -> list[int]:
        scorers = {"queue-depth": 0.2 * scale, "kv-utilization": 0.5 * scale, "load-balance": 0.3 * scale}
        stream = np.random.default_rng(5)
        requests = [request(at * 4, int(stream.integers(1, 60)), int(stream.integers(1, 9))) for at in range(60)]
        routing = RoutingSpec(policy="weighted", scorers=scorers)
        _, served = serve([config(block_size=4)] * 3, requests, routing=routing)
        return [served[number].instance for number in range(60)]

    # Powers of two, so that the normalised weights are the same to the last digit.
    assert chosen(1.0) == chosen(64.0)
    assert len(set(chosen(1.0))) == 3
