"""Step time as a weighted sum of physical terms, the weights fitted to real servers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from blis.latency.base import BatchSums, Overheads
from blis.latency.durations import coefficients, decode_run_us, few_decodes_us, whole_us
from blis.spec.catalogue import Gpu, ModelShape

__all__ = ["TrainedPhysics"]

_NAME = "trained-physics"
_ALPHA = ("queueing us", "end of request us", "overhead us per output token")
_BETA = ("B1a", "B1b", "B2a", "B2b", "B3", "B4", "B5", "B6", "B7", "B8", "BEP")
_DEFAULT_ALPHA = (15563.199579, 777.3455, 45.907545)
_DEFAULT_BETA = (
    0.152128, 0.0, 0.0, 1.94710771, 1.36252915, 0.752037, 32.09546717, 4.41684444, 126.024825, 481.8613888, 0.752037,
)  # fmt: skip


class TrainedPhysics:
    """A sum of compute, KV traffic, weight, communication and fixed terms, data parallelism 1.

    With P new prefill tokens, D decoding sequences, C the sum of their progress, n sequences in the step, F = peak
    FLOP/us, W = bytes/us, e head size, k = G*e, f feed-forward width, B bytes per number and b per weight::

        pf_c = (L*2P*h*(2h+2k)/tp + L*sum over prefills of 4*(A/tp)*t*(s + t/2)*e + L*P*6*h*f/tp)/F
        pf_m = L*2*(k/tp)*P*2/W
        dc_c = (L*2D*h(2h+2k)/tp + L*4*(A/tp)*C*e + L*D*6*h*f/tp)/F
        dc_m = L*2*(k/tp)*2*(C + D)/W
        wt   = (L*h(2h+2k)*b + L*3*h*f*b)/tp/W
        tpc  = 2L*(P + D)*h*B*2*(tp-1)/tp/W
        d = (B1a*pf_c + B1b*pf_m) + (B2a*dc_c + B2b*dc_m) + B3*wt + B4*tpc + BEP*moe + B5*L + B6*n + B7

    where s is a prompt's full length and t the chunk's tokens. In a mixture of E experts, of which x are active, the
    feed-forward compute counts x times and its weights E times; each layer's two all-reduces fall one to tpc and one
    to moe, which has the same size. B8 counts interleaved mixture-of-experts layers, which no supported model has.

    ``alpha`` is (queueing delay, end of request, per token), ``beta`` (B1a, B1b, B2a, B2b, B3 ... B8, BEP).
    """

    __slots__ = ("_context", "_decode", "_fixed", "_full_attention", "_overheads", "_prefill", "_sequence")

    def __init__(
        self,
        shape: ModelShape,
        gpu: Gpu,
        tp: int,
        alpha: Sequence[float] = _DEFAULT_ALPHA,
        beta: Sequence[float] = _DEFAULT_BETA,
    ) -> None:
        queueing, completion, per_token = coefficients(alpha, _ALPHA, _NAME, "alpha")
        self._overheads = Overheads(queueing, 0.0, per_token, completion)
        b1a, b1b, b2a, b2b, b3, b4, b5, b6, b7, _, bep = coefficients(beta, _BETA, _NAME, "beta")
        layers, weight_bytes = shape.layers, shape.weight_bytes_per_param
        flops_per_us, bytes_per_us = gpu.peak_for(shape) * 1e6 * tp, gpu.bandwidth_tbs * 1e6
        active = max(shape.active_experts, 1)
        token = layers * 2 * (shape.attention_params + shape.expert_params * active) / flops_per_us
        attention = layers * 4 * shape.query_width / flops_per_us
        kv = layers * 2 * shape.kv_width * 2 / (bytes_per_us * tp)
        weights = layers * (shape.attention_params + shape.expert_params * max(shape.experts, 1)) * weight_bytes
        reduce = layers * shape.hidden * shape.activation_bytes * 2 * (tp - 1) / tp / bytes_per_us
        exchange = reduce * (b4 + bep) if shape.experts else reduce * 2 * b4
        self._prefill = b1a * token + b1b * kv + exchange
        self._full_attention = b1a * attention
        self._decode = b2a * token + b2b * kv + exchange
        self._context = b2a * attention + b2b * kv
        self._fixed = b3 * weights / (bytes_per_us * tp) + b5 * layers + b7
        self._sequence = b6

    @property
    def overheads(self) -> Overheads:
        """What is added around the steps."""
        return self._overheads

    def step_us(self, batch: BatchSums) -> int:
        """Duration of one step; see :class:`blis.latency.LatencyModel`."""
        steady = self._fixed + self._decode * batch.decodes + self._sequence * batch.sequences
        prefill = self._prefill * batch.prefill_tokens + self._full_attention * batch.prefill_full_attention
        return whole_us((steady + prefill) + self._context * batch.decode_context, _NAME, batch)

    def decode_us(self, decodes: int, context: int, steps: int) -> npt.NDArray[np.int64]:
        """Durations of a run of decode steps; see :class:`blis.latency.LatencyModel`."""
        base = self._fixed + self._decode * decodes + self._sequence * decodes
        return decode_run_us(base, self._context, decodes, context, steps, _NAME)

    def few_decodes_us(self, decodes: int, context: int, steps: int) -> list[int]:
        """Durations of a short run of decode steps; see :class:`blis.latency.LatencyModel`."""
        base = self._fixed + self._decode * decodes + self._sequence * decodes
        return few_decodes_us(base, self._context, decodes, context, steps, _NAME)
