"""Windows of time: their load, and what is done in them."""

from __future__ import annotations

import numpy as np
import pytest

from blis.calibration.load import Phase, Windows


def test_phases_are_thirds_of_the_windows_by_rate():
    # Three stretches of 10 s: 5, 30 and 10 arrivals; 45 arrivals make 4 windows, 60 would make 6.
    arrivals = np.concatenate(
        [np.linspace(0, 9.9e6, 20), np.linspace(10e6, 19.9e6, 100), np.linspace(20e6, 30e6, 60)]
    ).astype(int)
    windows = Windows(arrivals)
    assert len(windows) == 18
    assert windows.phased
    assert windows.phase_of(np.array([0, 15_000_000, 25_000_000, 30_000_000])).tolist() == [0, 2, 1, 1]
    load = windows.summary()
    assert list(load) == ["low", "medium", "high"]
    assert sum(phase.windows for phase in load.values()) == 18
    assert load["low"].most_requests_per_s < 3 < load["medium"].least_requests_per_s
    assert load["high"].most_requests_per_s == pytest.approx(10, rel=0.1)


def test_even_load_has_no_phases():
    windows = Windows(np.arange(0, 60_000_000, 100_000))
    assert not windows.phased
    assert windows.summary() == {}


def test_few_arrivals_have_no_windows():
    assert len(Windows(np.arange(9) * 1000)) == 0
    assert len(Windows(np.zeros(500, int))) == 0
    assert len(Windows(np.empty(0, int))) == 0
    assert not Windows(np.arange(25) ** 2 * 1000).phased


def test_what_is_done_at_once_counts_in_its_window():
    # 40 arrivals over 8 s: 4 windows of 2 s.
    windows = Windows(np.linspace(0, 8e6, 40).astype(int))
    times = np.array([-1.0, 0, 1_999_999, 2_000_000, 7_999_999, 8_000_000])
    assert windows.per_second(times, times, np.arange(1, 7)).tolist() == [(2 + 3) / 2, 4 / 2, 0, 5 / 2]


def test_what_takes_time_is_spread_over_it():
    windows = Windows(np.linspace(0, 8e6, 40).astype(int))
    begins, ends = np.array([1e6, -2e6, 6e6]), np.array([5e6, 2e6, 10e6])
    # 1/4, 2/4, 1/4 of 40; half of 12 in the first window; half of 20 in the last.
    assert windows.per_second(begins, ends, np.array([40, 12, 20])) == pytest.approx([8, 10, 5, 5])


def test_a_summary_says_what_it_counts():
    assert Windows(np.array([0] * 20 + [1_000_000] * 10)).summary()["low"] == Phase(1, 0.0, 0.0)
