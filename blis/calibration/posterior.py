"""Non-negative regression with priors, for coefficients of which a trace tells some only together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from blis.calibration.moments import Parameter
from blis.calibration.regress import Estimate
from blis.errors import BlisError

__all__ = ["learned", "regress_with_priors"]

FloatArray = npt.NDArray[np.float64]

_ROUNDS = 12
_TRIM = 4.0
_LEAST_NOISE_US = 0.3
"""Standard deviation of a duration that is cut to whole microseconds."""


def regress_with_priors(features: FloatArray, durations: FloatArray, parameters: Sequence[Parameter]) -> Estimate:
    """Fit durations (m,) in µs to features (m, k), one column for each parameter.

    Minimises sum((d - X b)^2 / (phi * X b)) + sum(((b - prior) / spread)^2) over b >= 0, reweighted until it settles;
    phi is the robust variance of the residuals over the root of the predictions, and what lies beyond four standard
    deviations is left out. So what the durations tell follows them, and what they don't stays at the prior. The
    covariance is the inverse of the objective's curvature over the coefficients that aren't at their bound.

    Raises:
        BlisError: fewer durations than coefficients.
    """
    from scipy.optimize import nnls
    from scipy.stats import median_abs_deviation

    if len(durations) <= len(parameters):
        raise BlisError(
            f"{len(durations)} usable steps can't tell {len(parameters)} coefficients: give longer traces, or more"
        )
    spreads = np.array([parameter.spread for parameter in parameters])
    expected = np.array([parameter.prior for parameter in parameters]) / spreads
    design = features * spreads
    kept = np.ones(len(durations), np.bool_)
    predicted = np.maximum(durations, 1.0)
    noise, values = 1.0, expected
    curvature = np.eye(len(parameters))
    for _ in range(_ROUNDS):
        weights = kept / (noise * predicted)
        curvature = (design * weights[:, None]).T @ design + np.eye(len(parameters))
        root = np.linalg.cholesky(curvature)
        new, _ = nnls(root.T, np.linalg.solve(root, design.T @ (weights * durations) + expected))
        settled = np.allclose(new, values, rtol=1e-7, atol=1e-9)
        values = new
        predicted = np.maximum(design @ values, 1.0)
        scaled = (durations - predicted) / np.sqrt(predicted)
        noise = max(float(median_abs_deviation(scaled, scale="normal")), _LEAST_NOISE_US / np.median(predicted) ** 0.5)
        noise **= 2
        chosen = np.abs(scaled - np.median(scaled)) <= _TRIM * np.sqrt(noise)
        if settled and np.array_equal(chosen, kept):
            break
        kept = chosen
    free = values > 0
    covariance = np.zeros_like(curvature)
    covariance[np.ix_(free, free)] = np.linalg.inv(curvature[np.ix_(free, free)])
    covariance *= np.outer(spreads, spreads)
    return _estimate(features, durations, predicted, kept, parameters, values * spreads, covariance)


def learned(estimate: Estimate, parameters: Sequence[Parameter]) -> dict[str, float]:
    """Return the share of each coefficient's prior variance that is gone, by name: 0 nothing was learned, 1 all."""
    shares = [1 - (error / parameter.spread) ** 2 for error, parameter in zip(estimate.errors, parameters, strict=True)]
    return {name: max(0.0, float(share)) for name, share in zip(estimate.names, shares, strict=True)}


def _estimate(
    features: FloatArray,
    durations: FloatArray,
    predicted: FloatArray,
    kept: npt.NDArray[np.bool_],
    parameters: Sequence[Parameter],
    values: FloatArray,
    covariance: FloatArray,
) -> Estimate:
    names = tuple(parameter.name for parameter in parameters)
    residuals = durations[kept] - predicted[kept]
    total = float(np.sum((durations[kept] - durations[kept].mean()) ** 2))
    errors = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    sizes = np.linalg.norm(features, axis=0)
    lively = sizes > 0
    # How much less sure a coefficient is than it would be if all others were known.
    precision = np.linalg.pinv(covariance)
    inflation = np.where(errors > 0, np.diag(precision) * errors**2, 1.0)
    return Estimate(
        names=names,
        values=values,
        errors=errors,
        covariance=covariance,
        observed=len(durations),
        used=int(kept.sum()),
        r2=1 - float(np.sum(residuals**2)) / total if total else 1.0,
        scale=1.4826 * float(np.median(np.abs(residuals / predicted[kept]))),
        condition=float(np.linalg.cond(features[:, lively] / sizes[lively])),
        vif=inflation,
        bounded=tuple(name for name, value in zip(names, values, strict=True) if value == 0),
        weak=(),
    )
