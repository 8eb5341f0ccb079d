"""Rates over time: normalisation among the active, time-rescaling, whole microseconds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blis.clients.rates import (
    END_OF_TIME_US,
    Clock,
    RateProfile,
    shared_profiles,
    whole_microseconds,
)

S = 1_000_000


def test_clock_and_its_inverse() -> None:
    clock = Clock.from_paces([0, 10, 30], [2.0, 0.0, 0.5])
    assert clock.read(np.array([0.0, 5.0, 10.0, 20.0, 30.0, 34.0])).tolist() == [0, 10, 20, 20, 20, 22]
    assert clock.when(np.array([0.0, 10.0, 20.0, 22.0])).tolist() == [0, 5, 30, 34]


def test_constant_rate_is_exact() -> None:
    profile = RateProfile(10.0)
    assert profile.times(np.arange(1.0, 4.0)).tolist() == [100_000.0, 200_000.0, 300_000.0]
    assert profile.expected(3 * S) == 30.0


def test_switched_off_time_is_skipped() -> None:
    profile = RateProfile(1.0, ((2 * S, 4 * S), (10 * S, 12 * S)))
    assert profile.times(np.array([0.5, 1.5, 2.0, 3.5, 4.0])).tolist() == [2.5 * S, 3.5 * S, 10 * S, 11.5 * S]
    assert profile.expected(11 * S) == 3.0
    assert profile.expected(END_OF_TIME_US) == 4.0


def test_fractions_are_normalised_among_the_active() -> None:
    always, morning = shared_profiles([[1.0], [3.0]], [(), [(0, 10 * S)]], 8.0)
    assert always.expected(10 * S) == pytest.approx(20.0)
    assert morning.expected(10 * S) == pytest.approx(60.0)
    # Alone, the client that is always active takes the whole aggregate.
    assert always.expected(20 * S) == pytest.approx(100.0)
    assert morning.expected(20 * S) == pytest.approx(60.0)
    assert always.times(np.array([20.0, 28.0])).tolist() == pytest.approx([10 * S, 11 * S])


def test_nobody_active_means_no_arrivals() -> None:
    (only,) = shared_profiles([[1.0]], [[(5 * S, 6 * S)]], 2.0)
    assert only.expected(5 * S) == 0.0
    assert only.times(np.array([1.0, 2.0])).tolist() == [5.5 * S]


@given(st.lists(st.integers(1, 999), min_size=1, max_size=6), st.sampled_from([1000.0, 10.0, 1e300]))
def test_only_ratios_of_fractions_matter_exactly(thousandths: list[int], divisor: float) -> None:
    windows = [[(3, 1_000_003 + at)] if at % 2 else [] for at in range(len(thousandths))]
    written = [float(f"{number}e-300") if divisor == 1e300 else number / divisor for number in thousandths]
    one = shared_profiles([[number] for number in written], windows, 12.3)
    other = shared_profiles([[float(number)] for number in thousandths], windows, 12.3)
    for a, b in zip(one, other, strict=True):
        assert a.rate == b.rate
        assert a.clock.paces.tolist() == b.clock.paces.tolist()


def test_all_fractions_zero() -> None:
    assert [profile.rate for profile in shared_profiles([[0.0], [0.0]], [(), ()], 5.0)] == [0.0, 0.0]


Population = tuple[list[list[float]], list[list[tuple[int, int]]]]


@st.composite
def populations(draw: st.DrawFn) -> Population:
    fractions, windows = [], []
    for _ in range(draw(st.integers(1, 5))):
        cuts = sorted(draw(st.lists(st.integers(0, 100), max_size=6, unique=True)))
        own = [(a * S, b * S) for a, b in zip(cuts[::2], cuts[1::2], strict=False)]
        windows.append(own)
        fractions.append([draw(st.integers(1, 9)) / 10 for _ in own or [0]])
    return fractions, windows


def fraction_at(time: int, fractions: list[float], windows: list[tuple[int, int]]) -> float:
    inside = [fraction for fraction, (start, end) in zip(fractions, windows, strict=False) if start <= time < end]
    return sum(inside) if windows else fractions[0]


@given(populations())
def test_the_aggregate_holds_whenever_anyone_is_active(population: Population) -> None:
    profiles = shared_profiles(*population, 5.0)
    for second in range(0, 101, 7):
        low, high = second * S, (second + 1) * S
        active = [fraction_at(low, *own) for own in zip(*population, strict=True)]
        sent = [profile.expected(high) - profile.expected(low) for profile in profiles]
        assert sum(sent) == pytest.approx(5.0 if any(active) else 0.0, abs=1e-9)
        for mine, fraction in zip(sent, active, strict=True):
            assert mine == pytest.approx(5.0 * fraction / sum(active) if fraction else 0.0, abs=1e-9)


@given(populations(), st.lists(st.floats(0.01, 30), min_size=1, max_size=40))
def test_arrivals_are_the_time_rescaled_process(population: Population, gaps: list[float]) -> None:
    """Lambda at the arrivals gives back the unit-rate process: nothing restarts where a window starts."""
    sums = np.cumsum(gaps)
    for profile in shared_profiles(*population, 5.0):
        times = profile.times(sums)
        assert (np.diff(times) >= 0).all()
        for time, total in zip(times, sums, strict=False):
            # expected() takes whole microseconds: 5 requests/s grow by at most 5e-6 in one.
            assert profile.expected(int(time)) == pytest.approx(total, abs=1.1e-5)
            assert any(start <= time < end for start, end in profile.windows)


def test_windows_with_rates_of_their_own() -> None:
    profile = RateProfile(4.0, ((0, 2 * S), (2 * S, 5 * S), (8 * S, 10 * S)), weights=(0.5, 0.0, 1.0))
    assert [profile.expected(at * S) for at in (1, 2, 5, 9, 20)] == [2, 4, 4, 8, 12]
    assert profile.times(np.array([3.0, 4.0, 6.0, 12.0])).tolist() == [1.5 * S, 8 * S, 8.5 * S]


@given(populations(), st.integers(0, 110))
def test_steps_say_the_rate_at_every_moment(population: Population, second: int) -> None:
    for profile in shared_profiles(*population, 5.0):
        edges, rates = profile.steps()
        assert edges[0] == 0
        assert edges == sorted(set(edges))
        at = int(np.searchsorted(edges, second * S, side="right")) - 1
        sent = profile.expected((second + 1) * S) - profile.expected(second * S)
        assert rates[at] == pytest.approx(sent, abs=1e-9)


def test_whole_microseconds_floor_and_keep_apart() -> None:
    assert whole_microseconds(np.array([0.2, 0.9, 0.95, 7.9]), -1).tolist() == [0, 1, 2, 7]
    assert whole_microseconds(np.array([5.0, 5.5, 9.0]), 6).tolist() == [7, 8, 9]
    assert whole_microseconds(np.empty(0), 6).tolist() == []
    assert whole_microseconds(np.array([np.inf]), 6).tolist() == [END_OF_TIME_US]


@given(st.lists(st.floats(0, 5), min_size=1, max_size=60), st.integers(1, 59))
def test_whole_microseconds_do_not_depend_on_blocks(gaps: list[float], cut: int) -> None:
    times = np.cumsum(gaps)
    together = whole_microseconds(times, -1)
    head = whole_microseconds(times[:cut], -1)
    tail = whole_microseconds(times[cut:], int(head[-1]))
    assert together.tolist() == [*head.tolist(), *tail.tolist()]
    assert (np.diff(together) >= 1).all()
    assert (together >= np.floor(times)).all()


def test_no_drift_from_the_rate() -> None:
    """A thousand requests/s each 1000.0003 µs apart: truncating gaps instead of times would gain 300 µs per million."""
    arrivals = whole_microseconds(RateProfile(999.9997).times(np.arange(1.0, 1e6 + 1)), -1)
    assert arrivals[-1] == 1_000_000_300
