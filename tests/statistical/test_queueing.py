"""Waiting times against queueing theory, from a workload spec through clients, cluster and trace.

An instance whose steps take a constant time serves a request of n output tokens in n steps. With one place it is an
M/G/1 queue; with k places and steps that are short beside a service, an M/M/k queue. Lengths are whole, so services are
discrete: theory gets the moments of what is really drawn. Confidence intervals come from independent seeds; these are
fixed, so a test passes or fails for good.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

import blis

STEP_US = 1000
MEAN = 100
LONG = pytest.mark.statistical


@dataclass(frozen=True)
class Law:
    """A distribution of output lengths: as a spec says it, and its first two moments."""

    spec: dict[str, Any]
    mean: float
    second: float

    @property
    def cv2(self) -> float:
        """The squared coefficient of variation."""
        return self.second / self.mean**2 - 1


def exponential(mean: float) -> Law:
    """max(1, round(x)) of an exponential x: the probability to exceed n >= 1 is exp(-(n + 1/2) / mean)."""
    n = np.arange(1, int(60 * mean))
    beyond = np.exp(-(n + 0.5) / mean)
    # E N = sum P(N > n) and E N^2 = sum (2n + 1) P(N > n), over n from 0.
    spec = {"type": "exponential", "params": {"mean": mean}}
    return Law(spec, 1 + float(beyond.sum()), 1 + float(((2 * n + 1) * beyond).sum()))


def constant(value: int) -> Law:
    return Law({"type": "constant", "params": {"value": value}}, value, value**2)


def empirical(pdf: dict[int, float]) -> Law:
    spec = {"type": "empirical", "params": {"pdf": pdf}}
    return Law(spec, sum(n * p for n, p in pdf.items()), sum(n * n * p for n, p in pdf.items()))


EXPONENTIAL = exponential(MEAN)
CONSTANT = constant(MEAN)
MIXED = empirical({25: 0.9, 775: 0.1})
"""Nine short ones to a long one, with a coefficient of variation of 2.25."""


@dataclass(frozen=True)
class Sample:
    """What one seed gave, in µs: for each request after the warm-up its arrival, its waiting time and its end."""

    arrival: npt.NDArray[np.int64]
    wait: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]


def sample(law: Law, load: float, servers: int, requests: int, seed: int) -> Sample:
    trace = blis.simulate(
        {
            "version": "2",
            "seed": seed,
            "aggregate_rate": load * servers / (law.mean * STEP_US) * 1e6,
            "num_requests": requests,
            "clients": [
                {
                    "id": "queueing",
                    "rate_fraction": 1.0,
                    "arrival": {"process": "poisson"},
                    "input_distribution": {"type": "constant", "params": {"value": 1}},
                    "output_distribution": law.spec,
                }
            ],
        },
        {
            "max_num_seqs": servers,
            "max_model_len": 0,
            "total_kv_blocks": 1_000_000,
            "latency": {"model": "alpha-beta", "coefficients": {"alpha": [0, 0, 0], "beta": [STEP_US, 0, 0]}},
        },
    )
    # The queue starts empty: the first tenth leads up to the steady state; at the end nobody arrives any more.
    kept = slice(requests // 10, None)
    columns = ("arrival_time_us", "scheduling_delay_us", "last_chunk_time_us")
    return Sample(*(trace.column(name)[kept] for name in columns))


def interval(values: list[float], confidence: float = 0.999) -> tuple[float, float]:
    """Mean of independent values, and half the width of its confidence interval."""
    t = stats.t.ppf(0.5 + confidence / 2, len(values) - 1)
    return float(np.mean(values)), float(t * np.std(values, ddof=1) / math.sqrt(len(values)))


def check(values: list[float], theory: float, precision: float) -> None:
    """Theory lies in the interval, which is no wider than ``precision`` times theory to each side."""
    mean, half = interval(values)
    assert half < precision * theory, f"{mean} +- {half} says too little about {theory}"
    assert abs(mean - theory) < half, f"{mean} +- {half} isn't {theory}"


def pollaczek_khinchine(law: Law, load: float) -> float:
    """Mean waiting time of M/G/1: lambda E[S^2] / (2 (1 - rho)), in µs."""
    rate = load / (law.mean * STEP_US)
    return rate * law.second * STEP_US**2 / (2 * (1 - load))


def erlang_c(servers: int, load: float) -> float:
    """Probability that an arrival to M/M/k finds all servers busy."""
    offered = servers * load
    busy = offered**servers / math.factorial(servers) / (1 - load)
    return busy / (sum(offered**i / math.factorial(i) for i in range(servers)) + busy)


# ---- the tests' own theory ----


def test_moments_of_the_discrete_lengths() -> None:
    assert EXPONENTIAL.mean == pytest.approx(MEAN, rel=1e-4)
    assert EXPONENTIAL.cv2 == pytest.approx(1, rel=1e-3)
    assert (CONSTANT.mean, CONSTANT.cv2) == (100, 0)
    assert (MIXED.mean, MIXED.cv2) == pytest.approx((100, 5.0625))
    geometric = exponential(2.0)
    assert geometric.mean == pytest.approx(1 + math.exp(-0.75) / (1 - math.exp(-0.5)))


def test_formulas() -> None:
    # M/D/1 waits half as long as M/M/1, whose mean wait is rho / (1 - rho) services.
    assert pollaczek_khinchine(CONSTANT, 0.5) == pytest.approx(0.5 * MEAN * STEP_US)
    assert pollaczek_khinchine(EXPONENTIAL, 0.5) == pytest.approx(MEAN * STEP_US, rel=1e-3)
    assert erlang_c(1, 0.7) == pytest.approx(0.7)
    assert erlang_c(2, 0.5) == pytest.approx(1 / 3)


# ---- one server ----

ONE_SERVER = [
    pytest.param(EXPONENTIAL, 0.5, 8, 5_000, 0.30, id="M/M/1 short"),
    pytest.param(CONSTANT, 0.6, 8, 3_000, 0.30, id="M/D/1 short"),
    pytest.param(EXPONENTIAL, 0.7, 10, 12_000, 0.25, id="M/M/1", marks=LONG),
    pytest.param(CONSTANT, 0.8, 8, 12_000, 0.25, id="M/D/1", marks=LONG),
    pytest.param(MIXED, 0.5, 8, 15_000, 0.25, id="M/G/1 of high variance", marks=LONG),
]


@pytest.mark.parametrize(("law", "load", "seeds", "requests", "precision"), ONE_SERVER)
def test_one_server(law: Law, load: float, seeds: int, requests: int, precision: float) -> None:
    samples = [sample(law, load, 1, requests, seed) for seed in range(seeds)]
    check([float(s.wait.mean()) for s in samples], pollaczek_khinchine(law, load), precision)
    # Arrivals see what a random moment sees: the server is idle 1 - rho of the time.
    check([float((s.wait == 0).mean()) for s in samples], 1 - load, precision)
    check([utilisation(s) for s in samples], load, precision)
    for s in samples:
        in_system, by_little = little(s)
        assert in_system == pytest.approx(by_little, rel=0.02)
    if law is EXPONENTIAL:
        # The wait is an exponential one with probability rho: P(W > t) = rho exp(-(1 - rho) t / E S).
        late = law.mean * STEP_US / (1 - load)
        check([float((s.wait > late).mean()) for s in samples], load / math.e, 1.5 * precision)


def moments_in(s: Sample) -> npt.NDArray[np.float64]:
    """Moments spread evenly over the time in which requests arrived, of no regard to what happens then."""
    return np.linspace(s.arrival[0], s.arrival[-1], 50_001)[1:]


def number_in_system(s: Sample) -> npt.NDArray[np.int64]:
    """How many of the requests are in the system at those moments."""
    at = moments_in(s)
    return np.searchsorted(s.arrival, at, "right") - np.searchsorted(np.sort(s.end), at, "right")


def utilisation(s: Sample) -> float:
    """The share of time in which the single server has something to do."""
    return float((number_in_system(s) > 0).mean())


def little(s: Sample) -> tuple[float, float]:
    """The mean number in the system, counted at moments in time, and lambda W, from the requests' own times."""
    rate = (len(s.arrival) - 1) / float(s.arrival[-1] - s.arrival[0])
    return float(number_in_system(s).mean()), rate * float((s.end - s.arrival).mean())


# ---- several servers: places of one batch ----

SEVERAL_SERVERS = [
    pytest.param(4, 0.6, 8, 4_000, 0.35, id="M/M/4 short"),
    pytest.param(2, 0.6, 8, 10_000, 0.25, id="M/M/2", marks=LONG),
    pytest.param(8, 0.75, 10, 15_000, 0.30, id="M/M/8", marks=LONG),
]


@pytest.mark.parametrize(("servers", "load", "seeds", "requests", "precision"), SEVERAL_SERVERS)
def test_several_servers(servers: int, load: float, seeds: int, requests: int, precision: float) -> None:
    law = EXPONENTIAL
    samples = [sample(law, load, servers, requests, 1000 + seed) for seed in range(seeds)]
    waiting = erlang_c(servers, load)
    theory = waiting * law.mean * STEP_US / (servers * (1 - load))
    # Whoever comes while a step runs starts at its end: half a step later on average, unless all places are idle.
    offered = servers * load
    idle = (1 - waiting) / sum(offered**i / math.factorial(i) for i in range(servers))
    theory += (1 - idle) * STEP_US / 2
    check([float(s.wait.mean()) for s in samples], theory, precision)
    # A wait of more than a step means that all places were taken.
    check([float((s.wait >= STEP_US).mean()) for s in samples], waiting, precision)
    for s in samples:
        in_system, by_little = little(s)
        assert in_system == pytest.approx(by_little, rel=0.02)
    check([float(number_in_system(s).clip(max=servers).mean()) / servers for s in samples], load, precision)
