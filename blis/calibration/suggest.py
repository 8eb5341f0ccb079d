"""A workload that tells a fit what it needs to know."""

from __future__ import annotations

from typing import Any

from blis.errors import BlisError
from blis.spec.instance import InstanceConfig

__all__ = ["suggested_workload"]

_LOADS = (0.3, 0.7, 1.0)
_MINUTES_S = 180
_SHARES = {"short": 0.4, "medium": 0.35, "long": 0.25}


def suggested_workload(capacity_rate: float, config: InstanceConfig, seed: int = 1) -> dict[str, Any]:
    """Return the plain data of a workload spec that tells all coefficients of a step apart.

    Three levels of load, 30, 70 and 100 % of ``capacity_rate`` (requests/s the server is thought to stand), come in two
    blocks each, so that a drift of the machine isn't taken for an effect of load. Prompts from short to longer than a
    step's token budget separate what a prefill costs per step, per token and per pair of tokens; outputs short and long
    separate what a sequence costs from what its context costs. Light phases have requests that meet an idle server.

    Raises:
        BlisError: a rate that isn't above 0.
    """
    if not capacity_rate > 0:
        raise BlisError(f"the rate the server stands must be above 0 requests/s, found {capacity_rate}")
    longest = config.max_model_len or 8 * config.max_num_batched_tokens
    prompts = {
        "short": (16, min(128, longest // 8)),
        "medium": (128, min(config.max_num_batched_tokens, longest // 4)),
        "long": (config.max_num_batched_tokens // 2, min(2 * config.max_num_batched_tokens, longest // 2)),
    }
    outputs = {"short": 200, "medium": 80, "long": 30}
    order = [*_LOADS, *reversed(_LOADS)]
    windows = [
        {
            "start_us": at * _MINUTES_S * 10**6,
            "end_us": (at + 1) * _MINUTES_S * 10**6,
            "load": load,
        }
        for at, load in enumerate(order)
    ]
    return {
        "version": "2",
        "seed": seed,
        "horizon": f"{len(order) * _MINUTES_S}s",
        "clients": [
            {
                "id": name,
                "rate": share * capacity_rate,
                "arrival": {"process": "poisson"},
                "input_distribution": _around(*prompts[name]),
                "output_distribution": _around(max(2, outputs[name] // 4), min(2 * outputs[name], longest // 4)),
                "lifecycle": {"windows": [_window(window, share * capacity_rate) for window in windows]},
            }
            for name, share in _SHARES.items()
        ],
    }


def _window(window: dict[str, Any], rate: float) -> dict[str, Any]:
    return {"start_us": window["start_us"], "end_us": window["end_us"], "rate": rate * window["load"]}


def _around(low: int, high: int) -> dict[str, Any]:
    high = max(high, low + 1)
    middle = (low + high) / 2
    return {"type": "gaussian", "params": {"mean": middle, "std_dev": (high - low) / 3, "min": low, "max": high}}
