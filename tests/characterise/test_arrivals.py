"""Rates, burstiness and changes of the rate."""

from __future__ import annotations

import numpy as np
import pytest

from blis.characterise.arrivals import dispersion, nice_width, of_arrivals

S = 1_000_000
RNG = np.random.default_rng(5)


def renewal(cv: float, rate: float, count: int) -> np.ndarray:
    return np.cumsum(RNG.gamma(1 / cv**2, cv**2 * S / rate, count)).astype(np.int64)


@pytest.mark.parametrize("cv", [0.3, 1, 3])
def test_a_renewal_process(cv: float) -> None:
    arrivals = renewal(cv, 20, 40_000)
    found = of_arrivals(arrivals, int(arrivals[-1]))
    assert found.rate_per_s == pytest.approx(20, rel=0.05)
    assert found.cv == pytest.approx(cv, rel=0.05)
    assert found.steady_cv == found.cv
    assert found.trend is None
    assert found.fits[0].family == "gamma" or cv == 1
    # Over long windows the index of dispersion of a renewal process is cv^2.
    assert dispersion(arrivals, int(arrivals[-1]))[10 * S] == pytest.approx(cv**2, rel=0.3)


def test_a_rate_that_changes_is_told_from_burstiness() -> None:
    quiet, busy = renewal(1.5, 5, 10_000), renewal(1.5, 40, 10_000)
    arrivals = np.concatenate((quiet, quiet[-1] + busy, quiet[-1] + busy[-1] + renewal(1.5, 5, 10_000)))
    found = of_arrivals(arrivals, int(arrivals[-1]))
    assert found.cv is not None
    assert found.cv > 1.75
    assert found.trend is not None
    assert found.steady_cv == pytest.approx(1.5, rel=0.05)
    assert max(found.trend.rates_per_s) == pytest.approx(40, rel=0.25)
    assert min(found.trend.rates_per_s) == pytest.approx(5, rel=0.25)
    assert np.mean(found.trend.rates_per_s) == pytest.approx(found.rate_per_s)
    assert found.fits[0].family == "gamma"
    assert found.fits[0].params["cv"] == pytest.approx(1.5, rel=0.1)


def test_dispersion_by_hand() -> None:
    # Ten windows of a second with 0 and 4 arrivals in turn: variance 4, mean 2; no change from one 2 s to the next.
    arrivals = np.array([second * S + at for second in range(1, 400, 2) for at in (0, 1, 2, 3)])
    found = dispersion(arrivals, 400 * S)
    assert found[S] == pytest.approx(2.0)
    assert found[10 * S] == pytest.approx(0.0)
    assert list(found) == [S, 10 * S]


def test_too_little_to_say() -> None:
    nothing = of_arrivals(np.array([], np.int64), 0)
    assert (nothing.requests, nothing.rate_per_s, nothing.cv, nothing.trend, nothing.fits) == (0, None, None, None, [])
    assert dispersion(np.array([], np.int64), 10 * S) == {}
    assert of_arrivals(np.array([5, 5, 5]), 5).cv is None
    few = of_arrivals(np.arange(10) ** 2 * S, 81 * S)
    assert few.fits == []
    assert few.cv == pytest.approx(np.std(np.arange(1, 18, 2)) / 9)


def test_a_metronome() -> None:
    found = of_arrivals(np.arange(1, 1000) * S // 3, 333 * S)
    assert found.cv == pytest.approx(0, abs=1e-5)
    assert [fit.family for fit in found.fits] == ["constant"]


@pytest.mark.parametrize("span", [1, 30, 999, 12_345_678, 3600 * S, 30 * 86_400 * S, 5 * 365 * 86_400 * S])
def test_stretches_are_few_and_not_too_few(span: int) -> None:
    width = nice_width(span, 24)
    assert span / width <= 24
    assert width == 1 or span / width >= 24 / 2.5
