"""Batch formation on one instance: who runs in the next step (docs/explanation/engine.md).

Nothing about a decoding sequence is touched between its first and its last step. What a step needs to know of all of
them together is kept in sums: how many there are, their context, when each ends (buckets by step), and how many need
a block at a step (one counter per residue of the step number modulo the block size). A step in which something can't
go the common way (too little budget, too few blocks, a chain two sequences work on) is formed sequence by sequence
instead, in :mod:`blis.cluster.explicit`.
"""

from __future__ import annotations

from heapq import heappop, heappush
from operator import attrgetter

from blis.cluster.chains import UNSHARED, Holding
from blis.cluster.explicit import form_explicitly
from blis.cluster.kv import KVCache
from blis.cluster.sequence import Batch, Sequence, Stage
from blis.cluster.waiting import WaitQueue, wait_queue
from blis.spec.instance import InstanceConfig

__all__ = ["Scheduler"]

_WAITING, _PREFILL, _DECODE = Stage.WAITING, Stage.PREFILL, Stage.DECODE
_FINISHING, _GONE = Stage.FINISHING, Stage.GONE
_running_order = attrgetter("order")


class Scheduler:
    """The state of one instance between steps, without a clock.

    ``step`` is the last step formed. ``decodes`` and ``context`` (sum of progress) describe the decoding sequences as
    they are when that step has run. ``waiting`` is the number of queued sequences.
    """

    def __init__(self, config: InstanceConfig) -> None:
        self.max_tokens = config.max_num_batched_tokens
        self.max_sequences = config.max_num_seqs
        self.threshold = config.long_prefill_token_threshold
        self.block_size = config.block_size
        self.by_priority = config.preemption == "priority"
        self.kv = KVCache(config.total_kv_blocks, config.block_size, self._filled)
        self.queue: WaitQueue = wait_queue(config.scheduler)
        self._sorted = config.scheduler != "fcfs"
        self.waiting = 0
        self.running: dict[Sequence, None] = {}
        self.prefilling: dict[Sequence, None] = {}
        self.step = 0
        self.decodes = 0
        self.context = 0
        self.due = [0] * config.block_size
        self.ending: dict[int, list[Sequence]] = {}
        self._end_steps: list[int] = []
        self._order = 0
        self._newest_decode = -1
        self._head_may_change = False
        # Batches without chunks are used again: of one instance, at most two batches exist at a time.
        self._plain = Batch(0, 0)
        self._spare = Batch(0, 0)

    # -- the wait queue

    def join(self, sequence: Sequence) -> None:
        """Queue a sequence."""
        segments = sequence.request.segments
        if segments[0][0] is not None:
            sequence.path = self.kv.path(segments)
        sequence.stage = _WAITING
        self.queue.push(sequence)
        self.waiting += 1

    def has_room(self) -> bool:
        """Whether the next step might admit a sequence that joins now."""
        return len(self.running) < self.max_sequences and (not self.waiting or self._sorted)

    def expire(self, sequence: Sequence) -> None:
        """Take a waiting sequence out of the queue."""
        sequence.stage = _GONE
        self.waiting -= 1

    # -- forming a batch

    def form(self) -> Batch:
        """Form the batch of the next step."""
        kv = self.kv
        step = self.step + 1
        need = self.due[step % self.block_size]
        budget = self.max_tokens - self.decodes
        if budget >= 0 and need <= kv.free and not self.prefilling and not kv.crowded:
            if need:
                kv.take(need)
            if self.waiting:
                batch = Batch(self.decodes, self.context)
            else:
                batch, self._plain, self._spare = self._plain, self._spare, self._plain
                batch.decodes = batch.sequences = self.decodes
                batch.decode_context = self.context
                batch.leaving = ()
        else:
            batch, budget = self._continue(budget, need) or form_explicitly(self)
        self.context += batch.decodes
        self.step = step
        self._head_may_change = False
        if self.waiting and budget > 0 and not batch.preempted:
            self._admit(batch, budget)
        return batch

    def _continue(self, left: int, need: int) -> tuple[Batch, int] | None:
        """Phase 1 with prefills under way; None unless every sequence is sure to get its tokens and its blocks.

        ``left`` is the budget less the decoding sequences, which need ``need`` blocks.
        """
        if left < 0 or self.kv.crowded:
            return None
        batch = Batch(self.decodes, self.context)
        cut = False
        for sequence in self.prefilling:
            wish = self.chunk(sequence)
            tokens = min(wish, left)
            cut = cut or tokens < wish
            left -= tokens
            if tokens:
                known = sequence.progress
                need += -(-(known + tokens) // self.block_size) - sequence.blocks
                batch.add(sequence, tokens, known, known)
        behind = cut and self.decodes and next(iter(self.prefilling)).order < self._newest_decode
        if behind or need > self.kv.free:
            return None
        self.kv.take(need)
        for chunk in batch.chunks:
            self.prefill(chunk[0], chunk[2])
        return batch, left

    def chunk(self, sequence: Sequence) -> int:
        """Return how many prompt tokens the sequence would compute next, the budget aside."""
        rest = sequence.prompt - sequence.progress
        return self.threshold if 0 < self.threshold < rest else rest

    def prefill(self, sequence: Sequence, tokens: int) -> None:
        """Account for a chunk whose blocks have been taken."""
        sequence.progress += tokens
        sequence.blocks = -(-sequence.progress // self.block_size)
        if sequence.path is not UNSHARED:
            self.kv.identify(sequence, sequence.progress // self.block_size)
        if sequence.progress == sequence.prompt:
            self.prefilling.pop(sequence, None)

    def _admit(self, batch: Batch, budget: int) -> None:
        """Phase 2: admit from the queue's head while budget, slots and blocks allow."""
        kv, size, running, queue = self.kv, self.block_size, self.running, self.queue
        while len(running) < self.max_sequences:
            sequence = queue.head()
            assert sequence is not None, "the queue holds whoever is waiting"
            prompt = sequence.prompt
            path = sequence.path
            known = self._cached(sequence) if path is not UNSHARED else 0
            tokens = prompt - known
            if 0 < self.threshold < tokens:
                tokens = self.threshold
            if tokens > budget:
                tokens = budget
            fresh = -(-tokens // size)
            if fresh > kv.free or (known and fresh + kv.free_among(path, known // size) > kv.free):
                # Decodes may evict what it would claim: in chunks it then needs fewer blocks at once. Others only more.
                chunk = self.threshold if 0 < self.threshold < budget else budget
                self._head_may_change = (known > 0 and chunk < prompt) or any(c.writers for c, _ in path.chains)
                return
            queue.pop()
            self.waiting -= 1
            if path is not UNSHARED:
                kv.claim(sequence, known // size)
                kv.enter(sequence)
            kv.take(fresh)
            self._order = sequence.order = self._order + 1
            sequence.stage = _PREFILL
            sequence.cached_tokens = known
            sequence.progress = known + tokens
            sequence.blocks = known // size + fresh
            running[sequence] = None
            if sequence.progress < prompt:
                self.prefilling[sequence] = None
            if path is not UNSHARED:
                kv.identify(sequence, sequence.progress // size)
            batch.add(sequence, tokens, 0, known)
            budget -= tokens
            if not self.waiting or budget <= 0:
                return

    def _cached(self, sequence: Sequence) -> int:
        """Return the prompt tokens that needn't be computed: those in the cache, but never the whole prompt."""
        blocks = self.kv.match(sequence.path)
        return min(blocks, (sequence.prompt - 1) // self.block_size) * self.block_size

    # -- what a step changes

    def settle(self, batch: Batch) -> None:
        """Move on from the last step formed: ended prefills decode next, and ended decodes leave the sums."""
        if self.step in self.ending:
            self.retire(batch)
        leaving: tuple[Sequence, ...] = ()
        for chunk in batch.chunks:
            sequence = chunk[0]
            if sequence.progress == sequence.prompt and sequence.epoch == chunk[1] and sequence.stage is _PREFILL:
                if sequence.output > 1:
                    self._start_decode(sequence)
                else:
                    sequence.stage = _FINISHING
                    leaving += (sequence,)
        if leaving:
            batch.leaving = tuple(sorted(batch.leaving + leaving, key=_running_order))

    def retire(self, batch: Batch) -> None:
        """Take the decodes that ended with the last step formed, one of ``ending``, out of the sums."""
        step, size = self.step, self.block_size
        leaving = self.ending.pop(step)
        if self._end_steps[0] == step:
            heappop(self._end_steps)
        for sequence in leaving:
            first, prompt = sequence.first_step, sequence.prompt
            self.context -= prompt + step - first + 1
            self.due[(first - prompt) % size] -= 1
            sequence.stage = _FINISHING
        self.decodes -= len(leaving)
        if len(leaving) > 1:
            leaving.sort(key=_running_order)
        batch.leaving = tuple(leaving)

    def _start_decode(self, sequence: Sequence) -> None:
        step = self.step + 1
        prompt = sequence.prompt
        sequence.stage = _DECODE
        sequence.first_step = sequence.span_start = step
        self.decodes += 1
        self.context += prompt
        self.due[(step - prompt) % self.block_size] += 1
        if sequence.order > self._newest_decode:
            self._newest_decode = sequence.order
        self._end_at(sequence, step + sequence.output - 2)
        path = sequence.path
        if path.open_tail:
            path.chains[-1][0].writers.append(sequence)

    def _end_at(self, sequence: Sequence, step: int) -> None:
        sequence.last_step = step
        ending = self.ending
        if step in ending:
            ending[step].append(sequence)
        else:
            ending[step] = [sequence]
            heappush(self._end_steps, step)

    def decoded(self, sequence: Sequence) -> int:
        """Return how many decode steps of the sequence have been formed."""
        return self.step - sequence.first_step + 1

    def stop_decode(self, sequence: Sequence) -> None:
        """Take a decoding sequence out of the sums before its end."""
        self.decodes -= 1
        self.context -= sequence.prompt + self.decoded(sequence)
        self.due[(sequence.first_step - sequence.prompt) % self.block_size] -= 1
        self.ending[sequence.last_step].remove(sequence)

    def postpone(self, sequence: Sequence) -> None:
        """Account for a step, the next to be formed, that doesn't reach a decoding sequence."""
        step = self.step + 1
        if sequence.span_start < step:
            sequence.spans += ((sequence.span_start, step - 1),)
        sequence.span_start = step + 1
        self.ending[sequence.last_step].remove(sequence)
        self.due[(sequence.first_step - sequence.prompt) % self.block_size] -= 1
        sequence.first_step += 1
        self.due[(sequence.first_step - sequence.prompt) % self.block_size] += 1
        self._end_at(sequence, sequence.last_step + 1)

    def preempt(self, sequence: Sequence, tokens: int) -> None:
        """Send a running sequence back to the queue's front; ``tokens`` of it have blocks, this step's included."""
        if sequence.stage is _DECODE:
            self.stop_decode(sequence)
        else:
            self.prefilling.pop(sequence, None)
        del self.running[sequence]
        sequence.blocks = -(-tokens // self.block_size)
        self.kv.privatise(sequence, sequence.prompt)
        self.kv.identify(sequence, tokens // self.block_size)
        self.kv.release(sequence)
        sequence.stage = _WAITING
        sequence.progress = 0
        sequence.first_token_us = -1
        sequence.epoch += 1
        sequence.spans = ()
        sequence.unreached_us = 0
        self.waiting += 1
        self.queue.push(sequence, front=True)

    def leave(self, sequence: Sequence, *, last_token: bool) -> None:
        """Release a sequence that ends; ``last_token`` gives its last token a slot too, if a block can be had."""
        size, kv = self.block_size, self.kv
        if sequence.stage is _FINISHING:
            tokens = sequence.prompt + sequence.output - (sequence.output > 0)
        elif sequence.stage is _DECODE:
            tokens = sequence.prompt + self.decoded(sequence)
            self.stop_decode(sequence)
        else:
            self.prefilling.pop(sequence, None)
            tokens = sequence.progress
        del self.running[sequence]
        sequence.stage = _GONE
        sequence.blocks = -(-tokens // size)
        if last_token:
            if tokens % size:
                tokens += 1
            elif kv.free:
                tokens += 1
                kv.take(1)
                sequence.blocks += 1
        if sequence.path.open_tail:
            kv.identify(sequence, tokens // size)
        kv.release(sequence)

    # -- runs of like steps

    def like_steps(self, limit: int) -> int:
        """Return how many more steps, at most ``limit``, can follow the last one formed with no change of the batch."""
        if self._head_may_change or self.prefilling or self.kv.crowded:
            return 0
        ends, ending, step = self._end_steps, self.ending, self.step
        while ends and not ending.get(ends[0]):
            ending.pop(heappop(ends), None)
        if ends and ends[0] - step < limit:
            limit = ends[0] - step
        free = self.kv.free
        if self.decodes * (limit // self.block_size + 1) <= free:
            return limit
        for ahead in range(1, limit + 1):
            free -= self.due[(step + ahead) % self.block_size]
            if free < 0:
                return ahead - 1
        return limit

    def advance(self, steps: int) -> None:
        """Form ``steps`` more steps like the last one."""
        size, due, first = self.block_size, self.due, self.step + 1
        need = 0
        rest = steps
        if steps >= size:
            need = steps // size * self.decodes
            rest = steps % size
        first %= size
        need += sum(due[first : first + rest])
        if first + rest > size:
            need += sum(due[: first + rest - size])
        if need:
            self.kv.take(need)
        self.step += steps
        self.context += steps * self.decodes

    def _filled(self, holding: Holding) -> int:
        assert isinstance(holding, Sequence)
        # With asynchronous scheduling, steps beyond the last of a finishing sequence may be formed already.
        decoded = min(self.step, holding.last_step) - holding.first_step + 1
        return (holding.prompt + decoded) // self.block_size
