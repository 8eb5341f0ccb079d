"""Events with a stated order at equal times."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any

import simpy

__all__ = ["Moment", "Order"]


class Order(IntEnum):
    """Who comes first within one microsecond; what is equal here goes by insertion (docs/explanation/engine.md).

    ARRIVAL is the priority of SimPy's own timeouts, by which clients wake.
    """

    ARRIVAL = 1
    QUEUED = 2
    STEP = 3
    TIMEOUT = 4


class Moment(simpy.Event):
    """Happens ``delay`` µs from now, in its place among the events of that microsecond.

    A :class:`simpy.Timeout` with a priority, and with a ``subject`` for its callback.
    """

    # What SimPy sets on each event anew.
    _ok = True
    _value: Any = None
    _defused = False

    def __init__(
        self,
        env: simpy.Environment,
        delay: int,
        order: Order,
        callback: Callable[[simpy.Event], None] | None = None,
        subject: Any = None,
    ) -> None:
        self.env = env
        self.callbacks = [] if callback is None else [callback]
        self.subject = subject
        env.schedule(self, order, delay)  # type: ignore[arg-type]
