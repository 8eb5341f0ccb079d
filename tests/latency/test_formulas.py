"""The models against literal transcriptions of their formulas, sequence by sequence."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blis.latency import AlphaBeta, BatchSums, Physics, Roofline, TrainedPhysics
from blis.spec.catalogue import Gpu, ModelShape, gpu, model, model_names
from blis.spec.latency import PhysicsSpec

# A GPU a million times slower makes durations so long that their truncation is no more than 1e-9 of them.
SLOW = 1e-6


def slowed(hardware: Gpu) -> Gpu:
    fp8 = None if hardware.peak_fp8_tflops is None else hardware.peak_fp8_tflops * SLOW
    return replace(
        hardware,
        peak_tflops=hardware.peak_tflops * SLOW,
        peak_fp8_tflops=fp8,
        bandwidth_tbs=hardware.bandwidth_tbs * SLOW,
        link_gbs=hardware.link_gbs * SLOW,
    )


Prefill = tuple[int, int, int]  # new tokens, progress before, prompt length
Batch = tuple[list[Prefill], list[int]]  # prefill chunks, progress of each decoding sequence

prefills = st.tuples(st.integers(1, 2048), st.integers(0, 30_000), st.integers(0, 5_000)).map(
    lambda p: (p[0], p[1], p[0] + p[1] + p[2])
)
batches = st.tuples(st.lists(prefills, max_size=4), st.lists(st.integers(1, 100_000), max_size=64))
shapes = st.sampled_from([model(name) for name in model_names()])
gpus = st.sampled_from([gpu("H100"), gpu("A100-80"), gpu("L40S")])
tps = st.sampled_from([1, 2, 4, 8])


def sums(batch: Batch) -> BatchSums:
    chunks, decodes = batch
    return BatchSums(
        prefill_tokens=sum(t for t, _, _ in chunks),
        decodes=len(decodes),
        decode_context=sum(decodes),
        sequences=len(chunks) + len(decodes),
        prefill_full_attention=sum(t * (s + t / 2) for t, _, s in chunks),
        prefill_chunk_attention=sum(t * (p + (t - 1) / 2 if t > 1 else p) for t, p, _ in chunks),
        prefill_context=sum(p for _, p, _ in chunks),
        prefill_stored=sum(p for _, p, _ in chunks),
        prefill_causal_attention=sum(t * (p + t / 2) for t, p, _ in chunks),
    )


def roofline_us(shape: ModelShape, hardware: Gpu, tp: int, batch: Batch) -> float:
    h, L, A, G, f = shape.hidden, shape.layers, shape.heads, shape.kv_heads, shape.ffn
    e, B, peak = shape.head_dim, 2, hardware.peak_tflops * 1e12
    k, q = G * e, A * e
    E, x = shape.experts, shape.active_experts

    def flops(t: int, c: int) -> float:
        middle = c + (t - 1) / 2 if t > 1 else c
        gemm = L * (2 * t * (h * q + 2 * h * k) + 2 * t * q * h) + L * 4 * A * t * middle * e
        gemm += L * 2 * t * (2 * h * f) * (x if E else 1)
        return gemm + L * (5 * A * t * middle + 2 * t * h)

    def moved(t: int, c: int) -> float:
        return 2 * L * G * e * B * t + 2 * L * G * e * B * c + L * h * B * t

    chunks, decodes = batch
    tokens = sum(t for t, _, _ in chunks) + len(decodes)
    experts = E * (1 - ((E - x) / E) ** tokens) if E else 1
    weights = L * (h * (q + 2 * k) + q * h + 2 * h * f * experts) * B
    compute = sum(flops(t, p) for t, p, _ in chunks) / tp / (peak * hardware.mfu_prefill)
    compute += sum(flops(1, c) for c in decodes) / tp / (peak * hardware.mfu_decode)
    transferred = weights + sum(moved(t, p) for t, p, _ in chunks) + sum(moved(1, c) for c in decodes)
    return max(compute, transferred / tp / (hardware.bandwidth_tbs * 1e12)) * 1e6


def trained_us(shape: ModelShape, hardware: Gpu, tp: int, beta: tuple[float, ...], batch: Batch) -> float:
    h, L, A, f = shape.hidden, shape.layers, shape.heads, shape.ffn
    e, B, b = shape.head_dim, 2, 2
    k, q = shape.kv_heads * e, A * e
    F, W = hardware.peak_tflops * 1e6, hardware.bandwidth_tbs * 1e6
    B1a, B1b, B2a, B2b, B3, B4, B5, B6, B7, _, BEP = beta
    E, x = shape.experts, shape.active_experts or 1
    chunks, decodes = batch
    P, D, C = sum(t for t, _, _ in chunks), len(decodes), sum(decodes)
    n = len(chunks) + D
    pf_c = L * 2 * P * h * (2 * q + 2 * k) / tp + L * sum(4 * (A / tp) * t * (s + t / 2) * e for t, _, s in chunks)
    pf_c = (pf_c + L * P * x * 6 * h * f / tp) / F
    pf_m = L * 2 * (k / tp) * P * 2 / W
    dc_c = (L * 2 * D * h * (2 * q + 2 * k) / tp + L * 4 * (A / tp) * C * e + L * D * x * 6 * h * f / tp) / F
    dc_m = L * 2 * (k / tp) * 2 * (C + D) / W
    wt = (L * h * (2 * q + 2 * k) * b + L * 3 * h * f * b * (E or 1)) / tp / W
    all_reduce = L * (P + D) * h * B * 2 * (tp - 1) / tp / W
    tpc, moe = (all_reduce, all_reduce) if E else (2 * all_reduce, 0.0)
    return (B1a * pf_c + B1b * pf_m) + (B2a * dc_c + B2b * dc_m) + B3 * wt + B4 * tpc + BEP * moe + B5 * L + B6 * n + B7


def physics_us(shape: ModelShape, hardware: Gpu, tp: int, c: PhysicsSpec, batch: Batch) -> float:
    h, L, A, G, e, f = shape.hidden, shape.layers, shape.heads, shape.kv_heads, shape.head_dim, shape.ffn
    B, F, W, N = 2, hardware.peak_tflops * 1e12, hardware.bandwidth_tbs * 1e12, hardware.link_gbs * 1e9
    E, x = shape.experts, shape.active_experts
    attention, expert, head = 2 * h * A * e + 2 * h * G * e, 3 * h * f, shape.vocab * h
    chunks, decodes = batch
    n, tokens = len(chunks) + len(decodes), sum(t for t, _, _ in chunks) + len(decodes)
    distinct = E * (1 - (1 - x / E) ** tokens) if E else 1
    seconds = c.weights * (L * (attention + expert * distinct) + head) * B / tp / W
    kv = 2 * L * max(G / tp, 1) * e * B / W
    seconds += c.kv_cache * kv * (sum(t + p for t, p, _ in chunks) + sum(1 + p for p in decodes))
    seconds += c.decode_compute * len(decodes) * 2 * L * (attention + expert * (x or 1)) / tp / F
    seconds += c.decode_compute * n * 2 * head / tp / F
    for t, p, _ in chunks:
        seconds += c.prefill_compute * (2 * t * L * attention + L * 4 * A * e * t * (p + t / 2)) / tp / F
        seconds += (c.expert_compute if E else c.prefill_compute) * 2 * t * L * expert * (x or 1) / tp / F
    seconds += c.all_reduce * L * 2 * (tokens * h * B) * 2 * (tp - 1) / tp / N
    fixed = c.step_us + c.sequence_us * n + L * c.layer_us + L * c.prefill_layer_us * bool(chunks)
    return seconds * 1e6 + fixed + L * c.all_reduce_us * (tp > 1)


@given(shapes, gpus, tps, batches, st.booleans())
def test_physics_is_its_formula(shape: ModelShape, hardware: Gpu, tp: int, batch: Batch, overlap: bool) -> None:
    hardware = slowed(hardware)
    written = physics_us(shape, hardware, tp, PhysicsSpec(), batch)
    host = PhysicsSpec(host_step_us=written, host_sequence_us=1000)
    n = sums(batch).sequences
    expected = max(written, written + 1000 * n) if overlap else 2 * written + 1000 * n
    assert Physics(shape, hardware, tp).step_us(sums(batch)) == pytest.approx(written, rel=1e-9, abs=1)
    assert Physics(shape, hardware, tp, host, overlap=overlap).step_us(sums(batch)) == pytest.approx(
        expected, rel=1e-9, abs=1
    )


@given(shapes, tps, batches, st.sampled_from([name for name in PhysicsSpec.model_fields if "token_us" not in name]))
def test_physics_takes_no_less_with_a_larger_coefficient(shape: ModelShape, tp: int, batch: Batch, name: str) -> None:
    larger = PhysicsSpec().model_copy(update={name: 2 * getattr(PhysicsSpec(), name) + 1})
    hardware = gpu("H100")
    own, slower = Physics(shape, hardware, tp), Physics(shape, hardware, tp, larger)
    assert slower.step_us(sums(batch)) >= own.step_us(sums(batch))


@given(shapes, tps, batches, prefills)
def test_physics_takes_no_less_with_one_chunk_more(shape: ModelShape, tp: int, batch: Batch, chunk: Prefill) -> None:
    latency = Physics(shape, gpu("H100"), tp)
    assert latency.step_us(sums(([*batch[0], chunk], batch[1]))) >= latency.step_us(sums(batch))


@given(shapes, gpus, tps, batches)
def test_roofline_is_its_formula(shape: ModelShape, hardware: Gpu, tp: int, batch: Batch) -> None:
    written = roofline_us(shape, slowed(hardware), tp, batch)
    assert Roofline(shape, slowed(hardware), tp).step_us(sums(batch)) == pytest.approx(written, rel=1e-9, abs=1)


@given(shapes, gpus, tps, batches, st.lists(st.floats(0, 1e3), min_size=11, max_size=11).map(tuple))
def test_trained_physics_is_its_formula(
    shape: ModelShape, hardware: Gpu, tp: int, batch: Batch, beta: tuple[float, ...]
) -> None:
    written = trained_us(shape, slowed(hardware), tp, beta, batch)
    step = TrainedPhysics(shape, slowed(hardware), tp, beta=beta).step_us(sums(batch))
    assert step == pytest.approx(written, rel=1e-9, abs=1)


@given(
    st.lists(st.floats(0, 1e5), min_size=3, max_size=3), st.integers(0, 10**6), st.integers(0, 1000), st.integers(0, 9)
)
def test_alpha_beta_is_summed_from_left_to_right(beta: list[float], prefill: int, decodes: int, context: int) -> None:
    batch = BatchSums(prefill_tokens=prefill, decodes=decodes, decode_context=context, sequences=decodes)
    expected = max(1, int(beta[0] + beta[1] * prefill + beta[2] * decodes))
    assert AlphaBeta((0, 0, 0), beta).step_us(batch) == expected


def test_one_byte_weights_use_the_fp8_rate_and_half_the_traffic() -> None:
    full = model("llama-3.1-8b")
    small = replace(full, weight_bytes_per_param=1.0)
    reading = BatchSums(decodes=1, sequences=1)
    computing = BatchSums(prefill_tokens=8192, sequences=1)
    hardware = gpu("H100")
    # Both move 131072 + 262144 bytes of KV and activations per token beside the weights.
    assert Roofline(full, hardware, 1).step_us(reading) == int((10200547328 + 393216) / 3.35e6)
    assert Roofline(small, hardware, 1).step_us(reading) == int((5100273664 + 393216) / 3.35e6)
    assert Roofline(full, hardware, 1).step_us(computing) == pytest.approx(
        2 * Roofline(small, hardware, 1).step_us(computing), abs=1
    )
    # The A100 has no FP8 units.
    a100 = gpu("A100-80")
    assert Roofline(full, a100, 1).step_us(computing) == Roofline(small, a100, 1).step_us(computing)
