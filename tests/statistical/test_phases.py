"""Arrivals under changing rates against theory. Seeds are fixed; see the thresholds of test_arrivals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from blis.clients.arrivals import stationary_first_gaps, unit_gaps, weibull_shape
from blis.clients.build import sources
from blis.clients.conditioned import on_a_circle
from blis.clients.source import ClientSource
from blis.rng import stream
from blis.spec.workload import workload_from_dict

pytestmark = pytest.mark.statistical

S = 1_000_000
ONE = {"type": "constant", "params": {"value": 1}}
LENGTHS = {"input_distribution": ONE, "output_distribution": ONE}
PATTERNS = {
    "diurnal": {"peak_hour": 9, "peak_to_trough_ratio": 8, "day_us": "500s"},
    "spike": {"start_time_us": "300s", "duration_us": "100s", "multiplier": 6},
    "drain": {"start_time_us": "600s", "ramp_duration_us": "1400s"},
}


def members(seed: int = 5, **cohort: Any) -> list[ClientSource]:
    made = {"id": "a", **LENGTHS, **cohort}
    found = sources(workload_from_dict({"seed": seed, "num_requests": 1, "cohorts": [made]}), None, pytest.fail)
    return [source for source in found if isinstance(source, ClientSource)]


def arrivals(source: ClientSource, end_us: int = 2000 * S) -> np.ndarray:
    return np.concatenate([np.empty(0, np.int64), *source.arrivals(end_us)])


@pytest.mark.parametrize(
    ("process", "cv"), [("poisson", 1.0), ("gamma", 0.4), ("gamma", 3.0), ("weibull", 2.0), ("constant", 0.0)]
)
def test_burstiness_is_kept_when_the_rate_changes(process: str, cv: float) -> None:
    """Lambda at the arrivals is the renewal process it was drawn as, its cv and its law."""
    arrival = {"process": process} if process in ("poisson", "constant") else {"process": process, "cv": cv}
    (source,) = members(population=1, rate=100, arrival=arrival, **PATTERNS)
    times = arrivals(source)
    gaps = np.diff([source.expected(int(time)) for time in times])
    assert len(times) == pytest.approx(source.expected(2000 * S), abs=4.5 * cv * math.sqrt(len(times)) + 1)
    # Times in whole microseconds, in which Lambda grows by up to 0.001; and bursts are kept a microsecond apart.
    assert gaps.mean() == pytest.approx(1, abs=4.5 * cv / math.sqrt(len(gaps)) + 1e-3)
    assert gaps.std() == pytest.approx(cv, abs=0.04 * cv**2 + 2e-3)
    if process == "gamma":
        grid = np.geomspace(0.01, 20, 60)
        shares = np.searchsorted(np.sort(gaps), grid) / len(gaps)
        assert np.abs(shares - stats.gamma(1 / cv**2, scale=cv**2).cdf(grid)).max() < 2.2 / math.sqrt(len(gaps)) + 0.01


def test_poisson_members_together_follow_the_rate() -> None:
    """Whatever the pattern, all arrivals of a cohort through Lambda are uniform: a Poisson process of its rate."""
    found = members(population=3000, rate=40, arrival={"process": "poisson"}, **PATTERNS)
    times = np.sort(np.concatenate([arrivals(source) for source in found]))
    total = 3000 * found[0].expected(2000 * S)
    assert len(times) == pytest.approx(total, abs=4.5 * math.sqrt(total))
    positions = np.array([found[0].expected(int(time)) for time in times]) / found[0].expected(2000 * S)
    assert stats.kstest(positions, "uniform").pvalue > 1e-4


@pytest.mark.parametrize(
    "arrival", [{"process": "gamma", "cv": 5}, {"process": "weibull", "cv": 3}, {"process": "constant"}]
)
def test_members_of_any_process_begin_at_their_rate(arrival: dict[str, Any]) -> None:
    """In each tenth of the time as many requests as the rate says, from the first moment on."""
    found = members(population=20_000, rate=100, arrival=arrival)
    counts = np.zeros(10)
    per_member = []
    for source in found:
        own = np.histogram(arrivals(source, 100 * S), bins=10, range=(0, 100 * S))[0]
        counts += own
        per_member.append(own)
    spread = np.std(per_member, axis=0) * math.sqrt(len(found))
    assert (np.abs(counts - 1000) < 4.5 * spread + 1).all()


@pytest.mark.parametrize(("process", "cv"), [("poisson", None), ("gamma", 5.0), ("gamma", 0.3), ("weibull", 4.0)])
def test_first_gaps_of_processes_that_have_run_for_ever(process: str, cv: float | None) -> None:
    """Their distribution function is the integral of 1 - F, with F that of the gaps of mean 1."""
    drawn = stationary_first_gaps(lambda *names: stream(8, process, *names), process, cv, 20_000)
    gaps = np.sort(unit_gaps(process, cv)(stream(9, process), 400_000))
    below = np.concatenate(([0.0], np.cumsum(gaps)))

    def cdf(at: Any) -> Any:
        count = np.searchsorted(gaps, at)
        return (below[count] + at * (len(gaps) - count)) / gaps.sum()

    assert stats.kstest(drawn, cdf).statistic < 2.2 / math.sqrt(20_000) + 0.02


@pytest.mark.parametrize("count", [1, 2, 5])
def test_conditioned_poisson_arrivals_are_uniform_given_their_number(count: int) -> None:
    """The k-th of n is a Beta(k, n - k + 1)."""
    places = np.array(
        [
            np.concatenate(
                list(on_a_circle(unit_gaps("poisson"), lambda *names, n=n: stream(6, str(n), *names), count))
            )
            for n in range(4000)
        ]
    )
    for k in range(1, count + 1):
        assert stats.kstest(places[:, k - 1], stats.beta(k, count - k + 1).cdf).pvalue > 1e-4


def test_gaps_of_conditioned_bursty_arrivals_keep_their_law() -> None:
    shape = weibull_shape(2.0)
    law = stats.weibull_min(shape, scale=1 / math.gamma(1 + 1 / shape))
    places = np.concatenate(list(on_a_circle(unit_gaps("weibull", 2.0), lambda *names: stream(7, *names), 50_000)))
    # The gap that the circle's cut halves is left out; the scale is known to one percent.
    assert stats.kstest(np.diff(places) * 50_000, law.cdf).statistic < 2.2 / math.sqrt(50_000) + 0.01
