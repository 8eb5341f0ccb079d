"""One simulated instance: forms a batch, sleeps until its step ends, and starts the next.

It is a SimPy process in all but form: resuming a generator would cost a twentieth of a simulation, so the event that
wakes the instance calls it directly.

This is the hot path of a simulation. Who changes it should count bytecodes per request before and after
(docs/explanation/performance.md says how).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
import simpy

from blis.cluster.deadlines import Deadlines
from blis.cluster.moment import Moment, Order
from blis.cluster.queueing import LONGEST_US, Queueing, too_long
from blis.cluster.scheduler import Scheduler
from blis.cluster.sequence import Batch, Ending, Sequence, Stage
from blis.cluster.tokens import TokenLog
from blis.latency.base import LatencyModel
from blis.spec.instance import InstanceConfig
from blis.trace.histogram import Histogram
from blis.trace.status import Status

__all__ = ["MOST_STEPS", "Instance"]

_FEW_STEPS = 24
MOST_STEPS = 2048
"""Most steps a run is planned ahead."""
_UNLIMITED = 1 << 62
_ROUTED, _WAITING, _DECODE, _GONE = Stage.ROUTED, Stage.WAITING, Stage.DECODE, Stage.GONE
_STEP = Order.STEP
_OK = Status.OK


class Instance:
    """Serves sequences with one :class:`~blis.cluster.scheduler.Scheduler`, step after step.

    A run of like decode steps is slept through in one go. When a sequence will join the queue is known as soon as it is
    routed, so a run is cut where the next step could admit it; a deadline cuts it at the end of the step in progress.

    ``in_flight`` counts sequences routed here that have not ended, ``load`` those and, once more, the ones that wait or
    run. Whoever looks from outside calls :meth:`sync` first where ``next_join_us`` has passed or block counts matter.
    """

    # More than 30 attributes are slow outside slots (CPython 3.11).
    __slots__ = (
        "_accepted", "_batch", "_completion_us", "_deadlines", "_durations", "_ended", "_ends", "_formed_ahead",
        "_joining", "_model", "_most_prompt", "_most_tokens", "_on_wake", "_overdue", "_queue_us",
        "_queueing_us", "_started_us", "_tokens", "_wake", "_wake_us", "config", "env", "in_flight", "index", "load",
        "next_join_us", "per_token_us", "scheduler", "step_ends",
    )  # fmt: skip

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
        self.load = 0
        self.next_join_us = _UNLIMITED
        self.step_ends: list[int] | None = None
        self._model = model
        self._ended = ended
        limit = config.max_model_len or _UNLIMITED
        self._most_prompt = limit
        self._most_tokens = min(limit, config.total_kv_blocks * config.block_size)
        overheads = model.overheads
        queueing = Queueing(config, overheads)
        self._queue_us = queueing.fixed_us
        self._queueing_us = queueing.delay_us
        self.per_token_us = int(overheads.per_token)
        self._completion_us = int(overheads.completion)
        self._tokens = TokenLog(itl, self.per_token_us)
        self._joining: list[tuple[int, int, Sequence]] = []
        self._accepted = 0
        self._deadlines = Deadlines(env, self._expire)
        self._batch: Batch | None = None
        self._durations: list[int] | npt.NDArray[np.int64] = []
        self._ends: list[int] | npt.NDArray[np.int64] = []
        self._started_us = 0
        self._formed_ahead = 0
        self._overdue: dict[Sequence, Status] = {}
        self._wake: simpy.Event | None = None
        self._wake_us = _UNLIMITED
        self._on_wake: list[Callable[[Any], None]] = [self._serve]

    # -- what comes in

    def accept(self, sequence: Sequence, now: int) -> None:
        """Take a routed sequence; it joins the wait queue after the queueing delay."""
        self.in_flight += 1
        self.load += 1
        prompt = sequence.prompt
        at = now + (self._queue_us or self._queueing_us(sequence.request))
        deadline = sequence.request.deadline_us
        if prompt + sequence.output > self._most_tokens or prompt >= self._most_prompt:
            self._refuse(sequence, sequence.refusal(self._most_prompt), at - now)
            return
        if deadline is not None:
            if deadline < at:
                self._refuse(sequence, Status.TIMEOUT, at - now)
                return
            self._deadlines.watch(sequence, deadline, now)
        self._accepted += 1
        heappush(self._joining, (at, self._accepted, sequence))
        if at < self.next_join_us:
            self.next_join_us = at
        if self._batch is None:
            if at < self._wake_us:
                self._wake_at(at, now)
        elif at < self._wake_us and len(self._ends) > 1 and self.scheduler.has_room():
            self._cut_run(self._steps_before(at), now)

    def _join_until(self, time: int) -> None:
        """Queue the sequences whose queueing delay ends at ``time`` or before."""
        joining = self._joining
        join = self.scheduler.join
        while joining and joining[0][0] <= time:
            join(heappop(joining)[2])
            self.load += 1
        self.next_join_us = joining[0][0] if joining else _UNLIMITED

    def _refuse(self, sequence: Sequence, status: Status, delay: int) -> None:
        sequence.stage = _GONE
        Moment(self.env, delay, Order.QUEUED, lambda _: self._drop(sequence, status))

    def _drop(self, sequence: Sequence, status: Status) -> None:
        if sequence.stage is _WAITING:
            self.scheduler.expire(sequence)
            self.load -= 1
        sequence.stage = _GONE
        self.in_flight -= 1
        self.load -= 1
        self._ended(sequence, int(self.env.now), status)

    def abort(self, sequence: Sequence) -> None:
        """End a sequence as a deadline would that passes now, as cancelled; one that is refused stays so."""
        if sequence.stage is _ROUTED:
            self._joining = [entry for entry in self._joining if entry[2] is not sequence]
            heapify(self._joining)
        if sequence.stage is not _GONE:
            self._expire(sequence, Status.CANCELLED)

    def _expire(self, sequence: Sequence, status: Status = Status.TIMEOUT) -> None:
        now = int(self.env.now)
        self._join_until(now)
        if sequence.stage > _WAITING:
            self._overdue.setdefault(sequence, status)
        else:
            self._drop(sequence, status)
            if not self.scheduler.waiting:
                return
        if self._batch is not None:
            self._cut_run(self._steps_before(now + 1), now)

    # -- waking

    def _wake_at(self, at: int, now: int) -> None:
        """Wake at ``at`` instead of whenever the instance would have woken."""
        if self._wake is not None and self._wake.callbacks is not None:
            self._wake.callbacks = []
        self._sleep(at, now)

    def _sleep(self, until: int, now: int) -> None:
        self._wake_us = until
        wake = self._wake
        if wake is not None and wake.callbacks is None:
            # It is over and can happen again, which costs half of what a new one does.
            self.env.schedule(wake, _STEP, until - now)
        else:
            wake = self._wake = Moment(self.env, until - now, _STEP)
        wake.callbacks = self._on_wake

    def _steps_before(self, time: int) -> int:
        """Return how many steps of the run end before ``time``."""
        ends = self._ends
        return bisect_left(ends, time) if isinstance(ends, list) else int(ends.searchsorted(time))

    def _cut_run(self, steps: int, now: int) -> None:
        """Let the run end after one step more than ``steps``."""
        ends = self._ends
        if steps < len(ends) - 1:
            self._ends = ends[: steps + 1]
            self._durations = self._durations[: steps + 1]
            self._wake_at(int(ends[steps]), now)

    # -- one awakening

    def _serve(self, _: simpy.Event) -> None:
        now = self._wake_us
        if self._batch is not None:
            self._finish(now, self._batch)
        if self.next_join_us <= now:
            self._join_until(now)
        self._start(now)

    def _start(self, now: int) -> None:
        """Start the next step, or a run of like ones, or fall idle."""
        scheduler = self.scheduler
        if not (scheduler.running or scheduler.waiting):
            self._fall_idle(now)
            return
        batch = self._batch = scheduler.form()
        self._started_us = now
        self._formed_ahead = 0
        if batch.chunks or batch.explicit:
            first = self._time_step(batch, now)
            # Who decodes next is known already: unless somebody leaves or waits, the run that follows can be slept
            # through too.
            scheduler.settle(batch)
            if self.next_join_us > now + first and scheduler.decodes and not (batch.leaving or batch.explicit):
                more = 0 if scheduler.waiting else scheduler.like_steps(MOST_STEPS)
                if more:
                    self._time_run(scheduler.decodes, scheduler.context, more, now, first)
        else:
            self._time_run(batch.decodes, batch.decode_context, 1 + scheduler.like_steps(MOST_STEPS), now)
        ends = self._ends
        self._sleep(ends[-1] if type(ends) is list else int(ends[-1]), now)

    def _fall_idle(self, now: int) -> None:
        self._batch = None
        if self._joining:
            self._sleep(self.next_join_us, now)
        else:
            self._wake_us = _UNLIMITED

    def _time_step(self, batch: Batch, now: int) -> int:
        """Set and return the duration of a step that begins now; scheduling delays end with its begin."""
        for sequence, epoch, _, before, _ in batch.chunks:
            if not before and sequence.epoch == epoch:
                sequence.scheduling_delay_us = now - sequence.arrival_us
        duration = self._model.step_us(batch)
        self._durations = [duration]
        self._ends = [now + duration]
        return duration

    def _time_run(self, decodes: int, context: int, steps: int, now: int, first: int = 0) -> None:
        """Set durations and ends of a run of decode steps, after a step of ``first`` µs (0: none) that begins now."""
        model = self._model
        join = self.next_join_us
        if join < _UNLIMITED:
            if not self.scheduler.has_room():
                join = _UNLIMITED
            elif steps > _FEW_STEPS:
                # Steps get no shorter as contexts grow, so that no more than these end before the next sequence joins.
                steps = min(steps, 1 + (join - now) // model.few_decodes_us(decodes, context, 1)[0])
        if steps <= _FEW_STEPS:
            few = self._durations = model.few_decodes_us(decodes, context, steps)
            if first:
                few.insert(0, first)
            ends = self._ends = [*accumulate(few, initial=now)]
            del ends[0]
        else:
            many = model.decode_us(decodes, context, steps)
            if many[-1] > LONGEST_US:
                raise too_long(self.config, "a step", int(many[-1]))
            if first:
                whole = np.empty(steps + 1, np.int64)
                whole[0] = first
                whole[1:] = many
                many = whole
            self._durations = many
            self._ends = many.cumsum()
            self._ends += now
        if join < _UNLIMITED and len(self._ends) > 1 and self._ends[-2] >= join:
            last = self._steps_before(join) + 1
            self._ends = self._ends[:last]
            self._durations = self._durations[:last]

    def sync(self) -> None:
        """Bring queue and block counts up to what happened before now, for somebody who looks from outside."""
        now = int(self.env.now)
        if self.next_join_us < now:
            self._join_until(now - 1)
        if self._batch is not None and len(self._ends) > 1:
            started = min(self._steps_before(now), len(self._ends) - 1)
            self.scheduler.advance(started - self._formed_ahead)
            self._formed_ahead = started

    # -- the end of a step

    def _finish(self, now: int, batch: Batch) -> None:
        """Take the effects of the steps that have run: tokens, and sequences that leave."""
        scheduler = self.scheduler
        durations = self._durations
        more = len(durations) - 1
        if more > self._formed_ahead:
            scheduler.advance(more - self._formed_ahead)
        if self.step_ends is not None:
            self.step_ends.extend(map(int, self._ends))
        self._tokens.append(durations)
        if scheduler.step in scheduler.ending:
            self._retire(batch)
        if batch.chunks:
            for chunk in batch.chunks:
                sequence = chunk[0]
                if sequence.first_token_us < 0 and sequence.epoch == chunk[1] and sequence.stage >= _DECODE:
                    sequence.first_token_us = int(self._ends[0])
        if batch.unreached:
            for sequence, epoch in batch.unreached:
                if sequence.epoch == epoch:
                    sequence.unreached_us += int(durations[0])
        if self._overdue:
            self._end_overdue(batch, now)
        elif batch.leaving:
            for sequence in batch.leaving:
                self._complete(sequence, now)
        else:
            return
        if self._tokens.full():
            self._flush()

    def _retire(self, batch: Batch) -> None:
        """Account for the decodes that end with the last step of a run."""
        self.scheduler.retire(batch)

    def _complete(self, sequence: Sequence, now: int) -> None:
        tokens = sequence.output
        if tokens > 1:
            self._tokens.count(sequence.span_start, sequence.last_step)
            for first, last in sequence.spans:
                self._tokens.count(first, last)
        self._end(sequence, now, _OK, tokens, self._completion_us if tokens else 0)

    def _end_overdue(self, batch: Batch, now: int) -> None:
        """Let sequences go whose time is over, in running order together with those that have completed."""
        overdue, self._overdue = self._overdue, {}
        for sequence in sorted({*overdue, *batch.leaving}, key=lambda sequence: sequence.order):
            status = overdue.get(sequence)
            if status is None:
                self._complete(sequence, now)
                continue
            tokens = 0
            if sequence.first_token_us >= 0:
                tokens = sequence.output
                if sequence.stage is _DECODE:
                    tokens = 1 + self.scheduler.decoded(sequence)
            self._end(sequence, now, status, tokens - self._forget(sequence), 0)

    def _decoded_ahead(self, sequence: Sequence) -> int:
        """Return how many tokens of a decoding sequence belong to a batch that is formed but hasn't started."""
        return 0

    def _forget(self, sequence: Sequence) -> int:
        """Take a sequence out of such a batch; return how many tokens it would have decoded there."""
        return 0

    def _end(self, sequence: Sequence, now: int, status: Status, tokens: int, extra_us: int) -> None:
        first_us = last_us = -1
        first = sequence.first_token_us
        if first >= 0:
            per_token = self.per_token_us
            first_us = first + per_token
            last_us = now - sequence.unreached_us + extra_us + (tokens * per_token if tokens else per_token)
        self.scheduler.leave(sequence, last_token=status is _OK and tokens > 0)
        self.in_flight -= 1
        self.load -= 2
        self._ended(sequence, now, status, tokens, first_us, last_us)

    def produced(self, sequence: Sequence) -> tuple[int, int, int]:
        """Return the tokens before now, and the reported times of the first and the last, of a live sequence."""
        if sequence.stage not in (Stage.DECODE, Stage.FINISHING):
            return 0, -1, -1
        passed = self._steps_before(int(self.env.now))
        first = sequence.first_token_us
        if first < 0 and passed:
            first = int(self._ends[0])
        if first < 0:
            return 0, -1, -1
        tokens = sequence.output - 1
        if sequence.stage is _DECODE:
            formed = self.scheduler.decoded(sequence) - self._decoded_ahead(sequence)
            missed = self._batch is not None and self._batch.misses(sequence)
            tokens = formed - self._formed_ahead + passed + missed
        last = int(self._ends[passed - 1]) if passed else self._started_us
        last_us = last - sequence.unreached_us + tokens * self.per_token_us
        return tokens, first + self.per_token_us, last_us

    def next_change_us(self) -> int:
        """Return when, from now on, a step ends next or, if none runs, one may begin; nothing changes that."""
        if self._batch is None:
            return self.next_join_us
        return int(self._ends[self._steps_before(int(self.env.now))])

    def _flush(self) -> None:
        needed = (s.spans[0][0] if s.spans else s.span_start for s in self.scheduler.running if s.stage >= _DECODE)
        self._tokens.flush(min(needed, default=self.scheduler.step))

    def close(self) -> None:
        """Account for the last tokens at the end of a run."""
        self.sync()
        self._tokens.flush(None)
