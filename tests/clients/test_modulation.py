"""Daily rhythms, spikes and drains: closed forms against numeric integration, and inverses."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import brentq

from blis.clients.modulation import FLAT, ModulatedProfile, Wave

S = 1_000_000
HOUR = 3600 * S
DAY = 24 * HOUR

RATIOS = st.one_of(st.floats(1, 1000), st.sampled_from([1, 2, 1000]))


@given(RATIOS, st.floats(0, 24))
def test_the_mean_over_a_day_is_1_and_peak_over_trough_the_ratio(ratio: float, hour: float) -> None:
    wave = Wave(ratio, hour * HOUR, DAY)
    peak, trough = wave.at(np.array([hour * HOUR, (hour + 12) * HOUR]))
    assert peak / trough == pytest.approx(ratio)
    assert wave.read(np.array([0.0, DAY, 3.0 * DAY])) == pytest.approx(np.array([0, DAY, 3 * DAY]), abs=1e-3)
    hours = np.arange(0, 24, 0.25) * HOUR
    assert (wave.at(hours) <= peak * (1 + 1e-12)).all()
    assert (wave.at(hours) >= trough * (1 - 1e-9)).all()


@given(RATIOS, st.floats(0, 24), st.lists(st.floats(0, 30 * DAY), min_size=1, max_size=20))
def test_when_undoes_read(ratio: float, hour: float, times: list[float]) -> None:
    wave = Wave(ratio, hour * HOUR, DAY)
    readings = wave.read(np.array(times))
    assert wave.read(wave.when(readings)) == pytest.approx(readings, abs=0.01)
    # In the trough of the steepest rhythm, a reading known to a thousandth leaves the time open by a microsecond.
    assert wave.when(readings) == pytest.approx(np.array(times), abs=1)


def test_a_drain_without_a_rhythm() -> None:
    profile = ModulatedProfile([0, 10 * S, 14 * S], [10, 10, 0], [0, -10 / (4 * S), 0], FLAT)
    assert [profile.expected(at * S) for at in (5, 10, 12, 14, 99)] == pytest.approx([50, 100, 115, 120, 120])
    assert profile.times(np.array([50.0, 115.0, 120.5])) == pytest.approx([5 * S, 12 * S])


def test_nothing_comes_where_the_rate_is_0() -> None:
    profile = ModulatedProfile([0, 10 * S, 20 * S], [0, 2, 0], [0, 0, 0], Wave(3, 0, 60 * S))
    times = profile.times(np.linspace(0, profile.expected(60 * S), 100))
    assert len(times) == 99
    assert times.min() >= 10 * S
    assert times.max() < 20 * S
    assert ModulatedProfile([0], [0], [0], FLAT).times(np.array([1.0])).tolist() == []


@st.composite
def modulated(draw: st.DrawFn) -> tuple[ModulatedProfile, list[tuple[float, float, float]], Wave]:
    """A profile, its pieces (start, rate, slope) and its wave."""
    starts = sorted({0, *draw(st.lists(st.integers(1, 100), max_size=4))})
    rates = [draw(st.sampled_from([0.0, 0.5, 30.0])) for _ in starts]
    slopes = [0.0] * len(starts)
    if draw(st.booleans()) and len(starts) > 1:
        at = draw(st.integers(0, len(starts) - 2))
        slopes[at] = -rates[at] / ((starts[at + 1] - starts[at]) * S)
    wave = Wave(draw(RATIOS), draw(st.floats(0, 50)) * S, draw(st.sampled_from([7, 40, 1000])) * S)
    edges = [start * S for start in starts]
    return ModulatedProfile(edges, rates, slopes, wave), list(zip(edges, rates, slopes, strict=True)), wave


@settings(max_examples=30)
@given(modulated(), st.integers(1, 200))
def test_the_closed_form_is_the_integral(
    case: tuple[ModulatedProfile, list[tuple[float, float, float]], Wave], second: int
) -> None:
    profile, pieces, wave = case
    total, end = 0.0, float(second * S)
    ends = [*[start for start, _, _ in pieces[1:]], np.inf]
    for (start, rate, slope), stop in zip(pieces, ends, strict=True):
        if start < end and rate:

            def density(t: float, start: float = start, rate: float = rate, slope: float = slope) -> float:
                return (rate + slope * (t - start)) * float(wave.at(np.array([t]))[0]) / S

            grid = np.linspace(start, min(stop, end), 60)
            total += sum(quad(density, a, b)[0] for a, b in pairwise(grid))
    assert profile.expected(second * S) == pytest.approx(total, rel=1e-6, abs=1e-6)


@settings(max_examples=40)
@given(modulated(), st.lists(st.floats(0, 1), min_size=1, max_size=30), st.integers(1, 5))
def test_times_undo_the_closed_form(
    case: tuple[ModulatedProfile, list[tuple[float, float, float]], Wave], parts: list[float], size: int
) -> None:
    profile = case[0]
    sums = np.sort(np.array(parts)) * profile.expected(200 * S)
    times = profile.times(sums)
    assert (np.diff(times) >= 0).all()
    for time, total in zip(times, sums, strict=False):
        # Whole microseconds of at most 60 requests/s.
        assert profile.expected(int(time)) == pytest.approx(total, abs=2e-4)
    pieces = [profile.times(sums[at : at + size]) for at in range(0, len(sums), size)]
    assert np.concatenate(pieces).tolist() == times.tolist()


@pytest.mark.parametrize("ratio", [1.0, 5.0, 1000.0])
def test_arrivals_on_a_ramp_against_a_root_finder(ratio: float) -> None:
    wave = Wave(ratio, 9 * HOUR, DAY)
    profile = ModulatedProfile([0, 2 * HOUR, 30 * HOUR], [3, 3, 0], [0, -3 / (28 * HOUR), 0], wave)
    low, high = profile.expected(2 * HOUR), profile.expected(30 * HOUR)
    sums = np.linspace(low, high, 40)[1:-1]
    for time, total in zip(profile.times(sums), sums, strict=True):
        root = brentq(lambda t, total=total: profile.expected(t) - total, 2 * HOUR, 30 * HOUR, xtol=0.01)
        assert time == pytest.approx(root, abs=1)
