"""What a step-time model sees of a batch, and what it must answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["BatchSums", "LatencyModel", "Overheads"]


@dataclass(slots=True)
class BatchSums:
    """Sums over the sequences that run in one step; everything a step's duration may depend on.

    For a prefill chunk, t is its new tokens, p the sequence's progress before the step (0 for a sequence admitted in
    this step, cached blocks or not), and s its full prompt length.

    Fields: ``prefill_tokens`` sum of t; ``decodes`` number of decoding sequences; ``decode_context`` sum of their
    progress before the step, the token being decoded excluded; ``sequences`` number of sequences with at least one
    token (``decodes`` plus the prefill chunks); ``prefill_full_attention`` sum of t*(s + t/2);
    ``prefill_chunk_attention`` sum of t*c' with c' = p + (t - 1)/2 for t > 1 and p otherwise; ``prefill_context`` sum
    of p; ``prefill_stored`` sum of k, all tokens already in the KV cache, claimed blocks included;
    ``prefill_causal_attention`` sum of t*(k + t/2).

    All are whole or half numbers: below 2**52 they add up exactly, in any order.
    """

    prefill_tokens: int = 0
    decodes: int = 0
    decode_context: int = 0
    sequences: int = 0
    prefill_full_attention: float = 0.0
    prefill_chunk_attention: float = 0.0
    prefill_context: int = 0
    prefill_causal_attention: float = 0.0
    prefill_stored: int = 0


@dataclass(frozen=True, slots=True)
class Overheads:
    """Durations outside the steps, in microseconds before truncation.

    Queueing delay = trunc(queue_base + queue_per_token * prompt_tokens); ``per_token`` is added to each reported token
    time, ``completion`` once to the E2E of a request with output (both truncated where they are used).
    """

    queue_base: float = 0.0
    queue_per_token: float = 0.0
    per_token: float = 0.0
    completion: float = 0.0


class LatencyModel(Protocol):
    """Durations of engine steps in whole microseconds, at least 1; truncated toward zero once.

    The three methods agree exactly. They raise :class:`blis.errors.BlisError`, naming model and batch, where a
    duration isn't a finite number that fits 63 bits.
    """

    @property
    def overheads(self) -> Overheads:
        """What is added around the steps."""
        ...

    def step_us(self, batch: BatchSums) -> int:
        """Duration of one step."""
        ...

    def decode_us(self, decodes: int, context: int, steps: int) -> npt.NDArray[np.int64]:
        """Durations of ``steps`` consecutive decode-only steps, int64, shape (steps,).

        ``context`` is the sum of the sequences' progress before the first of them; it grows by ``decodes`` each step.
        Element j equals ``step_us`` of a batch of ``decodes`` sequences with ``context + j * decodes``.
        """
        ...

    def few_decodes_us(self, decodes: int, context: int, steps: int) -> list[int]:
        """The same as a list; quicker than :meth:`decode_us` up to some twenty steps."""
        ...
