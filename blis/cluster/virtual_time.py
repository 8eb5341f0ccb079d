"""The clock of a simulation: time jumps from event to event."""

from __future__ import annotations

from heapq import heappop

import simpy

__all__ = ["VirtualTime"]


class VirtualTime(simpy.Environment):
    """A :class:`simpy.Environment` whose queue is emptied by one tight loop instead of a call per event."""

    def drain(self, until: int | None = None) -> None:
        """Process all events, or those before ``until``, at which time the clock then stands."""
        queue = self._queue
        while queue and (until is None or queue[0][0] < until):
            self._now, _, _, event = heappop(queue)
            callbacks, event.callbacks = event.callbacks, None  # type: ignore[assignment]
            for callback in callbacks:
                callback(event)
            if not event._ok and not event.defused:
                raise event._value
        if until is not None:
            self._now = until
