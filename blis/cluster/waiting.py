"""Wait queues: the order in which an instance admits sequences (docs/explanation/engine.md)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, Protocol

from blis.cluster.sequence import Sequence, Stage

__all__ = ["WaitQueue", "priority_of", "wait_queue"]

_WAITING = Stage.WAITING
_BY_CLASS = {
    "critical": 0,
    "realtime": 0,
    "standard": 1,
    "interactive": 1,
    "": 1,
    "batch": 5,
    "sheddable": 6,
    "background": 7,
}


def priority_of(policy: str) -> Callable[[str, int], int]:
    """Return the function (SLO class, arrival) -> priority of a policy; lower is more urgent.

    slo-based is -1e-6 * (now - arrival), recomputed before each batch: at any moment it orders as the arrival does, so
    the arrival stands for it; inverted-slo likewise with the opposite sign.
    """
    match policy:
        case "by-class":
            return lambda slo_class, _: _BY_CLASS[slo_class]
        case "slo-based":
            return lambda _, arrival_us: arrival_us
        case "inverted-slo":
            return lambda _, arrival_us: -arrival_us
        case _:
            return lambda _, __: 0


class WaitQueue(Protocol):
    """An ordered queue; sequences that left it otherwise (by timeout) are passed over."""

    def push(self, sequence: Sequence, *, front: bool = False) -> None:
        """Add a sequence; ``front`` puts a preempted one before those that are queued."""
        ...

    def head(self) -> Sequence | None:
        """Return the sequence to be admitted next, or None."""
        ...

    def pop(self) -> None:
        """Remove the head."""
        ...


class _Fcfs:
    def __init__(self) -> None:
        self._queue: deque[Sequence] = deque()

    def push(self, sequence: Sequence, *, front: bool = False) -> None:
        if front:
            self._queue.appendleft(sequence)
        else:
            self._queue.append(sequence)

    def head(self) -> Sequence | None:
        queue = self._queue
        while queue:
            if queue[0].stage is _WAITING:
                return queue[0]
            queue.popleft()
        return None

    def pop(self) -> None:
        self._queue.popleft()


class _Sorted:
    """A queue by a key that never changes while a sequence waits, so that a heap gives the sorted order."""

    def __init__(self, key: Callable[[Sequence], tuple[Any, ...]]) -> None:
        self._key = key
        self._heap: list[tuple[tuple[Any, ...], int, Sequence]] = []

    def push(self, sequence: Sequence, *, front: bool = False) -> None:
        heappush(self._heap, (self._key(sequence), sequence.epoch, sequence))

    def head(self) -> Sequence | None:
        heap = self._heap
        while heap:
            _, epoch, sequence = heap[0]
            if sequence.stage is _WAITING and sequence.epoch == epoch:
                return sequence
            heappop(heap)
        return None

    def pop(self) -> None:
        heappop(self._heap)


def wait_queue(scheduler: str) -> WaitQueue:
    """Return the queue of a scheduler: fcfs, sjf, priority-fcfs or reverse-priority.

    Ties end with the request id as text, so request 10 comes before request 2, as in the reference.
    """
    match scheduler:
        case "sjf":
            return _Sorted(lambda s: (s.prompt, s.arrival_us, str(s.request.request_id)))
        case "priority-fcfs":
            return _Sorted(lambda s: (s.priority, s.arrival_us, str(s.request.request_id)))
        case "reverse-priority":
            return _Sorted(lambda s: (-s.priority, s.arrival_us, str(s.request.request_id)))
        case _:
            return _Fcfs()
