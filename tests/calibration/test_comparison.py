"""Statistics of pairs against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blis.calibration.bootstrap import Resampler
from blis.calibration.comparison import compare, compare_gaps, pearson_r, spearman_r
from blis.calibration.figures import Comparison, Rating, rate
from blis.rng import stream
from blis.trace import Histogram


def compared(real, simulated, block: int = 1) -> Comparison:
    real, simulated = np.array(real, float), np.array(simulated, float)
    resampler = Resampler(real.size, block, 200, stream(0, "test"))
    return compare(real, simulated, resampler.places, resampler)


def test_errors_worked_out_by_hand():
    result = compared([100, 200, 400, 500], [110, 180, 400, 600])
    # Errors 0.1, 0.1, 0, 0.2; differences 10, -20, 0, 100 of a mean of 300.
    assert result.mape.value == pytest.approx(0.1)
    assert result.bias.size.value == pytest.approx(22.5)
    assert result.bias.share.value == pytest.approx(0.075)
    # Deviations -200 -100 100 200 and -212.5 -142.5 77.5 277.5: products 120000, squares 100000 and 148475.
    assert result.pearson_r.value == pytest.approx(120_000 / (100_000 * 148_475) ** 0.5)
    assert result.spearman_r == pytest.approx(1.0)
    # Ranks (n - 1) p: halfway between the second and the third, and 0.7 of the way from the third to the fourth.
    assert (result.figures["p50"].real, result.figures["p50"].simulated) == (300, 290)
    assert result.figures["p50"].error.value == pytest.approx(-1 / 30)
    assert (result.figures["p90"].real, result.figures["p90"].simulated) == (pytest.approx(470), pytest.approx(540))
    assert result.figures["p90"].error.value == pytest.approx(70 / 470)
    assert result.figures["p95"].error.value == pytest.approx((570 - 485) / 485)
    assert result.figures["p99"].error.value == pytest.approx((594 - 497) / 497)
    assert result.figures["mean"].error.value == pytest.approx(0.075)
    assert (result.n, result.n_simulated, result.zero_reals) == (4, 4, 0)


def test_distances_worked_out_by_hand():
    result = compared([1, 2, 3, 4], [3, 4, 5, 6])
    # Half of the real values lie below every simulated one; all of them have 2 to go.
    assert result.ks.d == 0.5
    assert result.wasserstein == pytest.approx(2)
    assert compared([1, 2, 3], [10, 11, 12]).ks.d == 1


def test_quantiles_against_quantiles():
    values = np.arange(201.0)
    result = compared(values, 2 * values)
    # Position 200 p: the k-th of a hundred quantiles lies at p = (k + 1/2)/100.
    assert result.qq.real == pytest.approx([2 * k + 1 for k in range(100)])
    assert result.qq.simulated == pytest.approx([4 * k + 2 for k in range(100)])


def test_a_perfect_prediction():
    values = [300, 100, 250, 700, 100, 420]
    result = compared(values, values)
    assert (result.mape.value, result.mape.low, result.mape.high) == (0, 0, 0)
    assert result.pearson_r.value == pytest.approx(1)
    assert result.pearson_r.low == pytest.approx(1)
    assert result.bias.direction == "none"
    assert (result.ks.d, result.wasserstein, result.rating) == (0, 0, Rating.EXCELLENT)
    assert all(figure.error.value == figure.error.high == 0 for figure in result.figures.values())


@pytest.mark.parametrize(("factor", "direction"), [(1.1, "over"), (0.9, "under")])
def test_ten_per_cent_off(factor: float, direction: str):
    values = np.array([300, 100, 250, 700, 100, 420])
    result = compared(values, factor * values)
    assert result.mape.value == pytest.approx(0.10)
    assert result.pearson_r.value == pytest.approx(1)
    assert result.bias.direction == direction
    assert result.bias.share.value == pytest.approx(factor - 1)
    for figure in result.figures.values():
        assert figure.error.value == pytest.approx(factor - 1)
        assert (figure.error.low, figure.error.high) == (pytest.approx(factor - 1), pytest.approx(factor - 1))


def test_zero_reals_are_skipped_and_counted():
    result = compared([0, 100, 0, 200, 100], [50, 110, 0, 180, 100])
    assert (result.n, result.zero_reals) == (5, 2)
    assert result.mape.value == pytest.approx((0.1 + 0.1 + 0) / 3)
    nothing = compared([0, 0, 0], [1, 2, 3])
    assert (nothing.mape, nothing.bias.share, nothing.rating) == (None, None, None)
    assert nothing.bias.size.value == 2
    assert nothing.figures["p50"].error is None


@pytest.mark.parametrize(
    ("real", "simulated"), [([1], [1]), ([1, 2], [1, 2]), ([5, 5, 5, 5], [1, 2, 3, 4]), ([1, 2, 3, 4], [5, 5, 5, 5])]
)
def test_too_few_pairs_or_no_variance_is_no_correlation(real, simulated):
    result = compared(real, simulated)
    assert (result.pearson_r.value, result.spearman_r) == (0, 0)
    assert result.rating == Rating.POOR


def test_nothing_compared():
    assert compare(np.empty(0), np.empty(0), np.empty(0, int), Resampler(3, 1, 10, stream(0))) == Comparison(0, 0)


def test_fewer_than_five_pairs_have_no_interval():
    assert compared([1, 2, 3, 4], [2, 2, 3, 4]).mape.low is None
    assert compared([1, 2, 3, 4], [2, 2, 3, 5]).bias.direction == "none"
    assert compared([1, 2, 3, 4, 5], [2, 2, 3, 4, 5]).mape.low is not None


@pytest.mark.parametrize(
    ("mape", "r", "rating"),
    [
        (0.0999, 0.951, Rating.EXCELLENT),
        (0.10, 0.99, Rating.GOOD),
        (0.05, 0.95, Rating.GOOD),
        (0.1999, 0.851, Rating.GOOD),
        (0.20, 0.99, Rating.FAIR),
        (0.0, 0.85, Rating.FAIR),
        (0.3499, 0.701, Rating.FAIR),
        (0.35, 1.0, Rating.POOR),
        (0.0, 0.70, Rating.POOR),
    ],
)
def test_ratings_at_their_limits(mape: float, r: float, rating: Rating):
    assert rate(mape, r) is rating


PAIRS = st.lists(st.tuples(st.integers(0, 10**7), st.integers(0, 10**7)), min_size=3, max_size=40)


@settings(max_examples=25)
@given(PAIRS)
def test_correlations_are_those_of_scipy(pairs):
    from scipy import stats

    x, y = np.array(pairs, float).T
    if np.ptp(x) and np.ptp(y):
        assert pearson_r(x, y) == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-9)
        assert spearman_r(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-9)
    else:
        assert pearson_r(x, y) == spearman_r(x, y) == 0


@settings(max_examples=25)
@given(st.lists(st.integers(0, 50), min_size=5, max_size=60), st.lists(st.integers(0, 50), min_size=5, max_size=60))
def test_counted_values_compare_as_if_listed(real, simulated):
    """Gaps between tokens come as a histogram: nothing changes but the form."""
    from scipy import stats

    first, second = (Histogram(side, [1] * len(side)) for side in (real, simulated))
    result = compare_gaps(first, second)
    expected = stats.ks_2samp(real, simulated, method="asymp")
    assert result.ks.d == pytest.approx(expected.statistic)
    assert result.ks.p == pytest.approx(expected.pvalue)
    assert result.wasserstein == pytest.approx(stats.wasserstein_distance(real, simulated), abs=1e-12)
    assert result.figures["p90"].real == pytest.approx(np.quantile(real, 0.9))
    assert result.qq.simulated[99] == pytest.approx(np.quantile(simulated, 0.995))
    assert (result.mape, result.pearson_r, result.bias, result.rating) == (None, None, None, None)
    assert (result.n, result.n_simulated) == (len(real), len(simulated))


def test_no_gaps_at_all():
    assert compare_gaps(Histogram(), Histogram([1], [3])) == Comparison(0, 3)
