"""The fitted model by hand."""

from __future__ import annotations

import pytest

from blis.errors import BlisError
from blis.latency import BatchSums, Fitted

MODEL = Fitted((5000.5, 0.25, 3.0, 7.0), (12460, 336, 1.67, 494, 0.21, 6100))


def test_a_mixed_step() -> None:
    # Two decodes with 300 tokens of context, and a chunk of 10 tokens after 20.
    batch = BatchSums(
        prefill_tokens=10, decodes=2, decode_context=300, sequences=3, prefill_causal_attention=10 * (20 + 5)
    )
    assert MODEL.step_us(batch) == int(12460 + 2 * 336 + 300 * 1.67 + 10 * 494 + 250 * 0.21 + 6100)


def test_a_step_without_prefill_has_no_part_for_mixed_steps() -> None:
    assert MODEL.step_us(BatchSums(decodes=2, decode_context=300, sequences=2)) == (12460 + 672 + 501)


def test_overheads() -> None:
    overheads = MODEL.overheads
    assert (overheads.queue_base, overheads.queue_per_token) == (5000.5, 0.25)
    assert (overheads.per_token, overheads.completion) == (3.0, 7.0)


def test_sequences_beyond_the_knee_cost_more() -> None:
    bent = Fitted((0, 0, 0, 0), (12460, 336, 1.67, 494, 0.21, 6100, 900, 5))
    assert bent.step_us(BatchSums(decodes=5, decode_context=100, sequences=5)) == 12460 + 5 * 336 + 167
    assert bent.step_us(BatchSums(decodes=8, decode_context=100, sequences=8)) == 12460 + 8 * 336 + 167 + 3 * 900
    assert bent.decode_us(8, 100, 2).tolist() == bent.few_decodes_us(8, 100, 2) == [18015, 18028]
    with pytest.raises(BlisError, match=r"beta takes 8 coefficients .*the knee.*, found 7"):
        Fitted((0, 0, 0, 0), (1, 1, 1, 1, 1, 1, 1))


def test_negative_coefficients_are_refused() -> None:
    with pytest.raises(BlisError, match="beta coefficient us per token of context is -1"):
        Fitted((0, 0, 0, 0), (1, 1, -1, 1, 1, 1))
