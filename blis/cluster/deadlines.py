"""Deadlines of an instance's sequences."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush

import simpy

from blis.cluster.moment import Moment, Order
from blis.cluster.sequence import Sequence, Stage

__all__ = ["Deadlines"]

_FEW = 64


class Deadlines:
    """Calls ``passed(sequence)`` at the deadline of each sequence that hasn't left by then, in order of their coming.

    The simulation's queue holds no event per sequence, and sequences that have left are let go of: with deadlines of
    minutes, those of all requests of the last minutes would be kept otherwise.
    """

    def __init__(self, env: simpy.Environment, passed: Callable[[Sequence], None]) -> None:
        self._env = env
        self._passed = passed
        self._heap: list[tuple[int, int, Sequence]] = []
        self._watched = 0
        self._clear_at = _FEW
        self._awaited: set[int] = set()

    def watch(self, sequence: Sequence, deadline: int, now: int) -> None:
        """Note the deadline of a sequence, which isn't before now."""
        heap = self._heap
        self._watched += 1
        heappush(heap, (deadline, self._watched, sequence))
        if heap[0][0] == deadline:
            self._await(deadline, now)
        if len(heap) >= self._clear_at:
            heap[:] = [entry for entry in heap if entry[2].stage is not Stage.GONE]
            heapify(heap)
            self._clear_at = max(2 * len(heap), _FEW)

    def _await(self, deadline: int, now: int) -> None:
        if deadline not in self._awaited:
            self._awaited.add(deadline)
            Moment(self._env, deadline - now, Order.TIMEOUT, self._due)

    def _due(self, _: simpy.Event) -> None:
        now = int(self._env.now)
        self._awaited.discard(now)
        heap = self._heap
        while heap and (heap[0][0] <= now or heap[0][2].stage is Stage.GONE):
            sequence = heappop(heap)[2]
            if sequence.stage is not Stage.GONE:
                self._passed(sequence)
        if heap:
            self._await(heap[0][0], now)
