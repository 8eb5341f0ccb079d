"""The real target: an OpenAI-compatible server, reached over HTTP."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import simpy

from blis.request import Outcome, Request
from blis.server.call import Call, Patience
from blis.server.pool import ConnectError, Pool
from blis.server.requests import RequestWriter
from blis.server.rows import chunk_times, observed_row
from blis.server.wall_clock import WallClockEnvironment
from blis.trace.columns import MISSING
from blis.trace.observed import ObservedRow
from blis.trace.status import Status

__all__ = ["Limits", "OpenAIServer", "Recorder"]

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 60.0


class Recorder(Protocol):
    """Who is told of every request that ended, at once and exactly once."""

    def record(self, row: ObservedRow, chunk_us: npt.NDArray[np.int64]) -> None:
        """Take a request's row, and when its chunks with tokens arrived, in microseconds since the run's start."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """How the target behaves beyond sending.

    ``retries`` is how often a request that the server was too busy for is sent again; ``max_concurrency`` how many may
    be under way at once, the others waiting (None: any number).
    """

    patience: Patience
    retries: int = 0
    max_concurrency: int | None = None


class OpenAIServer:
    """Sends requests as they are submitted, and fires their events when they have ended, however they did.

    ``secrets`` are texts that must not appear in any message. ``held_back`` counts requests that waited since
    ``max_concurrency`` others were under way, ``retried`` attempts after the first.
    """

    def __init__(
        self,
        env: WallClockEnvironment,
        pool: Pool,
        writer: RequestWriter,
        limits: Limits,
        recorders: Sequence[Recorder],
        secrets: Sequence[str] = (),
    ) -> None:
        self.submitted = self.held_back = self.retried = 0
        self._env = env
        self._pool = pool
        self._writer = writer
        self._limits = limits
        self._recorders = tuple(recorders)
        self._secrets = tuple(filter(None, secrets))
        self._calls: dict[int, Call] = {}
        self._waiting: deque[Call] = deque()
        self._active: set[Call] = set()
        self._stopped = False
        self._quiet = asyncio.Event()
        self._quiet.set()

    @property
    def in_flight(self) -> int:
        """How many requests have been submitted and have not ended."""
        return len(self._calls)

    def submit(self, request: Request) -> simpy.Event:
        """Send ``request`` now; see :class:`blis.clients.target.Target`."""
        request.request_id = self.submitted
        self.submitted += 1
        deadline = request.deadline_us
        deadline_ns = None if deadline is None else self._env.to_ns(deadline)
        event = self._env.event()
        call = Call(request, event, self._limits.patience, deadline_ns, self._attempt_over)
        call.data, call.prompt = self._writer.write(request)
        self._calls[request.request_id] = call
        self._quiet.clear()
        call.begin()
        if self._limits.max_concurrency is not None and len(self._active) >= self._limits.max_concurrency:
            self.held_back += 1
            self._waiting.append(call)
        else:
            self._dispatch(call)
        return event

    async def drained(self) -> None:
        """Wait until nothing is in flight."""
        await self._quiet.wait()

    def cancel(self, status: Status, message: str) -> None:
        """End everything in flight; nothing is sent any more."""
        self._stopped = True
        for call in tuple(self._calls.values()):
            if call.attempt.status is None:
                call.attempt.give_up(status, message)
            else:
                # Between two attempts.
                self._finish(call, status, message, time.monotonic_ns())

    def _dispatch(self, call: Call) -> None:
        self._active.add(call)
        connection = self._pool.take()
        if connection is None:
            self._pool.spawn(self._connect(call))
        else:
            call.send(connection)

    async def _connect(self, call: Call) -> None:
        attempt, began_ns = call.attempt, time.monotonic_ns()
        try:
            connection = await self._pool.connect()
        except ConnectError as error:
            attempt.give_up(Status.CONNECT_ERROR, str(error))
            return
        if attempt.status is None:
            call.setup_ns = time.monotonic_ns() - began_ns
            call.send(connection)
        else:
            # Its time was up while the connection was made.
            self._pool.give(connection)

    def _attempt_over(self, call: Call) -> None:
        attempt = call.attempt
        assert attempt.status is not None
        if self._stopped:
            self._finish(call, attempt.status, attempt.message, attempt.ended_ns)
        elif attempt.stale:
            call.attempts -= 1
            call.sent_ns = 0
            self._again(call)
        elif attempt.status is Status.REJECTED and call.attempts <= self._limits.retries:
            call.notes.append(f"attempt {call.attempts}: {attempt.message}")
            self.retried += 1
            pause_s = _pause_s(call.attempts, attempt.retry_after)
            asyncio.get_running_loop().call_later(pause_s, self._again, call)
        else:
            self._finish(call, attempt.status, attempt.message, attempt.ended_ns)

    def _again(self, call: Call) -> None:
        if call.request.request_id in self._calls and not self._stopped:
            call.begin()
            self._dispatch(call)

    def _finish(self, call: Call, status: Status, message: str, at_ns: int) -> None:
        env, request = self._env, call.request
        call.stop_timer()
        del self._calls[request.request_id]
        self._active.discard(call)
        row = observed_row(call, status, self._clean("; ".join(filter(None, (*call.notes, message)))), env)
        chunk_us = chunk_times(call, env)
        for recorder in self._recorders:
            recorder.record(row, chunk_us)
        if status is Status.OK:
            self._writer.prompts.answered(request, call.prompt, call.attempt.answer)
        first, last = row.first_chunk_time_us, row.last_chunk_time_us
        outcome = Outcome(
            request.request_id,
            status,
            max(row.output_tokens, 0),
            None if first == MISSING else first,
            None if last == MISSING else last,
        )
        env.complete(call.event, outcome, env.at_us(at_ns))
        self._let_next_go()
        if not self._calls:
            self._quiet.set()

    def _let_next_go(self) -> None:
        limit = self._limits.max_concurrency
        while self._waiting and not self._stopped and (limit is None or len(self._active) < limit):
            call = self._waiting.popleft()
            if call.attempt.status is None:
                self._dispatch(call)

    def _clean(self, message: str) -> str:
        for secret in self._secrets:
            message = message.replace(secret, "***")
        return message


def _pause_s(attempts: int, retry_after: bytes) -> float:
    """Return how long to wait after so many attempts: what the server asks for, or twice as long each time."""
    try:
        asked = float(retry_after)
    except ValueError:
        # None, or a date, which needs both clocks to agree.
        asked = 0.0
    doubled = _FIRST_PAUSE_S * float(2 ** (attempts - 1))
    return max(asked if math.isfinite(asked) else 0.0, min(doubled, _LONGEST_PAUSE_S))
