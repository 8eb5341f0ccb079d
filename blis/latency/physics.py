"""Step time as a sum of physical terms, each with its own factor, for models that were never measured."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from blis.latency.base import BatchSums, Overheads
from blis.latency.durations import LONGEST_US, decode_run_us, few_decodes_us, refuse_duration, whole_us
from blis.spec.catalogue import Gpu, ModelShape
from blis.spec.latency import PhysicsSpec

__all__ = ["Physics"]

_NAME = "physics"
FloatArray = npt.NDArray[np.float64]


class Physics:
    """A sum of memory, compute, communication and fixed terms; docs/explanation/physics.md derives them.

    With P new prefill tokens, D decoding sequences, C the sum of their progress, K tokens that the prefills find in
    the KV cache, A the sum of t*(k + t/2) over the prefill chunks, n sequences and T = P + D tokens in the step; F =
    tp * peak FLOP/us, W = bytes/us, N = link bytes/us; L layers of width h with q query and g key (and value) numbers
    per token, a attention and f feed-forward parameters (of one expert; x of E are active, both 1 in a dense model),
    V tokens of vocabulary, and b bytes per weight::

        experts = E*(1 - (1 - x/E)**T), the expected number of distinct ones; 1 in a dense model
        weights * (L*(a + f*experts)*b + 2*V*h)/tp/W
        kv_cache * 2*L*g'*2*(C + K + T)/W             g' = max(g/tp, width of one key-value head)
        decode_compute * D*2*L*(a + f*x)/F + decode_compute * n*2*V*h/F
        prefill_compute * P*2*L*(a + f)/F + prefill_compute * 4*L*q*A/F     in a mixture, without f, and
        expert_compute * P*2*L*f*x/F                                        this in its place
        all_reduce * 2*L*T*h*2*2*(tp - 1)/tp/N
        layer_us*L + all_reduce_us*L*[tp > 1] + prefill_layer_us*L*[P > 0] + sequence_us*n + step_us

    The host's work, host_step_us + host_sequence_us*n, is added to this sum; with ``overlap`` (asynchronous
    scheduling) the larger of the two counts. A request takes request_us + prompt_token_us * prompt tokens beside its
    steps.
    """

    __slots__ = (
        "_chunk", "_context", "_decode", "_expert_weights", "_fixed", "_host", "_host_sequence", "_idle_share",
        "_overheads", "_prefill", "_prefill_attention", "_sequence",
    )  # fmt: skip

    def __init__(
        self, shape: ModelShape, gpu: Gpu, tp: int, coefficients: PhysicsSpec | None = None, *, overlap: bool = False
    ) -> None:
        c = coefficients or PhysicsSpec()
        self._overheads = Overheads(c.request_us, c.prompt_token_us, c.output_token_us, c.completion_us)
        layers, byte = shape.layers, shape.activation_bytes
        flops_per_us, bytes_per_us = gpu.peak_for(shape) * 1e6 * tp, gpu.bandwidth_tbs * 1e6
        mixture = shape.experts > 0
        attention, experts = shape.attention_params, shape.expert_params * max(shape.active_experts, 1)
        token = 2 * layers * (attention + experts) / flops_per_us
        head = shape.vocab * shape.hidden
        kv = c.kv_cache * 2 * layers * max(shape.kv_width / tp, shape.head_dim) * byte / bytes_per_us
        exchanged = 2 * layers * shape.hidden * byte * 2 * (tp - 1) / tp / (gpu.link_gbs * 1e3)

        weights = c.weights * layers * shape.weight_bytes_per_param / (bytes_per_us * tp)
        self._fixed = weights * (attention + (0 if mixture else shape.expert_params))
        self._fixed += c.weights * head * byte / (bytes_per_us * tp)
        self._fixed += c.step_us + layers * (c.layer_us + (c.all_reduce_us if tp > 1 else 0.0))
        self._expert_weights = weights * shape.expert_params * shape.experts
        self._idle_share = 1.0 - shape.active_experts / shape.experts if mixture else 0.0
        self._context = kv
        self._decode = c.decode_compute * token + c.all_reduce * exchanged + kv
        matrices = attention if mixture else attention + experts
        self._prefill = c.prefill_compute * 2 * layers * matrices / flops_per_us + c.all_reduce * exchanged + kv
        self._prefill += c.expert_compute * 2 * layers * experts / flops_per_us if mixture else 0.0
        self._prefill_attention = c.prefill_compute * 4 * layers * shape.query_width / flops_per_us
        self._chunk = c.prefill_layer_us * layers
        self._sequence = c.sequence_us + c.decode_compute * 2 * head / flops_per_us
        self._host, self._host_sequence = c.host_step_us, c.host_sequence_us
        if not overlap:
            self._fixed += self._host
            self._sequence += self._host_sequence
            self._host = self._host_sequence = 0.0

    @property
    def overheads(self) -> Overheads:
        """What is added around the steps."""
        return self._overheads

    def step_us(self, batch: BatchSums) -> int:
        """Duration of one step; see :class:`blis.latency.LatencyModel`."""
        prefill, decodes, sequences = batch.prefill_tokens, batch.decodes, batch.sequences
        value = self._without_context(prefill + decodes, decodes, sequences) + self._context * batch.decode_context
        if prefill:
            value += self._chunk + self._prefill * prefill + self._context * batch.prefill_stored
            value += self._prefill_attention * batch.prefill_causal_attention
        host = self._host + self._host_sequence * sequences
        return whole_us(value if value > host else host, _NAME, batch)

    def exact_us(
        self,
        prefill: FloatArray,
        decodes: FloatArray,
        context: FloatArray,
        sequences: FloatArray,
        attention: FloatArray,
        stored: FloatArray,
    ) -> FloatArray:
        """Durations of many steps before truncation and without the overlap of the host, shape (m,) like each argument.

        The arguments are ``prefill_tokens``, ``decodes``, ``decode_context``, ``sequences``,
        ``prefill_causal_attention`` and ``prefill_stored`` of :class:`blis.latency.BatchSums`; they may be sums over
        several steps only where the model isn't a mixture of experts. Linear in the coefficients.
        """
        value = self._fixed + self._decode * decodes + self._sequence * sequences
        value += self._context * (context + stored) + self._prefill * prefill + self._prefill_attention * attention
        value += self._expert_weights * (1.0 - self._idle_share ** (prefill + decodes))
        return np.asarray(value + self._chunk * (prefill > 0), np.float64)

    def as_fitted(self) -> tuple[float, float, float, float, float, float]:
        """The coefficients of :data:`blis.latency.fitted.BETA` that say the same where a step reads all experts."""
        return (
            self._fixed + self._expert_weights,
            self._decode + self._sequence,
            self._context,
            self._prefill,
            self._prefill_attention,
            self._chunk + self._sequence,
        )

    def decode_us(self, decodes: int, context: int, steps: int) -> npt.NDArray[np.int64]:
        """Durations of a run of decode steps; see :class:`blis.latency.LatencyModel`."""
        base = self._without_context(decodes, decodes, decodes)
        run = decode_run_us(base, self._context, decodes, context, steps, _NAME)
        host = self._host_us(decodes, context)
        return np.maximum(run, host, out=run) if host else run

    def few_decodes_us(self, decodes: int, context: int, steps: int) -> list[int]:
        """Durations of a short run of decode steps; see :class:`blis.latency.LatencyModel`."""
        base = self._without_context(decodes, decodes, decodes)
        run = few_decodes_us(base, self._context, decodes, context, steps, _NAME)
        host = self._host_us(decodes, context)
        return [max(duration, host) for duration in run] if host else run

    def _without_context(self, tokens: int, decodes: int, sequences: int) -> float:
        """Time of a step on the GPU, without KV cache reads and all that only prefill tokens cost."""
        value = self._fixed + self._decode * decodes + self._sequence * sequences
        if self._expert_weights:
            value += self._expert_weights * (1.0 - self._idle_share**tokens)
        return value

    def _host_us(self, decodes: int, context: int) -> int:
        host = self._host + self._host_sequence * decodes
        if host < LONGEST_US:
            return int(host)
        refuse_duration(host, _NAME, BatchSums(decodes=decodes, decode_context=context))
