"""What goes wrong is said, with the model and the batch, or with the seed; it never becomes a number."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
import simpy
from small_cases import config, request, run

import blis
import blis.latency
from blis.cluster.cluster import Cluster
from blis.cluster.instance import Instance
from blis.errors import BlisError, InternalError
from blis.latency import AlphaBeta, BatchSums, Overheads
from blis.latency.durations import whole_us
from blis.request import Outcome
from blis.trace.status import STATUS_CODES, Status

# ---- durations that no clock can hold ----


class Stub:
    """A latency model that computes ``step`` for each batch, with no sense of what a number is."""

    overheads = Overheads()

    def __init__(self, step: float, decode: float) -> None:
        self.step = step
        self.decode = decode

    def step_us(self, batch: BatchSums) -> int:
        return whole_us(self.decode if batch.decodes else self.step, "stub", batch)

    def decode_us(self, decodes: int, context: int, steps: int) -> Any:
        return [self.step_us(BatchSums(decodes=decodes, decode_context=context, sequences=decodes))] * steps

    few_decodes_us = decode_us


@pytest.mark.parametrize("wrong", [math.nan, math.inf, 1e19])
def test_a_duration_that_is_no_time_names_model_and_batch(wrong: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blis.latency, "build", lambda _: Stub(wrong, 10))
    with pytest.raises(
        BlisError, match=rf"model stub: .* {re.escape(str(wrong))} us, for a batch of 7 prefill tokens and 0"
    ):
        run(config(), request(0, 7, 3))
    monkeypatch.setattr(blis.latency, "build", lambda _: Stub(10, wrong))
    with pytest.raises(BlisError, match=r"0 prefill tokens and 1 decoding sequences with 7 tokens of context"):
        run(config(), request(0, 7, 3))


@pytest.mark.parametrize("coefficient", [math.nan, math.inf, -1.0])
def test_coefficients_that_are_no_numbers_are_refused_before_the_run(coefficient: float) -> None:
    with pytest.raises(BlisError, match=r"us per prefill token is .*; a finite number >= 0 is needed"):
        run(config(beta=(10, coefficient, 0)), request())


def test_coefficients_that_overflow_together_are_refused_in_the_run() -> None:
    with pytest.raises(BlisError, match=r"alpha-beta: a step's duration comes out as inf us, for a batch of 2 prefill"):
        run(config(beta=(10, 1.7e308, 0)), request(0, 2, 1))


@pytest.mark.parametrize(
    ("coefficients", "output", "what"),
    [
        ({"beta": (9e18, 0, 0)}, 300, "a step takes 9e\\+18 us"),
        ({"alpha": (0, 1e308, 0)}, 1, "the queueing delay of a prompt of 10 tokens takes inf us"),
        ({"alpha": (1e300, 0, 0)}, 1, "the queueing delay takes 1e\\+300 us"),
    ],
)
def test_times_beyond_the_clock_are_refused(coefficients: dict[str, Any], output: int, what: str) -> None:
    with pytest.raises(BlisError, match=f"instance_0: with the latency model alpha-beta, {what}, more than the"):
        run(config(**coefficients), request(0, 10, output))


def test_nothing_is_shorter_than_a_microsecond() -> None:
    cluster, _ = run(config(beta=(0, 0, 0)), request(output=4))
    assert cluster.instances[0].step_ends == [1, 2, 3, 4]


# ---- conservation ----


def finished(seed: int = 1234, **keywords: Any) -> Cluster:
    env = simpy.Environment()
    cluster = Cluster(env, [config(), config()], seed, **keywords)
    for _ in range(6):
        cluster.submit(request(output=3))
    env.run()
    return cluster


def lose_a_block(cluster: Cluster) -> None:
    cluster.instances[1].scheduler.kv.free -= 1


def invent_a_block(cluster: Cluster) -> None:
    cluster.instances[0].scheduler.kv.free += 1


def lose_a_completion(cluster: Cluster) -> None:
    cluster.counts[STATUS_CODES[Status.OK]] -= 1


def invent_an_arrival(cluster: Cluster) -> None:
    cluster.injected += 1


def strand_a_request(cluster: Cluster) -> None:
    cluster.instances[0].in_flight += 1


def count_one_twice(cluster: Cluster) -> None:
    cluster.counts[STATUS_CODES[Status.TIMEOUT]] += 1


def test_a_sound_run_closes() -> None:
    cluster = finished()
    cluster.close()
    assert cluster.counts[STATUS_CODES[Status.OK]] == cluster.injected == len(cluster.table) == 6
    assert sum(cluster.counts) == 6


@pytest.mark.parametrize(
    "tamper", [lose_a_block, invent_a_block, lose_a_completion, invent_an_arrival, strand_a_request, count_one_twice]
)
def test_whatever_does_not_add_up_is_a_bug_report_with_the_seed(tamper: Any) -> None:
    cluster = finished()
    tamper(cluster)
    with pytest.raises(InternalError, match=r"\(seed 1234\)\. This is a bug in blis: please report it"):
        cluster.close()


SPEC = {
    "version": "2",
    "seed": 987,
    "aggregate_rate": 10.0,
    "num_requests": 5,
    "clients": [
        {
            "id": "c",
            "rate_fraction": 1.0,
            "arrival": {"process": "constant"},
            "input_distribution": {"type": "constant", "params": {"value": 20}},
            "output_distribution": {"type": "constant", "params": {"value": 5}},
        }
    ],
}


def test_a_request_that_is_never_served_does_not_go_unnoticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """An instance that forgets a request leaves the simulation with nothing to do, and the request in flight."""
    accept, seen = Instance.accept, []

    def forgetful(self: Instance, *arguments: Any) -> None:
        seen.append(arguments)
        if len(seen) != 3:
            accept(self, *arguments)

    monkeypatch.setattr(Instance, "accept", forgetful)
    with pytest.raises(InternalError, match=r"5 requests came in, but 4 ended.*\(seed 987\)"):
        blis.simulate(SPEC)
    assert len(seen) == 5


def test_a_request_that_ends_twice_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    record = Cluster._record

    def twice(self: Cluster, *arguments: Any, **keywords: Any) -> None:
        record(self, *arguments, **keywords)
        record(self, *arguments, **keywords)

    monkeypatch.setattr(Cluster, "_record", twice)
    with pytest.raises(InternalError, match="ended twice"):
        blis.simulate(SPEC)


# ---- what a client is told ----


def test_a_client_that_waits_is_told_how_its_request_ended() -> None:
    env = simpy.Environment()
    cluster = Cluster(env, [config(alpha=(0, 0, 2), max_num_seqs=1)])
    heard: list[tuple[int, Outcome]] = []

    def client() -> Any:
        first = cluster.submit(request(0, output=3))
        late = cluster.submit(request(0, output=3, deadline=12))
        for done in (late, first):
            outcome = yield done
            heard.append((int(env.now), outcome))
        outcome = yield cluster.submit(request(int(env.now), 10**6, 1))
        heard.append((int(env.now), outcome))

    env.process(client())
    env.run()
    cluster.close()
    assert heard == [
        (12, Outcome(1, "timeout", 0, None, None)),
        (30, Outcome(0, "ok", 3, 12, 36)),
        (30, Outcome(2, "unservable", 0, None, None)),
    ]


def test_who_asks_afterwards_is_told_at_once() -> None:
    env = simpy.Environment()
    cluster = Cluster(env, [config()])
    heard: list[tuple[int, Outcome]] = []

    def client() -> Any:
        done = cluster.submit(request(0, output=1))
        yield env.timeout(100)
        outcome = yield done
        heard.append((int(env.now), outcome))

    env.process(client())
    env.run()
    assert heard == [(100, Outcome(0, "ok", 1, 10, 10))]


def test_a_model_is_shared_by_instances_that_are_alike() -> None:
    assert blis.latency.build(config()) is blis.latency.build(config())
    assert isinstance(blis.latency.build(config()), AlphaBeta)
