"""Step times from the formulas, one sequence at a time: a second opinion on blis.latency."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from blis.latency.base import BatchSums, LatencyModel, Overheads

__all__ = ["AlphaBeta", "FromSums", "Model", "Roofline", "TrainedPhysics", "Work", "sums"]

BYTES = 2


@dataclass(frozen=True)
class Work:
    """What one sequence does in one step.

    ``new`` tokens after ``context`` of progress (0 for a sequence admitted in this step), ``stored`` tokens in the
    cache already (blocks claimed on admission included), out of a prompt of ``prompt`` tokens.
    """

    decode: bool
    new: int
    context: int
    stored: int
    prompt: int


class Model(Protocol):
    """Durations as the oracle asks for them."""

    @property
    def overheads(self) -> Overheads: ...

    def duration_us(self, batch: Sequence[Work]) -> int: ...


def sums(batch: Sequence[Work]) -> BatchSums:
    """Add up a batch; sequences without a token don't count."""
    total = BatchSums()
    for work in batch:
        if work.new == 0:
            continue
        total.sequences += 1
        if work.decode:
            total.decodes += 1
            total.decode_context += work.context
            continue
        middle = work.context + (work.new - 1) / 2 if work.new > 1 else work.context
        total.prefill_tokens += work.new
        total.prefill_full_attention += work.new * (work.prompt + work.new / 2)
        total.prefill_chunk_attention += work.new * middle
        total.prefill_context += work.context
        total.prefill_stored += work.stored
        total.prefill_causal_attention += work.new * (work.stored + work.new / 2)
    return total


@dataclass(frozen=True)
class FromSums:
    """A model of blis.latency, asked through the batch's sums."""

    model: LatencyModel

    @property
    def overheads(self) -> Overheads:
        return self.model.overheads

    def duration_us(self, batch: Sequence[Work]) -> int:
        return self.model.step_us(sums(batch))


@dataclass(frozen=True)
class AlphaBeta:
    """d = b0 + b1 * prefill tokens + b2 * decodes."""

    alpha: tuple[float, float, float]
    beta: tuple[float, float, float]

    @property
    def overheads(self) -> Overheads:
        return Overheads(queue_base=self.alpha[0], queue_per_token=self.alpha[1], per_token=self.alpha[2])

    def duration_us(self, batch: Sequence[Work]) -> int:
        prefill = sum(work.new for work in batch if not work.decode)
        decodes = sum(1 for work in batch if work.decode and work.new)
        return max(1, math.trunc(self.beta[0] + self.beta[1] * prefill + self.beta[2] * decodes))


@dataclass(frozen=True)
class Roofline:
    """The larger of compute time and memory time; dense models."""

    shape: Any
    gpu: Any
    tp: int = 1
    alpha: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def overheads(self) -> Overheads:
        return Overheads(queue_base=self.alpha[0], queue_per_token=self.alpha[1], per_token=self.alpha[2])

    def duration_us(self, batch: Sequence[Work]) -> int:
        h, layers, f = self.shape.hidden, self.shape.layers, self.shape.ffn
        k = self.shape.kv_heads * (h // self.shape.heads)
        peak, bandwidth = self.gpu.peak_tflops * 1e12, self.gpu.bandwidth_tbs * 1e12
        prefills = [work for work in batch if not work.decode and work.new]
        decodes = [work for work in batch if work.decode and work.new]
        compute = sum(self.flops(work) for work in prefills) / self.tp / (peak * self.gpu.mfu_prefill)
        compute += sum(self.flops(work) for work in decodes) / self.tp / (peak * self.gpu.mfu_decode)
        weights = layers * (h * (h + 2 * k) + h * h + 2 * h * f) * BYTES
        moved = weights + sum(self.moved(work) for work in prefills) + sum(self.moved(work) for work in decodes)
        memory = moved / self.tp / bandwidth
        return max(1, math.trunc(max(compute, memory) * 1e6))

    def flops(self, work: Work) -> float:
        h, layers, heads, f = self.shape.hidden, self.shape.layers, self.shape.heads, self.shape.ffn
        e = h // heads
        k = self.shape.kv_heads * e
        t = work.new
        middle = work.context + (t - 1) / 2 if t > 1 else work.context
        gemm = layers * (2 * t * (h * h + 2 * h * k) + 2 * t * h * h)
        gemm += layers * 4 * heads * t * middle * e + layers * 2 * t * (2 * h * f)
        vector = layers * (5 * heads * t * middle + 2 * t * h)
        return gemm + vector

    def moved(self, work: Work) -> float:
        h, layers = self.shape.hidden, self.shape.layers
        per_token = 2 * layers * self.shape.kv_heads * (h // self.shape.heads) * BYTES
        return per_token * work.new + per_token * work.context + layers * h * BYTES * work.new


@dataclass(frozen=True)
class TrainedPhysics:
    """Physical terms with trained weights; dense models.

    ``alpha`` is (queueing, end of request, per token); ``beta`` is (B1a, B1b, B2a, B2b, B3 ... B8, BEP), of which the
    last two matter to mixtures of experts only.
    """

    shape: Any
    gpu: Any
    tp: int = 1
    alpha: tuple[float, float, float] = (15563.199579, 777.3455, 45.907545)
    beta: tuple[float, ...] = (
        0.152128, 0.0, 0.0, 1.94710771, 1.36252915, 0.752037, 32.09546717, 4.41684444, 126.024825,
        481.8613888, 0.752037,
    )  # fmt: skip

    @property
    def overheads(self) -> Overheads:
        return Overheads(queue_base=self.alpha[0], completion=self.alpha[1], per_token=self.alpha[2])

    def duration_us(self, batch: Sequence[Work]) -> int:
        h, layers, heads, f, tp = self.shape.hidden, self.shape.layers, self.shape.heads, self.shape.ffn, self.tp
        e = h // heads
        k = self.shape.kv_heads * e
        flops, width = self.gpu.peak_tflops * 1e6, self.gpu.bandwidth_tbs * 1e6
        prefills = [work for work in batch if not work.decode and work.new]
        decodes = [work for work in batch if work.decode and work.new]
        p = sum(work.new for work in prefills)
        d = len(decodes)
        c = sum(work.context for work in decodes)

        attention = sum(4 * (heads / tp) * work.new * (work.prompt + work.new / 2) * e for work in prefills)
        prefill_compute = (layers * 2 * p * h * (2 * h + 2 * k) / tp + layers * attention
                           + layers * p * 6 * h * f / tp) / flops  # fmt: skip
        prefill_memory = layers * 2 * (k / tp) * p * 2 / width
        decode_compute = (layers * 2 * d * h * (2 * h + 2 * k) / tp + layers * 4 * (heads / tp) * c * e
                          + layers * d * 6 * h * f / tp) / flops  # fmt: skip
        decode_memory = layers * 2 * (k / tp) * 2 * (c + d) / width
        weights = (layers * h * (2 * h + 2 * k) * BYTES + layers * 3 * h * f * BYTES) / tp / width
        exchange = 2 * layers * (p + d) * h * BYTES * 2 * (tp - 1) / tp / width

        b1a, b1b, b2a, b2b, b3, b4, b5, b6, b7, _, _ = self.beta
        time = (
            (b1a * prefill_compute + b1b * prefill_memory)
            + (b2a * decode_compute + b2b * decode_memory)
            + b3 * weights
            + b4 * exchange
            + b5 * layers
            + b6 * (len(prefills) + d)
            + b7
        )
        return max(1, math.trunc(time))
