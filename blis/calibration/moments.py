"""Fit coefficients to summaries of a server's latencies, where nothing finer was recorded.

Simulations with the coefficients sought give moments (means, percentiles) of latencies; these are matched to the
measured ones by Gauss-Newton steps on their relative errors. The derivatives are differences between simulations with
common random numbers, so they contain what a longer step does to queues and batches. Coefficients may be shared by
several models: all their moments go into one fit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import lsq_linear

__all__ = ["Coefficients", "MomentFit", "Parameter", "Simulate", "derivatives", "fit_moments"]

Coefficients = Mapping[str, float]
"""Values of the parameters by name."""

Simulate = Callable[[Sequence[Coefficients]], npt.NDArray[np.float64]]
"""Returns the simulated moments, all > 0, shape (sets of coefficients, moments). It must be deterministic: the same
random numbers whatever the coefficients. It gets many sets at once, so that it may run them in parallel."""

_OUTLIER = 1.5


@dataclass(frozen=True, slots=True)
class Parameter:
    """A coefficient that isn't negative and is expected, before any measurement, at ``prior``, give or take ``spread``.

    Where the measurements say little about it, it stays there.
    """

    name: str
    prior: float
    spread: float


@dataclass(frozen=True, slots=True)
class MomentFit:
    """Fitted coefficients.

    ``errors`` are log(measured / simulated), shape (moments,); ``covariance`` is that of the parameters in their
    order, from the tolerances and the priors; ``costs`` is the objective after each round, the least of which the
    values belong to.
    """

    parameters: tuple[Parameter, ...]
    values: dict[str, float]
    errors: npt.NDArray[np.float64]
    covariance: npt.NDArray[np.float64]
    costs: tuple[float, ...]

    def deviation(self, name: str) -> float:
        """Standard deviation of a coefficient."""
        index = [parameter.name for parameter in self.parameters].index(name)
        return float(np.sqrt(self.covariance[index, index]))

    def learned(self, name: str) -> float:
        """Share of the prior variance of a coefficient that the measurements removed: 0 nothing, 1 all."""
        spread = next(parameter.spread for parameter in self.parameters if parameter.name == name)
        return 1.0 - (self.deviation(name) / spread) ** 2


def derivatives(simulate: Simulate, at: Coefficients, parameters: Sequence[Parameter]) -> npt.NDArray[np.float64]:
    """Return the derivatives of the logarithms of the moments, shape (moments, parameters).

    They are one-sided differences over half of a coefficient's spread: far enough for the change to stand out from what
    the least shift of a step does to whole queues.
    """
    steps = [p.spread / 2 for p in parameters]
    moved = [{**at, p.name: at[p.name] + step} for p, step in zip(parameters, steps, strict=True)]
    moments = np.log(simulate([at, *moved]))
    return np.asarray((moments[1:] - moments[0]).T / steps, np.float64)


def fit_moments(
    simulate: Simulate,
    measured: npt.NDArray[np.float64],
    tolerance: npt.NDArray[np.float64],
    parameters: Sequence[Parameter],
    *,
    start: Coefficients | None = None,
    slopes: npt.NDArray[np.float64] | None = None,
    rounds: int = 4,
) -> MomentFit:
    """Fit coefficients to ``measured`` moments, shape (moments,), all > 0.

    Minimises the sum of Huber's loss over r = log(measured / simulated) / tolerance, quadratic up to |r| = 1.5, plus
    ((value - prior) / spread)**2 over the parameters. ``tolerance`` is the relative error, shape (moments,), that is
    expected of a good model. ``start`` gives the first values (default: the priors), and those of coefficients that
    ``simulate`` takes but aren't fitted. ``slopes`` are :func:`derivatives` near the solution; by default they are
    computed at the start and anew after half of the rounds.

    Raises:
        ValueError: a measured or simulated moment isn't a number > 0.
    """
    target = _logarithms(measured, "measured")

    def at(values: Coefficients) -> _Trial:
        errors = target - _logarithms(simulate([values])[0], "simulated")
        return _Trial(dict(values), errors, _cost(errors / tolerance, values, parameters))

    best = at({**{p.name: p.prior for p in parameters}, **(start or {})})
    costs, length, fresh = [best.cost], 1.0, slopes is None
    for number in range(rounds):
        if fresh and number in (0, rounds // 2):
            slopes = derivatives(simulate, best.values, parameters)
        assert slopes is not None
        rows, right = _normal_equations(slopes, best, tolerance, parameters)
        trial = at(_moved(best.values, length, rows, right, parameters))
        costs.append(trial.cost)
        # From where a step has led nowhere, one of half its length is tried.
        best, length = (trial, 1.0) if trial.cost < best.cost else (best, length / 2)
    assert slopes is not None, "at least one round"
    rows, _ = _normal_equations(slopes, best, tolerance, parameters)
    spreads = np.array([p.spread for p in parameters])
    covariance = np.asarray(np.linalg.inv(rows.T @ rows) * np.outer(spreads, spreads), np.float64)
    return MomentFit(tuple(parameters), best.values, best.errors, covariance, tuple(costs))


@dataclass(frozen=True, slots=True)
class _Trial:
    """Coefficients, the errors log(measured / simulated) they give, and the objective."""

    values: dict[str, float]
    errors: npt.NDArray[np.float64]
    cost: float


def _logarithms(moments: npt.NDArray[np.float64], which: str) -> npt.NDArray[np.float64]:
    if not (np.isfinite(moments) & (moments > 0)).all():
        raise ValueError(f"{which} moments must be numbers > 0")
    return np.log(moments)


def _cost(residuals: npt.NDArray[np.float64], values: Coefficients, parameters: Sequence[Parameter]) -> float:
    size = np.abs(residuals)
    losses = np.where(size <= _OUTLIER, size**2, 2 * _OUTLIER * size - _OUTLIER**2)
    return float(losses.sum()) + sum(((values[p.name] - p.prior) / p.spread) ** 2 for p in parameters)


def _normal_equations(
    slopes: npt.NDArray[np.float64],
    trial: _Trial,
    tolerance: npt.NDArray[np.float64],
    parameters: Sequence[Parameter],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return matrix and right-hand side of the least squares for a step, in spreads: weighted moments, then priors."""
    spreads = np.array([p.spread for p in parameters])
    residuals = trial.errors / tolerance
    weights = np.sqrt(np.minimum(1.0, _OUTLIER / np.maximum(np.abs(residuals), _OUTLIER)))
    rows = np.vstack([slopes * spreads * (weights / tolerance)[:, None], np.eye(len(parameters))])
    distances = [(p.prior - trial.values[p.name]) / p.spread for p in parameters]
    return rows, np.concatenate([residuals * weights, distances])


def _moved(
    values: Coefficients,
    length: float,
    rows: npt.NDArray[np.float64],
    right: npt.NDArray[np.float64],
    parameters: Sequence[Parameter],
) -> dict[str, float]:
    """Return the values after ``length`` of the Gauss-Newton step that leaves none of them negative."""
    least = [-values[p.name] / p.spread for p in parameters]
    step = lsq_linear(rows, right, bounds=(least, np.inf), method="bvls").x
    changes = length * step * [p.spread for p in parameters]
    moved = {p.name: max(0.0, values[p.name] + float(c)) for p, c in zip(parameters, changes, strict=True)}
    return {**values, **moved}
