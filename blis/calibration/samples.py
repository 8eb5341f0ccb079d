"""Some of the values that were compared, for plots."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Sample", "sample"]

Floats = npt.NDArray[np.float64]

_MOST = 4000


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Pairs of values of a metric, evenly picked over the run, at most 4000: arrays of shape (m,).

    ``sent_s`` says when the real requests were sent, in seconds since the run's start; ``n`` is how many pairs there
    are in all.
    """

    n: int
    sent_s: Floats
    real: Floats
    simulated: Floats


def sample(sent_s: Floats, real: Floats, simulated: Floats) -> Sample:
    """Pick from n pairs, arrays of shape (n,)."""
    picked = np.unique(np.linspace(0, real.size - 1, min(real.size, _MOST)).astype(np.int64))
    return Sample(real.size, sent_s[picked], real[picked], simulated[picked])
