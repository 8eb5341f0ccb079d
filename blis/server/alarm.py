"""Waking an asyncio loop at a point in time, to the precision of the kernel's timers."""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress

__all__ = ["Alarm"]

_NS = 1_000_000_000
_ABSOLUTE = 1
_CLOSE_ON_EXEC, _NON_BLOCKING = 0o2000000, 0o4000


class _Spec(ctypes.Structure):
    """C's ``struct itimerspec``: repeat interval and first expiry, each in seconds and nanoseconds."""

    _fields_ = [(name, ctypes.c_long) for name in ("repeat_s", "repeat_ns", "first_s", "first_ns")]


class Alarm:
    """Calls ``ring`` once at the time set last, a time of :func:`time.monotonic_ns`, never before it.

    Timers of asyncio and of uvloop count milliseconds: an alarm would be half a millisecond late on average, or early.
    Linux has timers that are files (timerfd) and exact to some microseconds; elsewhere asyncio's serve, which are exact
    where the system's own waiting is.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._loop = loop
        self._ring = ring
        self._at_ns: int | None = None
        self._handle: asyncio.TimerHandle | None = None
        self._file = _timer_file()
        if self._file is not None:
            self._set_timer = ctypes.CDLL(None).timerfd_settime
            self._spec = _Spec()
            self._pointer = ctypes.byref(self._spec)
            loop.add_reader(self._file, self._fire)

    def set(self, at_ns: int) -> None:
        """Ring at ``at_ns`` instead of at the time set before."""
        if at_ns == self._at_ns:
            return
        self._at_ns = at_ns
        if self._file is not None:
            self._spec.first_s, self._spec.first_ns = divmod(at_ns, _NS)
            self._set_timer(self._file, _ABSOLUTE, self._pointer, None)
            return
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self._loop.call_at(self._loop.time() + (at_ns - time.monotonic_ns()) / _NS, self._fire)

    def close(self) -> None:
        """Never ring again."""
        self._at_ns = None
        if self._handle is not None:
            self._handle.cancel()
        if self._file is not None:
            self._loop.remove_reader(self._file)
            os.close(self._file)
            self._file = None

    def _fire(self) -> None:
        if self._file is not None:
            # Reading silences the timer. It may have been set anew since the loop saw it ring.
            with suppress(BlockingIOError):
                os.read(self._file, 8)
        if self._at_ns is None:
            return
        at_ns, self._at_ns = self._at_ns, None
        if time.monotonic_ns() < at_ns:
            # Also where a loop rounds its timers.
            self.set(at_ns)
        else:
            self._ring()


def _timer_file() -> int | None:
    """Open a timer of the monotonic clock; None where there is no such thing."""
    if sys.platform != "linux":
        return None
    try:
        number: int = ctypes.CDLL(None).timerfd_create(time.CLOCK_MONOTONIC, _CLOSE_ON_EXEC | _NON_BLOCKING)
    except (OSError, AttributeError):
        return None
    return None if number < 0 else number
