"""Lengths, counts and ratios: ranges, rounding, known answers, independence of block sizes and of each other."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from blis.clients.lengths import MAX_LENGTH, InverseCdf, counts, lengths, ratios
from blis.rng import stream
from blis.spec.distributions import Distribution

NAMED = partial(stream, 5, "client", "input")


def make(kind: str, **params: Any) -> Distribution:
    found: Distribution = TypeAdapter(Distribution).validate_python({"type": kind, "params": params})
    return found


ALL = [
    make("gaussian", mean=50, std_dev=30, min=10, max=80),
    make("exponential", mean=20),
    make("exponential", mean=20, min=5, max=25),
    make("lognormal", mu=3, sigma=1),
    make("pareto_lognormal", alpha=1.5, xm=10, mu=2, sigma=0.5, mix_weight=0.3),
    make("constant", value=7),
    make("empirical", pdf={10: 0.5, 20: 0.25, 30: 0.25}),
]


def test_constant() -> None:
    assert lengths(make("constant", value=7), NAMED)(3).tolist() == [7, 7, 7]
    assert ratios(make("constant", value=0.25), NAMED)(2).tolist() == [0.25, 0.25]


def test_gaussian_is_clipped_to_its_ends() -> None:
    drawn = lengths(ALL[0], NAMED)(10_000)
    assert drawn.min() == 10
    assert drawn.max() == 80
    # 9.1 % and 15.9 % of a normal distribution lie beyond the ends.
    assert (drawn == 10).mean() == pytest.approx(0.091 + 0.005, abs=0.01)
    assert (drawn == 80).mean() == pytest.approx(0.159 + 0.004, abs=0.012)


def test_exponential_is_clipped_where_ends_are_given() -> None:
    drawn = lengths(ALL[2], NAMED)(10_000)
    assert drawn.min() == 5
    assert drawn.max() == 25
    assert lengths(ALL[1], NAMED)(10_000).max() > 100


def test_lengths_are_at_least_one_and_counts_at_least_zero() -> None:
    tiny = make("exponential", mean=0.5)
    assert lengths(tiny, NAMED)(1000).min() == 1
    assert counts(tiny, NAMED)(1000).min() == 0
    nothing = make("empirical", pdf={0: 1.0})
    assert lengths(nothing, NAMED)(3).tolist() == [1, 1, 1]
    assert counts(nothing, NAMED)(3).tolist() == [0, 0, 0]


def test_ratios_stay_in_range() -> None:
    drawn = ratios(make("gaussian", mean=0.5, std_dev=2, min=0, max=9), NAMED)(1000)
    assert drawn.min() == 0.0
    assert drawn.max() == 1.0
    assert ratios(make("empirical", pdf={0.25: 1, 0.75: 1}), NAMED)(1000).mean() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    "heavy",
    [make("lognormal", mu=500, sigma=300), make("pareto_lognormal", alpha=0.01, xm=1e300, mu=0, sigma=1, mix_weight=1)],
)
def test_heavy_tails_are_cut_and_never_overflow(heavy: Distribution) -> None:
    assert lengths(heavy, NAMED)(1000).max() == MAX_LENGTH


@pytest.mark.parametrize(
    ("pdf", "values"), [({100: 1e-9}, {100}), ({1: 3, 2: 1, 9: 0}, {1, 2}), ({0.4: 1, 7.5: 1, 8.6: 1}, {1, 8, 9})]
)
def test_empirical_values(pdf: dict[float, float], values: set[int]) -> None:
    """PDFs may be unnormalised or have one bin; what has no probability never comes up; lengths are whole."""
    assert set(lengths(make("empirical", pdf=pdf), NAMED)(1000).tolist()) == values


def test_empirical_mean_is_that_of_its_pdf() -> None:
    rng = stream(1, "pdf")
    values = np.sort(rng.choice(100_000, 1000, replace=False)) + 1.0
    weights = rng.random(1000)
    drawn = lengths(make("empirical", pdf=dict(zip(values.tolist(), weights.tolist(), strict=True))), NAMED)(10_000)
    assert drawn.mean() == pytest.approx((values * weights).sum() / weights.sum(), rel=0.05)


def test_inverse_cdf_takes_the_smallest_value_whose_probability_exceeds_u() -> None:
    inverse = InverseCdf(np.array([10, 20, 30, 40]), np.array([0.0, 1.0, 0.0, 1.0]))
    assert inverse.at(np.array([0.0, 0.4999, 0.5, 0.9999])).tolist() == [20, 20, 40, 40]


@given(st.sampled_from(ALL), st.lists(st.integers(1, 40), min_size=1, max_size=6))
def test_block_sizes_change_no_draw(distribution: Distribution, sizes: list[int]) -> None:
    sample = lengths(distribution, NAMED)
    blocks = np.concatenate([sample(size) for size in sizes])
    assert blocks.tolist() == lengths(distribution, NAMED)(sum(sizes)).tolist()


def test_another_mix_weight_changes_no_draw_of_either_part() -> None:
    def drawn(mix_weight: float) -> Any:
        return lengths(make("pareto_lognormal", alpha=1.5, xm=100, mu=2, sigma=0.5, mix_weight=mix_weight), NAMED)(500)

    body, tail, mixed = drawn(0.0), drawn(1.0), drawn(0.4)
    assert ((mixed == body) | (mixed == tail)).all()
    assert 150 < (mixed == tail).sum() < 250
