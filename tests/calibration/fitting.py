"""Simulated runs of a server whose coefficients are known, for tests that fit them again."""

from __future__ import annotations

from typing import Any

from blis.simulation import simulate
from blis.trace import Trace

ALPHA = (5000.0, 0.0, 0.0, 0.0)
BETA = (12460.0, 336.0, 1.67, 494.0, 0.21, 6100.0)
SERVER = {"max_num_seqs": 16, "max_num_batched_tokens": 512, "total_kv_blocks": 20_000, "max_model_len": 0}


def run(
    rate: float = 2.0,
    *,
    requests: int = 200,
    seed: int = 1,
    asynchronous: bool = False,
    alpha: tuple[float, ...] = ALPHA,
    beta: tuple[float, ...] = BETA,
    record_itl: bool = True,
    **more: Any,
) -> Trace:
    """Simulate a server with these coefficients; prompts of 50 to 600 and outputs of 10 to 120 tokens."""
    client = {
        "id": "a",
        "rate_fraction": 1,
        "arrival": {"process": "poisson"},
        "input_distribution": {"type": "gaussian", "params": {"mean": 325, "std_dev": 180, "min": 50, "max": 600}},
        "output_distribution": {"type": "gaussian", "params": {"mean": 65, "std_dev": 36, "min": 10, "max": 120}},
        **more,
    }
    latency = {"model": "fitted", "coefficients": {"alpha": list(alpha), "beta": list(beta)}}
    deployment = {**SERVER, "async_scheduling": asynchronous, "latency": latency}
    spec = {"seed": seed, "aggregate_rate": rate, "num_requests": requests, "clients": [client]}
    return simulate(spec, deployment, record_itl=record_itl)
