"""Requests that waited for other reasons than load."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import blis
from blis.metrics import Anomalies, summarize
from blis.metrics.anomalies import BLOCKED, INVERTED, STARVED, anomalies
from blis.metrics.overtaking import passed_by_no_shorter, sums_of_large
from blis.metrics.stretch import statuses_of
from blis.trace import Trace, TraceHeader

DEPLOYMENT = {"model": "llama-3.1-8b", "hardware": "H100", "max_num_seqs": 4}


def queue(*requests: tuple[Any, ...], deployment: Any = DEPLOYMENT, **columns: Any) -> Trace:
    """A trace of (arrival, admission, prompt, end) on one instance: a token each µs from admission on."""
    arrival, start, prompt, end = (list(column) for column in zip(*requests, strict=True))
    given = {
        "request_id": range(len(requests)),
        "instance": ["instance_0"] * len(requests),
        "arrival_time_us": arrival,
        "scheduling_delay_us": [-1 if s is None else s - a for a, s in zip(arrival, start, strict=True)],
        "prompt_tokens": prompt,
        "output_tokens": [0 if s is None else e - s for s, e in zip(start, end, strict=True)],
        "first_chunk_time_us": [-1 if s is None else s + 1 for s in start],
        "last_chunk_time_us": end,
        "status": ["ok" if s is not None else "timeout" for s in start],
        **columns,
    }
    return Trace.from_columns(given, TraceHeader(deployment=deployment))


def marked(trace: Trace, bit: int) -> list[int]:
    marks = anomalies(trace, statuses_of(trace))
    assert marks is not None
    return np.flatnonzero(marks.of_rows & bit).tolist()


# -- inversions


@pytest.mark.parametrize(
    ("second", "passed"),
    [
        ((1, 5, 100, 90), [0]),
        ((1, 5, 101, 90), [0]),
        # It is shorter, or no sooner, or came no later.
        ((1, 5, 99, 90), []),
        ((1, 10, 100, 90), []),
        ((0, 5, 100, 90), []),
    ],
)
def test_an_inversion_is_being_passed_by_one_that_is_no_shorter(second, passed):
    assert marked(queue((0, 10, 100, 90), second), INVERTED) == passed


def test_inversions_are_within_a_class_and_an_instance():
    requests = (0, 10, 100, 90), (1, 5, 100, 90)
    assert marked(queue(*requests, slo_class=["a", "a"]), INVERTED) == [0]
    assert marked(queue(*requests, slo_class=["batch", "critical"]), INVERTED) == []
    assert marked(queue(*requests, instance=["instance_0", "instance_1"]), INVERTED) == []


def test_a_preempted_request_was_admitted_before_and_is_not_judged_by_its_last_admission():
    assert marked(queue((0, 10, 100, 90), (1, 5, 100, 90), preemptions=[1, 0]), INVERTED) == []


def test_a_request_that_left_the_queue_was_passed_as_well():
    requests = (0, None, 100, -1), (1, 5, 100, 90)
    assert marked(queue(*requests, deadline_us=[50, -1]), INVERTED) == [0]
    # It left first.
    assert marked(queue(*requests, deadline_us=[4, -1]), INVERTED) == []
    assert marked(queue(*requests, status=["incomplete", "ok"]), INVERTED) == [0]
    # It never was in a queue.
    assert marked(queue(*requests, status=["rejected", "ok"]), INVERTED) == []


# -- head-of-line blocking

# One runs until 20 and uses much of the cache; a long prompt waits for it, and two short ones behind that.
BLOCKING = ((0, 0, 100, 2), (1, 20, 90, 30), (2, 21, 45, 30), (3, 21, 46, 30))


def test_blocked_is_who_waits_behind_a_prompt_twice_as_long_that_has_no_room():
    # A gap between tokens is 1 µs, and the queue stood still for 19.
    assert marked(queue(*BLOCKING), BLOCKED) == [2]
    # Both may have got their room in the same step because they were both waited for.
    assert marked(queue(*BLOCKING[:2], (2, 20, 45, 30)), BLOCKED) == []


def test_with_all_slots_taken_nobody_is_blocked_by_a_prompt():
    running = [(0, 0, 10, 20)] * 3
    assert marked(queue((0, 0, 100, 20), *running[:2], *BLOCKING[1:]), BLOCKED) == [4]
    assert marked(queue((0, 0, 100, 20), *running, *BLOCKING[1:]), BLOCKED) == []


def test_a_prompt_in_the_making_is_work_and_not_a_standstill():
    trace = queue(*BLOCKING, first_chunk_time_us=[19, 21, 21, 22], last_chunk_time_us=[19, 30, 30, 30])
    assert marked(trace, BLOCKED) == []


def test_the_way_to_the_queue_is_no_standstill():
    # All take 18 µs to the queue, whoever runs; 1 or 2 µs more are the step under way.
    assert marked(queue((0, 18, 100, 20), (10, 28, 90, 50), (11, 30, 45, 50), (12, 31, 46, 50)), BLOCKED) == []


def test_most_of_the_wait_must_be_behind_long_prompts():
    # In the queue for 19 + 81 and 19 + 9 µs.
    long_after = (*BLOCKING[:2], (2, 101, 45, 300), (3, 30, 45, 300))
    assert marked(queue(*long_after), BLOCKED) == [3]


def test_several_heads_add_up():
    # It waits from 2 to 63: 18 µs behind 90 tokens, 20 behind 50 (which isn't twice as long as 30), 20 behind 95.
    heads = ((0, 0, 100, 2), (1, 20, 90, 21), (1, 41, 50, 41), (1, 62, 95, 63))
    assert marked(queue(*heads, (2, 63, 30, 70)), BLOCKED) == [4]
    assert marked(queue(*heads[:2], (1, 41, 50, 41), (1, 62, 59, 63), (2, 63, 30, 70)), BLOCKED) == []


def test_without_the_deployment_blocking_is_not_known():
    found = summarize(queue(*BLOCKING, deployment=None)).overall.anomalies
    assert found == Anomalies(4, 0, None, 0)
    assert summarize(queue(*BLOCKING)).overall.anomalies == Anomalies(4, 0, 1, 0)
    unknown = {**DEPLOYMENT, "model": "./nowhere/config.json"}
    assert summarize(queue(*BLOCKING, deployment=unknown)).overall.anomalies.head_of_line_blocked is None


# -- starvation


def passing(last: int, others: int = 20) -> Trace:
    """A long request comes first and starts at ``last``; the others start 1 µs after they come."""
    return queue((0, last, 1000, 2000), *((at, at + 1, 10, at + 5) for at in range(2, 2 + others)))


def test_starved_is_who_is_passed_by_ten_and_waits_ten_times_longer_than_in_its_turn():
    # The first admission was at 3: its turn.
    assert marked(passing(31), STARVED) == [0]
    assert marked(passing(30), STARVED) == []
    assert marked(passing(31, others=9), STARVED) == []
    assert marked(passing(31, others=10), STARVED) == [0]


def test_starved_is_also_who_was_preempted_before_its_first_token():
    preempted = [1] + [0] * 20
    columns = {name: passing(31).column(name).tolist() for name in ("first_chunk_time_us", "request_id")}

    def first_token(at: int) -> Trace:
        firsts = [at, *columns["first_chunk_time_us"][1:]]
        rows = ((0, 31, 1000, 2000), *((at, at + 1, 10, at + 5) for at in range(2, 22)))
        return queue(*rows, preemptions=preempted, first_chunk_time_us=firsts)

    assert marked(first_token(32), STARVED) == [0]
    assert marked(first_token(30), STARVED) == []


def test_waiting_as_long_as_everybody_is_not_starvation():
    slow = queue((0, 40, 1000, 2000), *((at, at + 5, 10, at + 9) for at in range(2, 30)))
    assert marked(slow, STARVED) == []


# -- a trace as a whole


def test_requests_alike_but_for_their_length_are_no_anomaly():
    for first, second in ((10_000, 10), (10, 10_000)):
        trace = queue((0, 0, first, 900), (1, 5, second, 2000))
        assert summarize(trace).overall.anomalies == Anomalies(2, 0, 0, 0)


def test_traces_without_admissions_have_no_anomalies():
    assert summarize(queue((0, 0, 1, 2), scheduling_delay_us=[-1])).overall.anomalies is None
    assert summarize(Trace.from_columns({})).overall.anomalies is None


def test_groups_have_their_own_counts():
    trace = queue(*BLOCKING, tenant_id=["a", "a", "b", "b"], slo_class=["x", "x", "y", "x"])
    summary = summarize(trace)
    assert {name: group.anomalies for name, group in summary.tenants.items()} == {
        "a": Anomalies(2, 0, 0, 0),
        "b": Anomalies(2, 0, 1, 0),
    }
    assert summary.slo_classes["y"].anomalies.head_of_line_blocked == 1


# -- against the obvious

TIMES = st.integers(0, 12)


@given(st.lists(st.tuples(TIMES, st.integers(1, 5)), max_size=20))
def test_passed_by_no_shorter_is_what_it_says(requests):
    starts, sizes = (np.array(column, np.int64) for column in zip(*requests, strict=True)) if requests else ([], [])
    expected = [
        any(starts[later] < starts[one] and sizes[later] >= sizes[one] for later in range(one + 1, len(requests)))
        for one in range(len(requests))
    ]
    assert passed_by_no_shorter(np.array(starts), np.array(sizes)).tolist() == expected


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(1, 9)), min_size=1, max_size=20),
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(0, 11)), min_size=1, max_size=8),
)
def test_sums_of_large_are_what_they_say(stretch, questions):
    values, sizes = (list(column) for column in zip(*stretch, strict=True))
    asked = [(min(a, b, len(values)), min(max(a, b), len(values)), least) for a, b, least in questions]
    expected = [sum(values[at] for at in range(a, b) if sizes[at] >= least) for a, b, least in asked]
    found = sums_of_large(np.array(values), np.array(sizes), *(np.array(column) for column in zip(*asked, strict=True)))
    assert found.tolist() == expected


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 99), st.integers(0, 60), st.integers(1, 6)), min_size=1, max_size=25),
    st.randoms(use_true_random=False),
)
def test_the_order_of_rows_does_not_matter(requests, random):
    rows = [(at, at + delay, 10 * size, at + delay + 9) for at, delay, size in requests]
    found = summarize(queue(*rows)).overall.anomalies
    random.shuffle(rows)
    again = summarize(queue(*rows)).overall.anomalies
    assert again == found
    assert max(found.priority_inversions, found.head_of_line_blocked, found.starved) <= found.judged == len(rows)


# -- in simulations


def simulated(scheduler: str, rate: float, inputs: str = "exponential", **deployment: Any) -> Anomalies:
    def client(name: str, fraction: float, tokens: int, kind: str) -> dict[str, Any]:
        params = {"mean": tokens} if kind == "exponential" else {"value": tokens}
        return {
            "id": name,
            "rate_fraction": fraction,
            "slo_class": "critical" if name == "short" else "batch",
            "arrival": {"process": "poisson"},
            "input_distribution": {"type": kind, "params": params},
            "output_distribution": {"type": "exponential", "params": {"mean": 100}},
        }

    clients = [client("short", 0.9, 300, inputs), client("long", 0.1, 6000, "constant")]
    workload = {"version": "2", "aggregate_rate": rate, "num_requests": 500, "clients": clients}
    trace = blis.simulate(workload, {"model": "llama-3.1-8b", "hardware": "H100", "scheduler": scheduler, **deployment})
    found = summarize(trace).overall.anomalies
    assert found is not None
    assert found.judged == 500
    return found


# Queueing delays that grow with the prompt let a short request into the queue before a long one.
GROWING = {"model": "alpha-beta", "coefficients": {"alpha": [1600, 3.5, 20], "beta": [6900, 17, 4.5]}}


@pytest.mark.parametrize(
    "deployment",
    [
        {"max_num_seqs": 16},
        {"total_kv_blocks": 800},
        {"total_kv_blocks": 800, "async_scheduling": True},
        {"max_num_seqs": 16, "latency": GROWING},
        {"instances": 3, "max_num_seqs": 8, "routing": {"policy": "least-loaded"}},
    ],
)
def test_first_come_first_served_neither_inverts_nor_starves(deployment):
    found = simulated("fcfs", 60, **deployment)
    assert (found.priority_inversions, found.starved) == (0, 0)


def test_a_full_cache_blocks_the_line_and_full_slots_or_little_load_do_not():
    assert simulated("fcfs", 20, total_kv_blocks=800).head_of_line_blocked > 100
    assert simulated("fcfs", 60, max_num_seqs=16).head_of_line_blocked == 0
    assert simulated("fcfs", 2).head_of_line_blocked == 0
    assert simulated("fcfs", 2, latency=GROWING).head_of_line_blocked == 0


def test_shortest_first_starves_the_long_and_inverts_nothing():
    found = simulated("sjf", 30, max_num_seqs=16)
    assert (found.priority_inversions, found.head_of_line_blocked) == (0, 0)
    assert found.starved > 10
    assert simulated("sjf", 20, total_kv_blocks=800).head_of_line_blocked == 0


def test_latest_first_inverts_and_priority_by_class_does_not():
    latest = simulated("priority-fcfs", 60, "constant", max_num_seqs=16, priority_policy="inverted-slo")
    assert latest.priority_inversions > 100
    assert simulated("priority-fcfs", 60, max_num_seqs=16).priority_inversions == 0
