"""What a router sees of an instance."""

from __future__ import annotations

from collections.abc import Sequence as Series

from blis.cluster.instance import Instance
from blis.request import Request

__all__ = ["View", "Views"]


class View:
    """One instance as a router sees it: ``waiting``, ``running`` and ``utilization`` as of the last reading.

    What is in flight (routed and not finished), and what the KV cache holds, is always live.
    """

    __slots__ = ("instance", "read_us", "running", "utilization", "waiting")

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.read_us = 0
        self.waiting = 0
        self.running = 0
        self.utilization = 0.0

    @property
    def in_flight(self) -> int:
        """Requests routed to the instance and not finished."""
        return self.instance.in_flight

    @property
    def load(self) -> int:
        """Waiting, running and in-flight requests; a request counts in each of the three it belongs to."""
        return self.waiting + self.running + self.instance.in_flight

    def cached_blocks(self, request: Request) -> int:
        """Leading blocks of the request's prompt that are in the instance's KV cache."""
        kv = self.instance.scheduler.kv
        self.instance.sync()
        return kv.match(kv.path(request.segments))


class Views:
    """The views of all instances, read anew at a routing decision when they are ``interval_us`` old (0: always live).

    The last reading counts as made at 0, and everything is zero until the first.
    """

    def __init__(self, instances: Series[Instance], interval_us: int, *, blocks: bool) -> None:
        self.views = [View(instance) for instance in instances]
        self._interval_us = interval_us
        self._blocks = blocks

    def refresh(self, now: int) -> list[View]:
        """Return the views, those that are due read at ``now``; block counts only if somebody asks for them."""
        for view in self.views:
            if now - view.read_us >= self._interval_us:
                instance = view.instance
                if self._blocks or instance.next_join_us < now:
                    instance.sync()
                scheduler = instance.scheduler
                view.read_us = now
                view.waiting = scheduler.waiting
                view.running = len(scheduler.running)
                if self._blocks:
                    view.utilization = 1 - scheduler.kv.free / scheduler.kv.total
        return self.views
