"""What one gets without a simulator: step times from Little's law, and a few of them for a first token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from measurements import Cell, Experiment
from scipy.optimize import nnls

from blis.spec.catalogue import gpu, model

__all__ = ["Formula"]

_LITTLE_ROUNDS = 200

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Formula:
    """Step time t = a weights + b KV reads of B sequences + c L [tp > 1] + d B + e, first token after f + g t.

    B = rate * tokens * t is the number of running sequences; times are in ms, no coefficient is negative.
    """

    step: Numbers
    first_token: Numbers

    @classmethod
    def fitted(cls, experiments: Mapping[str, Experiment], cells: Sequence[Cell]) -> Formula:
        """Fit to the means of ``cells`` by least squares of relative errors."""
        measured = [(experiments[name], stage, experiments[name].stages[stage].measured) for name, stage in cells]
        known = [(experiment, stage, means) for experiment, stage, means in measured if means is not None]
        gaps = np.array([means["itl_mean"] for *_, means in known])
        ttfts = np.array([means["ttft_mean"] for *_, means in known])
        steps = [
            _terms(experiment, _running(experiment, stage, means["itl_mean"])) for experiment, stage, means in known
        ]
        first = np.column_stack([np.ones_like(gaps), gaps])
        return cls(_relative_fit(np.array(steps), gaps), _relative_fit(first, ttfts))

    def estimate(self, experiment: Experiment, stage: int) -> dict[str, float]:
        """Return the mean E2E, TTFT and ITL of a stage, ms."""
        gap = float(self.step @ _terms(experiment, 0.0))
        for _ in range(_LITTLE_ROUNDS):
            gap = float(self.step @ _terms(experiment, _running(experiment, stage, gap)))
        ttft = float(self.first_token @ [1.0, gap])
        return {"ttft_mean": ttft, "itl_mean": gap, "e2e_mean": ttft + (experiment.output_tokens - 1) * gap}


def _running(experiment: Experiment, stage: int, gap_ms: float) -> float:
    wanted = experiment.stages[stage].rate / 1e3 * experiment.output_tokens * gap_ms
    return float(min(wanted, experiment.server["max_num_seqs"]))


def _terms(experiment: Experiment, running: float) -> Numbers:
    shape = model(experiment.model)
    bytes_per_ms = gpu("H100").bandwidth_tbs * 1e9 * experiment.tp
    matrices = shape.layers * (shape.attention_params + shape.expert_params * max(shape.experts, 1))
    weights = (matrices + shape.vocab * shape.hidden) * shape.activation_bytes / bytes_per_ms
    context = sum(experiment.prompt_tokens) / len(experiment.prompt_tokens) + experiment.output_tokens / 2
    kv = context * 2 * shape.layers * shape.kv_width * shape.activation_bytes / bytes_per_ms
    return np.array([weights, kv * running, shape.layers * float(experiment.tp > 1), running, 1.0])


def _relative_fit(terms: Numbers, measured: Numbers) -> Numbers:
    solution, _ = nnls(terms / measured[:, None], np.ones_like(measured))
    return np.asarray(solution, np.float64)
