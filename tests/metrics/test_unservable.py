"""Why requests fit no instance."""

from __future__ import annotations

from typing import Any

import pytest

import blis
from blis.metrics import summarize
from blis.metrics.results import Unservable
from blis.trace import Trace


def served(inputs: int, outputs: int, **deployment: Any) -> Trace:
    client = {
        "id": "a",
        "rate_fraction": 1.0,
        "arrival": {"process": "constant"},
        "input_distribution": {"type": "constant", "params": {"value": inputs}},
        "output_distribution": {"type": "constant", "params": {"value": outputs}},
    }
    workload = {"version": "2", "aggregate_rate": 10.0, "num_requests": 3, "clients": [client]}
    return blis.simulate(workload, {"model": "llama-3.1-8b", "hardware": "H100", **deployment})


@pytest.mark.parametrize(
    ("inputs", "outputs", "deployment", "why"),
    [
        (999, 1, {"max_model_len": 1000}, None),
        (1000, 1, {"max_model_len": 1000}, Unservable(3, 0)),
        (900, 101, {"max_model_len": 1000}, Unservable(3, 0)),
        (900, 101, {"max_model_len": 0, "total_kv_blocks": 62}, Unservable(0, 3)),
        (900, 101, {"max_model_len": 2000, "total_kv_blocks": 62}, Unservable(0, 3)),
        (900, 101, {"max_model_len": 2000, "total_kv_blocks": 63}, None),
        # The model's own limit.
        (200_000, 1, {"total_kv_blocks": 100_000}, Unservable(3, 0)),
    ],
)
def test_the_limit_that_was_exceeded(inputs, outputs, deployment, why):
    summary = summarize(served(inputs, outputs, **deployment))
    assert summary.unservable == why
    assert summary.conservation.dropped == (3 if why else 0)


def test_pools_have_limits_of_their_own():
    pools = [
        {"name": "small", "instances": 1, "total_kv_blocks": 10},
        {"name": "short", "instances": 1, "max_model_len": 100},
    ]
    assert summarize(served(900, 1, pools=pools)).unservable == Unservable(1, 2)


def test_nobody_knows_without_a_deployment():
    trace = served(1000, 1, max_model_len=1000)
    assert summarize(trace).unservable is not None
    header = trace.header.model_copy(update={"deployment": None})
    assert summarize(Trace(header, trace.rows)).unservable is None
