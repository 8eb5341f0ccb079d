"""A SimPy environment whose time is the wall clock's."""

from __future__ import annotations

import asyncio
import math
import time
from heapq import heappop, heappush
from typing import Any

import simpy
from simpy.events import NORMAL

from blis.server.alarm import Alarm

__all__ = ["WallClockEnvironment"]

_WAKING_US = 80
"""About what waking up takes."""
_TURN_NS = 500_000
"""How long overdue events are processed before the loop looks after its sockets again."""


class WallClockEnvironment(simpy.Environment):
    """Processes written for :class:`simpy.Environment` run in real time, on asyncio's loop.

    Time is whole microseconds since the start, which :meth:`run_async` decides when it is first called. With ``speed``
    2 it passes twice as fast. The alarm rings ``waking_us`` of real time before an event is due, and the rest of the
    time is sat out: where there is hardly a moment without an event, that would cost more than it is worth.

    An event is never processed before its time. While it is, :attr:`now` is the time it was scheduled for, however late
    the machine is, so that a schedule doesn't drift; :meth:`clock_us` tells the actual time. Overdue events
    are processed in order at once, with looks at the sockets in between. What happens outside, such as the answer to
    an HTTP request, enters through :meth:`complete`, and only so: between events ``now`` lags behind the clock.
    """

    def __init__(self, *, speed: float = 1.0, waking_us: int = _WAKING_US) -> None:
        super().__init__(0)
        self._waking_ns = waking_us * 1000
        self._start_ns: int | None = None
        self._tick_ns: int | float = 1000 if speed == 1 else 1000 / speed
        self._loop: asyncio.AbstractEventLoop | None = None
        self._alarm: Alarm | None = None
        self._finished: asyncio.Future[Any] | None = None
        self._turn_is_due = False
        self._epoch_us = 0

    @property
    def epoch_us(self) -> int:
        """When the start was, in microseconds since 1970; 0 before it."""
        return self._epoch_us

    def clock_us(self) -> int:
        """The time now, in microseconds since the start: at most the true one, less than a microsecond behind."""
        return self.at_us(time.monotonic_ns())

    def at_us(self, moment_ns: int) -> int:
        """Convert a time of :func:`time.monotonic_ns` to microseconds since the start, negative before it."""
        return 0 if self._start_ns is None else int((moment_ns - self._start_ns) // self._tick_ns)

    def to_ns(self, at_us: int) -> int:
        """Convert microseconds since the start, the beginning of one, to a time of :func:`time.monotonic_ns`."""
        return 0 if self._start_ns is None else self._start_ns + math.ceil(at_us * self._tick_ns)

    def complete(self, event: simpy.Event, value: Any = None, at_us: int | None = None) -> None:
        """Let ``event`` succeed with ``value``, from outside of any process; its callbacks run in the loop's next turn.

        The event happens at ``at_us``, by default now. Call it from the loop's own thread.
        """
        event._ok = True
        event._value = value
        at = self.clock_us() if at_us is None else at_us
        heappush(self._queue, (max(at, int(self._now)), NORMAL, next(self._eid), event))
        if not self._turn_is_due and self._loop is not None:
            self._turn_is_due = True
            self._loop.call_soon(self._turn)

    async def run_async(self, until: simpy.Event | None = None, *, start_ns: int | None = None) -> Any:
        """Process events as they fall due until ``until`` has been processed, and return its value.

        The first call starts the clock: now, or at ``start_ns``, a time of :func:`time.monotonic_ns`, which is the same
        in all processes of a machine. Later calls go on with it: time has passed meanwhile. Without ``until``, runs
        until cancelled. Raises what a process or an event that nobody handles raises.
        """
        if until is not None and until.callbacks is None:
            return until.value
        if not self._epoch_us:
            now_ns = time.monotonic_ns()
            self._start_ns = now_ns if start_ns is None else start_ns
            self._epoch_us = (time.time_ns() - (now_ns - self._start_ns)) // 1000
        self._loop = asyncio.get_running_loop()
        self._finished = self._loop.create_future()
        self._alarm = Alarm(self._loop, self._turn)
        if until is not None:
            assert until.callbacks is not None
            until.callbacks.append(self._finish)
        try:
            self._turn()
            return await self._finished
        finally:
            if until is not None and until.callbacks is not None:
                until.callbacks.remove(self._finish)
            self._alarm.close()
            self._alarm = self._loop = self._finished = None

    def _finish(self, event: simpy.Event) -> None:
        assert self._finished is not None
        if event._ok:
            self._finished.set_result(event._value)
        else:
            event.defused = True
            self._finished.set_exception(event._value)

    def _turn(self) -> None:
        """Process the events that are due, as many as the turn's time allows; see to the next turn."""
        self._turn_is_due = False
        finished, alarm = self._finished, self._alarm
        if finished is None or alarm is None or self._loop is None:
            return
        queue, end = self._queue, time.monotonic_ns() + _TURN_NS
        try:
            while queue and not finished.done():
                clock_ns = time.monotonic_ns()
                due = queue[0][0]
                if due > self.at_us(clock_ns):
                    early_ns = self.to_ns(int(due)) - self._waking_ns
                    if early_ns > clock_ns:
                        alarm.set(early_ns)
                        return
                    continue
                if clock_ns > end:
                    self._turn_is_due = True
                    self._loop.call_soon(self._turn)
                    return
                self._process(*heappop(queue))
        except BaseException as error:
            if finished.done():
                raise
            finished.set_exception(error)

    def _process(self, due: simpy.core.SimTime, priority: object, number: int, event: simpy.Event) -> None:
        self._now = due
        callbacks, event.callbacks = event.callbacks, None  # type: ignore[assignment]
        for callback in callbacks:
            callback(event)
        if not event._ok and not event.defused:
            raise event._value
