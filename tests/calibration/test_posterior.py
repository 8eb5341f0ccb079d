"""Regression with priors where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from blis.calibration.moments import Parameter
from blis.calibration.posterior import learned, regress_with_priors
from blis.errors import BlisError

PARAMETERS = (Parameter("a", 10.0, 5.0), Parameter("b", 3.0, 2.0), Parameter("c", 1.0, 1.0))


def design(count: int = 400) -> np.ndarray:
    generator = np.random.default_rng(1)
    return np.column_stack([np.full(count, 100.0), generator.uniform(0, 50, count), np.zeros(count)])


def test_durations_beat_priors_and_silence_leaves_them() -> None:
    features = design()
    found = regress_with_priors(features, features @ [20.0, 7.0, 0.0], PARAMETERS)
    assert found.values == pytest.approx([20, 7, 1], rel=1e-3)
    shares = learned(found, PARAMETERS)
    assert shares["a"] > 0.99
    assert shares["c"] == pytest.approx(0, abs=1e-9)
    assert found.errors[2] == pytest.approx(1.0)


def test_what_only_a_sum_is_known_of_shares_it_by_the_priors() -> None:
    features = np.column_stack([np.full(100, 50.0), np.full(100, 50.0)])
    found = regress_with_priors(features, np.full(100, 1000.0), (Parameter("a", 5.0, 1.0), Parameter("b", 5.0, 3.0)))
    # The sum is 20, ten above what was expected: nine tenths of that go where the variance is.
    assert found.values == pytest.approx([6, 14], rel=1e-3)
    assert found.covariance[0, 1] < 0


def test_stalls_are_left_out_and_nothing_is_negative() -> None:
    features = design()
    durations = features @ [20.0, 0.0, 0.0]
    durations[:5] *= 3
    found = regress_with_priors(features, durations, PARAMETERS)
    assert found.values[0] == pytest.approx(20, rel=1e-3)
    assert found.values[1] == pytest.approx(0, abs=1e-2)
    assert found.used == 395


def test_intervals_hold_the_truth() -> None:
    inside = 0
    for seed in range(200):
        generator = np.random.default_rng(seed)
        features = np.column_stack([np.full(300, 100.0), generator.uniform(0, 50, 300), np.zeros(300)])
        mean = features @ [20.0, 7.0, 0.0]
        found = regress_with_priors(features, mean + np.sqrt(mean) * generator.normal(0, 2, 300), PARAMETERS)
        inside += abs(found.values[1] - 7.0) <= 1.96 * found.errors[1]
    assert 180 <= inside <= 199


def test_too_few() -> None:
    with pytest.raises(BlisError, match="2 usable steps can't tell 3 coefficients"):
        regress_with_priors(design(2), np.ones(2), PARAMETERS)
