"""What is known of a fitted latency model's coefficients, and the model with others in their place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from blis.errors import BlisError
from blis.spec.instance import InstanceConfig
from blis.spec.latency import CoefficientsSpec, LatencyModelSpec, LatencySpec, PhysicsSpec

__all__ = ["UncertainModel", "uncertain_model"]

FloatArray = npt.NDArray[np.float64]

_AROUND_THE_STEPS = ("request_us", "prompt_token_us", "output_token_us", "completion_us")
_STEP_TIMES = 7
"""As many of a model's beta coefficients, at most, are times; an eighth is a number of sequences."""


@dataclass(frozen=True, slots=True, eq=False)
class UncertainModel:
    """A latency model's coefficients with their covariance.

    ``names`` are those of physics coefficients, empty for other models, whose alpha and beta stand one after the other.
    ``centre``, shape (k,), are the fitted values, ``covariance``, (k, k), goes with them; ``steps``, bool of shape
    (k,), says which of them are times of steps. ``drift`` is the relative standard deviation of the pace, None if it
    isn't known.
    """

    spec: LatencySpec
    names: tuple[str, ...]
    centre: FloatArray
    covariance: FloatArray
    steps: npt.NDArray[np.bool_]
    drift: float | None

    def paced(self, values: FloatArray, normal: FloatArray) -> FloatArray:
        """Multiply the step times among ``values``, shape (n, k), by exp(drift * normal), ``normal`` of shape (n,)."""
        factors = np.exp((self.drift or 0.0) * normal)
        return np.where(self.steps, values * factors[:, None], values)

    def latency(self, values: FloatArray) -> LatencyModelSpec:
        """The model with these coefficients, shape (k,)."""
        numbers = values.tolist()
        if self.spec.physics is not None:
            return LatencyModelSpec(
                model="physics",
                physics=self.spec.physics.model_copy(update=dict(zip(self.names, numbers, strict=True))),
            )
        size = len(self.spec.alpha or ())
        coefficients = CoefficientsSpec(alpha=tuple(numbers[:size]) or None, beta=tuple(numbers[size:]) or None)
        return LatencyModelSpec(model=self.spec.model, coefficients=coefficients)


def uncertain_model(config: InstanceConfig) -> UncertainModel:
    """Return what the latency model of an instance knows about itself.

    Raises:
        BlisError: it has no covariance, or one of another size.
    """
    spec = config.latency
    where = f" of pool {config.pool}" if config.pool else ""
    validity = spec.validity
    if validity is None or validity.covariance is None:
        raise BlisError(
            f"the latency model{where}, {spec.model}, doesn't say how sure its coefficients are, so that there are no"
            " prediction intervals: it needs validity.covariance, as in the files that blis fit -o writes; name such a"
            " file with --latency-model"
        )
    names, centre, steps = _coefficients(spec, where)
    covariance = np.array(validity.covariance, np.float64)
    if covariance.shape != (len(centre),) * 2:
        raise BlisError(
            f"the covariance of the latency model{where} has {len(covariance)} rows, but {len(centre)} coefficients"
            " belong to it; write the file anew with blis fit"
        )
    return UncertainModel(spec, names, centre, covariance, steps, validity.drift)


def _coefficients(spec: LatencySpec, where: str) -> tuple[tuple[str, ...], FloatArray, npt.NDArray[np.bool_]]:
    """Return the names (of physics), the values, and which of them are times of steps."""
    if spec.physics is None:
        alpha, beta = spec.alpha or (), spec.beta or ()
        steps = [False] * len(alpha) + [at < _STEP_TIMES or spec.model != "fitted" for at in range(len(beta))]
        return (), np.array([*alpha, *beta], np.float64), np.array(steps)
    names = spec.validity.covariance_of if spec.validity is not None else None
    unknown = [name for name in names or () if name not in PhysicsSpec.model_fields]
    if names is None or unknown:
        what = f"names {unknown[0]!r}, which physics doesn't have" if unknown else "is missing"
        raise BlisError(
            f"validity.covariance_of of the latency model{where} {what}; it says which coefficients of physics the"
            f" covariance is of: some of {', '.join(PhysicsSpec.model_fields)}"
        )
    values = [getattr(spec.physics, name) for name in names]
    return names, np.array(values, np.float64), np.array([name not in _AROUND_THE_STEPS for name in names])
