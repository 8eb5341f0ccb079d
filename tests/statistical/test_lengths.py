"""Length distributions against theory: means, quantiles and correlations within a few standard errors."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter
from scipy import stats

from blis.clients.lengths import lengths, ratios
from blis.rng import stream
from blis.spec.distributions import Distribution

pytestmark = pytest.mark.statistical

N = 200_000


def draw(kind: str, **params: Any) -> Any:
    distribution: Distribution = TypeAdapter(Distribution).validate_python({"type": kind, "params": params})
    return lengths(distribution, partial(stream, 3, kind, "input"))(N)


def assert_follows(drawn: Any, cdf: Any) -> None:
    """Rounded draws below x + 1/2 are those of the real law; checked at 50 places with 4.5 standard errors."""
    for at in np.unique(np.quantile(drawn, np.linspace(0.01, 0.99, 50))):
        share = float(cdf(at + 0.5))
        error = math.sqrt(max(share * (1 - share), 1e-9) / N)
        assert (drawn <= at).mean() == pytest.approx(share, abs=4.5 * error), at


def test_gaussian() -> None:
    drawn = draw("gaussian", mean=500, std_dev=100, min=1, max=5000)
    assert drawn.mean() == pytest.approx(500, abs=4.5 * 100 / math.sqrt(N))
    assert drawn.std() == pytest.approx(100, rel=4.5 / math.sqrt(2 * N))
    assert_follows(drawn, stats.norm(500, 100).cdf)


def test_exponential() -> None:
    drawn = draw("exponential", mean=300)
    # Values below 1/2 become 1, which adds about (1/2)(1/2)/300 on average.
    assert drawn.mean() == pytest.approx(300, abs=4.5 * 300 / math.sqrt(N))
    assert_follows(drawn, stats.expon(scale=300).cdf)


def test_lognormal() -> None:
    drawn = draw("lognormal", mu=6, sigma=0.8)
    mean = math.exp(6 + 0.32)
    assert drawn.mean() == pytest.approx(mean, abs=4.5 * mean * math.sqrt(math.expm1(0.64) / N))
    assert_follows(drawn, stats.lognorm(0.8, scale=math.exp(6)).cdf)


def test_pareto_lognormal() -> None:
    drawn = draw("pareto_lognormal", alpha=2.5, xm=400, mu=5, sigma=0.5, mix_weight=0.3)
    tail, body = stats.pareto(2.5, scale=400), stats.lognorm(0.5, scale=math.exp(5))
    assert_follows(drawn, lambda x: 0.3 * tail.cdf(x) + 0.7 * body.cdf(x))
    mean = 0.3 * tail.mean() + 0.7 * body.mean()
    error = math.sqrt((0.3 * tail.moment(2) + 0.7 * body.moment(2) - mean**2) / N)
    assert drawn.mean() == pytest.approx(mean, abs=4.5 * error)


def test_empirical() -> None:
    weights = stream(1, "weights").random(100)
    values = np.arange(1, 101) ** 2
    drawn = draw("empirical", pdf=dict(zip(values.tolist(), weights.tolist(), strict=True)))
    counts = np.array([(drawn == value).sum() for value in values])
    assert counts.sum() == N
    assert stats.chisquare(counts, N * weights / weights.sum()).pvalue > 1e-4


def test_ratios() -> None:
    distribution: Distribution = TypeAdapter(Distribution).validate_python(
        {"type": "gaussian", "params": {"mean": 0.6, "std_dev": 0.1, "min": 0, "max": 1}}
    )
    drawn = ratios(distribution, partial(stream, 3, "a", "ratio"))(N)
    assert drawn.mean() == pytest.approx(0.6, abs=4.5 * 0.1 / math.sqrt(N))


def test_streams_of_different_purposes_are_independent() -> None:
    distribution: Distribution = TypeAdapter(Distribution).validate_python(
        {"type": "exponential", "params": {"mean": 1000}}
    )
    columns = [
        lengths(distribution, partial(stream, 3, name, purpose))(N)
        for name in ("a", "b")
        for purpose in ("input", "output")
    ]
    correlations = np.corrcoef(columns)[np.triu_indices(4, 1)]
    assert np.abs(correlations).max() < 4.5 / math.sqrt(N)
