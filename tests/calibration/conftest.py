"""Traces whose latencies are given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from blis.trace import Histogram, Trace, TraceHeader

Make = Callable[..., Trace]


@pytest.fixture
def make() -> Make:
    """Make a trace of n completed requests, sent 10 ms apart, by their TTFT and E2E in µs."""

    def make_trace(
        ttft: Sequence[int] | np.ndarray, e2e: Sequence[int] | np.ndarray, mode: str = "real", **more: Any
    ) -> Trace:
        n = len(ttft)
        columns = {name: more.pop(name) for name in list(more) if name in NAMES}
        itl, chunks = more.pop("itl", Histogram([10_000], [n])), more.pop("chunks", None)
        arrivals = np.asarray(columns.get("arrival_time_us", np.arange(n) * 10_000))
        given = {
            "client_id": ["client"] * n,
            "client_seq": np.arange(n),
            "streaming": [True] * n,
            "input_tokens": [100] * n,
            "prompt_tokens": [100] * n,
            "output_tokens": [11] * n,
            "arrival_time_us": arrivals,
            "send_time_us": arrivals,
            "first_chunk_time_us": arrivals + np.asarray(ttft),
            "last_chunk_time_us": arrivals + np.asarray(e2e),
            "status": ["ok"] * n,
        }
        return Trace.from_columns({**given, **columns}, TraceHeader(mode=mode, **more), itl, chunks=chunks)

    return make_trace


NAMES = frozenset(
    "request_id client_id client_seq session_id round_index tenant_id slo_class prefix_group streaming input_tokens"
    " prompt_tokens server_input_tokens output_tokens arrival_time_us send_time_us first_chunk_time_us"
    " last_chunk_time_us status error_message".split()
)
