"""Processes of clients that wait for answers: sessions of several rounds.

A round is sent when the one before has been answered and thought about; its prompt has grown by the tokens that were
really produced. Nobody answers within the microsecond in which he is answered: the next round comes 1 µs later at the
earliest. So time always moves on, and a trace replayed by its arrival times is the same run.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any, cast

import simpy
from simpy.events import EventPriority

from blis.clients.plans import Plan, SessionBlock, Waiting
from blis.clients.processes import Arrival, Arrivals
from blis.clients.stages import Gate
from blis.clients.target import Target
from blis.request import ANSWER, Outcome, Request, Segment
from blis.trace.status import Status

__all__ = ["LEAST_WAIT_US", "Caller", "session_name", "sessions"]

LEAST_WAIT_US = 1
"""Time from an answer to what its client sends next, at least."""

_ORDERED = 2**21


@dataclass(frozen=True, slots=True)
class Caller:
    """A client that waits for answers: whom it calls, who counts its requests, and when it stops.

    ``priority`` is that of its arrivals. Those of one microsecond come in order of their ``place`` among its own: the
    number of the session or of the worker.
    """

    env: simpy.Environment
    target: Target
    source: Waiting
    arrivals: Arrivals
    priority: EventPriority
    end_us: int

    def arrive(self, at_us: int, place: int) -> Arrival:
        """Return an arrival at ``at_us``."""
        # 2^-53 is the resolution of floats in [0.5, 1), where the priorities of arrivals are.
        priority = self.priority + min(place, _ORDERED - 1) * 2.0**-53
        return Arrival(self.env, max(at_us - int(self.env.now), 0), cast(EventPriority, priority))

    def rounds(self, plan: Plan, place: int, now: int) -> Generator[simpy.Event, Any, Outcome]:
        """Send a session's rounds, the first now, until one isn't completed; return how the last one ended."""
        source, arrivals = self.source, self.arrivals
        context, last = 0, len(plan.rows) - 1
        for at, think_us in enumerate(plan.think_us):
            request = self._request(plan, at, now, context)
            arrivals.left -= 1
            done = self.target.submit(request)
            if arrivals.left <= 0:
                arrivals.close()
            outcome: Outcome = yield done
            if source.accumulates:
                context += request.input_tokens + outcome.output_tokens
            now = int(self.env.now) + max(think_us, LEAST_WAIT_US)
            if at == last or outcome.status != Status.OK or arrivals.left <= 0 or now >= self.end_us:
                break
            yield self.arrive(now, place)
            if arrivals.left <= 0:
                break
        return outcome

    def _request(self, plan: Plan, at: int, now: int, context: int) -> Request:
        source = self.source
        facts, timeout = source.facts, source.timeout_us
        _, size, output, capped, parts, ratio, prompt = plan.rows[at]
        session_id = session_name(facts.client_id, plan.number) if source.in_sessions else ""
        key = session_id if source.accumulates else prompt
        segments: tuple[Segment, ...] = ((key, context + size),) if prompt is None else ((key, size), ANSWER)
        return Request(
            facts,
            plan.first_seq + at,
            now,
            size,
            facts.prefix_length + context + size,
            ((facts.prefix_group, facts.prefix_length), *segments) if facts.prefix_length else segments,
            output,
            source.max_output_tokens,
            capped,
            None if timeout is None else now + timeout,
            session_id,
            at,
            parts,
            ratio,
        )


def session_name(client_id: str, number: int) -> str:
    """Return the id of a client's session, unique in a run."""
    return f"{client_id}/{number}"


def sessions(
    caller: Caller, blocks: Iterator[SessionBlock], gate: Gate | None = None
) -> Generator[simpy.Event, Any, None]:
    """Start each session when it is due, whatever has become of the others.

    With a ``gate`` the times are on its stages' clock, and it knows of the sessions that are open.
    """
    arrivals = caller.arrivals
    for block in blocks:
        delay_us = 0 if gate is None else (yield from gate.delay(int(block.start_us[0])))
        for plan in block.plans():
            start_us = plan.start_us + delay_us
            if start_us >= caller.end_us:
                break
            yield caller.arrive(start_us, plan.number)
            if arrivals.left <= 0:
                return
            arrivals.begin_client()
            caller.env.process(_session(caller, plan, start_us, gate))
    arrivals.end_client()


def _session(caller: Caller, plan: Plan, start_us: int, gate: Gate | None) -> Generator[simpy.Event, Any, None]:
    if gate is not None:
        gate.enter()
    yield from caller.rounds(plan, plan.number, start_us)
    if gate is not None:
        gate.leave()
    caller.arrivals.end_client()
