"""Wait queues and priorities, with the orders that follow from the rules."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blis.cluster.sequence import Stage
from blis.cluster.waiting import priority_of, wait_queue

SCHEDULERS = ("fcfs", "sjf", "priority-fcfs", "reverse-priority")


def waiter(number: int, prompt: int = 1, arrival: int = 0, priority: int = 1) -> Any:
    return SimpleNamespace(
        request=SimpleNamespace(request_id=number),
        prompt=prompt,
        arrival_us=arrival,
        priority=priority,
        stage=Stage.WAITING,
        epoch=0,
    )


def drain(queue: Any) -> list[int]:
    order = []
    while (head := queue.head()) is not None:
        order.append(head.request.request_id)
        queue.pop()
        head.stage = Stage.PREFILL
    return order


@pytest.mark.parametrize(
    ("scheduler", "order"),
    [
        ("fcfs", [4, 0, 1, 2, 3]),
        ("sjf", [3, 1, 0, 2, 4]),
        ("priority-fcfs", [2, 0, 1, 3, 4]),
        ("reverse-priority", [4, 1, 3, 0, 2]),
    ],
)
def test_orders(scheduler: str, order: list[int]) -> None:
    queue = wait_queue(scheduler)
    for one in (
        waiter(4, prompt=9, arrival=5, priority=7),
        waiter(0, prompt=3, arrival=1, priority=1),
        waiter(1, prompt=2, arrival=2, priority=5),
        waiter(2, prompt=4, arrival=3, priority=0),
        waiter(3, prompt=1, arrival=4, priority=5),
    ):
        queue.push(one)
    assert drain(queue) == order


@pytest.mark.parametrize("scheduler", ["sjf", "priority-fcfs", "reverse-priority"])
def test_equal_requests_go_by_arrival_and_then_by_the_text_of_their_ids(scheduler: str) -> None:
    queue = wait_queue(scheduler)
    for number in (2, 10, 9, 100, 1):
        queue.push(waiter(number, arrival=8))
    queue.push(waiter(99, arrival=7))
    assert drain(queue) == [99, 1, 10, 100, 2, 9]


def test_a_preempted_sequence_goes_to_the_front() -> None:
    queue = wait_queue("fcfs")
    for number in (1, 2):
        queue.push(waiter(number))
    queue.push(waiter(3), front=True)
    queue.push(waiter(4), front=True)
    assert drain(queue) == [4, 3, 1, 2]


@pytest.mark.parametrize("scheduler", ["sjf", "priority-fcfs", "reverse-priority"])
def test_a_preempted_sequence_gets_no_further_than_its_place_in_the_order(scheduler: str) -> None:
    queue = wait_queue(scheduler)
    queue.push(waiter(1, arrival=1))
    queue.push(waiter(2, arrival=2), front=True)
    assert drain(queue) == [1, 2]


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_those_that_gave_up_are_passed_over(scheduler: str) -> None:
    queue = wait_queue(scheduler)
    waiters = [waiter(number, arrival=number) for number in range(4)]
    for one in waiters:
        queue.push(one)
    for gone in (0, 2):
        waiters[gone].stage = Stage.GONE
    assert drain(queue) == [1, 3]
    assert queue.head() is None


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@given(data=st.data())
def test_any_course_of_events_keeps_the_sorted_order(scheduler: str, data: st.DataObject) -> None:
    """Against a list that is sorted anew, stably, at each look."""
    key = {
        "sjf": lambda s: (s.prompt, s.arrival_us, str(s.request.request_id)),
        "priority-fcfs": lambda s: (s.priority, s.arrival_us, str(s.request.request_id)),
        "reverse-priority": lambda s: (-s.priority, s.arrival_us, str(s.request.request_id)),
    }.get(scheduler)
    queue, listed, admitted, number = wait_queue(scheduler), [], [], 0
    small = st.integers(0, 2)
    for event in data.draw(st.lists(st.sampled_from(("join", "admit", "give up", "preempt")), max_size=30)):
        if event == "join":
            one = waiter(number, data.draw(small), data.draw(small), data.draw(small))
            number += 1
            queue.push(one)
            listed.append(one)
        elif event == "admit" and listed:
            one = queue.head()
            queue.pop()
            one.stage = Stage.PREFILL
            listed.remove(one)
            admitted.append(one)
        elif event == "give up" and listed:
            one = data.draw(st.sampled_from(listed))
            one.stage = Stage.GONE
            listed.remove(one)
        elif event == "preempt" and admitted:
            one = data.draw(st.sampled_from(admitted))
            admitted.remove(one)
            one.stage = Stage.WAITING
            one.epoch += 1
            queue.push(one, front=True)
            listed.insert(0, one)
        if key is not None:
            listed.sort(key=key)
        assert queue.head() is (listed[0] if listed else None)


@pytest.mark.parametrize(
    ("slo_class", "priority"),
    [
        ("critical", 0),
        ("realtime", 0),
        ("standard", 1),
        ("interactive", 1),
        ("", 1),
        ("batch", 5),
        ("sheddable", 6),
        ("background", 7),
    ],
)
def test_priority_by_class(slo_class: str, priority: int) -> None:
    assert priority_of("by-class")(slo_class, 123) == priority
    assert priority_of("constant")(slo_class, 123) == priority_of("constant")("", 0)


def test_priority_by_age_orders_as_the_age_does() -> None:
    slo, inverted = priority_of("slo-based"), priority_of("inverted-slo")
    assert sorted((30, 10, 20), key=lambda arrival: slo("batch", arrival)) == [10, 20, 30]
    assert sorted((30, 10, 20), key=lambda arrival: inverted("critical", arrival)) == [30, 20, 10]
