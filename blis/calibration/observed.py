"""What a fit takes from a trace: the completed requests, the times of their chunks, and how the server was set up."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from blis.calibration.steps import Requests
from blis.errors import BlisError
from blis.spec.instance import InstanceConfig
from blis.trace import Status, Trace
from blis.trace.chunks import ChunkTimes
from blis.trace.reuse import cached_tokens, recorded_prompts

__all__ = ["Observed", "observed"]

IntArray = npt.NDArray[np.int64]

_MOST_LATE_US = 500
_SAMPLE = 4000


@dataclass(frozen=True)
class Observed:
    """Completed requests that one instance served, in order of their ids.

    ``first_us`` and ``last_us`` are the times of first and last chunk, int64, shape (n,); ``chunks`` those of all, None
    where they weren't recorded. ``budget`` is the server's max_num_batched_tokens. What happened after ``end_us`` is
    known, but isn't to be fitted to.
    """

    requests: Requests
    first_us: IntArray
    last_us: IntArray
    chunks: ChunkTimes | None
    budget: int
    max_num_seqs: int
    end_us: int

    def until(self, share: float) -> Observed:
        """The same, to be fitted to in the first ``share`` of its time only."""
        begin, end = int(self.requests.send_us.min()), int(self.last_us.max())
        return replace(self, end_us=begin + math.ceil((end - begin) * share))


def observed(trace: Trace, config: InstanceConfig) -> list[Observed]:
    """Split a trace by instance, with the limits of ``config``.

    Warm-up, failures and answers that weren't streamed are left out; so are answers of which the trace doesn't know the
    tokens.

    Raises:
        BlisError: nothing is left.
    """
    real = trace.header.mode == "real"
    sent = trace.column("send_time_us" if real else "arrival_time_us")
    first, last = trace.column("first_chunk_time_us"), trace.column("last_chunk_time_us")
    good = (trace.column("status") == Status.OK) & trace.column("streaming")
    good &= (sent >= 0) & (first >= 0) & (last >= 0) & (trace.column("output_tokens") > 0)
    good &= trace.column("request_id") >= trace.header.warm_up_requests
    if not good.any():
        raise BlisError(
            "the trace has no completed, streamed request with times and tokens: observe with streaming, and check its"
            " statuses with blis metrics"
        )
    cached = cached_tokens(trace, config.block_size)
    requests = Requests(sent, recorded_prompts(trace), cached, trace.column("output_tokens"))
    instances, _ = trace.categories("instance")
    ids = trace.column("request_id")
    return [
        _part(trace, requests, first, last, ids, good & (instances == instance), config)
        for instance in np.unique(instances[good]).tolist()
    ]


def _part(
    trace: Trace,
    requests: Requests,
    first: IntArray,
    last: IntArray,
    ids: IntArray,
    chosen: npt.NDArray[Any],
    config: InstanceConfig,
) -> Observed:
    chunks = None
    if trace.chunks is not None:
        recorded = chosen & np.isin(ids, trace.chunks.request_id[trace.chunks.counts > 0])
        if recorded.sum() >= chosen.sum() / 2:
            chosen = recorded
            chunks = _on_time(trace.chunks.select(np.isin(trace.chunks.request_id, ids[chosen])))
    order = np.flatnonzero(chosen)
    order = order[np.argsort(ids[order], kind="stable")]
    return Observed(
        requests.select(order),
        first[order],
        last[order],
        chunks,
        config.max_num_batched_tokens,
        config.max_num_seqs,
        int(last[order].max()),
    )


def _on_time(chunks: ChunkTimes) -> ChunkTimes:
    """Undo a delay per token of a simulation, whose k-th token is reported k delays after its step.

    Requests that share their steps have chunk times that coincide to the microsecond once the right delay is taken off;
    those of a real server never coincide so often, and stay as they are.
    """
    number = np.arange(len(chunks.times_us)) - np.repeat(chunks.starts[:-1], chunks.counts) + 1
    middle = len(chunks) // 2
    sample = slice(int(chunks.starts[max(0, middle - 40)]), int(chunks.starts[middle]) + _SAMPLE)
    times, places = chunks.times_us[sample], number[sample]
    late = np.arange(_MOST_LATE_US)
    distinct = np.array([len(np.unique(times - delay * places)) for delay in late])
    best = int(distinct.argmin())
    if best == 0 or distinct[best] > 0.7 * distinct[0]:
        return chunks
    return ChunkTimes(chunks.request_id, chunks.starts, chunks.times_us - best * number)
