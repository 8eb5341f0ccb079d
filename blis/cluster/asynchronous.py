"""An instance with asynchronous scheduling: the next batch is formed when a step starts, not when it ends.

So a sequence that is queued during step s joins step s + 2, as in recent vLLM, whose scheduler works while the GPU
does. A sequence whose last token comes in step s isn't in s + 1, but keeps its slot and its blocks until s has ended,
and can't be preempted any more. If nothing is left to do in s + 1, its batch is formed when s has ended.
"""

from __future__ import annotations

from typing import Any

from blis.cluster.instance import MOST_STEPS, Instance
from blis.cluster.sequence import Batch, Sequence, Stage

__all__ = ["AsynchronousInstance"]


class AsynchronousInstance(Instance):
    """An :class:`~blis.cluster.instance.Instance` that has the batch after the one that runs ``_planned`` already."""

    __slots__ = ("_planned",)

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._planned: Batch | None = None

    def _start(self, now: int) -> None:
        scheduler = self.scheduler
        batch = self._take_planned()
        if batch is None:
            if not (scheduler.running or scheduler.waiting):
                self._fall_idle(now)
                return
            batch = scheduler.form()
        self._batch = batch
        self._started_us = now
        self._formed_ahead = 0
        if batch.chunks or batch.explicit:
            # Before anything is planned: that may preempt somebody, but not undo the work that starts now.
            self._time_step(batch, now)
            self._plan(batch)
        else:
            self._plan(batch)
            self._time_run(batch.decodes, batch.decode_context, self._count_steps(batch), now)
        self._sleep(int(self._ends[-1]), now)

    def _take_planned(self) -> Batch | None:
        """Return the batch formed ahead, unless all that were in it have left since."""
        batch, self._planned = self._planned, None
        if batch is not None and batch.empty and not batch.preempted:
            self._tokens.append([0])
            return None
        return batch

    def _plan(self, batch: Batch) -> None:
        """Form the batch after ``batch``, which starts now."""
        scheduler = self.scheduler
        scheduler.settle(batch)
        planned = scheduler.form()
        if planned.empty and not planned.preempted:
            scheduler.step -= 1
        else:
            self._planned = planned

    def _count_steps(self, batch: Batch) -> int:
        """Return how many steps from ``batch`` on are alike."""
        planned = self._planned
        if planned is None or planned.chunks or planned.explicit or batch.leaving or planned.decodes != batch.decodes:
            return 1
        return 1 + self.scheduler.like_steps(MOST_STEPS)

    def _finish(self, now: int, batch: Batch) -> None:
        if self._planned is not None:
            # It moves on by the steps of the run beyond the first.
            self._planned.decode_context += (len(self._durations) - 1) * self._planned.decodes
        super()._finish(now, batch)

    def _retire(self, batch: Batch) -> None:
        """Do nothing: the batch was settled when it started."""

    def _decoded_ahead(self, sequence: Sequence) -> int:
        return int(self._planned is not None and not self._planned.misses(sequence))

    def _forget(self, sequence: Sequence) -> int:
        planned = self._planned
        if planned is None:
            return 0
        batch = self._planned = planned.without(sequence)
        if sequence.stage is not Stage.DECODE or planned.misses(sequence):
            return 0
        batch.decodes -= 1
        batch.sequences -= 1
        batch.decode_context -= sequence.prompt + self.scheduler.decoded(sequence) - 1
        return 1
