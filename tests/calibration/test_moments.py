"""Fits to moments, on functions whose solution is known and on simulations whose coefficients are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from blis.calibration.moments import Coefficients, MomentFit, Parameter, derivatives, fit_moments
from blis.calibration.physics import PHYSICS
from blis.latency import Physics
from blis.simulation import simulate
from blis.spec.catalogue import gpu, model
from blis.spec.latency import PhysicsSpec

ROWS = np.array([[1.0, 2.0, 0.0], [3.0, 1.0, 0.0], [1.0, 1.0, 0.0], [2.0, 5.0, 0.0]])
PARAMETERS = (Parameter("a", 1.0, 10.0), Parameter("b", 1.0, 10.0), Parameter("unseen", 3.0, 0.5))


def linear(sets: Sequence[Coefficients]) -> np.ndarray:
    """Moments that are sums of coefficients; the third says nothing."""
    return np.array([ROWS @ [each["a"], each["b"], each["unseen"]] for each in sets])


def fitted(measured: np.ndarray, tolerance: float = 1e-3, **options: Any) -> MomentFit:
    return fit_moments(linear, measured, np.full(len(measured), tolerance), PARAMETERS, **options)


def test_derivatives_of_sums() -> None:
    at = {"a": 2.0, "b": 1.0, "unseen": 3.0}
    # A difference over half the spread of 10; over next to nothing it is d log m / d a = row / m.
    assert derivatives(linear, at, PARAMETERS)[0] == pytest.approx([np.log(9 / 4) / 5, np.log(14 / 4) / 5, 0.0])
    close = [Parameter(p.name, 1.0, 1e-6) for p in PARAMETERS]
    assert derivatives(linear, at, close)[0] == pytest.approx([1 / 4, 2 / 4, 0.0], rel=1e-5)


def test_known_coefficients_are_found() -> None:
    fit = fitted(ROWS @ [4.0, 0.5, 9.0], rounds=12)
    assert fit.values == pytest.approx({"a": 4.0, "b": 0.5, "unseen": 3.0}, rel=1e-3)
    assert np.abs(fit.errors).max() < 1e-3
    assert min(fit.costs) < 1 < fit.costs[0]


def test_what_the_moments_do_not_see_stays_at_its_prior() -> None:
    fit = fitted(ROWS @ [4.0, 0.5, 9.0])
    assert fit.learned("unseen") == pytest.approx(0.0, abs=1e-9)
    assert fit.deviation("unseen") == pytest.approx(0.5)
    assert fit.learned("a") > 0.999


def test_deviations_are_those_of_weighted_least_squares() -> None:
    fit = fitted(ROWS @ [4.0, 0.5, 3.0], tolerance=0.01, rounds=12)
    slopes = derivatives(linear, fit.values, PARAMETERS)
    information = slopes.T @ slopes / 0.01**2 + np.diag([p.spread**-2 for p in PARAMETERS])
    expected = np.sqrt(np.diag(np.linalg.inv(information)))
    assert [fit.deviation(p.name) for p in PARAMETERS] == pytest.approx(expected, rel=0.1)


def test_no_coefficient_gets_negative() -> None:
    fit = fitted(ROWS @ [4.0, -0.5, 0.0], rounds=8)
    assert fit.values["b"] == 0.0
    assert fit.values["a"] > 0
    assert fitted(ROWS @ [4.0, -0.5, 0.0], rounds=8, start=fit.values).values["b"] == 0.0


def test_an_outlier_moves_the_fit_no_more_than_its_weight() -> None:
    measured = ROWS @ [4.0, 0.5, 3.0]
    fit = fitted(measured * [1.0, 1.0, 1.0, 2.0], tolerance=0.01, rounds=12)
    assert (ROWS @ [fit.values["a"], fit.values["b"], 0.0])[:3] == pytest.approx(measured[:3], rel=0.03)


def test_a_strong_prior_holds() -> None:
    sure = (Parameter("a", 4.0, 1e-6), Parameter("b", 1.0, 10.0), Parameter("unseen", 3.0, 0.5))
    fit = fit_moments(linear, ROWS @ [5.0, 0.5, 3.0], np.full(4, 0.1), sure)
    assert fit.values["a"] == pytest.approx(4.0, rel=1e-5)
    assert fit.values["b"] > 0.5


def test_given_slopes_save_simulations() -> None:
    calls = []

    def counted(sets: Sequence[Coefficients]) -> np.ndarray:
        calls.append(len(sets))
        return linear(sets)

    measured, tolerance = ROWS @ [4.0, 0.5, 3.0], np.full(4, 1e-3)
    slopes = derivatives(linear, {"a": 4.0, "b": 0.5, "unseen": 3.0}, PARAMETERS)
    fit = fit_moments(counted, measured, tolerance, PARAMETERS, slopes=slopes, rounds=3)
    assert calls == [1, 1, 1, 1]
    assert min(fit.costs) < fit.costs[0] / 5
    calls.clear()
    fit_moments(counted, measured, tolerance, PARAMETERS, rounds=4)
    assert calls == [1, 4, 1, 1, 4, 1, 1]


@pytest.mark.parametrize("wrong", [0.0, -1.0, np.nan, np.inf])
def test_moments_are_positive_numbers(wrong: float) -> None:
    with pytest.raises(ValueError, match="measured moments must be numbers > 0"):
        fitted(np.array([1.0, 2.0, wrong, 3.0]))
    with pytest.raises(ValueError, match="simulated moments must be numbers > 0"):
        fit_moments(lambda sets: np.full((len(sets), 2), wrong), np.ones(2), np.ones(2), PARAMETERS)


def workload(rate: float, number: int) -> dict[str, Any]:
    client = {
        "id": "only",
        "rate_fraction": 1.0,
        "arrival": {"process": "poisson"},
        "input_distribution": {"type": "exponential", "params": {"mean": 500}},
        "output_distribution": {"type": "exponential", "params": {"mean": 60}},
    }
    return {"version": "2", "seed": 5, "aggregate_rate": rate, "num_requests": number, "clients": [client]}


LOADS = [
    ({"model": "llama-2-7b"}, 5.0), ({"model": "llama-2-7b"}, 25.0),
    ({"model": "llama-2-70b", "tp": 4}, 3.0), ({"model": "llama-2-70b", "tp": 4}, 12.0),
]  # fmt: skip


def moments(coefficients: Coefficients) -> list[float]:
    """Mean TTFT and E2E, and the 90th percentile of TTFT, of two models under two loads each."""
    found = []
    for deployment, rate in LOADS:
        latency = {"model": "physics", "physics": dict(coefficients)}
        trace = simulate(workload(rate, 300), {**deployment, "latency": latency, "async_scheduling": True})
        ttft = trace.column("first_chunk_time_us") - trace.column("arrival_time_us")
        e2e = trace.column("last_chunk_time_us") - trace.column("arrival_time_us")
        found += [ttft.mean(), np.quantile(ttft, 0.9), e2e.mean()]
    return found


def test_a_simulated_server_is_found_across_models() -> None:
    truth = {"weights": 1.15, "step_us": 3100.0, "all_reduce_us": 18.0, "request_us": 2500.0}
    sought = [parameter for parameter in PHYSICS if parameter.name in truth]
    fit = fit_moments(
        lambda sets: np.array([moments(each) for each in sets]), np.array(moments(truth)), np.full(12, 0.02), sought
    )
    assert fit.costs[0] > 10 * fit.costs[-1]
    assert np.abs(fit.errors).max() < 0.03
    for name, value in truth.items():
        assert abs(fit.values[name] - value) < 3 * fit.deviation(name)
    found, true = PhysicsSpec(**fit.values), PhysicsSpec(**truth)
    for shape, tp in (("llama-2-7b", 1), ("llama-2-70b", 4), ("codellama-34b", 2)):
        times = [Physics(model(shape), gpu("H100"), tp, c).few_decodes_us(8, 4000, 1)[0] for c in (found, true)]
        assert times[0] == pytest.approx(times[1], rel=0.03)
