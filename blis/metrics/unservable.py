"""Why requests fit no instance."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from blis.metrics.limits import instance_limits
from blis.metrics.results import Unservable
from blis.metrics.stretch import Stretch
from blis.trace import STATUS_CODES, Status, Trace

__all__ = ["unservable"]


def unservable(trace: Trace, statuses: npt.NDArray[np.int8]) -> Unservable | None:
    """How many requests were too long for the model, and how many only for the KV cache; None where nobody knows.

    ``statuses`` are those of :func:`blis.metrics.stretch.statuses_of`.
    """
    rows = np.flatnonzero(statuses == STATUS_CODES[Status.UNSERVABLE])
    limits = instance_limits(trace.header) if rows.size else {}
    instances, names = trace.categories("instance")
    used = {names[code] for code in np.unique(instances[rows]).tolist()}
    if not limits or not used <= limits.keys():
        return None
    longest = np.array([limits[name].max_model_len if name in limits else 0 for name in names])[instances[rows]]
    prompts = Stretch(trace, 0, len(trace)).prompt_tokens()[rows]
    outputs = np.maximum(trace.column("planned_output_tokens")[rows], 0)
    beyond = (longest > 0) & ((prompts >= longest) | (outputs > longest - prompts))
    return Unservable(int(np.count_nonzero(beyond)), int(np.count_nonzero(~beyond)))
