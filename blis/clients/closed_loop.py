"""Processes of clients that keep a number of requests, or sessions, going."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from itertools import count
from typing import Any

import simpy

from blis.clients.plans import ClosedLoopSource, Plan
from blis.clients.rates import END_OF_TIME_US, Window
from blis.clients.sessions import LEAST_WAIT_US, Caller
from blis.trace.status import Status
from blis.units import US_PER_S

__all__ = ["FAILURE_PAUSE_US", "start_workers"]

FAILURE_PAUSE_US = US_PER_S
"""A worker whose request was refused or failed waits at least this long, so as not to hammer the server."""

_TOOK_THEIR_TIME = (Status.OK, Status.TIMEOUT, Status.CONTEXT_OVERFLOW)


class _Shelf:
    """Plans by their number, each taken once; those drawn before they are asked for wait here."""

    def __init__(self, source: ClosedLoopSource) -> None:
        self._plans = (plan for block in source.sessions() for plan in block.plans())
        self._waiting: dict[int, Plan] = {}

    def take(self, number: int) -> Plan:
        waiting = self._waiting
        while number not in waiting:
            plan = next(self._plans)
            waiting[plan.number] = plan
        return waiting.pop(number)


def start_workers(caller: Caller, source: ClosedLoopSource) -> None:
    """Start the processes of a client's workers, of which ``caller.arrivals`` knows already."""
    shelf = _Shelf(source)
    for worker in range(source.concurrency):
        caller.env.process(_work(caller, source, shelf, worker))


def _work(caller: Caller, source: ClosedLoopSource, shelf: _Shelf, worker: int) -> Generator[simpy.Event, Any, None]:
    """Do one thing after another until the run ends."""
    arrivals = caller.arrivals
    due = _within(source.windows, source.start_us(worker))
    for number in count(worker, source.concurrency):
        if due >= caller.end_us:
            break
        plan = shelf.take(number)
        yield caller.arrive(due, worker)
        if arrivals.left <= 0:
            return
        outcome = yield from caller.rounds(plan, worker, due)
        if source.single or arrivals.left <= 0:
            break
        least = LEAST_WAIT_US if outcome.status in _TOOK_THEIR_TIME else FAILURE_PAUSE_US
        due = _within(source.windows, int(caller.env.now) + max(plan.pause_us, least))
    arrivals.end_client()


def _within(windows: Sequence[Window], at_us: int) -> int:
    """Return the first time from ``at_us`` on that is inside a window."""
    return next((max(at_us, start) for start, end in windows if at_us < end), END_OF_TIME_US)
