"""Prediction intervals where they can be worked out, and their properties."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from calibration.fitting import ALPHA as TRUE_ALPHA
from calibration.fitting import BETA as TRUE_BETA
from calibration.fitting import SERVER, run
from hypothesis import given, settings
from hypothesis import strategies as st

from blis.calibration.draws import drawn, normal_draws
from blis.calibration.fit import fit
from blis.calibration.uncertainty import FIGURES, Intervals, uncertainty
from blis.errors import BlisError
from blis.metrics import summarize
from blis.simulation import simulate

Z95 = 1.959964
ALPHA = [5000, 0, 0, 0]
BETA = [12_000, 300, 2, 500, 0, 6000]
PROMPT, OUTPUT = 100, 11


def workload(requests: int = 1, rate: float = 1.0, kind: str = "constant") -> dict[str, Any]:
    client = {
        "id": "a",
        "rate_fraction": 1,
        "arrival": {"process": kind},
        "input_distribution": {"type": "constant", "params": {"value": PROMPT}},
        "output_distribution": {"type": "constant", "params": {"value": OUTPUT}},
    }
    return {"seed": 3, "aggregate_rate": rate, "num_requests": requests, "clients": [client]}


def deployment(covariance: np.ndarray | None, drift: float | None = None) -> dict[str, Any]:
    validity: dict[str, Any] = {} if drift is None else {"drift": drift}
    if covariance is not None:
        validity["covariance"] = covariance.tolist()
    return {
        **SERVER,
        "latency": {"model": "fitted", "coefficients": {"alpha": ALPHA, "beta": BETA}, "validity": validity},
    }


def widths(found: Intervals) -> list[float]:
    intervals = [each for figures in found.figures.values() for each in figures.values()]
    return [each.high - each.low for each in intervals if each.low is not None and each.high is not None]


def a_covariance() -> np.ndarray:
    root = np.diag([200.0, 0, 0, 0, 150.0, 12.0, 0.02, 9.0, 0, 100.0])
    root[4, 5] = -80.0
    root[9, 7] = 40.0
    whole: np.ndarray = root @ root.T
    return whole


class TestOneRequest:
    """Alone on the server, its times are linear in the coefficients."""

    # TTFT: the queueing, and one step with the prompt. E2E: ten decode steps more, each of one sequence with the
    # prompt and the tokens after it.
    TTFT = np.array([1, 0, 0, 0, 1, 0, 0, PROMPT, PROMPT**2 / 2, 1])
    DECODES = np.array([0, 0, 0, 0, 10, 10, 10 * PROMPT + 45, 0, 0, 0])

    def check(self, covariance: np.ndarray, draws: int, rel: float) -> None:
        found = uncertainty(workload(), deployment(covariance), draws=draws)
        centre = np.array([*ALPHA, *BETA])
        for metric, weights in (("ttft_us", self.TTFT), ("e2e_us", self.TTFT + self.DECODES)):
            half = Z95 * float(np.sqrt(weights @ covariance @ weights))
            interval = found.figures[metric]["mean"]
            # Contexts count before or with the token at hand: at most ten tokens more or less, which is 20 us.
            assert interval.value == pytest.approx(weights @ centre, abs=30)
            assert interval.low is not None
            assert interval.high is not None
            assert (interval.high - interval.low) / 2 == pytest.approx(half, rel=rel)
            assert (interval.high + interval.low) / 2 == pytest.approx(interval.value, abs=max(0.15 * half, 15))

    def test_one_coefficient(self) -> None:
        only = np.zeros((10, 10))
        only[4, 4] = 200.0**2
        self.check(only, 100, 0.01)

    def test_all_of_them_together(self) -> None:
        self.check(a_covariance(), 400, 0.06)

    def test_a_pace_that_drifts(self) -> None:
        found = uncertainty(workload(), deployment(np.zeros((10, 10)), drift=0.05))
        steps = float((self.TTFT + self.DECODES)[4:] @ np.array(BETA))
        interval = found.figures["e2e_us"]["mean"]
        assert interval.low == pytest.approx(ALPHA[0] + steps * np.exp(-Z95 * 0.05), rel=2e-3)
        assert interval.high == pytest.approx(ALPHA[0] + steps * np.exp(Z95 * 0.05), rel=2e-3)
        assert found.drift == 0.05


def test_no_covariance_to_speak_of_gives_no_width() -> None:
    found = uncertainty(workload(30, 4.0, "poisson"), deployment(np.zeros((10, 10))), draws=20)
    assert set(widths(found)) == {0.0}
    summary = summarize(simulate(workload(30, 4.0, "poisson"), deployment(None)))
    assert found.figures["e2e_us"]["p90"].value == summary.overall.e2e_us.p90


def test_every_figure_has_an_interval_around_it() -> None:
    found = uncertainty(workload(60, 4.0, "poisson"), deployment(a_covariance()), draws=40)
    assert set(found.figures) == {"ttft_us", "itl_us", "tpot_us", "e2e_us", "throughput"}
    assert set(found.figures["throughput"]) == {"requests_per_s", "output_tokens_per_s"}
    for metric in ("ttft_us", "itl_us", "tpot_us", "e2e_us"):
        assert tuple(found.figures[metric]) == FIGURES
        for interval in found.figures[metric].values():
            assert interval.low is not None
            assert interval.high is not None
            assert interval.low <= interval.value <= interval.high


def test_the_same_seed_gives_the_same_intervals_in_one_process_or_two() -> None:
    given_ = workload(20, 4.0, "poisson"), deployment(a_covariance())
    first = uncertainty(*given_, draws=20)
    assert uncertainty(*given_, draws=20) == first
    assert uncertainty(*given_, draws=20, workers=2) == first
    assert uncertainty(*given_, draws=20, draw_seed=1) != first


def test_a_replay_has_intervals_too() -> None:
    trace = simulate(workload(20, 4.0, "poisson"), deployment(None))
    found = uncertainty(trace, deployment(a_covariance()), draws=20)
    assert found.figures == uncertainty(workload(20, 4.0, "poisson"), deployment(a_covariance()), draws=20).figures


def test_scheduling_stays_as_the_fit_found_it() -> None:
    fitted = deployment(np.zeros((10, 10)))
    fitted["latency"]["validity"]["async_scheduling"] = True
    found = uncertainty(workload(30, 8.0, "poisson"), fitted, draws=20)
    assert set(widths(found)) == {0.0}
    ttft = found.figures["ttft_us"]["mean"]
    assert ttft.value == ttft.low


def test_pools_have_their_own_draws() -> None:
    sure, unsure = deployment(np.zeros((10, 10)))["latency"], deployment(a_covariance())["latency"]
    pools = [{"name": "sure", "latency": sure}, {"name": "unsure", "latency": unsure}]
    found = uncertainty(workload(2), {**SERVER, "pools": pools}, draws=20)
    # Requests take turns: the first has no uncertainty, the second all.
    e2e = found.figures["e2e_us"]
    alone = uncertainty(workload(1), {**SERVER, "latency": unsure}, draws=400).figures["e2e_us"]["mean"]
    assert e2e["mean"].high - e2e["mean"].low == pytest.approx((alone.high - alone.low) / 2, rel=0.3)  # type: ignore[operator]


def test_a_fit_to_a_machine_that_drifts_gives_intervals_that_hold_its_next_run() -> None:
    slow = tuple(1.1 * value for value in TRUE_BETA)
    model = fit([run(), run(seed=2, beta=slow), run(seed=3), run(seed=4, beta=slow)])
    found = uncertainty(workload(40, 2.0, "poisson"), {**SERVER, "latency": model.latency()}, draws=40)
    interval = found.figures["e2e_us"]["mean"]
    assert found.drift == pytest.approx(0.061, abs=0.01)
    for beta in (TRUE_BETA, slow):
        latency = {"model": "fitted", "coefficients": {"alpha": list(TRUE_ALPHA), "beta": list(beta)}}
        real = summarize(simulate(workload(40, 2.0, "poisson"), {**SERVER, "latency": latency})).overall.e2e_us.mean
        assert interval.low is not None
        assert interval.high is not None
        assert real is not None
        assert interval.low < real < interval.high
    assert 0.15 < (interval.high - interval.low) / interval.value < 0.4


@pytest.mark.parametrize(
    ("cluster", "options", "message"),
    [
        ({"hardware": "H100"}, {}, "trained-physics, doesn't say how sure its coefficients are"),
        (deployment(None), {}, "needs validity.covariance, as in the files that blis fit -o writes"),
        (deployment(np.eye(3)), {}, "has 3 rows, but 10 coefficients"),
        # Correlations of -1/4 among ten can't be: the variance of their sum would be negative.
        (deployment(np.eye(10) - np.ones((10, 10)) / 5), {}, "in some direction its variance is negative"),
        (deployment(np.eye(10)), {"draws": 5}, "needs 20 draws or more, found 5"),
        (deployment(np.eye(10)), {"workers": 0}, "one worker or more, found 0"),
    ],
)
def test_mistakes(cluster: dict[str, Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(BlisError, match=message):
        uncertainty(workload(), cluster, **options)


class TestDraws:
    def test_moments(self) -> None:
        covariance = a_covariance()[4:, 4:]
        values = drawn(np.array(BETA, np.float64), covariance, normal_draws(4000, 6, 0))
        assert values.mean(axis=0) == pytest.approx(BETA, rel=0.01)
        free = np.diag(covariance) > 0
        expected = covariance[np.ix_(free, free)]
        spread = np.sqrt(np.diag(expected))
        assert np.std(values[:, free], axis=0) == pytest.approx(spread, rel=0.03)
        assert np.corrcoef(values[:, free].T) == pytest.approx(expected / np.outer(spread, spread), abs=0.05)

    def test_what_cannot_be_told_apart_keeps_its_sum(self) -> None:
        # Two coefficients near 0 whose sum is sure: cutting them off at 0 one by one would raise it.
        covariance = np.array([[1.0, -0.999], [-0.999, 1.0]])
        values = drawn(np.array([0.5, 0.5]), covariance, normal_draws(1000, 2, 0))
        assert (values >= 0).all()
        assert values.min() == 0
        assert values.sum(axis=1).mean() == pytest.approx(1, abs=0.01)
        assert np.maximum(values, 0).sum(axis=1).std() < 0.1

    @settings(max_examples=40, deadline=None)
    @given(st.integers(0, 2**31), st.integers(1, 6))
    def test_never_negative_and_still_where_there_is_no_variance(self, seed: int, size: int) -> None:
        generator = np.random.default_rng(seed)
        root = generator.normal(size=(size, size)) * generator.choice([0, 1], size=(size, 1))
        centre = generator.exponential(size=size)
        values = drawn(centre, root @ root.T, normal_draws(50, size, seed))
        assert (values >= 0).all()
        still = np.diag(root @ root.T) == 0
        assert (values[:, still] == centre[still]).all()
