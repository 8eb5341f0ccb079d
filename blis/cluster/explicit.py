"""Phase 1 of batch formation, sequence by sequence: where budget or blocks are short, or a chain has two users."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blis.cluster.sequence import Batch, Sequence, Stage

if TYPE_CHECKING:
    from blis.cluster.scheduler import Scheduler

__all__ = ["form_explicitly"]


def form_explicitly(scheduler: Scheduler) -> tuple[Batch, int]:
    """Visit the running sequences in order; return the batch and the budget left.

    If a sequence was preempted, phase 2 must not run.
    """
    visit = _Visit(scheduler)
    for sequence in list(scheduler.running):
        if visit.budget <= 0 or visit.stopped:
            break
        if sequence in scheduler.running and sequence.stage is not Stage.FINISHING:
            visit.reach(sequence)
    batch = Batch(0, 0)
    batch.explicit = True
    batch.preempted = visit.preempted
    for sequence in scheduler.running:
        tokens = visit.granted.get(sequence, 0)
        if sequence.stage is Stage.PREFILL and tokens:
            before = sequence.progress - tokens
            batch.add(sequence, tokens, before, before)
        elif sequence.stage is Stage.DECODE and tokens:
            batch.decodes += 1
            batch.sequences += 1
            batch.decode_context += visit.progress(sequence)
        elif sequence.stage is Stage.DECODE:
            batch.unreached += ((sequence, sequence.epoch),)
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

    def progress(self, sequence: Sequence) -> int:
        """Return the tokens of a sequence that are in the cache before this step's decode token."""
        if sequence.stage is Stage.DECODE:
            return sequence.prompt + self.scheduler.decoded(sequence)
        return sequence.progress

    def reach(self, sequence: Sequence) -> None:
        """Grant the sequence its tokens of this step, preempting others, or itself, for lack of blocks."""
        scheduler = self.scheduler
        kv, size = scheduler.kv, scheduler.block_size
        decoding = sequence.stage is Stage.DECODE
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
        candidates = [s for s in reversed(self.scheduler.running) if s.stage is not Stage.FINISHING]
        if not self.scheduler.by_priority:
            return candidates[0]
        return max(candidates, key=lambda s: (s.priority, s.arrival_us))

    def _preempt(self, victim: Sequence) -> None:
        self.preempted = True
        granted = self.granted.pop(victim, 0)
        self.budget += granted
        decode_token = granted if victim.stage is Stage.DECODE else 0
        self.scheduler.preempt(victim, self.progress(victim) + decode_token)
