"""Step time from three measured coefficients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from blis.latency.base import BatchSums, Overheads
from blis.latency.durations import LONGEST_US, coefficients, whole_us

__all__ = ["AlphaBeta"]

_NAME = "alpha-beta"
_ALPHA = ("queueing base us", "queueing us per prompt token", "overhead us per output token")
_BETA = ("step base us", "us per prefill token", "us per decoding sequence")
_INT = np.dtype(np.int64)


class AlphaBeta:
    """d = b0 + b1*P + b2*D microseconds for P new prefill tokens and D decoding sequences.

    ``alpha`` is (a0, a1, a2): a request queues for trunc(a0 + a1 * prompt tokens), and each of its tokens is reported
    trunc(a2) later. No coefficient may be negative.
    """

    __slots__ = ("_b0", "_b1", "_b2", "_overheads")

    def __init__(self, alpha: Sequence[float], beta: Sequence[float]) -> None:
        queue_base, queue_per_token, per_token = coefficients(alpha, _ALPHA, _NAME, "alpha")
        self._b0, self._b1, self._b2 = coefficients(beta, _BETA, _NAME, "beta")
        self._overheads = Overheads(queue_base, queue_per_token, per_token)

    @property
    def overheads(self) -> Overheads:
        """What is added around the steps."""
        return self._overheads

    def step_us(self, batch: BatchSums) -> int:
        """Duration of one step; see :class:`blis.latency.LatencyModel`."""
        value = self._b0 + self._b1 * batch.prefill_tokens + self._b2 * batch.decodes
        return whole_us(value, _NAME, batch)

    def decode_us(self, decodes: int, context: int, steps: int) -> npt.NDArray[np.int64]:
        """Durations of a run of decode steps; see :class:`blis.latency.LatencyModel`."""
        return np.full(steps, self._decode_us(decodes, context), _INT)

    def few_decodes_us(self, decodes: int, context: int, steps: int) -> list[int]:
        """Durations of a short run of decode steps; see :class:`blis.latency.LatencyModel`."""
        return [self._decode_us(decodes, context)] * steps

    def _decode_us(self, decodes: int, context: int) -> int:
        value = self._b0 + self._b2 * decodes
        if 1.0 <= value < LONGEST_US:
            return int(value)
        return whole_us(value, _NAME, BatchSums(decodes=decodes, decode_context=context))
