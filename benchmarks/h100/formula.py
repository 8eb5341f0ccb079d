"""What one gets without a simulator: step times from Little's law, and two and a half of them for a first token."""

from __future__ import annotations

from measurements import Cell, Experiment

from blis.spec.catalogue import gpu, model

__all__ = ["estimate"]

_LITTLE_ROUNDS = 200


def estimate(experiment: Experiment, cell: Cell) -> dict[str, float]:
    """Return mean E2E, TTFT and ITL in ms.

    A step takes t = 0.89 weights + 0.75 KV reads + 57.7 us L [tp > 1] + 43.7 us B + 2.62 ms with B = rate * tokens * t
    sequences, coefficients that were fitted to these measurements by non-negative least squares; a first token comes
    after 4.9 ms + 2.71 t.
    """
    shape, hardware = model(experiment.model), gpu("H100")
    stage = experiment.stages[cell[1]]
    bytes_per_ms = hardware.bandwidth_tbs * 1e9 * experiment.tp
    matrices = shape.layers * (shape.attention_params + shape.expert_params * max(shape.experts, 1))
    weights = (matrices + shape.vocab * shape.hidden) * shape.activation_bytes / bytes_per_ms
    context = sum(experiment.prompt_tokens) / len(experiment.prompt_tokens) + experiment.output_tokens / 2
    kv = context * 2 * shape.layers * shape.kv_width * shape.activation_bytes / bytes_per_ms
    fixed = 0.89 * weights + 0.0577 * shape.layers * (experiment.tp > 1) + 2.62
    step = fixed
    for _ in range(_LITTLE_ROUNDS):
        running = min(stage.rate / 1e3 * experiment.output_tokens * step, experiment.server["max_num_seqs"])
        step = fixed + (0.75 * kv + 0.0437) * running
    ttft = 4.9 + 2.71 * step
    return {"ttft_mean": ttft, "itl_mean": step, "e2e_mean": ttft + (experiment.output_tokens - 1) * step}
