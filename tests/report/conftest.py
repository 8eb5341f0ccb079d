"""Traces small enough to know every figure of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from blis.trace import Histogram, Trace, TraceHeader

Make = Callable[..., Trace]

ROWS: dict[str, list[Any]] = {
    "request_id": [0, 1, 2, 3],
    "client_id": ["chat", "chat", "mail", "mail"],
    "tenant_id": ["web", "web", "office", "office"],
    "slo_class": ["critical", "critical", "batch", "batch"],
    "instance": ["instance_0", "instance_10", "instance_2", ""],
    "streaming": [True, True, True, True],
    "input_tokens": [100, 100, 100, 100],
    "prompt_tokens": [164, 164, 100, 100],
    "output_tokens": [11, 21, 1, 0],
    "arrival_time_us": [0, 100_000, 200_000, 300_000],
    "send_time_us": [0, 100_000, 200_000, 300_000],
    "first_chunk_time_us": [20_000, 140_000, 1_200_000, -1],
    "last_chunk_time_us": [120_000, 340_000, 1_200_000, -1],
    "scheduling_delay_us": [4, 20_000, 990_000, -1],
    "preemptions": [0, 2, 0, 0],
    "cached_tokens": [0, 64, 0, 0],
    "status": ["ok", "ok", "ok", "timeout"],
}

DEPLOYMENT = {
    "instances": 11,
    "model": "llama-3.1-70b",
    "hardware": "H100",
    "tp": 4,
    "scheduler": "sjf",
    "latency": {"model": "roofline"},
    "admission": {"policy": "always"},
    "routing": {"policy": "weighted"},
}


@pytest.fixture
def make() -> Make:
    """Make a trace of four requests; columns and the header's facts can be replaced."""

    def make_trace(columns: dict[str, list[Any]] | None = None, **facts: Any) -> Trace:
        itl = Histogram()
        itl.add([10_000, 10_000, 12_500])
        given: dict[str, Any] = {
            "seed": 42,
            "deployment": DEPLOYMENT,
            "slo_targets": {"chat": {"ttft_us": 30_000}},
            "run": {
                "span_us": 2_000_000,
                "horizon_us": 1_000_000,
                "aggregate_rate": 4.0,
                "claimed_blocks": 1,
                "allocated_blocks": 3,
            },
            **facts,
        }
        return Trace.from_columns({**ROWS, **(columns or {})}, TraceHeader(**given), itl)

    return make_trace
