"""Fits find what samples were drawn from, and agree with scipy's where a density says the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from blis.characterise.fits import ARRIVALS, LENGTHS, Fit, Grouped, fitted

N = 20_000


def whole(values: Any) -> Any:
    return np.maximum(np.rint(values), 1).astype(np.int64)


def best(families: Any, values: Any, resolution: int = 1) -> Fit:
    return fitted(families, Grouped.of(values, resolution))[0]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def test_groups_hold_every_value_once_between_narrow_edges(rng: np.random.Generator) -> None:
    values = whole(rng.lognormal(8, 3, N))
    values[:10] = 0
    sample = Grouped.of(values)
    assert sample.counts.sum() == N
    assert sample.edges[0] == 0
    assert (np.diff(sample.edges) <= 0.0205 * sample.edges[1:] + 1.5).all()
    assert sample.counts.tolist() == np.histogram(values, sample.edges)[0].tolist()
    assert sample.mean == values.mean()
    assert sample.moments()[0] == pytest.approx(values.mean(), rel=0.01)


@pytest.mark.parametrize("cv", [0.3, 2.5, 8.0])
def test_gamma_gaps(rng: np.random.Generator, cv: float) -> None:
    fit = best(ARRIVALS, whole(rng.gamma(1 / cv**2, cv**2 * 1e5, N)))
    assert fit.family == "gamma"
    assert fit.params["cv"] == pytest.approx(cv, rel=0.05)
    assert fit.params["shape"] * fit.params["scale"] == pytest.approx(1e5, rel=0.2)
    assert fit.ks < 0.01


def test_weibull_gaps(rng: np.random.Generator) -> None:
    fit = best(ARRIVALS, whole(rng.weibull(0.6, N) * 1e5))
    assert fit.family == "weibull"
    assert fit.params["shape"] == pytest.approx(0.6, rel=0.03)
    assert fit.params["scale"] == pytest.approx(1e5, rel=0.05)
    assert fit.params["cv"] == pytest.approx(stats.weibull_min(0.6).std() / stats.weibull_min(0.6).mean(), rel=0.05)


def test_exponential_gaps(rng: np.random.Generator) -> None:
    values = whole(rng.exponential(1e5, N))
    fits = {fit.family: fit for fit in fitted(ARRIVALS, Grouped.of(values))}
    assert fits["exponential"].params["mean"] == pytest.approx(values.mean(), rel=1e-3)
    # The others contain it: each finds a cv of 1, and its other parameter gains nothing.
    assert fits["gamma"].params["cv"] == pytest.approx(1, abs=0.03)
    assert fits["weibull"].params["cv"] == pytest.approx(1, abs=0.03)
    assert abs(fits["exponential"].aic - min(fit.aic for fit in fits.values())) < 4


def test_a_coarse_clock_hides_little(rng: np.random.Generator) -> None:
    """Gaps of 0.5 s on average, on a clock of whole seconds: most are 0."""
    arrivals = np.cumsum(rng.gamma(0.25, 2_000_000, N)) // 1_000_000 * 1_000_000
    gaps = np.diff(arrivals.astype(np.int64))
    assert (gaps == 0).mean() > 0.5
    fit = best((ARRIVALS[1],), gaps, 1_000_000)
    assert fit.params["shape"] * fit.params["scale"] == pytest.approx(500_000, rel=0.1)
    assert fit.params["cv"] == pytest.approx(2, rel=0.2)


@pytest.mark.parametrize(
    ("family", "draw", "params"),
    [
        ("lognormal", lambda rng: rng.lognormal(6, 1, N), {"mu": 6, "sigma": 1}),
        ("exponential", lambda rng: rng.exponential(200, N), {"mean": 200}),
        ("gaussian", lambda rng: np.clip(rng.normal(500, 200, N), 1, 900), {"mean": 500, "std_dev": 200}),
        ("gamma", lambda rng: rng.gamma(3, 100, N), {"shape": 3, "scale": 100}),
        (
            "pareto_lognormal",
            lambda rng: np.where(
                rng.random(N) < 0.3, 800 * np.exp(rng.exponential(1 / 1.5, N)), rng.lognormal(4, 0.7, N)
            ),
            {"alpha": 1.5, "xm": 800, "mu": 4, "sigma": 0.7, "mix_weight": 0.3},
        ),
    ],
)
def test_lengths(rng: np.random.Generator, family: str, draw: Any, params: dict[str, float]) -> None:
    fits = {fit.family: fit for fit in fitted(LENGTHS, Grouped.of(whole(draw(rng))))}
    own = fits[family]
    assert own.aic <= min(fit.aic for fit in fits.values()) + 5
    assert {name: own.params[name] for name in params} == pytest.approx(params, rel=0.05)
    assert own.ks < 0.012


@pytest.mark.parametrize(
    ("family", "frozen", "theory"),
    [
        (ARRIVALS[1], lambda p: stats.gamma(p["shape"], scale=p["scale"]), stats.gamma),
        (ARRIVALS[2], lambda p: stats.weibull_min(p["shape"], scale=p["scale"]), stats.weibull_min),
    ],
)
def test_the_fit_is_scipys(rng: np.random.Generator, family: Any, frozen: Any, theory: Any) -> None:
    values = whole(rng.gamma(1.7, 1e5, 5000))
    fit = best((family,), values)
    shape, _, scale = theory.fit(values, floc=0)
    assert (fit.params["shape"], fit.params["scale"]) == pytest.approx((shape, scale), rel=2e-3)
    assert fit.ks == pytest.approx(stats.kstest(values, frozen(fit.params).cdf).statistic, abs=0.003)
    # Of two families the densities prefer the one that the groups do, by as much.
    exponential = best((ARRIVALS[0],), values)
    densities = stats.expon(scale=values.mean()).logpdf(values).sum() - frozen(fit.params).logpdf(values).sum()
    assert exponential.aic - fit.aic == pytest.approx(-2 * densities - 2, rel=0.01)


def test_values_that_are_all_alike_are_constant() -> None:
    (fit,) = fitted(LENGTHS, Grouped.of(np.array([640, 641, 640, 641])))
    assert (fit.family, fit.params, fit.ks) == ("constant", {"value": 640.5}, 0.0)


@pytest.mark.parametrize("values", [[1, 1, 1, 2], [0, 10**15], [5, 5, 5, 10**9]])
def test_odd_samples_can_be_fitted(values: list[int]) -> None:
    for families in (ARRIVALS, LENGTHS):
        for fit in fitted(families, Grouped.of(np.array(values))):
            assert np.isfinite([fit.aic, fit.ks, *fit.params.values()]).all()
