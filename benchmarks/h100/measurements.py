"""What was measured on H100s, and what is to be predicted: reads ``h100/`` of the folder that BLIS_DATA names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["GAPS", "LATENCIES", "QUANTILES", "Cell", "Experiment", "Stage", "flat", "read"]

Cell = tuple[str, int]
"""An experiment and the number of one of its stages."""

LATENCIES = ("e2e", "ttft")
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
GAPS = {"p50": 0.5, "p80": 0.8, "p90": 0.9, "p98": 0.98, "p99.8": 0.998}
"""Levels of the gaps between tokens: of the client's events, two to a token, every other one is a gap."""
_PROMPTS = 100
_QUANTILES_OF_PROMPTS = {
    "min": 0.0, "p0.1": 0.001, "p1": 0.01, "p5": 0.05, "p10": 0.1, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p90": 0.9,
    "p95": 0.95, "p99": 0.99, "p99.9": 0.999, "max": 1.0,
}  # fmt: skip


@dataclass(frozen=True)
class Stage:
    """A constant rate for a while; ``measured`` has the moments of latencies in ms (:func:`flat`), or is None."""

    number: int
    rate: float
    duration_s: float
    requests: int
    measured: Mapping[str, float] | None


@dataclass(frozen=True)
class Experiment:
    """A server and the load it got.

    ``title`` names both for people; ``prompt_tokens`` are the lengths of the distinct prompts, sorted.
    """

    name: str
    title: str
    model: str
    tp: int
    server: Mapping[str, Any]
    prompt_tokens: tuple[int, ...]
    output_tokens: int
    timeout_s: float
    pause_s: float
    stages: tuple[Stage, ...]


def read(data: Path, name: str) -> tuple[dict[str, Experiment], list[Cell], list[Cell]]:
    """Return a file's experiments by name, its cells, and those among them that count (not overloaded)."""
    content = json.loads((data / "h100" / name).read_text(encoding="utf-8"))
    experiments = {key: _experiment(key, facts) for key, facts in content["experiments"].items()}
    cells = [(cell["experiment"], cell["stage"]) for cell in content["cells"]]
    counting = [(cell["experiment"], cell["stage"]) for cell in content["cells"] if cell["scored"]]
    return experiments, cells, counting


def flat(stage: Mapping[str, Any]) -> dict[str, float]:
    """Return the moments of a stage by names such as ``e2e_mean`` and ``ttft_p90``, ms; they say what is compared.

    The mean inter-token latency follows from the tokens that were generated, since the client recorded two events for
    each. ``gap_p90`` and so on are quantiles over all gaps between tokens.
    """
    moments = {f"{kind}_{q}": float(stage[f"{kind}_ms"][q]) for kind in LATENCIES for q in ("mean", *QUANTILES)}
    moments |= {f"gap_{q}": float(stage["itl_true_gap_quantiles_ms"][q]) for q in GAPS}
    return {**moments, "itl_mean": float(stage["itl_mean_ms"]["generated_tokens"])}


def _experiment(name: str, facts: Mapping[str, Any]) -> Experiment:
    effective = facts["workload_effective"]
    lengths = facts["stages"][0]["prompt_len"]
    places = (np.arange(_PROMPTS) + 0.5) / _PROMPTS
    known = [lengths[key] for key in _QUANTILES_OF_PROMPTS]
    prompts = np.rint(np.interp(places, list(_QUANTILES_OF_PROMPTS.values()), known))
    return Experiment(
        name=name,
        title=f"{facts['short']} tp {facts['tp']}, {facts['workload']}",
        model=facts["model"],
        tp=facts["tp"],
        server=facts["vllm"],
        prompt_tokens=tuple(int(tokens) for tokens in prompts),
        output_tokens=effective["output_len"],
        timeout_s=effective["request_timeout_s"],
        pause_s=effective["inter_stage_sleep_s"],
        stages=tuple(
            Stage(s["stage"], s["rate"], s["duration_s"], s["sent"], flat(s) if "e2e_ms" in s else None)
            for s in facts["stages"]
        ),
    )
