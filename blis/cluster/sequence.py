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
    ``epoch`` counts preemptions, so that work begun before one can be told from work begun after it.
    """

    # Class attributes for the same reason as in Holding.
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

    def __init__(self, request: Request, done: Event, priority: int) -> None:
        self.request = request
        self.done = done
        self.priority = priority
        self.prompt = request.prompt_tokens
        self.output = request.output_tokens
        self.arrival_us = request.arrival_us


Chunk = tuple[Sequence, int, int, int, int]
"""One prefill chunk of a batch: sequence, its epoch, new tokens, progress before the step (0 if admitted in it), and
tokens already in the KV cache."""


class Batch:
    """What one step computes: ``decodes`` sequences of ``context`` tokens together, and prefill ``chunks``.

    ``explicit`` says that it was formed sequence by sequence, ``preempted`` that somebody lost its place in it.
    ``unreached`` are decoding sequences the token budget left out; ``leaving`` those that end with this step, in running
    order, known once it is settled.
    """

    chunks: tuple[Chunk, ...] = ()
    unreached: tuple[Sequence, ...] = ()
    leaving: tuple[Sequence, ...] = ()
    explicit: bool = False
    preempted: bool = False

    def __init__(self, decodes: int, context: int) -> None:
        self.decodes = decodes
        self.context = context

    @property
    def plain(self) -> bool:
        """Whether it only decodes, and the next step may be taken to do just the same."""
        return not (self.chunks or self.explicit)

    @property
    def empty(self) -> bool:
        """Whether nothing is computed."""
        return not (self.decodes or self.chunks)

    def sums(self) -> BatchSums:
        """Return what a step-time model needs to know; sequences that left meanwhile don't count."""
        sums = BatchSums(decodes=self.decodes, decode_context=self.context, sequences=self.decodes)
        for sequence, epoch, tokens, before, known in self.chunks:
            if sequence.epoch != epoch or sequence.stage is Stage.GONE:
                continue
            sums.sequences += 1
            sums.prefill_tokens += tokens
            sums.prefill_context += before
            sums.prefill_full_attention += tokens * (sequence.prompt + tokens / 2)
            sums.prefill_chunk_attention += tokens * (before + (tokens - 1) / 2 if tokens > 1 else before)
            sums.prefill_causal_attention += tokens * (known + tokens / 2)
        return sums
