"""Step time as a non-negative sum over what a step computes, fitted to a server that was observed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from blis.latency.base import BatchSums, Overheads
from blis.latency.durations import coefficients, decode_run_us, few_decodes_us, whole_us

__all__ = ["ALPHA", "BETA", "KNEE", "Fitted"]

_NAME = "fitted"
ALPHA = ("queueing us", "queueing us per prompt token", "overhead us per output token", "end of request us")
"""What the overheads are, in order."""
BETA = (
    "step us",
    "us per decoding sequence",
    "us per token of context",
    "us per prefill token",
    "us per prefill token and token before it",
    "us of a step with prefill",
)
"""What the coefficients of a step are, in order."""
KNEE = ("more us per decoding sequence beyond the knee", "the knee, in decoding sequences")
"""What may follow them."""


class Fitted:
    """d = b0 + b1*D + b2*C + b3*P + b4*A + b5*[P > 0] microseconds.

    D decoding sequences with C tokens of context, P new prefill tokens, and A the sum over prefill chunks of
    t*(p + t/2), t new tokens after p in the cache: causal attention. With two coefficients more, each sequence beyond
    b7 costs b6 in addition, b6*max(D - b7, 0): a processor that has to read its weights anyway takes a few sequences
    along for little. ``alpha`` is (a0, a1, a2, a3): a request queues for trunc(a0 + a1 * prompt tokens), each token is
    reported trunc(a2) later, and the end trunc(a3) later still. No coefficient may be negative.
    """

    __slots__ = ("_attention", "_beyond", "_context", "_decode", "_fixed", "_knee", "_mixed", "_overheads", "_prefill")

    def __init__(self, alpha: Sequence[float], beta: Sequence[float]) -> None:
        queue_base, queue_per_token, per_token, completion = coefficients(alpha, ALPHA, _NAME, "alpha")
        self._overheads = Overheads(queue_base, queue_per_token, per_token, completion)
        names = BETA if len(beta) <= len(BETA) else BETA + KNEE
        self._fixed, self._decode, self._context, self._prefill, self._attention, self._mixed, *bend = coefficients(
            beta, names, _NAME, "beta"
        )
        self._beyond, self._knee = bend or (0.0, math.inf)

    @property
    def overheads(self) -> Overheads:
        """What is added around the steps."""
        return self._overheads

    def step_us(self, batch: BatchSums) -> int:
        """Duration of one step; see :class:`blis.latency.LatencyModel`."""
        steady = self._steady(batch.decodes)
        if batch.prefill_tokens:
            steady += (
                self._mixed + self._prefill * batch.prefill_tokens + self._attention * batch.prefill_causal_attention
            )
        return whole_us(steady + self._context * batch.decode_context, _NAME, batch)

    def decode_us(self, decodes: int, context: int, steps: int) -> npt.NDArray[np.int64]:
        """Durations of a run of decode steps; see :class:`blis.latency.LatencyModel`."""
        return decode_run_us(self._steady(decodes), self._context, decodes, context, steps, _NAME)

    def few_decodes_us(self, decodes: int, context: int, steps: int) -> list[int]:
        """Durations of a short run of decode steps; see :class:`blis.latency.LatencyModel`."""
        return few_decodes_us(self._steady(decodes), self._context, decodes, context, steps, _NAME)

    def _steady(self, decodes: int) -> float:
        steady = self._fixed + self._decode * decodes
        return steady if decodes <= self._knee else steady + self._beyond * (decodes - self._knee)
