"""Steps seen from chunk times are the steps that were."""

from __future__ import annotations

import numpy as np
import pytest

from blis.calibration.steps import Requests, reconstruct
from blis.errors import BlisError
from blis.trace import ChunkTimes


def requests(*rows: tuple[int, int, int, int]) -> Requests:
    return Requests(*(np.array(column, np.int64) for column in zip(*rows, strict=True)))


def test_two_requests_by_hand():
    # a is prefilled in step 0 and decodes in 1 to 4; b, sent during step 2, is prefilled in 3 and decodes in 4 and 5.
    chunks = ChunkTimes.of([0, 1], [[100, 110, 120, 140, 151], [140, 152, 161]])
    steps = reconstruct(chunks, requests((0, 8, 0, 5), (112, 6, 2, 3)), budget=64, gap_us=5)
    assert steps.end_us.tolist() == [100, 110, 120, 140, 151, 161]
    assert steps.decodes.tolist() == [0, 1, 1, 1, 2, 1]
    assert steps.context.tolist() == [0, 8, 9, 10, 11 + 6, 7]
    assert steps.prefill.tolist() == [8, 0, 0, 4, 0, 0]
    assert steps.attention.tolist() == [32.0, 0, 0, 4 * (2 + 2.0), 0, 0]
    assert steps.chunks.tolist() == [1, 0, 0, 1, 0, 0]
    assert steps.usable.tolist() == [False, True, True, True, True, True]
    assert steps.duration_us.tolist() == [0, 10, 10, 20, 11, 10]
    assert steps.on_time == 1.0


def test_a_prompt_longer_than_the_budget_is_spread_over_the_steps_before():
    chunks = ChunkTimes.of([0, 1], [[100, 110, 120, 130, 140], [130, 140]])
    steps = reconstruct(chunks, requests((0, 4, 0, 5), (101, 20, 0, 2)), budget=9, gap_us=5)
    # One token of each step's nine goes to the decode; 20 = 8 + 8 + 4.
    assert steps.prefill.tolist() == [4, 8, 8, 4, 0]
    assert steps.attention.tolist() == [8.0, 8 * 4.0, 8 * (8 + 4.0), 4 * (16 + 2.0), 0]


def test_tokens_that_came_together_still_count_as_steps_of_their_own_request():
    # b's second and third tokens came in one chunk; a shows that there were two steps.
    chunks = ChunkTimes.of([0, 1], [[100, 110, 120, 130], [100, 120, 130]])
    steps = reconstruct(chunks, requests((0, 4, 0, 4), (0, 4, 0, 4)), budget=64, gap_us=5)
    assert steps.decodes.tolist() == [0, 2, 2, 2]
    assert steps.on_time == 1.0


def test_a_request_that_repeats_begins_a_step_without_a_gap():
    chunks = ChunkTimes.of([0, 1], [[100, 101, 102], [100, 101, 102]])
    steps = reconstruct(chunks, requests((0, 4, 0, 3), (0, 4, 0, 3)), budget=64, gap_us=50)
    assert steps.end_us.tolist() == [100, 101, 102]


def test_no_two_chunks_no_steps():
    with pytest.raises(BlisError, match="no request has two chunks"):
        reconstruct(ChunkTimes.of([0], [[100]]), requests((0, 4, 0, 1)), budget=64)
