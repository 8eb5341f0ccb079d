"""Lengths, counts and ratios: ranges, rounding, known answers, independence of block sizes and of each other."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from scipy.special import ndtr

from blis.clients.lengths import MAX_LENGTH, InverseCdf, counts, durations, lengths, ratios
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
    make("lognormal", mu=3, sigma=1, min=10, max=40),
    make("pareto_lognormal", alpha=1.5, xm=10, mu=2, sigma=0.5, mix_weight=0.3, max=15),
    make("uniform", min=5, max=25),
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


def test_uniform_takes_every_whole_number_alike_both_ends_included() -> None:
    die = make("uniform", min=1, max=6)
    for drawn in (lengths(die, NAMED)(60_000), counts(die, NAMED)(60_000)):
        values, times = np.unique(drawn, return_counts=True)
        assert values.tolist() == [1, 2, 3, 4, 5, 6]
        # 10,000 each; 4.5 standard deviations of a binomial count.
        assert np.abs(times - 10_000).max() < 4.5 * math.sqrt(60_000 * 5 / 36)
    assert set(lengths(make("uniform", min=7, max=7), NAMED)(100).tolist()) == {7}


@pytest.mark.parametrize(("low", "high"), [(50, 800), (1, 2), (100, 101), (1, 1_000_000)])
def test_moments_of_uniform_lengths(low: int, high: int) -> None:
    """Mean (a + b)/2 and variance ((b - a + 1)^2 - 1)/12: 425 and 47,000 for 50 to 800."""
    n = 100_000
    drawn = lengths(make("uniform", min=low, max=high), NAMED)(n).astype(float)
    variance = ((high - low + 1) ** 2 - 1) / 12
    assert drawn.mean() == pytest.approx((low + high) / 2, abs=4.5 * math.sqrt(variance / n))
    # The fourth central moment of a discrete uniform is at most 9/5 of its variance's square, or 1 for two values.
    assert drawn.var() == pytest.approx(variance, rel=4.5 * math.sqrt((1.8 - 1) / n))


def test_a_uniform_ratio_is_any_number_between_its_ends() -> None:
    drawn = ratios(make("uniform", min=0.6, max=0.9), NAMED)(10_000)
    assert (0.6 <= drawn.min() < 0.601, 0.899 < drawn.max() <= 0.9) == (True, True)
    assert drawn.mean() == pytest.approx(0.75, abs=4.5 * 0.3 / math.sqrt(12 * 10_000))
    assert len(np.unique(drawn)) == 10_000


def test_fractions_at_the_ends_of_uniform_counts_are_rounded() -> None:
    assert set(counts(make("uniform", min=0.4, max=2.6), NAMED)(1000).tolist()) == {0, 1, 2, 3}


@pytest.mark.parametrize(("low", "high"), [(10, 40), (None, 40), (10, None)])
def test_lognormal_is_clipped_where_ends_are_given(low: float | None, high: float | None) -> None:
    """The mean of a clipped X is a P(X < a) + b P(X > b) + exp(mu + s^2/2) (Phi(B - s) - Phi(A - s)), where A and B are
    the normal places of a and b.
    """
    n, mu, sigma = 200_000, 3.0, 1.0
    # Drawn in thousandths, so that rounding to whole numbers loses next to nothing.
    ends = {key: 1000 * end for key, end in (("min", low), ("max", high)) if end is not None}
    drawn = durations(make("lognormal", mu=mu + math.log(1000), sigma=sigma, **ends), NAMED)(n) / 1000
    a, b = (math.log(end) - mu if end else edge for end, edge in ((low, -math.inf), (high, math.inf)))
    inner = math.exp(mu + 0.5) * float(ndtr(b - sigma) - ndtr(a - sigma))
    mean = (low or 0) * float(ndtr(a)) + (high or 0) * float(ndtr(-b)) + inner
    assert drawn.mean() == pytest.approx(mean, abs=4.5 * drawn.std() / math.sqrt(n))
    for end, share in ((low, float(ndtr(a))), (high, float(ndtr(-b)))):
        if end is not None:
            assert (drawn == end).mean() == pytest.approx(share, abs=0.005)
    assert (low or 0) <= drawn.min()
    assert drawn.max() <= (high or math.inf)


def test_ends_change_no_draw_between_them() -> None:
    free = lengths(make("lognormal", mu=3, sigma=1), NAMED)(1000)
    clipped = lengths(make("lognormal", mu=3, sigma=1, min=10, max=40), NAMED)(1000)
    assert clipped.tolist() == np.clip(free, 10, 40).tolist()


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
