"""A request under way: its attempts, and how long it may take."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import simpy

from blis.request import Request
from blis.server.attempt import Attempt
from blis.server.connection import Connection
from blis.server.prompts import Prompt
from blis.trace.status import Status

__all__ = ["Call", "Patience"]

_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a request may take from its first send, and how long without a byte arriving."""

    total_us: int
    silence_us: int


class Call:
    """A request with everything that its row will need.

    ``deadline_ns`` is absolute, of :func:`time.monotonic_ns` like ``sent_ns``, when its first attempt was handed to the
    connection, 0 before. ``ended`` is called whenever an attempt is over.
    """

    __slots__ = (
        "_ended", "_patience", "_timer", "attempt", "attempts", "data", "deadline_ns", "event", "notes", "prompt",
        "request", "sent_ns", "setup_ns",
    )  # fmt: skip

    def __init__(
        self,
        request: Request,
        event: simpy.Event,
        patience: Patience,
        deadline_ns: int | None,
        ended: Callable[[Call], None],
    ) -> None:
        self.request = request
        self.event = event
        self.deadline_ns = deadline_ns
        self.data = b""
        self.prompt = Prompt({})
        self.attempts = 0
        self.notes: list[str] = []
        self.sent_ns = self.setup_ns = 0
        self._patience = patience
        self._ended = ended
        self._timer: asyncio.TimerHandle | None = None
        self.attempt = self._new_attempt()

    def begin(self) -> None:
        """Start an attempt: from here on it can be sent, fail or be given up."""
        if self.attempt.status is not None:
            self.attempt = self._new_attempt()
        self.attempts += 1
        if self._timer is None and self.deadline_ns is not None:
            self._set_timer(self.deadline_ns)

    def send(self, connection: Connection) -> None:
        """Send the request on ``connection``."""
        self.attempt.send(connection, self.data)
        if not self.sent_ns:
            self.sent_ns = self.attempt.sent_ns
        self.stop_timer()
        self._set_timer(self._limit()[0])

    def stop_timer(self) -> None:
        """Let it take as long as it will."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _new_attempt(self) -> Attempt:
        return Attempt(self.request.client.streaming, bool(self.request.session_id), self._attempt_over)

    def _attempt_over(self) -> None:
        self._ended(self)

    def _set_timer(self, at_ns: int) -> None:
        delay_ns = max(at_ns - time.monotonic_ns(), 0)
        self._timer = asyncio.get_running_loop().call_later(delay_ns / _NS, self._look)

    def _look(self) -> None:
        """Give up if time is up. Bytes that arrive don't touch the timer, so it may have been set for too early."""
        self._timer = None
        if self.attempt.status is not None:
            return
        limit_ns, why = self._limit()
        if time.monotonic_ns() >= limit_ns:
            self.attempt.give_up(Status.TIMEOUT, why)
        else:
            self._set_timer(limit_ns)

    def _limit(self) -> tuple[int, str]:
        """Return the moment at which time is up if nothing more is heard, and what to say then."""
        patience, attempt = self._patience, self.attempt
        limits: list[tuple[int, str]] = []
        if self.deadline_ns is not None:
            limits.append((self.deadline_ns, "the client's timeout passed"))
        if attempt.sent_ns:
            total_ns, silence_ns = patience.total_us * 1000, patience.silence_us * 1000
            limits.append((self.sent_ns + total_ns, f"no complete answer within {patience.total_us / 1e6:g} s"))
            last_ns = max(attempt.heard_ns, attempt.sent_ns)
            limits.append((last_ns + silence_ns, f"nothing heard for {patience.silence_us / 1e6:g} s"))
        return min(limits)
