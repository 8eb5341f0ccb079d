"""Deadlines: each at its time, and nothing kept of sequences that have left."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from small_cases import config, request, run

from blis.cluster.deadlines import Deadlines
from blis.cluster.sequence import Sequence, Stage
from blis.cluster.virtual_time import VirtualTime


def sequence(env: VirtualTime) -> Sequence:
    return Sequence(request(), env.event())


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 60), st.booleans()), max_size=40))
def test_those_that_have_not_left_are_told_at_their_time(rows: list[tuple[int, int, bool]]) -> None:
    """Rows: time until the next comes, its patience, and whether it leaves as the next comes."""
    env = VirtualTime()
    told: list[tuple[int, int]] = []
    numbers: dict[Sequence, int] = {}
    deadlines = Deadlines(env, lambda one: told.append((int(env.now), numbers[one])))
    expected = []
    for number, (wait, patience, leaves) in enumerate(rows):
        now = int(env.now)
        one = sequence(env)
        numbers[one] = number
        deadlines.watch(one, now + patience, now)
        if not leaves or patience < wait:
            expected.append((now + patience, number))
        env.drain(now + wait)
        if leaves:
            one.stage = Stage.GONE
    env.drain()
    assert told == sorted(expected)


def test_what_has_left_is_not_kept() -> None:
    env = VirtualTime()
    deadlines = Deadlines(env, lambda one: None)
    for number in range(10_000):
        one = sequence(env)
        deadlines.watch(one, 10**9 + number, number)
        one.stage = Stage.GONE
    assert len(deadlines._heap) <= 64
    assert len(env._queue) == 1


def test_a_run_with_long_deadlines_is_the_run_without() -> None:
    patient = [request(at * 7, 5, 4, deadline=10**8) for at in range(200)]
    plain = [request(at * 7, 5, 4) for at in range(200)]
    assert run(config(), *patient)[1] == run(config(), *plain)[1]
