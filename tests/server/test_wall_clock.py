"""Time that is the wall clock's: never early, no drift, open to the outside, idle when there is nothing to do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import simpy

from blis.clients.build import start
from blis.request import Outcome, Request
from blis.server import alarm
from blis.server.wall_clock import WallClockEnvironment
from blis.spec.workload import workload_from_dict

Run = Callable[[Coroutine[Any, Any, Any]], Any]


def _uvloop() -> asyncio.AbstractEventLoop:
    loop: asyncio.AbstractEventLoop = pytest.importorskip("uvloop").new_event_loop()
    return loop


@pytest.fixture(params=[asyncio.new_event_loop, _uvloop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    def runner(coroutine: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=request.param) as loop:
            return loop.run(coroutine)

    return runner


def ticking(env: WallClockEnvironment, gap: int, count: int, seen: list[tuple[int, int]]) -> Any:
    """A process that notes ``count`` times what time should be and what it is."""
    for _ in range(count):
        yield env.timeout(gap)
        seen.append((int(env.now), env.clock_us()))


def test_events_happen_at_their_time_never_before(run: Run) -> None:
    env = WallClockEnvironment()
    seen: list[tuple[int, int]] = []
    run(env.run_async(env.process(ticking(env, 1_300, 40, seen))))
    assert [due for due, _ in seen] == [1_300 * (i + 1) for i in range(40)]
    late = sorted(clock - due for due, clock in seen)
    assert late[0] >= 0
    assert late[20] < 50_000, "half of the events are nearly on time on any machine"


@pytest.mark.parametrize("have_timer_files", [True, False])
def test_alarms_without_the_kernels_help_are_not_early_either(
    run: Run, monkeypatch: pytest.MonkeyPatch, have_timer_files: bool
) -> None:
    if not have_timer_files:
        monkeypatch.setattr(alarm, "_timer_file", lambda: None)
    env = WallClockEnvironment()
    seen: list[tuple[int, int]] = []
    run(env.run_async(env.process(ticking(env, 700, 20, seen))))
    assert len(seen) == 20
    assert all(due <= clock for due, clock in seen)


def test_an_idle_environment_uses_no_cpu(run: Run) -> None:
    async def main() -> float:
        env = WallClockEnvironment()
        task = asyncio.create_task(env.run_async(env.timeout(300_000)))
        await asyncio.sleep(0)
        before = time.process_time()
        await task
        return time.process_time() - before

    assert run(main()) < 0.05


def test_a_late_machine_catches_up_in_order_and_without_drift(run: Run) -> None:
    """After a pause the overdue events come at once, each believing in its own time, and sockets are looked after."""
    env = WallClockEnvironment()
    seen: list[tuple[int, int]] = []

    def slow() -> Any:
        for number in range(30):
            yield env.timeout(1_000)
            seen.append((int(env.now), env.clock_us()))
            time.sleep(0.02 if number == 3 else 0.0002)

    async def main() -> int:
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(other())
        await asyncio.sleep(0)
        await env.run_async(env.process(slow()))
        task.cancel()
        return turns

    turns = run(main())
    assert [due for due, _ in seen] == [1_000 * (i + 1) for i in range(30)]
    assert seen[4][1] - seen[4][0] > 15_000
    assert turns > 5
    assert all(due <= clock for due, clock in seen)


def test_what_completes_outside_wakes_it_at_the_actual_time(run: Run) -> None:
    env = WallClockEnvironment()

    def waiting(answer: simpy.Event) -> Any:
        value = yield answer
        noticed = int(env.now)
        yield env.timeout(10_000)
        return value, noticed, int(env.now)

    async def main() -> tuple[str, int, int, int]:
        answer = env.event()
        asyncio.get_running_loop().call_later(0.02, lambda: env.complete(answer, "done"))
        # Something due much later must not hold it up.
        env.timeout(60_000_000)
        value, noticed, ended = await env.run_async(env.process(waiting(answer)))
        return value, noticed, ended, env.clock_us()

    value, noticed, ended, clock = run(main())
    assert value == "done"
    assert noticed >= 19_000
    assert ended == noticed + 10_000 <= clock < 10_000_000


def test_an_outside_event_may_say_when_it_was_but_never_turns_time_back(run: Run) -> None:
    env = WallClockEnvironment()
    times: list[int] = []

    async def main() -> None:
        await env.run_async(env.timeout(5_000))
        for at in (7_000, 1_000):
            event = env.event()
            event.callbacks.append(lambda _: times.append(int(env.now)))
            env.complete(event, at_us=at)
            await env.run_async(event)

    run(main())
    assert times == [7_000, 7_000]


def test_outside_events_do_not_overtake_overdue_ones(run: Run) -> None:
    env = WallClockEnvironment()
    order: list[str] = []

    def note(text: str) -> Callable[[simpy.Event], None]:
        return lambda _: order.append(text)

    async def main() -> None:
        first, second, outside = env.timeout(2_000), env.timeout(3_000), env.event()
        for event, text in ((first, "first"), (second, "second"), (outside, "outside")):
            assert event.callbacks is not None
            event.callbacks.append(note(text))
        task = asyncio.create_task(env.run_async(outside))
        await asyncio.sleep(0)
        time.sleep(0.01)
        env.complete(outside)
        await task

    run(main())
    assert order == ["first", "second", "outside"]


def test_time_may_pass_faster(run: Run) -> None:
    env = WallClockEnvironment(speed=50.0)
    seen: list[tuple[int, int]] = []
    began = time.monotonic()
    run(env.run_async(env.process(ticking(env, 100_001, 10, seen))))
    assert 0.02 <= time.monotonic() - began < 5
    assert [due for due, _ in seen] == [100_001 * (i + 1) for i in range(10)]
    assert all(due <= clock for due, clock in seen)


def test_a_start_in_the_future_is_waited_for(run: Run) -> None:
    start_ns = time.monotonic_ns() + 50_000_000
    env = WallClockEnvironment()
    before_us = time.time_ns() // 1000
    run(env.run_async(env.timeout(1_000), start_ns=start_ns))
    assert time.monotonic_ns() >= start_ns + 1_000_000
    assert abs(env.epoch_us - before_us - 50_000) < 20_000


def test_errors_of_processes_come_out(run: Run) -> None:
    env = WallClockEnvironment()

    def failing() -> Any:
        yield env.timeout(1_000)
        raise ValueError("no")

    env.process(failing())
    with pytest.raises(ValueError, match="no"):
        run(env.run_async(env.timeout(1_000_000)))
    with pytest.raises(ValueError, match="no"):
        run(env.run_async(env.process(failing())))


def test_running_until_something_that_was_gives_its_value(run: Run) -> None:
    env = WallClockEnvironment()
    event = env.timeout(1_000, "value")
    assert run(env.run_async(event)) == "value"
    assert run(env.run_async(event)) == "value"


def test_cancelling_leaves_nothing_behind(run: Run) -> None:
    env = WallClockEnvironment()
    ticks: list[tuple[int, int]] = []
    env.process(ticking(env, 1_000, 1_000_000, ticks))

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(env.run_async(), 0.02)
        count = len(ticks)
        await asyncio.sleep(0.01)
        assert len(ticks) == count > 0
        # It goes on where it was, late.
        await env.run_async(env.timeout(1_000))
        assert len(ticks) > count

    run(main())


def test_the_very_same_clients_send_at_their_times(run: Run) -> None:
    env = WallClockEnvironment()
    sent: list[tuple[int, int, int]] = []

    class Echo:
        def submit(self, request: Request) -> simpy.Event:
            sent.append((request.arrival_us, int(env.now), env.clock_us()))
            return env.timeout(1_000, Outcome(len(sent), "ok", 1, None, None))

    shape = {
        "arrival": {"process": "poisson"},
        "input_distribution": {"type": "constant", "params": {"value": 100}},
        "output_distribution": {"type": "constant", "params": {"value": 10}},
    }
    clients = [{"id": "a", "rate": 300.0, **shape}, {"id": "b", "rate": 200.0, **shape}]
    spec = workload_from_dict({"num_requests": 40, "clients": clients})
    done = start(env, Echo(), spec, horizon_us=None, num_requests=40, warn=lambda _: None)
    run(env.run_async(done))
    assert len(sent) == 40
    assert all(due == now <= clock for due, now, clock in sent)
