"""What went on inside the servers over time: requests in the batch and in the queue, and KV blocks in use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from blis.calibration.bootstrap import Bootstrap, Resampler, errors_block_length
from blis.calibration.comparison import compare
from blis.calibration.figures import Comparison
from blis.errors import BlisError
from blis.metrics.queues import Queue, queues
from blis.metrics.stretch import statuses_of
from blis.rng import stream
from blis.spec.deployment import deployment_from_dict
from blis.trace import Trace
from blis.units import US_PER_S

__all__ = ["Series", "compare_series", "load_over_time", "simulated_load"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """A level over time, as the servers told it and as simulated ones would have: arrays of shape (n,), times in s."""

    times_s: Floats
    real: Floats
    simulated: Floats


def load_over_time(real: Trace, simulated: Trace, since_us: int) -> dict[str, Series]:
    """Levels by name, at the times from ``since_us`` on at which the real servers told theirs.

    Left out is what either side doesn't tell; nothing is left where the real trace has no metrics.
    """
    if real.metrics is None:
        return {}
    times, told = real.metrics.together()
    found = {}
    for name, levels in simulated_load(simulated, times).items():
        known = (times >= since_us) & ~np.isnan(told[name])
        if known.any():
            found[name] = Series(times[known] / US_PER_S, told[name][known], levels[known])
    return found


def compare_series(name: str, series: Series, bootstrap: Bootstrap) -> Comparison:
    """Compare the two sides of the level called ``name``, moment by moment, without a rating.

    Levels are often so small that a relative error means little: bias and correlation say more.
    """
    rng = stream(bootstrap.seed, "calibration", "servers", name)
    block = errors_block_length(series.real, series.simulated)
    resampler = Resampler(series.real.size, block, bootstrap.resamples, rng)
    return replace(compare(series.real, series.simulated, resampler.places, resampler), rating=None)


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
