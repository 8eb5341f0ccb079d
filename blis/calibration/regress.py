"""Non-negative regression of step durations on what the steps computed, with what it can and can't tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from blis.errors import BlisError

__all__ = ["Estimate", "nnls_of", "regress", "settle"]

FloatArray = npt.NDArray[np.float64]

_ROUNDS = 12
_SAMPLED = 50_000
_SETTLED = 1e-7
_TRIM = 4.0
_TRUNCATION_US = 0.5
_MANY = 30.0
_Z95 = 1.959963984540054


@dataclass(frozen=True)
class Estimate:
    """Coefficients b >= 0 of d = X b, in µs per unit.

    ``values`` and ``errors`` (standard errors; 0 where a coefficient is at its bound) have shape (k,), ``covariance``
    (k, k). ``used`` of ``observed`` steps weren't trimmed. ``r2`` is the share of the variance explained, ``scale``
    the robust spread of residuals over predictions. ``condition`` is the condition number of the scaled columns,
    ``vif`` the variance inflation factor of each (1: unrelated to the others; infinite: a sum of them). ``bounded``
    are coefficients that would have been negative or never varied; ``weak`` those the data can't tell from others.
    """

    names: tuple[str, ...]
    values: FloatArray
    errors: FloatArray
    covariance: FloatArray
    observed: int
    used: int
    r2: float
    scale: float
    condition: float
    vif: FloatArray
    bounded: tuple[str, ...]
    weak: tuple[str, ...]

    def scaled(self, factor: float) -> Estimate:
        """The same with all coefficients multiplied."""
        return replace(
            self,
            values=self.values * factor,
            errors=self.errors * factor,
            covariance=self.covariance * factor**2,
        )

    def interval(self, at: int) -> tuple[float, float]:
        """95 % interval of a coefficient, never below 0."""
        half = _Z95 * float(self.errors[at])
        return max(0.0, float(self.values[at]) - half), float(self.values[at]) + half


def regress(features: FloatArray, durations: FloatArray, names: Sequence[str]) -> Estimate:
    """Fit durations (m,) in µs to features (m, k), whose first column is constant.

    Quasi-Poisson with an identity link: non-negative least squares with weights 1/prediction, which preserves totals
    where durations are skewed (a Huber loss would bias them down), reweighted until it settles; steps beyond four
    times the spread of the residuals are left out. The covariance is the sandwich estimator (White 1980, HC1, as
    statsmodels computes it) over the coefficients that aren't at their bound. Durations that were cut to whole
    microseconds are half of one short on average, which is added.

    Raises:
        BlisError: fewer steps than coefficients.
    """
    if len(durations) <= features.shape[1]:
        raise BlisError(
            f"{len(durations)} usable steps can't tell {features.shape[1]} coefficients: give a longer trace, or"
            " more of them"
        )
    observed = durations + _TRUNCATION_US
    varies = np.ptp(features, axis=0) > 0
    varies[0] = True
    kept, values = settle(features, observed, varies)
    free = values > 0
    covariance = np.zeros((len(values), len(values)))
    predicted = np.maximum(features @ values, 1.0)
    if free.any():
        covariance[np.ix_(free, free)] = _covariance(features[kept][:, free], observed[kept], predicted[kept])
    condition, vif = _collinearity(features[kept], varies)
    residuals = observed[kept] - predicted[kept]
    total = float(np.sum((observed[kept] - observed[kept].mean()) ** 2))
    return Estimate(
        names=tuple(names),
        values=values,
        errors=np.sqrt(np.maximum(np.diag(covariance), 0)),
        covariance=covariance,
        observed=len(observed),
        used=int(kept.sum()),
        r2=1 - float(np.sum(residuals**2)) / total if total else 1.0,
        scale=_spread(residuals / predicted[kept]),
        condition=condition,
        vif=vif,
        bounded=tuple(name for name, inside in zip(names, free, strict=True) if not inside),
        weak=tuple(name for name, factor in zip(names[1:], vif[1:], strict=True) if factor > _MANY),
    )


def settle(
    features: FloatArray, observed: FloatArray, varies: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.bool_], FloatArray]:
    """Return which steps count, shape (m,), and the coefficients of the columns, 0 where they don't vary."""
    few = len(observed) // _SAMPLED
    if few > 1:
        # A sample brings the coefficients near, so that the whole is gone through two or three times only.
        _, values = settle(features[::few], observed[::few], varies)
        predicted = np.maximum(features @ values, 1.0)
    else:
        values = np.zeros(features.shape[1])
        predicted = np.full(len(observed), float(np.median(observed)))
    kept = _near(observed, predicted, None) if few > 1 else np.ones(len(observed), np.bool_)
    # Columns of very different size are brought to one, so that the solver's tolerance means the same for all.
    scale = np.where(varies, np.abs(features).max(axis=0), 1.0)
    design = features[:, varies] / scale[varies]
    for _ in range(_ROUNDS):
        # The normal equations' Cholesky factor stands for the tall system: nnls then costs the same for any trace.
        weighted = design * (kept / predicted)[:, None]
        new = np.zeros_like(values)
        new[varies] = nnls_of(weighted.T @ design, weighted.T @ observed) / scale[varies]
        settled = np.allclose(new, values, rtol=_SETTLED, atol=0)
        values = new
        predicted = np.maximum(features @ values, 1.0)
        chosen = _near(observed, predicted, kept)
        if settled and np.array_equal(chosen, kept):
            break
        kept = chosen
    return kept, values


def _near(observed: FloatArray, predicted: FloatArray, kept: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.bool_]:
    """Which steps are within four times the spread of the residuals, shape (m,)."""
    relative = observed / predicted - 1
    middle = np.median(relative if kept is None else relative[kept])
    near: npt.NDArray[np.bool_] = np.abs(relative - middle) <= _TRIM * max(_spread(relative), 1e-6)
    return near


def nnls_of(squared: FloatArray, target: FloatArray) -> FloatArray:
    """Minimise b' squared b - 2 target' b over b >= 0."""
    from scipy.optimize import nnls

    vectors, sizes, _ = np.linalg.svd(squared)
    big = sizes > sizes[0] * 1e-13
    root = np.sqrt(sizes[big])
    solution: FloatArray = nnls(root[:, None] * vectors[:, big].T, (vectors[:, big].T @ target) / root)[0]
    return solution


def _covariance(features: FloatArray, observed: FloatArray, predicted: FloatArray) -> FloatArray:
    from statsmodels.regression.linear_model import WLS

    result = WLS(observed, features, weights=1 / predicted).fit(cov_type="HC1")
    covariance: FloatArray = np.asarray(result.cov_params())
    return covariance


def _spread(values: FloatArray) -> float:
    """Robust standard deviation: 1.4826 times the median absolute deviation."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def _collinearity(features: FloatArray, varies: npt.NDArray[np.bool_]) -> tuple[float, FloatArray]:
    """Return the condition number of the columns of length 1 (Belsley 1980), and each one's variance inflation."""
    own = features[:, varies]
    sizes = np.linalg.norm(own, axis=0)
    own = own[:, sizes > 0] / sizes[sizes > 0]
    condition = float(np.linalg.cond(own)) if own.size else 1.0
    vif = np.ones(features.shape[1])
    centred = features - features.mean(axis=0)
    for at in np.flatnonzero(varies)[1:]:
        others = centred[:, varies & (np.arange(features.shape[1]) != at)][:, 1:]
        target = centred[:, at]
        total = float(target @ target)
        if not total:
            continue
        rest = target - others @ np.linalg.lstsq(others, target, rcond=None)[0] if others.size else target
        left = float(rest @ rest) / total
        vif[at] = 1 / left if left > 1e-12 else np.inf
    return condition, vif
