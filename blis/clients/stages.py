"""Stages of a run whose beginning depends on how requests end.

Clients draw their arrivals on the stages' own clock, which stands still while a stage drains
(:func:`blis.clients.profiles.timetable`). A :class:`Gate` tells them how far the run's clock is ahead of it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Generator, Sequence

import simpy

from blis.clients.rates import END_OF_TIME_US, Stage
from blis.clients.target import Target
from blis.request import Request
from blis.spec.stages import StageSpec

__all__ = ["Gate"]


class Gate:
    """Lets requests pass when their stage has begun.

    A stage with drain is over when its duration is, no request of those sent to a :meth:`watched` target is in flight
    and no session is open. A stage that would begin at ``end_us`` or later doesn't: whoever waits for it is let through
    with arrivals that never happen. ``starts_us`` gets the times, on the run's clock, at which stages begin.
    """

    def __init__(
        self,
        env: simpy.Environment,
        specs: Sequence[StageSpec],
        stages: Sequence[Stage],
        end_us: int,
        starts_us: list[int],
    ) -> None:
        self._env = env
        self._starts_us = starts_us
        self._specs = specs
        self._stages = stages
        self._edges = [stage.start_us for stage in stages]
        self._begun = [simpy.Event(env) for _ in stages]
        self._end_us = end_us
        self._open = 0
        self._idle: simpy.Event | None = None
        env.process(self._run())

    def delay(self, at_us: int) -> Generator[simpy.Event, int, int]:
        """Wait for the stage of ``at_us``, of the stages' clock, to begin; return how far the run's clock is ahead."""
        begun = self._begun[bisect_right(self._edges, at_us) - 1]
        return (yield begun) if begun.callbacks is not None else begun.value

    def watched(self, target: Target) -> Target:
        """Return ``target`` as one whose requests in flight are counted."""
        return _Watched(self, target)

    def enter(self) -> None:
        """Note that something is in flight from now on: a request, or a session."""
        self._open += 1

    def leave(self) -> None:
        """Note that it has ended."""
        self._open -= 1
        if not self._open and self._idle is not None:
            self._idle.succeed()
            self._idle = None

    def _run(self) -> Generator[simpy.Event, None, None]:
        for number, (spec, stage) in enumerate(zip(self._specs, self._stages, strict=True)):
            now = int(self._env.now)
            if now >= self._end_us:
                for waiting in self._begun[number:]:
                    waiting.succeed(END_OF_TIME_US)
                return
            self._starts_us.append(now)
            self._begun[number].succeed(now - stage.start_us)
            yield self._env.timeout(spec.duration)
            if spec.drain and self._open:
                self._idle = simpy.Event(self._env)
                yield self._idle
            if spec.pause:
                yield self._env.timeout(spec.pause)


class _Watched:
    """A target that tells a gate of its requests."""

    def __init__(self, gate: Gate, target: Target) -> None:
        self._gate = gate
        self._target = target

    def submit(self, request: Request) -> simpy.Event:
        """Hand the request on."""
        done = self._target.submit(request)
        if done.callbacks is not None:
            self._gate.enter()
            done.callbacks.append(lambda _: self._gate.leave())
        return done
