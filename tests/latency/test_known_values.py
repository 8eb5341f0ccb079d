"""Durations known from an independent implementation, or worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from blis.latency import AlphaBeta, BatchSums, Overheads, Physics, Roofline, TrainedPhysics
from blis.spec.catalogue import gpu, model
from blis.spec.latency import PhysicsSpec

LLAMA = model("llama-3.1-8b")
H100 = gpu("H100")


def whole_prompt(tokens: int) -> BatchSums:
    """A prompt computed in one step, alone."""
    return BatchSums(
        prefill_tokens=tokens,
        sequences=1,
        prefill_full_attention=tokens * (tokens + tokens / 2),
        prefill_chunk_attention=tokens * (tokens - 1) / 2,
        prefill_causal_attention=tokens * tokens / 2,
    )


# TTFT and E2E of requests that an independent simulator served alone: (prompt, output, TTFT, E2E), all in us.
ALONE = [(637, 75, 14833, 242081), (334, 153, 7717, 472924), (526, 7, 12214, 30604), (845, 30, 19782, 109050)]


@pytest.mark.parametrize(("prompt", "output", "ttft", "e2e"), ALONE)
def test_roofline_serves_a_lone_request(prompt: int, output: int, ttft: int, e2e: int) -> None:
    latency = Roofline(LLAMA, H100, 1)
    assert latency.overheads == Overheads()
    assert latency.step_us(whole_prompt(prompt)) == ttft
    assert ttft + latency.decode_us(1, prompt, output - 1).sum() == e2e


def test_trained_physics_prefills_a_lone_request() -> None:
    latency = TrainedPhysics(LLAMA, H100, 1)
    assert latency.overheads == Overheads(15563.199579, 0.0, 45.907545, 777.3455)
    # TTFT 23858 = queueing 15563 + step + 45 of overhead.
    assert latency.step_us(whole_prompt(637)) == 8250


def test_alpha_beta_prefills_a_lone_request() -> None:
    alpha = (232.46191091038054, 1.752360364195244, 3357.4400353290152)
    latency = AlphaBeta(alpha, (5752.705191348184, 17.25086436834028, 5.999143920128404))
    # TTFT 21446 = queueing 1348 + step + 3357 of overhead.
    assert latency.overheads == Overheads(alpha[0], alpha[1], alpha[2])
    assert latency.step_us(whole_prompt(637)) == 16741
    assert latency.few_decodes_us(8, 5000, 1)[0] == 5800
    assert latency.decode_us(8, 5000, 3).tolist() == [5800, 5800, 5800]


def test_roofline_reads_the_weights_when_little_else_happens() -> None:
    # 10 200 547 328 bytes of weights and, per token, 131 072 of keys and values and 262 144 of activations.
    assert Roofline(LLAMA, H100, 1).step_us(BatchSums()) == 3044
    assert Roofline(LLAMA, H100, 1).few_decodes_us(1, 0, 1)[0] == 3045
    assert Roofline(LLAMA, H100, 2).step_us(BatchSums()) == 1522


@pytest.mark.parametrize(("tokens", "experts"), [(1, 2), (2, 3.5), (1000, 8)])
def test_roofline_reads_the_experts_that_a_batch_needs(tokens: int, experts: float) -> None:
    shape = model("mixtral-8x7b")
    attention = 32 * (4096 * (4096 + 2048) + 4096 * 4096) * 2
    feed_forward = 32 * 2 * 4096 * 14336 * 2 * experts
    moved = tokens * (131072 + 262144)
    slow_memory = 0.001
    hardware = replace(H100, bandwidth_tbs=slow_memory)
    expected = (attention + feed_forward + moved) / (slow_memory * 1e6)
    assert Roofline(shape, hardware, 1).few_decodes_us(tokens, 0, 1)[0] == pytest.approx(expected, abs=1)


def test_trained_physics_counts_all_reduces_above_tp_1() -> None:
    only_communication = [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]
    batch = BatchSums(prefill_tokens=1000, sequences=1)
    # 2 per layer: 2 * 32 * 1000 tokens * 4096 * 2 bytes * 2 * 3/4 / 3.35e6 bytes per us
    assert TrainedPhysics(LLAMA, H100, 4, beta=only_communication).step_us(batch) == 234
    assert TrainedPhysics(LLAMA, H100, 1, beta=only_communication).step_us(batch) == 1
    # In a mixture of experts one of the two is the experts' own.
    mixtral = model("mixtral-8x7b")
    assert TrainedPhysics(mixtral, H100, 4, beta=only_communication).step_us(batch) == 117
    exchange = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    assert TrainedPhysics(mixtral, H100, 4, beta=exchange).step_us(batch) == 117
    assert TrainedPhysics(LLAMA, H100, 4, beta=exchange).step_us(batch) == 1


def test_a_sequence_counts_once_whether_it_prefills_or_decodes() -> None:
    per_sequence = TrainedPhysics(LLAMA, H100, 1, beta=[0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0])
    assert per_sequence.step_us(BatchSums(prefill_tokens=50, decodes=2, sequences=5)) == 50
    assert per_sequence.few_decodes_us(5, 1000, 1)[0] == 50


NOTHING = dict.fromkeys(PhysicsSpec.model_fields, 0.0)


def physics_us(name: str, tp: int, batch: BatchSums, **coefficients: float) -> int:
    """A step's duration with all other coefficients 0."""
    return Physics(model(name), H100, tp, PhysicsSpec(**(NOTHING | coefficients))).step_us(batch)


def test_physics_reads_weights_and_cache() -> None:
    alone = BatchSums(decodes=1, sequences=1)
    # 32 layers of 4096*(2*4096 + 2*4096) + 3*4096*11008 parameters and an output matrix of 32000*4096, 2 bytes each,
    # at 3.35 TB/s: 13 214 154 752 bytes.
    assert physics_us("llama-2-7b", 1, alone, weights=1.0) == 3944
    # Each token of context is half a MiB: 2 * 32 layers * 4096 numbers of 2 bytes.
    thousand = BatchSums(decodes=10, sequences=10, decode_context=990)
    assert physics_us("llama-2-7b", 1, thousand, kv_cache=1.0) == 156
    assert physics_us("llama-2-7b", 2, thousand, kv_cache=1.0) == 78
    # Eight heads on sixteen GPUs: each keeps a whole one.
    assert physics_us("llama-2-70b", 16, thousand, kv_cache=1.0) == physics_us("llama-2-70b", 8, thousand, kv_cache=1.0)
    # A prefill reads what it finds in the cache, and writes its own.
    chunk = BatchSums(prefill_tokens=16, sequences=1, prefill_stored=984, prefill_causal_attention=16 * 992)
    assert physics_us("llama-2-7b", 1, chunk, kv_cache=1.0) == 156


def test_physics_reads_the_experts_that_tokens_meet() -> None:
    few = BatchSums(decodes=1, sequences=1)
    many = BatchSums(decodes=64, sequences=64)
    # 2.684 GB of attention, 0.262 GB of output matrix, and two or practically all of eight experts of 11.274 GB each.
    assert physics_us("mixtral-8x7b", 1, few, weights=1.0) == 7610
    assert physics_us("mixtral-8x7b", 1, many, weights=1.0) == 27803
    assert physics_us("mixtral-8x7b", 2, many, weights=1.0) == 13901


def test_physics_computes_each_phase_with_its_own_factor() -> None:
    decodes = BatchSums(decodes=100, sequences=100)
    # 2 * 6 607 077 376 operations a token at 989.5 TFLOP/s.
    assert physics_us("llama-2-7b", 1, decodes, decode_compute=1.0) == 1335
    assert physics_us("llama-2-7b", 1, decodes, prefill_compute=1.0, expert_compute=1.0) == 1
    prompt = whole_prompt(1000)
    # 1000 tokens of 2 * 6 476 005 376, and 4 * 32 * 4096 * 500 000 of causal attention.
    assert physics_us("llama-2-7b", 1, prompt, prefill_compute=1.0) == 13354
    assert physics_us("llama-2-7b", 1, prompt, decode_compute=1.0) == 1
    # Mixtral's experts: 2 * 1000 * 32 * 2 * 3 * 4096 * 14336 operations.
    assert physics_us("mixtral-8x7b", 1, prompt, expert_compute=1.0) == 22787


def test_physics_communicates_where_there_is_somebody_to_talk_to() -> None:
    decodes = BatchSums(decodes=10, sequences=10)
    # 160 all-reduces of 10 * 8192 numbers of 2 bytes; each GPU sends 1.5 times that at 450 GB/s.
    assert physics_us("llama-2-70b", 4, decodes, all_reduce=1.0) == 87
    assert physics_us("llama-2-70b", 1, decodes, all_reduce=1.0, all_reduce_us=5.0) == 1
    assert physics_us("llama-2-70b", 4, decodes, all_reduce_us=5.0) == 400


def test_physics_counts_layers_sequences_and_steps() -> None:
    mixed = BatchSums(prefill_tokens=3, decodes=7, decode_context=100, sequences=8)
    assert physics_us("llama-2-7b", 1, mixed, layer_us=2, prefill_layer_us=5, sequence_us=10, step_us=1000) == (
        64 + 160 + 80 + 1000
    )
    assert physics_us("llama-2-7b", 1, mixed, host_step_us=100, host_sequence_us=10) == 180
    coefficients = PhysicsSpec(request_us=1.5, prompt_token_us=2.5, output_token_us=3.5, completion_us=4.5)
    assert Physics(LLAMA, H100, 1, coefficients).overheads == Overheads(1.5, 2.5, 3.5, 4.5)
