"""Durations known from an independent implementation, or worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from blis.latency import AlphaBeta, BatchSums, Overheads, Roofline, TrainedPhysics
from blis.spec.catalogue import gpu, model

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
