from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blis.errors import InternalError
from blis.trace import Histogram

VALUES = st.integers(0, 2**40) | st.integers(0, 30)
PAIRS = st.lists(st.tuples(VALUES, st.integers(1, 50)), min_size=1, max_size=40)
PERCENT = st.floats(0, 100) | st.integers(0, 100)


def test_figures_worked_out_by_hand():
    gaps = Histogram()
    gaps.add(np.array([10, 20, 30]), np.array([1, 2, 1]))
    # 10 20 20 30: the median is 20, p90 lies 0.7 of the way from the third to the fourth.
    assert (gaps.count, gaps.total, gaps.mean, gaps.min, gaps.max) == (4, 80, 20.0, 10, 30)
    assert gaps.percentile(50) == 20.0
    assert gaps.percentile(90) == pytest.approx(27.0, rel=1e-15)
    assert gaps.values.tolist() == [10, 20, 30]
    assert gaps.counts.tolist() == [1, 2, 1]


def test_an_empty_one_has_no_figures():
    empty = Histogram()
    assert (empty.count, empty.total) == (0, 0)
    assert empty.mean is None
    assert empty.min is None
    assert empty.max is None
    assert empty.percentile(50) is None


@given(PAIRS, PERCENT)
def test_percentiles_are_those_of_the_expanded_multiset(pairs, p):
    values, counts = (np.array(column) for column in zip(*pairs, strict=True))
    assert Histogram(values, counts).percentile(p) == np.percentile(np.repeat(values, counts), p)


@given(PAIRS, PERCENT)
def test_percentiles_rise(pairs, p):
    histogram = Histogram(*zip(*pairs, strict=True))
    assert histogram.percentile(0) == histogram.min
    assert histogram.percentile(100) == histogram.max
    assert histogram.percentile(p / 2) <= histogram.percentile(p)


@given(st.lists(st.tuples(st.lists(st.integers(0, 1000), max_size=5), st.integers(1, 9), st.booleans()), max_size=12))
def test_every_way_to_add_counts_the_same(additions):
    bulk, weighted, single, merged = Histogram(), Histogram(), Histogram(), Histogram()
    expanded = []
    for values, weight, read in additions:
        array = np.array(values, np.int64)
        bulk.add(array, weight)
        weighted.add(array, np.full(len(values), weight))
        part = Histogram()
        for value in values:
            single.add_one(value, weight)
            part.add_one(value, weight)
        merged.merge(part)
        expanded += values * weight
        if read:
            assert bulk.count == weighted.count == single.count == len(expanded)
    assert bulk == weighted == single == merged
    values, counts = np.unique(np.array(expanded, np.int64), return_counts=True)
    assert bulk.values.tolist() == values.tolist()
    assert bulk.counts.tolist() == counts.tolist()


def test_more_values_than_the_buffer_holds():
    rng = np.random.default_rng(1)
    histogram = Histogram()
    parts = [rng.integers(0, high, 9_000) for high in (300, 10**12) for _ in range(20)]
    for part in parts:
        histogram.add(part, 3)
    values, counts = np.unique(np.concatenate(parts), return_counts=True)
    assert np.array_equal(histogram.values, values)
    assert np.array_equal(histogram.counts, counts * 3)


def test_what_was_added_can_be_taken_back():
    histogram = Histogram([1, 2, 3], [5, 5, 5])
    histogram.add(np.array([1, 2]), -5)
    histogram.add_one(3, -4)
    assert histogram == Histogram([3], [1])
    histogram.add_one(7, -1)
    with pytest.raises(InternalError, match="never held"):
        _ = histogram.count


def test_sums_beyond_63_bits_are_exact():
    big = Histogram([2**62, 2**62 + 1], [3, 1])
    assert big.total == 4 * 2**62 + 1


@pytest.mark.parametrize("p", [-0.1, 100.1, float("nan")])
def test_a_percentile_lies_between_0_and_100(p):
    with pytest.raises(ValueError, match="between 0 and 100"):
        Histogram([1], [1]).percentile(p)
