"""Step-time models: how long an engine step takes, as a function of sums over its batch."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, assert_never

from blis.errors import BlisError
from blis.latency.alpha_beta import AlphaBeta
from blis.latency.base import BatchSums, LatencyModel, Overheads
from blis.latency.fitted import Fitted
from blis.latency.physics import Physics
from blis.latency.roofline import Roofline
from blis.latency.trained_physics import TrainedPhysics
from blis.spec.catalogue import Gpu, ModelShape

if TYPE_CHECKING:
    from blis.spec.instance import InstanceConfig
    from blis.spec.latency import LatencySpec

__all__ = [
    "AlphaBeta",
    "BatchSums",
    "Fitted",
    "LatencyModel",
    "Overheads",
    "Physics",
    "Roofline",
    "TrainedPhysics",
    "build",
]


def build(config: InstanceConfig) -> LatencyModel:
    """Return the latency model of an instance; equal instances share one, since a model keeps nothing of a run.

    Raises:
        BlisError: coefficients that are missing, too few or too many, negative or not finite.
    """
    return _build(config.latency, config.model, config.hardware, config.tp, config.async_scheduling)


@lru_cache(maxsize=64)
def _build(latency: LatencySpec, shape: ModelShape, gpu: Gpu, tp: int, overlap: bool) -> LatencyModel:
    alpha = {} if latency.alpha is None else {"alpha": latency.alpha}
    beta = {} if latency.beta is None else {"beta": latency.beta}
    match latency.model:
        case "alpha-beta":
            if latency.alpha is None or latency.beta is None:
                raise BlisError("latency model alpha-beta needs coefficients alpha and beta")
            return AlphaBeta(latency.alpha, latency.beta)
        case "fitted":
            if latency.alpha is None or latency.beta is None:
                raise BlisError("latency model fitted needs coefficients alpha and beta")
            return Fitted(latency.alpha, latency.beta)
        case "roofline":
            return Roofline(shape, gpu, tp, **alpha)
        case "trained-physics":
            return TrainedPhysics(shape, gpu, tp, **alpha, **beta)
        case "physics":
            return Physics(shape, gpu, tp, latency.physics, overlap=overlap)
        case _:
            assert_never(latency.model)
