"""Durations of many steps at once, before truncation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blis.latency import BatchSums, Physics
from blis.spec.catalogue import gpu, model, model_names
from blis.spec.latency import PhysicsSpec

H100 = gpu("H100")


def exact(physics: Physics, batch: BatchSums) -> float:
    sums = (
        batch.prefill_tokens, batch.decodes, batch.decode_context, batch.sequences, batch.prefill_causal_attention,
        batch.prefill_stored,
    )  # fmt: skip
    (value,) = physics.exact_us(*(np.array([float(number)]) for number in sums)).tolist()
    return float(value)


@given(
    name=st.sampled_from(model_names()),
    tp=st.sampled_from([1, 2]),
    prefill=st.integers(0, 2000),
    decodes=st.integers(1, 200),
    stored=st.integers(0, 9999),
)
def test_they_are_what_a_step_takes(name: str, tp: int, prefill: int, decodes: int, stored: int) -> None:
    batch = BatchSums(
        prefill_tokens=prefill,
        decodes=decodes,
        decode_context=decodes * 700,
        sequences=decodes + (prefill > 0),
        prefill_causal_attention=prefill * (stored + prefill / 2),
        prefill_stored=stored if prefill else 0,
    )
    physics = Physics(model(name), H100, tp)
    assert 0 <= exact(physics, batch) - physics.step_us(batch) + 1e-6 < 1 + 2e-6


def test_the_nearest_fitted_model_says_the_same_of_a_dense_model() -> None:
    physics = Physics(model("llama-3.1-8b"), H100, 1, PhysicsSpec())
    batch = BatchSums(prefill_tokens=300, decodes=4, decode_context=2000, sequences=5, prefill_causal_attention=45_000)
    step, decode, context, prefill, attention, mixed = physics.as_fitted()
    value = step + 4 * decode + 2000 * context + 300 * prefill + 45_000 * attention + mixed
    assert exact(physics, batch) == pytest.approx(value)
