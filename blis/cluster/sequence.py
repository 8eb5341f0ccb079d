"""A request inside an instance, and a step's batch."""

from __future__ import annotations

from enum import IntEnum
from typing import Protocol

from simpy import Event

from blis.cluster.chains import UNSHARED, Holding
from blis.latency.base import BatchSums
from blis.request import Request
from blis.trace.status import Status

__all__ = ["Batch", "Chunk", "Ending", "Sequence", "Stage"]


class Stage(IntEnum):
    """Where a sequence is in its life. FINISHING: its last token comes at the end of the step that runs."""

    ROUTED = 0
    WAITING = 1
    PREFILL = 2
    DECODE = 3
    FINISHING = 4
    GONE = 5


_ROUTED = Stage.ROUTED


class Sequence(Holding):
    """The scheduler's record of a request.

    ``prompt`` and ``output`` count tokens. ``progress`` is kept during prefill only; of a decoding sequence it follows
    from ``first_step``, the step that decodes its first token after the prefill, moved on by one for every step that
    didn't reach it. ``span_start`` and ``spans`` are the steps that really decoded it (both ends included).
    ``instance`` is the index of the instance it was routed to. ``epoch`` counts preemptions, so that work begun before
    one can be told from work begun after it.
    """

    __slots__ = (
        "arrival_us",
        "cached_tokens",
        "done",
        "epoch",
        "first_step",
        "first_token_us",
        "instance",
        "last_step",
        "order",
        "output",
        "priority",
        "progress",
        "prompt",
        "request",
        "scheduling_delay_us",
        "span_start",
        "spans",
        "stage",
        "unreached_us",
    )

    def __init__(self, request: Request, done: Event) -> None:
        # What Holding sets, without a call: this runs once per request.
        self.path = UNSHARED
        self.blocks = self.keyed = 0
        self.pieces = ()
        self.request = request
        self.done = done
        self.prompt = request.prompt_tokens
        self.output = request.output_tokens
        self.arrival_us = request.arrival_us
        self.stage: Stage = _ROUTED
        self.instance = self.scheduling_delay_us = self.first_token_us = -1
        self.priority = self.progress = self.cached_tokens = self.order = self.epoch = 0
        self.first_step = self.last_step = self.span_start = self.unreached_us = 0
        self.spans: tuple[tuple[int, int], ...] = ()

    def refusal(self, max_model_len: int) -> Status:
        """Return why this can't ever run: a session that outgrew the model's limit is a case of its own."""
        too_long = self.prompt >= max_model_len or self.prompt + self.output > max_model_len
        outgrown = too_long and self.request.context_tokens > 0
        return Status.CONTEXT_OVERFLOW if outgrown else Status.UNSERVABLE


class Ending(Protocol):
    """Told at time ``now`` how a sequence ended; times are reported ones, -1 where they never came."""

    def __call__(
        self, sequence: Sequence, now: int, status: Status, tokens: int = 0, first_us: int = -1, last_us: int = -1
    ) -> None: ...


Chunk = tuple[Sequence, int, int, int, int]
"""One prefill chunk of a batch: sequence, its epoch, new tokens, progress before the step (0 if admitted in it), and
tokens already in the KV cache."""


class Batch(BatchSums):
    """What one step computes: its sums, the prefill ``chunks`` among them, and what is to be done when it ends.

    ``explicit`` says that it was formed sequence by sequence, ``preempted`` that somebody lost its place in it.
    ``unreached`` are decoding sequences that get no token, with their epochs; ``leaving`` those that end with this
    step, in running order, known once it is settled.
    """

    __slots__ = ("chunks", "explicit", "leaving", "preempted", "unreached")

    def __init__(self, decodes: int, context: int) -> None:
        self.decodes = self.sequences = decodes
        self.decode_context = context
        self.prefill_tokens = self.prefill_context = self.prefill_stored = 0
        self.prefill_full_attention = self.prefill_chunk_attention = self.prefill_causal_attention = 0.0
        self.chunks: tuple[Chunk, ...] = ()
        self.unreached: tuple[tuple[Sequence, int], ...] = ()
        self.leaving: tuple[Sequence, ...] = ()
        self.explicit = self.preempted = False

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
        self.prefill_stored += known
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
