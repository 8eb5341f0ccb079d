"""Arrival processes against theory: moments within a few standard errors, and whole distributions.

Seeds are fixed. Each test's threshold is chosen so that all of them together would fail by chance less than once in a
hundred seeds.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from blis.clients.arrivals import circular_gaps, shaped_gaps, stationary_first_gap, unit_gaps, weibull_shape
from blis.clients.rates import RateProfile
from blis.clients.servegen import _spanning
from blis.clients.source import ClientSource
from blis.rng import stream
from blis.spec.client import ClientSpec

pytestmark = pytest.mark.statistical

N = 400_000
CVS = [0.05, 0.3, 0.7, 1.0, 1.6, 3.5, 6.0, 10.0]


def gap_law(process: str, cv: float) -> Any:
    if process == "gamma":
        return stats.gamma(1 / cv**2, scale=cv**2)
    shape = weibull_shape(cv)
    return stats.weibull_min(shape, scale=1 / math.gamma(1 + 1 / shape))


@pytest.mark.parametrize("process", ["gamma", "weibull"])
@pytest.mark.parametrize("cv", CVS)
def test_gaps_follow_their_law(process: str, cv: float) -> None:
    gaps = unit_gaps(process, cv)(stream(1, process, str(cv)), N)
    law = gap_law(process, cv)
    assert law.mean() == pytest.approx(1.0)
    assert law.std() == pytest.approx(cv)
    assert gaps.mean() == pytest.approx(1.0, abs=4.5 * cv / math.sqrt(N))
    assert stats.kstest(gaps, law.cdf).pvalue > 1e-4


@pytest.mark.parametrize("cv", CVS)
def test_variance_of_gamma_gaps(cv: float) -> None:
    gaps = unit_gaps("gamma", cv)(stream(2, "gamma", str(cv)), N)
    # The excess kurtosis of a gamma law is 6 / shape.
    error = cv**2 * math.sqrt((2 + 6 * cv**2) / N)
    assert gaps.var() == pytest.approx(cv**2, abs=4.5 * error)


@pytest.mark.parametrize("cv", [0.05, 0.3, 0.7, 1.0, 1.6])
def test_variance_of_weibull_gaps(cv: float) -> None:
    gaps = unit_gaps("weibull", cv)(stream(2, "weibull", str(cv)), N)
    excess = float(gap_law("weibull", cv).stats("k"))
    assert gaps.var() == pytest.approx(cv**2, abs=4.5 * cv**2 * math.sqrt((2 + excess) / N))


@pytest.mark.parametrize("rate", [0.02, 1.0, 37.5, 900.0])
@pytest.mark.parametrize(("process", "cv"), [("poisson", 1.0), ("gamma", 0.5), ("gamma", 3.5), ("weibull", 2.0)])
def test_clients_arrive_at_their_rate_and_cv(process: str, cv: float, rate: float) -> None:
    length = {"type": "constant", "params": {"value": 1}}
    arrival = {"process": process} if process == "poisson" else {"process": process, "cv": cv}
    client = ClientSpec.model_validate(
        {"id": "a", "rate": rate, "arrival": arrival, "input_distribution": length, "output_distribution": length}
    )
    source = ClientSource(client, RateProfile(rate), 9)
    arrivals = np.concatenate([block.arrival_us for block in source.blocks(round(100_000 / rate * 1e6))])
    gaps = np.diff(np.concatenate(([0], arrivals))) / 1e6
    assert gaps.min() >= 1e-6
    assert gaps.mean() == pytest.approx(1 / rate, rel=4.5 * cv / math.sqrt(len(gaps)))
    assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.04 * cv)


def test_a_bursty_client_is_burstier_than_poisson() -> None:
    gaps = unit_gaps("gamma", 3.5)(stream(4, "a"), 20_000)
    even = unit_gaps("poisson")(stream(4, "b"), 20_000)
    assert gaps.std() / gaps.mean() > 2
    assert even.std() / even.mean() == pytest.approx(1.0, abs=0.04)


@pytest.mark.parametrize("shape", [0.0108, 0.05, 0.0999])
def test_small_gamma_shapes_from_logarithms(shape: float) -> None:
    gaps = circular_gaps(stream(5, str(shape)), "gamma", shape, N)
    # Dividing by the sample's mean, known to about 1 %, moves such flat distribution functions by less than 0.0005.
    distance = stats.kstest(gaps / gaps.mean(), stats.gamma(shape, scale=1 / shape).cdf).statistic
    assert distance < 2.2 / math.sqrt(N) + 0.0005


def window(process: str, shape: float, mean: float, number: int) -> Any:
    blocks = list(_spanning(stream(6, process, str(shape), str(number)), process, shape, mean))
    return np.concatenate(blocks) if blocks else np.empty(0)


@pytest.mark.parametrize(
    ("process", "shape"), [("gamma", 0.02), ("gamma", 0.5), ("weibull", 0.25), ("gamma", 50.0), ("", 0.0)]
)
def test_arrivals_are_spread_evenly_over_their_window(process: str, shape: float) -> None:
    """Bursty clients don't gather at the ends of windows, where all of them would do so together."""
    rng = stream(7, "pick")
    picks = [window(process, shape, 20, number)[rng.integers(20)] for number in range(4000)]
    assert stats.kstest(picks, "uniform").pvalue > 1e-4


@pytest.mark.parametrize("mean", [1, 2, 5])
def test_a_poisson_window_is_poisson_given_its_count(mean: int) -> None:
    """The k-th of n arrivals is a Beta(k, n - k + 1), as the k-th of n uniform ones is."""
    windows = np.array([window("", 0.0, mean, number) for number in range(4000)])
    for k in range(1, mean + 1):
        assert stats.kstest(windows[:, k - 1], stats.beta(k, mean - k + 1).cdf).pvalue > 1e-4


@pytest.mark.parametrize("mean", [0.2, 3.7])
def test_counts_are_rounded_without_bias(mean: float) -> None:
    counts = np.array([len(window("weibull", 0.3, mean, number)) for number in range(20_000)])
    part = mean % 1
    assert set(counts.tolist()) == {math.floor(mean), math.ceil(mean)}
    assert counts.mean() == pytest.approx(mean, abs=4.5 * math.sqrt(part * (1 - part) / 20_000))


@pytest.mark.parametrize(("process", "shape"), [("gamma", 0.1), ("gamma", 4.0), ("weibull", 0.4), ("", 0.0)])
def test_the_first_gap_of_a_stationary_process(process: str, shape: float) -> None:
    """Its distribution function is the integral of 1 - F, with F that of the gaps of mean 1."""
    rng = stream(8, process, str(shape))
    drawn = [stationary_first_gap(rng, process, shape) for _ in range(20_000)]
    gaps = np.sort(shaped_gaps(process, shape)(stream(9, process), 200_000))

    def cdf(at: Any) -> Any:
        below = np.concatenate(([0.0], np.cumsum(gaps)))
        count = np.searchsorted(gaps, at)
        return (below[count] + at * (len(gaps) - count)) / gaps.sum()

    # The law itself is known from 200,000 gaps only, hence the margin on top of the sampling error.
    assert stats.kstest(drawn, cdf).statistic < 2.2 / math.sqrt(20_000) + 0.02
