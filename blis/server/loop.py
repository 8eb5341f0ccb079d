"""What a process needs that works in real time: a fast loop, sockets enough, and no pauses."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ["allow_many_sockets", "loop_runner", "quiet_collector"]

_MOST_SOCKETS = 1 << 16


def loop_runner() -> asyncio.Runner:
    """Return a runner of uvloop's loop where that is installed, otherwise of asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return asyncio.Runner()
    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


@contextmanager
def quiet_collector() -> Iterator[None]:
    """Let the garbage collector look at nothing that was there before, and less often: its pauses delay requests."""
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


def allow_many_sockets() -> None:
    """Raise the limit of open files, of which every connection is one, as far as the system allows."""
    try:
        import resource
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_SOCKETS if hard == resource.RLIM_INFINITY else min(hard, _MOST_SOCKETS)
    if soft < wanted:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
