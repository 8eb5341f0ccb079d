from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blis.metrics import Distribution, jain_index
from blis.metrics.distribution import percentile_of_sorted
from blis.trace import Histogram


def test_percentiles_worked_out_by_hand():
    # Positions p/100 * 4: 2, 3.6, 3.8 and 3.96.
    assert Distribution.of(np.array([50, 10, 40, 20, 30])) == Distribution(
        5, 30.0, 30.0, 46.0, 48.0, pytest.approx(49.6), 50
    )
    assert Distribution.of(np.array([7])) == Distribution(1, 7.0, 7.0, 7.0, 7.0, 7.0, 7)
    assert Distribution.of(np.array([], np.int64)) == Distribution(0)


@given(st.lists(st.integers(0, 2**53) | st.integers(0, 9), min_size=1), st.floats(0, 100))
def test_percentiles_of_whole_numbers_are_numpys(values, p):
    assert percentile_of_sorted(np.sort(np.array(values)), p) == np.percentile(values, p)


@given(st.lists(st.floats(0, 1e9), min_size=1), st.sampled_from([0, 50, 90, 95, 99, 100]))
def test_percentiles_of_reals_are_numpys(values, p):
    assert percentile_of_sorted(np.sort(np.array(values)), p) == np.percentile(values, p)


@given(st.lists(st.integers(0, 50), min_size=1))
def test_a_histogram_has_the_distribution_of_its_values(values):
    counted = Histogram(values, [1] * len(values))
    of = Distribution.of(np.array(values))
    assert Distribution.of_histogram(counted) == Distribution(
        of.n, pytest.approx(of.mean, rel=1e-15), of.p50, of.p90, of.p95, of.p99, of.max
    )


@pytest.mark.parametrize(
    ("shares", "index"), [([3, 3, 3], 1.0), ([1, 2, 3], 36 / 42), ([5, 0, 0, 0], 0.25), ([0, 0], None), ([], None)]
)
def test_jains_index(shares, index):
    assert jain_index(shares) == (None if index is None else pytest.approx(index, rel=1e-15))


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=20).filter(any), st.integers(1, 50))
def test_jains_index_does_not_depend_on_the_unit(shares, factor):
    index = jain_index(shares)
    assert 1 / len(shares) <= index * (1 + 1e-12)
    assert index <= 1 + 1e-12
    assert jain_index([share * factor for share in shares]) == pytest.approx(index)
