"""Coefficients and durations that can't be used are refused by name."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import pytest

from blis.errors import BlisError
from blis.latency import AlphaBeta, BatchSums, LatencyModel, Physics, Roofline, TrainedPhysics
from blis.spec.catalogue import gpu, model
from blis.spec.latency import PhysicsSpec

SHAPE, H100 = model("llama-3.1-8b"), gpu("H100")


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0, True])
def test_coefficients_are_finite_and_not_negative(value: Any) -> None:
    with pytest.raises(BlisError, match=r"alpha-beta: beta coefficient us per prefill token is .*>= 0"):
        AlphaBeta((0, 0, 0), (5000, value, 6))
    with pytest.raises(BlisError, match=r"trained-physics: beta coefficient B3 is "):
        TrainedPhysics(SHAPE, H100, 1, beta=[1, 1, 1, 1, value, 1, 1, 1, 1, 1, 1])
    with pytest.raises(BlisError, match=r"roofline: alpha coefficient queueing base us is "):
        Roofline(SHAPE, H100, 1, alpha=(value, 0, 0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AlphaBeta((0, 0), (1, 2, 3)), "alpha-beta: alpha takes 3 coefficients"),
        (lambda: AlphaBeta((0, 0, 0), (1, 2, 3, 4)), "alpha-beta: beta takes 3 coefficients"),
        (lambda: Roofline(SHAPE, H100, 1, alpha=()), "roofline: alpha takes 3 coefficients"),
        (lambda: TrainedPhysics(SHAPE, H100, 1, beta=[1.0] * 10), "trained-physics: beta takes 11 coefficients (B1a,"),
    ],
)
def test_the_number_of_coefficients_is_the_models(make: Callable[[], LatencyModel], message: str) -> None:
    with pytest.raises(BlisError, match=re.escape(message)):
        make()


HUGE = [
    ("alpha-beta", AlphaBeta((0, 0, 0), (0, 1e300, 1e300))),
    ("trained-physics", TrainedPhysics(SHAPE, H100, 1, beta=[1e300, 0, 0, 1e300, 0, 0, 0, 1e300, 0, 0, 0])),
    ("trained-physics", TrainedPhysics(SHAPE, H100, 1, beta=[1e308] * 11)),
    ("physics", Physics(SHAPE, H100, 1, PhysicsSpec(weights=1e300))),
    ("physics", Physics(SHAPE, H100, 1, PhysicsSpec(host_step_us=1e300), overlap=True)),
]


@pytest.mark.parametrize(("name", "latency"), HUGE)
def test_a_duration_beyond_the_clock_names_model_and_batch(name: str, latency: LatencyModel) -> None:
    batch = BatchSums(prefill_tokens=100, decodes=7, decode_context=4321, sequences=8, prefill_full_attention=15000)
    message = f"latency model {name}: .* 100 prefill tokens and 7 decoding sequences with 4321 tokens of context"
    with pytest.raises(BlisError, match=message):
        latency.step_us(batch)
    message = f"latency model {name}: .* 0 prefill tokens and 7 decoding sequences with 4321 tokens of context"
    with pytest.raises(BlisError, match=message):
        latency.few_decodes_us(7, 4321, 1)[0]
    with pytest.raises(BlisError, match=f"latency model {name}: .* 7 decoding sequences with "):
        latency.decode_us(7, 4321, 3)


def test_a_run_is_refused_when_only_its_end_is_too_long() -> None:
    # 1e15 times 39 ns per token of context: 2^63 us lie between 235 730 and 235 740 thousand tokens.
    latency = TrainedPhysics(SHAPE, H100, 1, beta=[0, 0, 0, 1e15, 0, 0, 0, 0, 0, 0, 0])
    assert latency.decode_us(1000, 200_000, 30).max() < 2**63
    context = 235_000
    with pytest.raises(BlisError, match="1 decoding sequences with 236000 tokens of context"):
        latency.decode_us(1, context, 1001)
    assert len(latency.decode_us(1, context, 500)) == 500
