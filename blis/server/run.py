"""A run against a real server, from its first request to its last answer, or to its interruption."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import simpy

from blis.errors import InternalError
from blis.server.openai import OpenAIServer
from blis.server.standing import Standing, Watch
from blis.server.wall_clock import WallClockEnvironment
from blis.trace.status import Status
from blis.units import US_PER_S

__all__ = ["Run"]

_HEAD_START_NS = 5_000_000
"""From here to the clock's zero: time to get everything under way, so that the first request isn't late."""
_TICK_S = 0.5
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Run:
    """Lets clients send until they are done, and waits for the answers.

    The first Ctrl-C (or SIGTERM) stops the sending, as does :meth:`stop`, and what is in flight has ``drain_us`` to
    end; the second, or the end of that time, gives it up: its status is then ``cancelled``. At ``cut_us``, if that
    isn't None, everything is given up as ``incomplete``.

    ``notice`` is told about interruptions in words; ``progress`` twice a second where things stand; ``begun`` is called
    once the clock runs. ``stopped`` says why a run didn't come to its own end.
    """

    def __init__(
        self,
        env: WallClockEnvironment,
        target: OpenAIServer,
        watch: Watch,
        *,
        drain_us: int,
        cut_us: int | None = None,
        notice: Callable[[str], None],
        progress: Callable[[Standing], None] | None = None,
        begun: Callable[[], None] = lambda: None,
    ) -> None:
        self.stopped = ""
        self._env = env
        self._target = target
        self._watch = watch
        self._drain_us = drain_us
        self._cut_us = cut_us
        self._notice = notice
        self._progress = progress
        self._begun = begun
        self._stop, self._stop_now = asyncio.Event(), asyncio.Event()
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def stop(self, reason: str) -> None:
        """Stop the sending; ``reason`` says why."""
        self.stopped = self.stopped or reason
        self._stop.set()

    async def until(self, done: simpy.Event) -> None:
        """Run until ``done`` has happened and every request has ended, whichever way.

        Raises:
            InternalError: something in blis went wrong.
        """
        clock = asyncio.ensure_future(self._env.run_async(start_ns=time.monotonic_ns() + _HEAD_START_NS))
        ticker = asyncio.ensure_future(self._tick())
        try:
            with self._signals(), self._failures():
                # Let the clock set its start.
                await asyncio.sleep(0)
                self._begun()
                ends: list[Coroutine[Any, Any, Any]] = [self._answered(done), self._stop.wait()]
                if self._cut_us is not None:
                    ends.append(self._passed(self._cut_us))
                await self._first(clock, *ends)
                if self._stop.is_set():
                    # Without its clock no client sends any more.
                    clock.cancel()
                    await self._drain()
                self._target.cancel(Status.INCOMPLETE, "cut at the horizon")
        finally:
            for task in (clock, ticker):
                task.cancel()
            await asyncio.gather(clock, ticker, return_exceptions=True)
            self._show()

    async def _drain(self) -> None:
        waiting = self._target.in_flight
        if waiting:
            patience = self._drain_us / US_PER_S
            self._notice(
                f"{self.stopped}: nothing is sent any more; waiting up to {patience:g} s for {waiting} requests in"
                " flight (interrupt again to give them up)"
            )
            await self._first(None, self._target.drained(), self._stop_now.wait(), asyncio.sleep(patience))
        self._target.cancel(Status.CANCELLED, "given up when the run was interrupted")

    async def _answered(self, done: simpy.Event) -> None:
        happened = asyncio.Event()
        if done.callbacks is None:
            happened.set()
        else:
            done.callbacks.append(lambda _: happened.set())
        await happened.wait()
        await self._target.drained()

    async def _passed(self, at_us: int) -> None:
        while (left_us := at_us - self._env.clock_us()) > 0:
            await asyncio.sleep(left_us / US_PER_S)

    async def _first(self, clock: asyncio.Future[Any] | None, *ends: Coroutine[Any, Any, Any]) -> None:
        """Wait for the first of ``ends``; raise what went wrong meanwhile."""
        tasks = [asyncio.ensure_future(end) for end in ends]
        watched: list[asyncio.Future[Any]] = [self._failure, *([] if clock is None else [clock])]
        try:
            await asyncio.wait([*tasks, *watched], return_when=asyncio.FIRST_COMPLETED)
            for future in watched:
                if future.done():
                    future.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        handled = []
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                with suppress(NotImplementedError):
                    loop.add_signal_handler(number, self._interrupt)
                    handled.append(number)
        try:
            yield
        finally:
            for number in handled:
                loop.remove_signal_handler(number)

    def _interrupt(self) -> None:
        if self._stop.is_set():
            self._stop_now.set()
        self.stop("interrupted")

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Let an error that no code waits for end the run, instead of leaving a request without an end."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._note_failure)
        try:
            yield
        finally:
            loop.set_exception_handler(None)

    def _note_failure(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        # A connection that breaks is reported here too; its request hears of it by itself.
        if error is not None and not isinstance(error, OSError) and not self._failure.done():
            failure = InternalError(f"{type(error).__name__} in the HTTP client: {error}")
            failure.__cause__ = error
            self._failure.set_exception(failure)

    async def _tick(self) -> None:
        while self._progress is not None:
            await asyncio.sleep(_TICK_S)
            self._show()

    def _show(self) -> None:
        if self._progress is not None:
            target = self._target
            self._progress(self._watch.standing(self._env.clock_us(), target.submitted, target.in_flight))
