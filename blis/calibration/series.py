"""What went on inside the server over time: requests in the batch and in the queue, and KV blocks in use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from blis.errors import BlisError
from blis.metrics.queues import Queue, queues
from blis.metrics.stretch import statuses_of
from blis.spec.deployment import deployment_from_dict
from blis.trace import Trace

__all__ = ["simulated_load"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def simulated_load(trace: Trace, times_us: Ints) -> dict[str, Floats]:
    """What a simulated cluster would have told of itself at increasing times, shape (n,), all instances together.

    ``running`` and ``waiting`` count requests; ``kv_usage`` is the share of the KV blocks that running requests hold,
    as if none were shared, with the tokens of an answer evenly spaced from its first to its last. Empty where the trace
    doesn't say when requests were admitted; without ``kv_usage`` where it doesn't tell its deployment.
    """
    found = [queue for _, queue in queues(trace, statuses_of(trace))]
    if not found:
        return {}
    load = {
        "running": sum(queue.running(times_us) for queue in found) + np.zeros(times_us.size),
        "waiting": sum(_waiting(queue, times_us) for queue in found) + np.zeros(times_us.size),
    }
    if (cache := _cache(trace.header.deployment)) is not None:
        block_size, total = cache
        load["kv_usage"] = sum(_held(queue, times_us, block_size) for queue in found) / np.full(times_us.size, total)
    return load


def _waiting(queue: Queue, times_us: Ints) -> Ints:
    came, left = np.searchsorted(queue.arrival, times_us, "right"), np.sort(queue.start)
    waiting: Ints = came - np.searchsorted(left, times_us, "right")
    return waiting


def _held(queue: Queue, times_us: Ints, block_size: int) -> Floats:
    """KV blocks that running requests hold at each time, shape (n,)."""
    begins = np.searchsorted(times_us, queue.start)
    counts = np.where(queue.admitted, np.searchsorted(times_us, queue.end) - begins, 0)
    # A request takes part in as many of the times as it is running at: few, as a rule.
    who = np.repeat(np.arange(counts.size), counts)
    when = np.arange(who.size) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(begins, counts)
    decoding = np.maximum(times_us[when] - queue.first[who], 0) / np.maximum(queue.end - queue.first, 1)[who]
    tokens = queue.prompt[who] + queue.outputs[who] * np.minimum(decoding, 1)
    return np.bincount(when, np.ceil(tokens / block_size), times_us.size).astype(np.float64)


def _cache(deployment: Mapping[str, Any] | None) -> tuple[int, int] | None:
    """Tokens per block, and blocks of all instances; None where they aren't known or not all alike."""
    try:
        configs = deployment_from_dict(deployment).resolve() if deployment is not None else []
    except BlisError:
        return None
    sizes = {config.block_size for config in configs}
    return (sizes.pop(), sum(config.total_kv_blocks for config in configs)) if len(sizes) == 1 else None
