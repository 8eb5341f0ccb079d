"""Step time as the larger of computing and moving bytes, from datasheets alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from blis.latency.base import BatchSums, Overheads
from blis.latency.durations import coefficients, decode_run_us, few_decodes_us, whole_us
from blis.spec.catalogue import Gpu, ModelShape

__all__ = ["Roofline"]

_NAME = "roofline"
_ALPHA = ("queueing base us", "queueing us per prompt token", "overhead us per output token")
_CLEARLY = 1.0 + 1e-9
_MOST_BASES = 4096


class Roofline:
    """d = max(compute, memory).

    Per sequence with t new tokens at context c, with c' = c + (t-1)/2 for t > 1 and c otherwise, and for L layers of
    width h, A heads of size e, G key-value heads, k = G*e, feed-forward width f and B bytes per number::

        gemm  = L*(2t(h*h + 2hk) + 2t*h*h) + L*4*A*t*c'*e + L*2t*(2hf)
        vec   = L*(5*A*t*c' + 2*t*h)
        bytes = 2LGeB*t + 2LGeB*c + LhB*t
        W     = L*(h(h + 2k) + h*h + 2hf)*B
        compute = sum of (gemm + vec)/tp/(peak * MFU of the phase),  memory = (W + sum of bytes)/tp/bandwidth

    where h*h is h*A*e in models whose heads don't add up to h. In a mixture of E experts of which x are active, the
    feed-forward FLOPs count x times and its weights E*(1 - ((E-x)/E)**tokens) times. ``alpha`` is that of
    :class:`blis.latency.AlphaBeta`.
    """

    __slots__ = (
        "_compute_attention",
        "_compute_decode",
        "_compute_decode_context",
        "_compute_prefill",
        "_decode_bases",
        "_expert_weights",
        "_idle_share",
        "_memory_context",
        "_memory_fixed",
        "_memory_token",
        "_overheads",
    )

    def __init__(self, shape: ModelShape, gpu: Gpu, tp: int, alpha: Sequence[float] = (0.0, 0.0, 0.0)) -> None:
        queue_base, queue_per_token, per_token = coefficients(alpha, _ALPHA, _NAME, "alpha")
        self._overheads = Overheads(queue_base, queue_per_token, per_token)
        h, layers, f = shape.hidden, shape.layers, shape.ffn
        ffn_params = 2 * h * f
        token = layers * (2 * shape.attention_params + 2 * ffn_params * max(shape.active_experts, 1) + 2 * h)
        attention = layers * (4 * shape.query_width + 5 * shape.heads)
        flops_per_us = gpu.peak_for(shape) * 1e6 * tp
        self._compute_prefill = token / (flops_per_us * gpu.mfu_prefill)
        self._compute_attention = attention / (flops_per_us * gpu.mfu_prefill)
        self._compute_decode = token / (flops_per_us * gpu.mfu_decode)
        self._compute_decode_context = attention / (flops_per_us * gpu.mfu_decode)
        bytes_per_us = gpu.bandwidth_tbs * 1e6 * tp
        kv_bytes = 2 * layers * shape.kv_width * shape.activation_bytes
        weights_per_us = layers * shape.weight_bytes_per_param / bytes_per_us
        self._memory_token = (kv_bytes + layers * h * shape.activation_bytes) / bytes_per_us
        self._memory_context = kv_bytes / bytes_per_us
        dense = shape.attention_params + (0 if shape.experts else ffn_params)
        self._memory_fixed = dense * weights_per_us
        self._expert_weights = ffn_params * shape.experts * weights_per_us
        self._idle_share = 1 - shape.active_experts / shape.experts if shape.experts else 0.0

        self._decode_bases: dict[int, tuple[float, float]] = {}

    @property
    def overheads(self) -> Overheads:
        """What is added around the steps."""
        return self._overheads

    def step_us(self, batch: BatchSums) -> int:
        """Duration of one step; see :class:`blis.latency.LatencyModel`."""
        prefill = self._compute_prefill * batch.prefill_tokens + self._compute_attention * batch.prefill_chunk_attention
        decode = self._compute_decode * batch.decodes
        compute = (prefill + decode) + self._compute_decode_context * batch.decode_context
        memory = self._weights_us(batch.prefill_tokens + batch.decodes) + self._memory_context * (
            batch.prefill_context + batch.decode_context
        )
        return whole_us(compute if compute > memory else memory, _NAME, batch)

    def decode_us(self, decodes: int, context: int, steps: int) -> npt.NDArray[np.int64]:
        """Durations of a run of decode steps; see :class:`blis.latency.LatencyModel`."""
        runs = [decode_run_us(*line, decodes, context, steps, _NAME) for line in self._lines(decodes, context, steps)]
        return runs[0] if len(runs) == 1 else np.maximum(*runs)

    def few_decodes_us(self, decodes: int, context: int, steps: int) -> list[int]:
        """Durations of a short run of decode steps; see :class:`blis.latency.LatencyModel`."""
        runs = [few_decodes_us(*line, decodes, context, steps, _NAME) for line in self._lines(decodes, context, steps)]
        return runs[0] if len(runs) == 1 else list(map(max, *runs))

    def _lines(self, decodes: int, context: int, steps: int) -> tuple[tuple[float, float], ...]:
        """Memory time and compute time of a run of decode steps, as (base, slope over the context).

        Where one is clearly the larger at both ends, it is so in between, and the other is left out.
        """
        compute, memory = self._decode_bases.get(decodes) or self._decode_base(decodes)
        compute_slope, memory_slope = self._compute_decode_context, self._memory_context
        last = context + (steps - 1) * decodes
        first_compute, first_memory = compute + compute_slope * context, memory + memory_slope * context
        last_compute, last_memory = compute + compute_slope * last, memory + memory_slope * last
        if first_memory > first_compute * _CLEARLY and last_memory > last_compute * _CLEARLY:
            return ((memory, memory_slope),)
        if first_compute > first_memory * _CLEARLY and last_compute > last_memory * _CLEARLY:
            return ((compute, compute_slope),)
        return ((memory, memory_slope), (compute, compute_slope))

    def _decode_base(self, decodes: int) -> tuple[float, float]:
        """Compute and memory time of a decode-only step without context, kept for the next time."""
        base = (self._compute_decode * decodes, self._weights_us(decodes))
        if len(self._decode_bases) < _MOST_BASES:
            self._decode_bases[decodes] = base
        return base

    def _weights_us(self, tokens: int) -> float:
        """Time to read the weights that ``tokens`` new tokens need, and to write what they add."""
        fixed = self._memory_fixed
        if self._expert_weights:
            fixed += self._expert_weights * (1.0 - self._idle_share**tokens)
        return fixed + self._memory_token * tokens
