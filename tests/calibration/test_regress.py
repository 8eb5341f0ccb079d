"""Non-negative regression of durations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blis.calibration.regress import regress
from blis.errors import BlisError

NAMES = ("step", "decode", "prefill")


def design(seed: int, rows: int = 400) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.column_stack([np.ones(rows), rng.integers(1, 17, rows), rng.integers(0, 3, rows) * 100.0])


@settings(max_examples=10)
@given(st.tuples(*[st.floats(0.5, 5000)] * 3), st.integers(0, 10**6))
def test_whole_durations_give_the_coefficients_back(true: tuple[float, ...], seed: int) -> None:
    features = design(seed)
    found = regress(features, np.floor(features @ np.array(true)), NAMES)
    assert found.values == pytest.approx(true, rel=0.02, abs=0.6)
    assert not found.bounded


def test_a_coefficient_that_would_be_negative_is_zero_and_named():
    features = design(1)
    found = regress(features, 1000 - 3 * features[:, 1] + features[:, 2], NAMES)
    assert found.values[1] == 0
    assert found.errors[1] == 0
    assert found.bounded == ("decode",)


def test_a_column_that_never_varies_is_zero_and_named():
    features = design(2)
    features[:, 2] = 0
    assert "prefill" in regress(features, features @ np.array([1000.0, 50, 0]), NAMES).bounded


def test_stalls_are_left_out():
    features = design(3)
    durations = features @ np.array([10_000.0, 300, 5]) * (1 + 0.01 * np.random.default_rng(4).standard_normal(400))
    durations[::40] *= 6
    found = regress(features, durations, NAMES)
    assert found.used <= 392
    assert found.values == pytest.approx([10_000, 300, 5], rel=0.03)


def test_columns_that_move_together_are_called_weak():
    features = design(5)
    features[:, 2] = 7 * features[:, 1] + np.random.default_rng(6).standard_normal(400)
    found = regress(features, features @ np.array([1000.0, 50, 2]), NAMES)
    assert found.weak == ("decode", "prefill")
    assert found.vif[1] > 100


def test_too_few_steps():
    with pytest.raises(BlisError, match="3 usable steps can't tell 3 coefficients"):
        regress(np.ones((3, 3)), np.ones(3), NAMES)


@pytest.mark.statistical
def test_intervals_hold_the_coefficient_19_times_in_20():
    from scipy.stats import binomtest

    true = np.array([9871.3, 312.77, 4.913])
    inside = np.zeros(3, int)
    seeds = 1000
    for seed in range(seeds):
        features = design(seed, 150)
        noise = 1 + 0.02 * np.random.default_rng(seed + 10**6).standard_normal(150)
        found = regress(features, np.floor(features @ true * noise), NAMES)
        for at in range(3):
            low, high = found.interval(at)
            inside[at] += low <= true[at] <= high
    # Three tests at once: each at a third of one per cent.
    assert all(binomtest(int(count), seeds, 0.95).pvalue > 0.0033 for count in inside), inside
