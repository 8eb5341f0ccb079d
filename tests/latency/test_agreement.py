"""The three ways to ask for a step's duration agree exactly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blis.latency import AlphaBeta, BatchSums, Fitted, LatencyModel, Physics, Roofline, TrainedPhysics
from blis.spec.catalogue import gpu, model, model_names
from blis.spec.latency import PhysicsSpec

coefficients = st.floats(0, 1e6) | st.sampled_from([0.0, 0.5, 1e-12, 5752.705191348184])


@st.composite
def models(draw: st.DrawFn) -> LatencyModel:
    kind = draw(st.sampled_from(["alpha-beta", "roofline", "trained-physics", "other weights", "physics", "fitted"]))
    if kind == "alpha-beta":
        return AlphaBeta((0, 0, 0), draw(st.tuples(coefficients, coefficients, coefficients)))
    if kind == "fitted":
        return Fitted((0, 0, 0, 0), draw(st.tuples(*[coefficients] * draw(st.sampled_from([6, 8])))))
    shape = model(draw(st.sampled_from(model_names())))
    hardware = gpu(draw(st.sampled_from(["H100", "A100-80", "L40S"])))
    tp = draw(st.sampled_from([1, 2, 4]))
    if kind == "roofline":
        return Roofline(shape, hardware, tp)
    if kind == "physics":
        names = ("weights", "kv_cache", "decode_compute", "sequence_us", "step_us", "host_step_us", "host_sequence_us")
        return Physics(
            shape,
            hardware,
            tp,
            PhysicsSpec(**{name: draw(coefficients) for name in names}),
            overlap=draw(st.booleans()),
        )
    if kind == "trained-physics":
        return TrainedPhysics(shape, hardware, tp)
    return TrainedPhysics(shape, hardware, tp, beta=draw(st.lists(coefficients, min_size=11, max_size=11)))


def one_by_one(latency: LatencyModel, decodes: int, context: int, steps: int) -> list[int]:
    contexts = [context + j * decodes for j in range(steps)]
    return [latency.step_us(BatchSums(decodes=decodes, decode_context=c, sequences=decodes)) for c in contexts]


def check(latency: LatencyModel, decodes: int, context: int, steps: int) -> None:
    expected = one_by_one(latency, decodes, context, steps)
    run = latency.decode_us(decodes, context, steps)
    assert run.dtype == np.int64
    assert run.tolist() == expected
    assert latency.few_decodes_us(decodes, context, steps) == expected


@given(
    models(),
    st.integers(0, 300),
    st.integers(0, 10**9) | st.integers(0, 50_000),
    st.integers(1, 60) | st.sampled_from([1, 2, 500]),
)
def test_steps_and_runs_agree(latency: LatencyModel, decodes: int, context: int, steps: int) -> None:
    check(latency, decodes, context, steps)


def test_a_run_that_goes_from_compute_bound_to_memory_bound() -> None:
    latency = Roofline(model("llama-3.1-8b"), gpu("H100"), 1)
    check(latency, 100, 2_000, 500)
    durations = latency.decode_us(100, 2_000, 500)
    growth = np.diff(durations)
    # Memory grows by 100 * 39 ns each step, compute by 100 * 1.8 ns.
    assert growth[:50].max() <= 1
    assert growth[-50:].min() >= 3


@pytest.mark.parametrize("decodes", [1, 7, 256])
@pytest.mark.parametrize("name", ["llama-3.1-8b", "mixtral-8x7b"])
def test_long_runs_agree(name: str, decodes: int) -> None:
    shape, hardware = model(name), gpu("H100")
    for latency in (Roofline(shape, hardware, 2), TrainedPhysics(shape, hardware, 2)):
        check(latency, decodes, decodes * 700, 2000)


def test_durations_are_at_least_one_microsecond() -> None:
    nothing = TrainedPhysics(model("llama-3.1-8b"), gpu("H100"), 1, beta=[0.0] * 11)
    check(nothing, 3, 100, 5)
    assert nothing.decode_us(3, 100, 5).tolist() == [1, 1, 1, 1, 1]
    # 39.1 ns per token of context, and nothing else: below 1 us until 26 tokens, 2 us from 52 on.
    reading = TrainedPhysics(model("llama-3.1-8b"), gpu("H100"), 1, beta=[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0])
    assert reading.decode_us(10, 5, 6).tolist() == [1, 1, 1, 1, 2, 2]
    check(reading, 10, 5, 6)
    assert AlphaBeta((0, 0, 0), (0, 0, 0.1)).decode_us(5, 7, 2).tolist() == [1, 1]


def test_a_run_that_the_host_holds_up_at_first() -> None:
    host = PhysicsSpec(host_step_us=7_000, host_sequence_us=10)
    latency = Physics(model("llama-2-7b"), gpu("H100"), 1, host, overlap=True)
    check(latency, 4, 4_000, 2_000)
    durations = latency.decode_us(4, 4_000, 2_000)
    assert durations[0] == durations[100] == 7_040 < durations[-1]


def test_a_run_is_the_callers_own() -> None:
    llama, h100 = model("llama-3.1-8b"), gpu("H100")
    for latency in (AlphaBeta((0, 0, 0), (10, 0, 1)), Roofline(llama, h100, 1), Physics(llama, h100, 1)):
        first = latency.decode_us(4, 100, 8)
        expected = first.tolist()
        first[:] = 0
        assert latency.decode_us(4, 100, 8).tolist() == expected


@given(models(), st.integers(1, 200), st.integers(0, 10**6), st.integers(1, 100))
def test_more_context_never_takes_less(latency: LatencyModel, decodes: int, context: int, more: int) -> None:
    assert latency.few_decodes_us(decodes, context + more, 1)[0] >= latency.few_decodes_us(decodes, context, 1)[0]
