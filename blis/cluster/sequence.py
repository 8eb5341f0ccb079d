"""A request inside an instance, and a step's batch."""

from __future__ import annotations

from enum import IntEnum

from simpy import Event

from blis.cluster.chains import Holding
from blis.latency.base import BatchSums
from blis.request import Request

__all__ = ["Batch", "Chunk", "Sequence", "Stage"]


class Stage(IntEnum):
    """Where a sequence is in its life. FINISHING: its last token comes at the end of the step that runs."""

    ROUTED = 0
    WAITING = 1
    PREFILL = 2
    DECODE = 3
    FINISHING = 4
    GONE = 5


class Sequence(Holding):
    """The scheduler's record of a request.

    ``prompt`` and ``output`` count tokens. ``progress`` is kept during prefill only; of a decoding sequence it follows
    from ``first_step``, the step that decodes its first token after the prefill, moved on by one for every step that
    didn't reach it. ``span_start`` and ``spans`` are the steps that really decoded it (both ends included).
    ``instance`` is the index of the instance it was routed to. ``epoch`` counts preemptions, so that work begun before
    one can be told from work begun after it.
    """

    # Class attributes for the same reason as in Holding.
    instance: int = -1
    priority: int = 0
    stage: Stage = Stage.ROUTED
    progress: int = 0
    cached_tokens: int = 0
    order: int = 0
    epoch: int = 0
    scheduling_delay_us: int = -1
    first_token_us: int = -1
    first_step: int = 0
    last_step: int = 0
    span_start: int = 0
    spans: tuple[tuple[int, int], ...] = ()
    unreached_us: int = 0

    def __init__(self, request: Request, done: Event) -> None:
        self.request = request
        self.done = done
        self.prompt = request.prompt_tokens
        self.output = request.output_tokens
        self.arrival_us = request.arrival_us


Chunk = tuple[Sequence, int, int, int, int]
"""One prefill chunk of a batch: sequence, its epoch, new tokens, progress before the step (0 if admitted in it), and
tokens already in the KV cache."""


class Batch(BatchSums):
    """What one step computes: its sums, the prefill ``chunks`` among them, and what is to be done when it ends.

    ``explicit`` says that it was formed sequence by sequence, ``preempted`` that somebody lost its place in it.
    ``unreached`` are decoding sequences that get no token, with their epochs; ``leaving`` those that end with this
    step, in running order, known once it is settled.
    """

    chunks: tuple[Chunk, ...] = ()
    unreached: tuple[tuple[Sequence, int], ...] = ()
    leaving: tuple[Sequence, ...] = ()
    explicit: bool = False
    preempted: bool = False

    def __init__(self, decodes: int, context: int) -> None:
        # The other sums are the class's zeros until there is something to add.
        self.decodes = self.sequences = decodes
        self.decode_context = context

    @property
    def empty(self) -> bool:
        """Whether nothing is computed."""
        return not self.sequences

    def add(self, sequence: Sequence, tokens: int, before: int, known: int) -> None:
        """Add a prefill chunk; see :data:`Chunk`."""
        self.chunks += ((sequence, sequence.epoch, tokens, before, known),)
        half = tokens / 2
        self.sequences += 1
        self.prefill_tokens += tokens
        self.prefill_full_attention += tokens * (sequence.prompt + half)
        self.prefill_chunk_attention += tokens * (before + half - 0.5)
        self.prefill_causal_attention += tokens * (known + half)
        if before:
            self.prefill_context += before

    def misses(self, sequence: Sequence) -> bool:
        """Whether a decoding sequence gets no token."""
        return any(other is sequence for other, _ in self.unreached)

    def without(self, sequence: Sequence) -> Batch:
        """Return this batch less a sequence that has left; its decode token is for the caller to take out."""
        batch = Batch(self.decodes, self.decode_context)
        batch.explicit, batch.preempted = self.explicit, self.preempted
        batch.unreached = tuple(pair for pair in self.unreached if pair[0] is not sequence)
        for other, _, tokens, before, known in self.chunks:
            if other is not sequence:
                batch.add(other, tokens, before, known)
        return batch
