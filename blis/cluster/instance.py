"""One simulated instance: a SimPy process that forms a batch, sleeps until its step ends, and starts the next."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Generator
from itertools import accumulate
from typing import Protocol

import numpy as np
import numpy.typing as npt
import simpy

from blis.cluster.moment import Moment, Order
from blis.cluster.scheduler import Scheduler
from blis.cluster.sequence import Batch, Sequence, Stage
from blis.cluster.tokens import TokenLog
from blis.latency.base import LatencyModel
from blis.spec.instance import InstanceConfig
from blis.trace.histogram import Histogram
from blis.trace.status import Status

__all__ = ["Ending", "Instance"]

_FEW_STEPS = 24
_MOST_STEPS = 2048
_UNLIMITED = 1 << 62


class Ending(Protocol):
    """Told by an instance how a sequence ended; times are reported ones, -1 where they never came."""

    def __call__(
        self, instance: Instance, sequence: Sequence, status: Status, tokens: int, first_us: int, last_us: int
    ) -> None: ...


class Instance:
    """Serves sequences with one :class:`~blis.cluster.scheduler.Scheduler`, step after step.

    A run of like decode steps is slept through in one go; an arrival that the next step could admit, or a deadline,
    brings the awakening forward to the end of the step in progress. With asynchronous scheduling the next batch is
    formed when a step starts rather than when it ends.
    """

    def __init__(
        self,
        env: simpy.Environment,
        index: int,
        config: InstanceConfig,
        model: LatencyModel,
        itl: Histogram,
        ended: Ending,
    ) -> None:
        self.env = env
        self.index = index
        self.config = config
        self.scheduler = Scheduler(config)
        self.in_flight = 0
        self.step_ends: list[int] | None = None
        self._model = model
        self._ended = ended
        self._asynchronous = config.async_scheduling
        limit = config.max_model_len or _UNLIMITED
        self._most_prompt = limit
        self._most_tokens = min(limit, config.total_kv_blocks * config.block_size)
        overheads = model.overheads
        self._queue_base = overheads.queue_base
        self._queue_per_token = overheads.queue_per_token
        self._per_token_us = int(overheads.per_token)
        self._completion_us = int(overheads.completion)
        self._tokens = TokenLog(itl, self._per_token_us)
        self._batch: Batch | None = None
        self._planned: Batch | None = None
        self._durations: list[int] | npt.NDArray[np.int64] = []
        self._ends: list[int] | npt.NDArray[np.int64] = []
        self._started_us = 0
        self._formed_ahead = 0
        self._overdue: list[Sequence] = []
        self._wake: simpy.Event = simpy.Event(env)
        self.process = env.process(self._serve())

    # -- what comes in

    def accept(self, sequence: Sequence) -> None:
        """Take a routed sequence; it joins the wait queue after the queueing delay."""
        self.in_flight += 1
        delay = int(self._queue_base + self._queue_per_token * sequence.prompt)
        Moment(self.env, delay, Order.QUEUED, self._join, sequence)

    def _join(self, moment: simpy.Event) -> None:
        sequence: Sequence = moment.subject  # type: ignore[attr-defined]
        request = sequence.request
        deadline = request.deadline_us
        if self._unservable(sequence):
            self._drop(sequence, Status.UNSERVABLE)
            return
        scheduler = self.scheduler
        if request.segments[0][0] is not None:
            sequence.path = scheduler.kv.path(request.segments)
        if deadline is not None:
            left = deadline - int(self.env.now)
            if left < 0:
                self._drop(sequence, Status.TIMEOUT)
                return
            Moment(self.env, left, Order.TIMEOUT, self._deadline, sequence)
        if scheduler.join(sequence):
            self._bring_forward(after_now=False)

    def _unservable(self, sequence: Sequence) -> bool:
        total = sequence.prompt + sequence.output
        return total > self._most_tokens or sequence.prompt >= self._most_prompt

    def _drop(self, sequence: Sequence, status: Status) -> None:
        sequence.stage = Stage.GONE
        self.in_flight -= 1
        self._ended(self, sequence, status, 0, -1, -1)

    def _deadline(self, moment: simpy.Event) -> None:
        assert isinstance(moment, Moment)
        sequence: Sequence = moment.subject
        if sequence.stage is Stage.WAITING:
            self.scheduler.expire(sequence)
            self._drop(sequence, Status.TIMEOUT)
            if self.scheduler.waiting:
                self._bring_forward(after_now=True)
        elif sequence.stage is not Stage.GONE:
            self._overdue.append(sequence)
            self._bring_forward(after_now=True)

    # -- the process

    def _serve(self) -> Generator[simpy.Event, None, None]:
        while True:
            self._wake = simpy.Event(self.env)
            yield self._wake
            while self._start():
                yield self._wake
                self._finish()

    def _start(self) -> bool:
        """Start the next step, or a run of like ones; return False if there is nothing to do."""
        scheduler = self.scheduler
        batch = None if self._planned is None else self._take_planned()
        if batch is None:
            if not (scheduler.running or scheduler.waiting):
                self._batch = None
                return False
            batch = scheduler.form()
        self._batch = batch
        now = self._started_us = int(self.env.now)
        self._formed_ahead = 0
        if batch.chunks or batch.explicit:
            self._time_step(batch)
        if self._asynchronous:
            scheduler.settle(batch)
            self._plan()
        if not (batch.chunks or batch.explicit):
            self._time_steps(batch, 1 + self._like_steps(batch))
        self._wake = Moment(self.env, int(self._ends[-1]) - now, Order.STEP)
        return True

    def _take_planned(self) -> Batch | None:
        """Return the batch formed ahead, unless all that were in it have left since."""
        batch, self._planned = self._planned, None
        if batch is not None and batch.empty and not batch.preempted:
            self._tokens.append([0])
            return None
        return batch

    def _plan(self) -> None:
        """Form the batch after the one that starts now; if it is empty, one is formed when this one has ended."""
        planned = self.scheduler.form()
        if planned.empty and not planned.preempted:
            self.scheduler.step -= 1
        else:
            self._planned = planned

    def _like_steps(self, batch: Batch) -> int:
        """Return how many steps after a batch that only decodes are sure to be like it."""
        last = batch
        if self._asynchronous:
            if self._planned is None or batch.leaving or self._planned.decodes != batch.decodes:
                return 0
            last = self._planned
        return 0 if last.chunks or last.explicit else self.scheduler.like_steps(_MOST_STEPS)

    def _time_step(self, batch: Batch) -> None:
        """Set duration and end of a step that begins now, and the scheduling delays that end with its begin."""
        now = self._started_us
        for sequence, epoch, _, before, _ in batch.chunks:
            if not before and sequence.epoch == epoch:
                sequence.scheduling_delay_us = now - sequence.arrival_us
        duration = self._model.step_us(batch.sums())
        self._durations = [duration]
        self._ends = [now + duration]

    def _time_steps(self, batch: Batch, steps: int) -> None:
        """Set durations and ends of a run of decode steps that begins now."""
        if steps <= _FEW_STEPS:
            few = self._model.few_decodes_us(batch.decodes, batch.context, steps)
            self._durations = few
            few_ends = list(accumulate(few, initial=self._started_us))
            del few_ends[0]
            self._ends = few_ends
        else:
            many = self._model.decode_us(batch.decodes, batch.context, steps)
            self._durations = many
            self._ends = self._started_us + np.cumsum(many)

    def _passed(self, now: int, *, including: bool) -> int:
        """Return how many steps of the run end before ``now``, or at it too if ``including``."""
        ends = self._ends
        if isinstance(ends, list):
            return bisect_right(ends, now) if including else bisect_left(ends, now)
        return int(ends.searchsorted(now, "right" if including else "left"))

    def _bring_forward(self, *, after_now: bool) -> None:
        """Wake at the end of the step in progress: at an end that falls on this microsecond, unless ``after_now``."""
        now = int(self.env.now)
        old = self._wake
        at = now
        if self._batch is not None:
            last = self._passed(now, including=after_now)
            if last >= len(self._ends) - 1:
                return
            at = int(self._ends[last])
            self._ends = self._ends[: last + 1]
            self._durations = self._durations[: last + 1]
        elif isinstance(old, Moment):
            return
        self._wake = Moment(self.env, at - now, Order.STEP)
        self._wake.callbacks, old.callbacks = old.callbacks, []

    def sync(self) -> None:
        """Bring block counts up to the steps that have started by now, for somebody who looks from outside."""
        if self._batch is not None and len(self._ends) > 1:
            started = min(self._passed(int(self.env.now), including=False), len(self._ends) - 1)
            self.scheduler.advance(started - self._formed_ahead)
            self._formed_ahead = started

    # -- the end of a step

    def _finish(self) -> None:
        """Take the effects of the steps that have run: tokens, and sequences that leave."""
        batch, scheduler = self._batch, self.scheduler
        assert batch is not None
        more = len(self._ends) - 1
        if more > self._formed_ahead:
            scheduler.advance(more - self._formed_ahead)
        self._tokens.append(self._durations)
        if self.step_ends is not None:
            self.step_ends.extend(map(int, self._ends))
        if not self._asynchronous:
            scheduler.settle(batch)
        elif self._planned is not None:
            self._planned.context += more * self._planned.decodes
        now = int(self.env.now)
        for sequence, epoch, *_ in batch.chunks:
            if sequence.epoch == epoch and sequence.first_token_us < 0 and sequence.stage >= Stage.DECODE:
                sequence.first_token_us = now
        for sequence in batch.unreached:
            sequence.unreached_us += int(self._durations[0])
        if self._overdue:
            self._end_overdue(batch)
        else:
            for sequence in batch.leaving:
                self._complete(sequence)
        if self._tokens.full:
            self._flush()

    def _complete(self, sequence: Sequence) -> None:
        if sequence.spans:
            for first, last in sequence.spans:
                self._tokens.count(first, last)
        if sequence.output > 1:
            self._tokens.count(sequence.span_start, sequence.last_step)
        self._end(sequence, Status.OK, sequence.output, self._completion_us if sequence.output else 0)

    def _end_overdue(self, batch: Batch) -> None:
        """Let sequences go whose deadline has passed, in running order together with those that have completed."""
        overdue = set(self._overdue)
        self._overdue.clear()
        for sequence in sorted(overdue.union(batch.leaving), key=lambda sequence: sequence.order):
            if sequence not in overdue:
                self._complete(sequence)
                continue
            tokens = 0
            if sequence.first_token_us >= 0:
                tokens = sequence.output
                if sequence.stage is Stage.DECODE:
                    tokens = 1 + self.scheduler.decoded(sequence)
            if self._planned is not None:
                tokens -= self._strike(self._planned, sequence)
            self._end(sequence, Status.TIMEOUT, tokens, 0)

    def _strike(self, planned: Batch, sequence: Sequence) -> int:
        """Take a sequence out of a batch that hasn't started; return how many of its tokens would have been decoded."""
        planned.chunks = tuple(chunk for chunk in planned.chunks if chunk[0] is not sequence)
        if sequence.stage is not Stage.DECODE:
            return 0
        if sequence in planned.unreached:
            planned.unreached = tuple(other for other in planned.unreached if other is not sequence)
            return 0
        planned.decodes -= 1
        planned.context -= sequence.prompt + self.scheduler.decoded(sequence) - 1
        return 1

    def _end(self, sequence: Sequence, status: Status, tokens: int, extra_us: int) -> None:
        first_us = last_us = -1
        if sequence.first_token_us >= 0:
            first_us = sequence.first_token_us + self._per_token_us
            decoding_us = int(self.env.now) - sequence.first_token_us - sequence.unreached_us
            last_us = first_us + decoding_us + max(tokens - 1, 0) * self._per_token_us + extra_us
        self.scheduler.leave(sequence, last_token=status is Status.OK and tokens > 0)
        self.in_flight -= 1
        self._ended(self, sequence, status, tokens, first_us, last_us)

    def produced(self, sequence: Sequence) -> tuple[int, int, int]:
        """Return tokens so far, and the reported times of the first and the last, of a sequence in mid-flight."""
        first = sequence.first_token_us
        if sequence.stage not in (Stage.DECODE, Stage.FINISHING) or first < 0:
            return 0, -1, -1
        passed = self._passed(int(self.env.now), including=False)
        tokens = sequence.output - 1
        if sequence.stage is Stage.DECODE:
            planned = self._planned is not None and sequence not in self._planned.unreached
            tokens = self.scheduler.decoded(sequence) - self._formed_ahead - planned + passed
        last = int(self._ends[passed - 1]) if passed else self._started_us
        last_us = last - sequence.unreached_us + tokens * self._per_token_us
        return tokens, first + self._per_token_us, last_us

    def _flush(self) -> None:
        needed = (s.spans[0][0] if s.spans else s.span_start for s in self.scheduler.running if s.stage >= Stage.DECODE)
        self._tokens.flush(min(needed, default=self.scheduler.step))

    def close(self) -> None:
        """Account for the last tokens at the end of a run."""
        self.sync()
        self._tokens.flush(None)
