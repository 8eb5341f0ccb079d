"""One instance: its wait queue, its batches, its steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from blis.request import Request
from oracle.kv import Block, Cache, Names, ceil_div, contents
from oracle.latency import Model, Work, sums
from oracle.results import InstanceResult, RequestResult, StepRecord

__all__ = ["ARRIVAL", "QUEUED", "STEP", "TIMEOUT", "Batch", "Instance", "Item", "Sequence", "Switches"]

ARRIVAL, QUEUED, STEP, TIMEOUT = range(4)
"""Kinds of events, in their order at equal times."""

Schedule = Callable[[int, int, Callable[[int], None]], None]
"""Schedule(time, kind, action): call action(time) then."""

CLASS_PRIORITY = {
    "": 1,
    "critical": 0,
    "realtime": 0,
    "standard": 1,
    "interactive": 1,
    "batch": 5,
    "sheddable": 6,
    "background": 7,
}


@dataclass(frozen=True)
class Switches:
    """Behaviours of the golden cases' reference that the rules don't have.

    ``idle_early``: idle as soon as a step begins in which all running sequences end while nobody waits.
    ``free_when_cached``: a prompt cached in full is admitted with no tokens to compute and no blocks claimed.
    """

    idle_early: bool = False
    free_when_cached: bool = False


@dataclass(eq=False)
class Sequence:
    """A request on its instance. ``progress`` counts the tokens computed; the newest output token isn't among them."""

    request: Request
    result: RequestResult
    names: list[int]
    priority: float = 0
    progress: int = 0
    blocks: list[Block] = field(default_factory=list)
    skipped_blocks: int = 0

    def __post_init__(self) -> None:
        self.input = self.request.prompt_tokens
        # Progress at which the last token is there.
        self.end = self.input + max(self.request.output_tokens, 1) - 1
        self.expires = math.inf if self.request.deadline_us is None else self.request.deadline_us


def encoding_us(encoder: Any, text: int, image: int, audio: int, video: int) -> float:
    """What the encoders take for a request of these tokens."""
    if image + audio + video == 0:
        return 0
    per_image, per_audio = encoder.us_per_image_token * image, encoder.us_per_audio_token * audio
    return encoder.base_us + (per_image + per_audio + encoder.us_per_video_token * video)


@dataclass(eq=False)
class Item:
    """A sequence's part in a step: ``new`` tokens, after which its progress is ``reach``."""

    sequence: Sequence
    decode: bool
    new: int
    reach: int
    admitted: bool = False

    def work(self) -> Work:
        stored = self.reach - self.new
        context = 0 if self.admitted else stored
        return Work(self.decode, self.new, context, stored, self.sequence.input)


@dataclass(eq=False)
class Batch:
    """The sequences of one step; ``preempted`` says whether forming it preempted any."""

    items: list[Item] = field(default_factory=list)
    preempted: bool = False

    def find(self, sequence: Sequence) -> Item | None:
        return next((item for item in self.items if item.sequence is sequence), None)

    def strike(self, sequence: Sequence) -> int:
        """Remove a sequence and return the tokens it had here."""
        item = self.find(sequence)
        if item is None:
            return 0
        self.items.remove(item)
        return item.new


class Instance:
    """A vLLM-like engine fed by :meth:`accept`."""

    def __init__(
        self, config: Any, model: Model, names: Names, schedule: Schedule, left: Callable[[Sequence], None],
        switches: Switches,
    ) -> None:  # fmt: skip
        self.config = config
        self.model = model
        self.names = names
        self.schedule = schedule
        self.left = left
        self.switches = switches
        self.cache = Cache(config.total_kv_blocks, config.block_size)
        self.waiting: list[Sequence] = []
        self.running: list[Sequence] = []
        self.step_pending = False
        self.current: Batch | None = None
        self.planned: Batch | None = None
        self.steps: list[StepRecord] = []
        self.preemptions = 0

    # ---- a request comes ----

    def accept(self, request: Request, result: RequestResult, now: int) -> None:
        """Take a routed request; it joins the queue after the queueing delay."""
        names = self.names.of(contents(request, result.request_id), self.config.block_size)
        sequence = Sequence(request, result, names)
        overheads = self.model.overheads
        delay = math.trunc(overheads.queue_base + overheads.queue_per_token * request.prompt_tokens)
        if self.config.encoder is not None and request.parts is not None:
            delay += math.trunc(encoding_us(self.config.encoder, *request.parts))
        self.schedule(now + delay, QUEUED, lambda time: self.join(sequence, time))

    def join(self, sequence: Sequence, now: int) -> None:
        if self.unservable(sequence.request):
            self.leave(sequence, "context_overflow" if self.outgrown(sequence.request) else "unservable", now)
            return
        if sequence.expires < now:
            self.leave(sequence, "timeout", now)
            return
        sequence.priority = self.joining_priority(sequence.request)
        self.waiting.append(sequence)
        if sequence.request.deadline_us is not None:
            self.schedule(sequence.request.deadline_us, TIMEOUT, lambda time: self.deadline_passes(sequence, time))
        if not self.step_pending:
            self.step_pending = True
            self.schedule(now, STEP, self.boundary)

    def unservable(self, request: Request) -> bool:
        longest = request.prompt_tokens + request.output_tokens
        limit = self.config.max_model_len
        if limit and (request.prompt_tokens >= limit or longest > limit):
            return True
        return ceil_div(longest, self.config.block_size) > self.cache.total

    def outgrown(self, request: Request) -> bool:
        """Whether it is the model's limit that a later round of a session exceeds, by what was said before."""
        limit = self.config.max_model_len
        too_long = request.prompt_tokens >= limit or request.prompt_tokens + request.output_tokens > limit
        before = request.prompt_tokens - request.client.prefix_length - request.input_tokens
        return limit > 0 and too_long and request.round_index > 0 and before > 0

    def joining_priority(self, request: Request) -> float:
        return CLASS_PRIORITY[request.client.slo_class] if self.config.priority_policy == "by-class" else 0

    # ---- a request goes ----

    def deadline_passes(self, sequence: Sequence, now: int) -> None:
        """Drop the sequence if it waits; a running one is seen to at the next boundary."""
        if sequence in self.waiting:
            self.waiting.remove(sequence)
            self.leave(sequence, "timeout", now)

    def leave(self, sequence: Sequence, status: str, now: int) -> None:
        result = sequence.result
        result.status = status
        result.left_us = now
        if result.ttft_us >= 0:
            result.e2e_us = result.ttft_us + sum(result.itls)
            if status == "ok" and sequence.request.output_tokens > 0:
                result.e2e_us += math.trunc(self.model.overheads.completion)
        self.left(sequence)

    # ---- steps ----

    def boundary(self, now: int) -> None:
        """End the step that ran up to ``now``, if any, and start the next, if there is one."""
        if self.current is not None:
            self.apply(self.current, now)
            self.depart(now)
            self.current = None
        batch, self.planned = self.planned, None
        if batch is not None and not batch.items and not batch.preempted:
            batch = None  # All that were in it have left since.
        if batch is None:
            if not self.running and not self.waiting:
                self.step_pending = False
                return
            batch = self.form(now)
        self.start(batch, now)
        if self.config.async_scheduling:
            following = self.form(now)
            self.planned = following if following.items or following.preempted else None

    def start(self, batch: Batch, now: int) -> None:
        work = [item.work() for item in batch.items]
        duration = self.model.duration_us(work)
        self.steps.append(StepRecord(len(self.steps), now, now + duration, sums(work)))
        for item in batch.items:
            if item.admitted:
                item.sequence.result.scheduling_delay_us = now - item.sequence.result.arrival_us
        self.current = batch
        if self.switches.idle_early and self.ends_everything(batch):
            self.apply(batch, now + duration)
            self.depart(now + duration)
            self.current = None
            self.step_pending = False
            return
        self.schedule(now + duration, STEP, self.boundary)

    def ends_everything(self, batch: Batch) -> bool:
        reached = {item.sequence: item.reach for item in batch.items}
        return not self.waiting and all(reached.get(sequence, -1) == sequence.end for sequence in self.running)

    def apply(self, batch: Batch, now: int) -> None:
        """Give each sequence of the step that ends at ``now`` its progress and its token."""
        step = self.steps[-1]
        overhead = math.trunc(self.model.overheads.per_token)
        for item in batch.items:
            sequence, result = item.sequence, item.sequence.result
            sequence.progress = item.reach
            if item.decode:
                result.itls.append(step.end_us - step.start_us + overhead)
                result.output_tokens += 1
                result.last_step = step.index
            elif sequence.progress == sequence.input:
                result.ttft_us = now + overhead - result.arrival_us
                result.output_tokens = min(1, sequence.request.output_tokens)
                result.first_step = result.last_step = step.index

    def depart(self, now: int) -> None:
        """Let go, in running order, whoever has all tokens or ran out of time."""
        for sequence in list(self.running):
            late = sequence.expires < now
            if sequence.progress < sequence.end and not late:
                continue
            if not late and sequence.request.output_tokens > 0:
                # The last token takes a slot if there is one.
                have = sequence.progress
                self.cache.allocate(sequence.blocks, sequence.names, have, have + 1, sequence.skipped_blocks)
            self.running.remove(sequence)
            self.cache.release(sequence.blocks)
            if self.planned is not None:
                self.planned.strike(sequence)
            self.leave(sequence, "timeout" if late else "ok", now)

    # ---- forming a batch ----

    def form(self, now: int) -> Batch:
        """Form a batch at ``now`` as things will stand when the step that runs now, if any, has ended."""
        self.order(now)
        batch = Batch()
        budget = self.form_running(batch)
        if not batch.preempted:
            self.form_waiting(batch, budget)
        return batch

    def order(self, now: int) -> None:
        sign = {"slo-based": -1e-6, "inverted-slo": 1e-6}.get(self.config.priority_policy)
        if sign is not None:
            for sequence in self.running + self.waiting:
                sequence.priority = sign * (now - sequence.request.arrival_us)
        match self.config.scheduler:
            case "fcfs":
                pass
            case "sjf":
                self.waiting.sort(key=lambda s: (s.input, s.request.arrival_us, str(s.result.request_id)))
            case "priority-fcfs":
                self.waiting.sort(key=lambda s: (s.priority, s.request.arrival_us, str(s.result.request_id)))
            case "reverse-priority":
                self.waiting.sort(key=lambda s: (-s.priority, s.request.arrival_us, str(s.result.request_id)))
            case other:
                raise ValueError(f"unknown scheduler {other!r}")

    def progress_after_current(self, sequence: Sequence) -> int:
        item = None if self.current is None else self.current.find(sequence)
        return sequence.progress if item is None else item.reach

    def cut(self, tokens: int, budget: int) -> int:
        threshold = self.config.long_prefill_token_threshold
        return min(threshold if 0 < threshold < tokens else tokens, budget)

    def form_running(self, batch: Batch) -> int:
        """Phase 1: go through the running sequences; returns the budget left."""
        budget = self.config.max_num_batched_tokens
        place = 0
        while place < len(self.running) and budget > 0:
            sequence = self.running[place]
            place += 1
            have = self.progress_after_current(sequence)
            if have == sequence.end:
                continue  # Its last token comes in the step that runs now.
            decode = have >= sequence.input
            n = 1 if decode else self.cut(sequence.input - have, budget)
            while not self.cache.allocate(sequence.blocks, sequence.names, have, have + n, sequence.skipped_blocks):
                victim = self.victim()
                if self.running.index(victim) < place:
                    place -= 1
                budget += self.preempt(victim, batch)
                if victim is sequence:
                    return budget
            batch.items.append(Item(sequence, decode, n, have + n))
            budget -= n
        return budget

    def victim(self) -> Sequence:
        """The last running sequence, or by priority; never one whose last token comes in the step that runs now."""
        candidates = [s for s in self.running if self.progress_after_current(s) < s.end]
        victim = candidates[-1]
        if self.config.preemption == "priority":
            for other in reversed(candidates):
                if (other.priority, other.request.arrival_us) > (victim.priority, victim.request.arrival_us):
                    victim = other
        return victim

    def preempt(self, sequence: Sequence, batch: Batch) -> int:
        """Send a running sequence back to the queue's front; returns the budget it had used in ``batch``."""
        self.preemptions += 1
        batch.preempted = True
        self.running.remove(sequence)
        self.waiting.insert(0, sequence)
        self.cache.release(sequence.blocks)
        sequence.progress = 0
        sequence.skipped_blocks = 0
        result = sequence.result
        result.preemptions += 1
        result.ttft_us = result.first_step = result.last_step = -1
        result.output_tokens = 0
        result.itls.clear()
        if self.current is not None:
            self.current.strike(sequence)
        return batch.strike(sequence)

    def form_waiting(self, batch: Batch, budget: int) -> None:
        """Phase 2: admit from the queue's head."""
        while len(self.running) < self.config.max_num_seqs and self.waiting and budget > 0:
            sequence = self.waiting[0]
            n = self.admit(sequence, budget)
            if n is None:
                return
            self.waiting.pop(0)
            self.running.append(sequence)
            reach = sequence.result.cached_tokens + n
            if sequence.skipped_blocks:
                reach = sequence.input
            batch.items.append(Item(sequence, False, n, reach, admitted=True))
            budget -= n

    def admit(self, sequence: Sequence, budget: int) -> int | None:
        """Get blocks for the first chunk and return its tokens; None if they don't fit."""
        size = self.config.block_size
        cached = self.cache.cached_run(sequence.names[: sequence.input // size])
        if len(cached) * size == sequence.input:
            if self.switches.free_when_cached:
                sequence.skipped_blocks = len(cached)
                return 0
            cached.pop()  # At least one token must be computed.
        have = len(cached) * size
        n = self.cut(sequence.input - have, budget)
        if not self.cache.claim(cached, ceil_div(n, size)):
            return None
        sequence.blocks = cached
        self.cache.allocate(sequence.blocks, sequence.names, have, have + n)
        sequence.result.cached_tokens = have
        return n

    def result(self) -> InstanceResult:
        cache = self.cache
        return InstanceResult(
            self.steps, cache.claimed_blocks, cache.allocated_blocks, len(cache.free), self.preemptions
        )
