"""Phase 1 of batch formation, sequence by sequence: where budget or blocks are short, or a chain has two users."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blis.cluster.sequence import Batch, Sequence, Stage

if TYPE_CHECKING:
    from blis.cluster.scheduler import Scheduler

__all__ = ["form_explicitly"]

_PREFILL, _DECODE, _FINISHING = Stage.PREFILL, Stage.DECODE, Stage.FINISHING


def form_explicitly(scheduler: Scheduler) -> tuple[Batch, int]:
    """Visit the running sequences in order; return the batch and the budget left.

    If a sequence was preempted, phase 2 must not run.
    """
    visit = _Visit(scheduler)
    visit.all()
    granted, step = visit.granted, scheduler.step
    batch = Batch(0, 0)
    batch.explicit = True
    batch.preempted = visit.preempted
    for sequence in scheduler.running:
        stage = sequence.stage
        if stage is _DECODE:
            if sequence in granted:
                batch.decodes += 1
                batch.decode_context += sequence.prompt + step - sequence.first_step + 1
            else:
                batch.unreached += ((sequence, sequence.epoch),)
        elif stage is _PREFILL and (tokens := granted.get(sequence, 0)):
            before = sequence.progress - tokens
            batch.add(sequence, tokens, before, before)
    batch.sequences += batch.decodes
    for sequence, _ in batch.unreached:
        scheduler.postpone(sequence)
    return batch, visit.budget


class _Visit:
    """One pass over the running sequences: tokens granted so far and the budget left."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.budget = scheduler.max_tokens
        self.granted: dict[Sequence, int] = {}
        self.preempted = False
        self.stopped = False

    def all(self) -> None:
        """Reach one sequence after another until budget or blocks are used up."""
        scheduler, granted = self.scheduler, self.granted
        kv, size, running = scheduler.kv, scheduler.block_size, scheduler.running
        new = scheduler.step + 1
        for sequence in list(running):
            if self.budget <= 0 or self.stopped:
                return
            stage = sequence.stage
            if stage is _DECODE and kv.free and not sequence.path.open_tail:
                # The common case without calls: steps like this one visit every sequence.
                if not (sequence.prompt + new - sequence.first_step) % size:
                    kv.take(1)
                granted[sequence] = 1
                self.budget -= 1
            elif stage is not _FINISHING and sequence in running:
                self.reach(sequence)

    def progress(self, sequence: Sequence) -> int:
        """Return the tokens of a sequence that are in the cache before this step's decode token."""
        if sequence.stage is _DECODE:
            return sequence.prompt + self.scheduler.decoded(sequence)
        return sequence.progress

    def reach(self, sequence: Sequence) -> None:
        """Grant the sequence its tokens of this step, preempting others, or itself, for lack of blocks."""
        scheduler = self.scheduler
        kv, size = scheduler.kv, scheduler.block_size
        decoding = sequence.stage is _DECODE
        tokens = 1 if decoding else min(scheduler.chunk(sequence), self.budget)
        before = self.progress(sequence)
        need = -(-(before + tokens) // size) - -(-before // size)
        while need > kv.free:
            victim = self._victim()
            self._preempt(victim)
            if victim is sequence:
                self.stopped = True
                return
        if need:
            kv.take(need)
        if decoding:
            if sequence.path.open_tail:
                kv.identify(sequence, (before + 1) // size)
        else:
            scheduler.prefill(sequence, tokens)
        self.granted[sequence] = tokens
        self.budget -= tokens

    def _victim(self) -> Sequence:
        """Return the last running sequence, or by priority the last with the largest (priority, arrival)."""
        candidates = (s for s in reversed(self.scheduler.running) if s.stage is not _FINISHING)
        if not self.scheduler.by_priority:
            return next(candidates)
        return max(candidates, key=lambda s: (s.priority, s.arrival_us))

    def _preempt(self, victim: Sequence) -> None:
        self.preempted = True
        granted = self.granted.pop(victim, 0)
        self.budget += granted
        decode_token = granted if victim.stage is _DECODE else 0
        self.scheduler.preempt(victim, self.progress(victim) + decode_token)
