"""Gaps of unit rate: known answers, and independence of block sizes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blis.clients.arrivals import circular_gaps, shaped_gaps, stationary_first_gap, unit_gaps, weibull_shape
from blis.errors import BlisError
from blis.rng import stream


@pytest.mark.parametrize(
    ("cv", "shape"),
    [
        (1.0, 1.0),
        (math.sqrt(5.0), 0.5),
        (math.sqrt(4 / math.pi - 1), 2.0),
        (math.sqrt(19.0), 1 / 3),
        (math.sqrt(69.0), 0.25),
    ],
)
def test_weibull_shape_of_known_cvs(cv: float, shape: float) -> None:
    assert weibull_shape(cv) == pytest.approx(shape, rel=1e-9)


@pytest.mark.parametrize("cv", [0.01, 0.1, 0.5, 2.0, 5.0, 10.4])
def test_weibull_shape_solves_its_equation(cv: float) -> None:
    shape = weibull_shape(cv)
    squared = math.exp(math.lgamma(1 + 2 / shape) - 2 * math.lgamma(1 + 1 / shape)) - 1
    assert squared == pytest.approx(cv**2, rel=1e-9)


@pytest.mark.parametrize(
    ("process", "cv", "part"),
    [("pareto", 1.0, "unknown"), ("gamma", None, "needs a finite cv"), ("weibull", -1.0, "needs a finite cv")],
)
def test_bad_processes_are_named(process: str, cv: float | None, part: str) -> None:
    with pytest.raises(BlisError, match=part):
        unit_gaps(process, cv)


def test_constant_gaps_are_one() -> None:
    assert unit_gaps("constant")(stream(1, "a"), 3).tolist() == [1.0, 1.0, 1.0]


def test_a_cv_next_to_zero_is_constant() -> None:
    assert unit_gaps("gamma", 1e-200)(stream(1, "a"), 2).tolist() == [1.0, 1.0]


@given(
    st.sampled_from([("poisson", None), ("gamma", 0.3), ("gamma", 4.0), ("weibull", 0.4), ("weibull", 6.0)]),
    st.lists(st.integers(1, 50), min_size=1, max_size=8),
)
def test_block_sizes_change_no_gap(process: tuple[str, float | None], sizes: list[int]) -> None:
    gaps_of = unit_gaps(*process)
    rng = stream(3, "x", "arrival")
    blocks = np.concatenate([gaps_of(rng, size) for size in sizes])
    assert blocks.tolist() == gaps_of(stream(3, "x", "arrival"), sum(sizes)).tolist()


@pytest.mark.parametrize("process", ["gamma", "weibull"])
@pytest.mark.parametrize("shape", [1e-6, 0.0108, 0.3, 1.0, 45230.0])
@pytest.mark.parametrize("n", [1, 1000])
def test_gaps_of_extreme_shapes_are_finite_and_not_all_zero(process: str, shape: float, n: int) -> None:
    gaps = circular_gaps(stream(1, "x"), process, shape, n)
    assert np.isfinite(gaps).all()
    assert (gaps >= 0).all()
    assert gaps.max() > 1e-12


def test_weibull_gaps_whose_mean_overflows_are_finite() -> None:
    gaps = shaped_gaps("weibull", 0.005)(stream(1, "x"), 1000)
    assert np.isfinite(gaps).all()


@pytest.mark.parametrize("shape", [1e-6, 0.0108, 45230.0])
@pytest.mark.parametrize("process", ["gamma", "weibull", ""])
def test_stationary_first_gap_is_finite(process: str, shape: float) -> None:
    rng = stream(1, "x")
    assert all(stationary_first_gap(rng, process, shape) >= 0 for _ in range(100))
