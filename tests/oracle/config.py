"""What the oracle needs to know of an instance; ``blis.spec.deployment.InstanceConfig`` serves as well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Config", "Gpu", "Shape"]


@dataclass(frozen=True)
class Shape:
    """A dense transformer, with the field names of the model catalogue."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    ffn: int


@dataclass(frozen=True)
class Gpu:
    """A GPU, with the field names of the catalogue: TFLOP/s, TB/s and the shares of the peak reached."""

    peak_tflops: float
    bandwidth_tbs: float
    mfu_prefill: float
    mfu_decode: float


@dataclass(frozen=True)
class Config:
    """One instance. ``latency`` is whatever the builder given to :func:`oracle.run` understands."""

    total_kv_blocks: int
    latency: Any = None
    block_size: int = 16
    max_num_seqs: int = 256
    max_num_batched_tokens: int = 2048
    long_prefill_token_threshold: int = 0
    max_model_len: int = 0
    scheduler: str = "fcfs"
    priority_policy: str = "by-class"
    preemption: str = "fcfs"
    async_scheduling: bool = False
    name: str = "instance_0"
    model: Any = None
    hardware: Any = None
    tp: int = 1
    encoder: Any = None
