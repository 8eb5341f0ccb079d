"""How fast a machine was, next to what a model says: whether a prediction's error is the model's or the machine's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from blis.calibration.fit import Fit
from blis.calibration.observed import observed
from blis.calibration.steps import reconstruct
from blis.errors import BlisError
from blis.trace import Trace

__all__ = ["pace"]


def pace(model: Fit, traces: Sequence[Trace]) -> float:
    """Return how long the steps of traces with chunk times took in all, as a multiple of what the model says of them.

    Raises:
        BlisError: a trace has no chunk times, or no steps can be seen.
    """
    config = model.deployment.resolve()[0]
    real = predicted = 0.0
    for trace in traces:
        for part in observed(trace, config):
            if part.chunks is None:
                raise BlisError("the trace has no chunk times: observe with --record-itl")
            steps = reconstruct(part.chunks, part.requests, part.budget)
            features = model.columns(steps.features())
            real += float(steps.duration_us[steps.usable].sum())
            predicted += float((features @ np.array(model.beta))[steps.usable].sum())
    return real / predicted
