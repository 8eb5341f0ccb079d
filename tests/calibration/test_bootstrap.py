"""The block bootstrap: exact figures of each resample, and blocks that suit the dependence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter

from blis.calibration.bootstrap import Resampler, block_length, interval
from blis.rng import stream


def weights(resampler: Resampler, n: int) -> np.ndarray:
    """How often each resample has each item: sums of indicators, one item at a time."""
    return np.array([resampler.sums([(np.arange(n) == item)], resampler.places)[0] for item in range(n)]).T


@settings(max_examples=25)
@given(
    st.lists(st.integers(0, 20), min_size=5, max_size=60),
    st.integers(1, 12),
    st.integers(0, 1000),
    st.floats(0.01, 0.99),
)
def test_figures_of_resamples_are_those_of_the_items_drawn(values, block, seed, p):
    values = np.array(values, float)
    resampler = Resampler(values.size, block, 8, stream(seed, "test"))
    drawn = weights(resampler, values.size).astype(int)
    (total,) = resampler.sums([values], resampler.places)
    (quantiles,) = resampler.quantiles(values, resampler.places, [p])
    for counts, one_total, quantile in zip(drawn, total, quantiles, strict=True):
        items = np.repeat(values, counts)
        assert one_total == pytest.approx(items.sum())
        assert quantile == pytest.approx(np.quantile(items, p))


def test_quantiles_of_some_of_the_items():
    values = stream(1, "values").random(400)
    resampler = Resampler(400, 5, 16, stream(2, "test"))
    members = np.arange(400) % 3 == 0
    found = resampler.quantiles(values[members], resampler.places[members], [0.5, 0.99])
    drawn = weights(resampler, 400).astype(int)
    expected = [np.quantile(np.repeat(values[members], counts[members]), (0.5, 0.99)) for counts in drawn]
    assert found == pytest.approx(np.array(expected).T)


@pytest.mark.parametrize(("n", "block"), [(100, 1), (100, 10), (1000, 7), (20_000, 30), (7, 7)])
def test_resamples_are_as_large_as_the_sample_and_made_of_blocks(n: int, block: int):
    resampler = Resampler(n, block, 50, stream(0, "test"))
    (sizes,) = resampler.sums([np.ones(n)], resampler.places)
    assert sizes.mean() == pytest.approx(n, rel=0.12)
    # Drawn or not, the items of a place are in it together.
    assert (np.diff(resampler.places) >= 0).all()
    assert resampler.places[-1] < 4096


def test_every_item_is_drawn_equally_often():
    resampler = Resampler(40, 8, 20_000, stream(0, "test"))
    often = weights(resampler, 40).mean(axis=0)
    assert often == pytest.approx(np.ones(40), abs=0.05)


def test_fewer_than_five_items_have_no_figures():
    resampler = Resampler(10, 2, 6, stream(0, "test"))
    assert np.isnan(resampler.sums([np.ones(4)], resampler.places[:4])).all()
    assert np.isnan(resampler.quantiles(np.ones(4), resampler.places[:4], [0.5])).all()
    assert interval(np.full(6, np.nan)) == (None, None)


def test_the_interval_holds_95_per_cent():
    assert interval(np.arange(1001.0)) == pytest.approx((25.0, 975.0))
    half = np.concatenate((np.full(999, np.nan), np.arange(1001.0)))
    assert interval(half) == pytest.approx((25.0, 975.0))
    assert interval(half[:-10]) == (None, None)


def autoregressive(rho: float, n: int, seed: int) -> np.ndarray:
    return lfilter([1], [1, -rho], stream(seed, "noise").normal(size=n + 500))[500:]


def test_blocks_are_as_long_as_the_dependence_asks_for():
    # For x_t = rho x_(t-1) + noise the ideal is (6 rho^2 n / (1 - rho^2)^2)^(1/3).
    for rho, n in ((0.5, 20_000), (0.8, 20_000)):
        ideal = (6 * rho**2 / (1 - rho**2) ** 2 * n) ** (1 / 3)
        found = np.mean([block_length(autoregressive(rho, n, seed)) for seed in range(8)])
        assert found == pytest.approx(ideal, rel=0.25)
    assert np.mean([block_length(autoregressive(0.0, 5_000, seed)) for seed in range(8)]) < 6


@pytest.mark.parametrize("series", [[], [1.0], [1, 2], [3, 3, 3, 3, 3, 3]])
def test_a_series_without_dependence_to_see_needs_no_blocks(series):
    assert block_length(np.array(series, float)) == 1


@pytest.mark.statistical
@pytest.mark.parametrize(("rho", "least"), [(0.0, 0.92), (0.7, 0.90)])
def test_intervals_cover_the_truth(rho: float, least: float):
    """Of 300 samples of 600 dependent values, about 95 % have an interval of the mean that holds the true one, 0."""
    hits = 0
    for seed in range(300):
        values = autoregressive(rho, 600, seed)
        resampler = Resampler(600, block_length(values), 400, stream(seed, "test"))
        total, count = resampler.sums([values, np.ones(600)], resampler.places)
        low, high = interval(total / count)
        hits += low <= 0 <= high
    assert least <= hits / 300 <= 0.98
