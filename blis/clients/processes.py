"""Client processes: SimPy generators that hand requests to a target when they are due.

The process of an open-loop client is here. Those of clients that wait for answers are in
:mod:`blis.clients.sessions` and :mod:`blis.clients.closed_loop`. All yield :class:`Arrival` or the event that
``target.submit`` returns, and count their requests with :class:`Arrivals`.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, cast

import simpy
from simpy.events import EventPriority

from blis.clients.rates import END_OF_TIME_US
from blis.clients.source import Source
from blis.clients.stages import Gate
from blis.clients.target import Target
from blis.request import ANSWER, Request, Segment

__all__ = ["Arrival", "Arrivals", "open_loop", "rank_priority"]


class Arrival(simpy.Event):
    """A timeout after ``delay`` microseconds that comes before plain timeouts of the same microsecond."""

    # What SimPy sets on each event anew.
    _ok = True
    _value = None
    _defused = False

    def __init__(self, env: simpy.Environment, delay: int, priority: EventPriority) -> None:
        # As simpy.Timeout does, without going through Event.__init__, since this runs once per request.
        self.env = env
        self.callbacks = []
        env.schedule(self, priority, delay)


def rank_priority(rank: int) -> EventPriority:
    """Return the priority of arrivals of the client at place ``rank`` (from 0) among all clients in order of their ids.

    Arrivals of one microsecond happen in that order, whoever scheduled first, after SimPy's urgent events (0) and
    before its normal ones (1). Ranks up to 2^31 keep their order.
    """
    return cast(EventPriority, 0.5 + rank * 2.0**-32)


class Arrivals:
    """The count that all clients of a run share.

    ``left`` is how many requests may still arrive. ``done`` fires when no more will: after the last of
    ``num_requests``, or when all ``clients`` processes, and those begun later, have ended.
    """

    __slots__ = ("_clients", "done", "left")

    def __init__(self, env: simpy.Environment, num_requests: int | None, clients: int) -> None:
        self.left = END_OF_TIME_US if num_requests is None else num_requests
        self._clients = clients
        self.done = simpy.Event(env)
        if self.left <= 0 or clients == 0:
            self.done.succeed()

    def close(self) -> None:
        """Note that the last request was sent."""
        if not self.done.triggered:
            self.done.succeed()

    def begin_client(self) -> None:
        """Note that one process more will send."""
        self._clients += 1

    def end_client(self) -> None:
        """Note that one client's process has ended."""
        self._clients -= 1
        if self._clients == 0:
            self.close()


def open_loop(
    env: simpy.Environment,
    target: Target,
    source: Source,
    arrivals: Arrivals,
    priority: EventPriority,
    end_us: int = END_OF_TIME_US,
    likely: float | None = None,
    gate: Gate | None = None,
) -> Generator[simpy.Event, Any, None]:
    """Send the requests of ``source`` that arrive before ``end_us``, each at its time, whatever becomes of them.

    With a ``gate`` their times are on its stages' clock.
    """
    submit = target.submit
    facts, cap, timeout = source.facts, source.max_output_tokens, source.timeout_us
    prefix = facts.prefix_length
    head = (facts.prefix_group, prefix)
    now, number = int(env.now), 0
    for block in source.blocks(end_us, likely):
        if gate is not None:
            block = block.shifted((yield from gate.delay(int(block.arrival_us[0]))), end_us)
            now = int(env.now)
        rows = block.rows()
        del block
        for arrival, size, output, capped, parts, ratio, prompt in rows:
            yield Arrival(env, arrival - now, priority)
            if arrivals.left <= 0:
                return
            arrivals.left -= 1
            now = arrival
            own: Segment = (prompt, size)
            if prompt is None:
                segments: tuple[Segment, ...] = (head, own) if prefix else (own,)
            else:
                segments = (head, own, ANSWER) if prefix else (own, ANSWER)
            due = None if timeout is None else arrival + timeout
            submit(
                Request(
                    facts, number, now, size, prefix + size, segments, output, cap, capped, due, "", 0, parts, ratio
                )
            )
            number += 1
            if arrivals.left <= 0:
                arrivals.close()
                return
    arrivals.end_client()
