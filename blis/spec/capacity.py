"""KV cache capacity from GPU memory."""

from __future__ import annotations

import math

from blis.errors import BlisError
from blis.spec.catalogue import Gpu, ModelShape

__all__ = ["kv_blocks", "weights_gib"]

_GIB = 2**30
_LARGEST_TP_TRIED = 8
_ACTIVATION_GIB = 5.5
_ACTIVATION_GIB_MOE = 8.0
_NON_TORCH_GIB = 0.15
_NON_TORCH_GIB_TP = 0.6


def weights_gib(shape: ModelShape) -> float:
    """Return the size of a model's weights, GiB.

    They are attention and three feed-forward matrices (of every expert), a router per mixture-of-experts layer, two
    norms per layer and a last one, embeddings once if tied and twice if not.
    """
    matrices = shape.layers * (shape.attention_params + shape.expert_params * max(shape.experts, 1))
    others = shape.layers * (2 + shape.experts) * shape.hidden + shape.hidden
    embeddings = shape.vocab * shape.hidden * (1 if shape.tied_embeddings else 2)
    return (matrices * shape.weight_bytes_per_param + (others + embeddings) * shape.activation_bytes) / _GIB


def kv_blocks(shape: ModelShape, gpu: Gpu, tp: int, utilization: float, block_size: int) -> int:
    """Return how many KV blocks of ``block_size`` tokens one replica on ``tp`` GPUs holds, at least 1.

    blocks = floor((memory * utilization * tp - weights - activation - non_torch * tp) / block_bytes / tp), where
    block_bytes = trunc(L * 2 * e * G * B / tp * block_size) per GPU; activation is 5.5 GiB (8 with experts) and
    non_torch 0.15 GiB per GPU at tp 1, 0.6 above.

    Raises:
        BlisError: not even one block fits; names the least tp that would do.
    """
    blocks = _blocks(shape, gpu, tp, utilization, block_size)
    if blocks >= 1:
        return blocks
    message = (
        f"{shape.name} does not fit on {tp} x {gpu.name} with {gpu.memory_gib:g} GiB each at utilisation "
        f"{utilization:g}: its weights take {weights_gib(shape):.1f} GiB"
    )
    larger = [n for n in range(tp + 1, _LARGEST_TP_TRIED + 1) if shape.heads % n == 0]
    enough = next((n for n in larger if _blocks(shape, gpu, n, utilization, block_size) >= 1), None)
    if enough is None:
        raise BlisError(
            f"{message}, and no tp up to {_LARGEST_TP_TRIED} that divides its {shape.heads} heads is enough; use GPUs "
            "with more memory, or give total_kv_blocks"
        )
    raise BlisError(f"{message}; use tp {enough} or more (the least that fits), or give total_kv_blocks")


def _blocks(shape: ModelShape, gpu: Gpu, tp: int, utilization: float, block_size: int) -> int:
    activation = _ACTIVATION_GIB_MOE if shape.experts else _ACTIVATION_GIB
    non_torch = _NON_TORCH_GIB if tp == 1 else _NON_TORCH_GIB_TP
    free = gpu.memory_gib * utilization * tp - weights_gib(shape) - activation - non_torch * tp
    block_bytes = max(1, int(shape.layers * 2 * shape.kv_width * shape.activation_bytes / tp * block_size))
    return math.floor(free * _GIB / block_bytes / tp)
