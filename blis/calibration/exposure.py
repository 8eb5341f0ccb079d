"""Fitting without chunk times: what each request shared its steps with, from when others came and went.

While request i decodes, from its first chunk to its last, N = output tokens - 1 steps run, and their durations add up
to the time l that passed. So l = b0 N + b1 sum(D) + b2 sum(C) + b3 sum(P) + ..., sums over these steps. Prompts that
ended in the window give the prefill's sums; those of the decoding sequences D and their context C follow from time
averages, weighted by how many steps a stretch of time has: 1/d(t), with d from the coefficients found so far. A few
rounds settle.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from blis.calibration.observed import Observed
from blis.calibration.regress import Estimate, regress
from blis.calibration.steps import Requests
from blis.latency.fitted import BETA
from blis.metrics.occupancy import occupancy

__all__ = ["Window", "fit_exposures"]

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

_ROUNDS = 8
_DAMPING = 0.5


def fit_exposures(parts: Sequence[Observed], columns: Sequence[int]) -> Estimate:
    """Estimate the coefficients of a step from each request's first and last chunk times alone.

    ``columns`` are those of :data:`blis.latency.fitted.BETA` to use, the constant first. Intervals are optimistic,
    since requests that ran together share their steps.

    Raises:
        BlisError: too few requests with two tokens or more.
    """
    windows = [Window(part) for part in parts]
    names = [BETA[column] for column in columns]
    estimate: Estimate | None = None
    for _ in range(_ROUNDS):
        features = np.concatenate([window.features() for window in windows])
        estimate = regress(features[:, columns], np.concatenate([window.lengths for window in windows]), names)
        beta = np.zeros(len(BETA))
        beta[list(columns)] = estimate.values
        for window in windows:
            window.pace_by(beta)
    assert estimate is not None
    return estimate


class Window:
    """What each request of one instance met between its first and its last chunk."""

    def __init__(self, part: Observed) -> None:
        requests, first, last = part.requests, part.first_us, part.last_us
        long = (requests.output_tokens > 1) & (last > first) & (last <= part.end_us)
        self._begin, self._end = first[long], last[long]
        self.lengths = (last - first)[long].astype(np.float64)
        self._steps = (requests.output_tokens - 1)[long].astype(np.float64)
        self._prefill = _prefilled(requests, first, self._begin, self._end)
        self._edges, self._decodes, self._context = occupancy(
            requests.prompt_tokens, requests.output_tokens, first, last
        )
        typical = float(np.median(self.lengths / self._steps)) if len(self.lengths) else 1.0
        self._pace = np.full(len(self._edges) - 1, typical)

    def features(self) -> FloatArray:
        """Sums over the steps of each window, shape (n, 7): in the order of BETA, then the tokens before prefills."""
        counts = np.diff(self._edges) / self._pace
        number, decodes, context = (
            _between(self._edges, counts * column, self._begin, self._end)
            for column in (1.0, self._decodes, self._context)
        )
        scale = self._steps / np.maximum(number, 1e-9)
        return np.column_stack([self._steps, decodes * scale, context * scale, *self._prefill])

    def pace_by(self, beta: FloatArray) -> None:
        """Move the time per step, by stretch of time, half way to what the coefficients say."""
        new = np.maximum(beta[0] + beta[1] * self._decodes + beta[2] * self._context, 1.0)
        self._pace = self._pace ** (1 - _DAMPING) * new**_DAMPING


def _prefilled(requests: Requests, first_us: IntArray, begin: IntArray, end: IntArray) -> list[FloatArray]:
    """Sums over the prompts whose first token came in (begin, end]: tokens, attention, number, cached tokens."""
    order = np.argsort(first_us, kind="stable")
    fresh = np.maximum(requests.prompt_tokens - requests.cached_tokens, 1).astype(np.float64)
    attention = fresh * (requests.cached_tokens + fresh / 2)
    lo = np.searchsorted(first_us[order], begin, side="right")
    hi = np.searchsorted(first_us[order], end, side="right")
    sums = []
    for column in (fresh, attention, np.ones(len(fresh)), requests.cached_tokens.astype(np.float64)):
        total = np.concatenate(([0.0], np.cumsum(column[order])))
        sums.append(total[hi] - total[lo])
    return sums


def _between(edges: FloatArray, amounts: FloatArray, begin: IntArray, end: IntArray) -> FloatArray:
    """Sum the amounts of the stretches from ``begin`` to ``end``, both among ``edges``."""
    total = np.concatenate(([0.0], np.cumsum(amounts)))
    result: FloatArray = total[np.searchsorted(edges, end)] - total[np.searchsorted(edges, begin)]
    return result
