"""Whether a decoding sequence costs the same however many there are.

A processor that has to read its weights anyway takes a few sequences along for little, and pays for each beyond some
number: the knee. A machine that was slower in one trace than in another bends the line too, so that a knee must show
in traces that it wasn't fitted to, each with a pace of its own; and slopes only rise.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from blis.calibration.regress import nnls_of, settle

__all__ = ["bent", "knee"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_FEWEST_BEYOND = 30
_SAMPLED = 50_000
_MOST_KNEES = 24
_FOLDS = 4
_BETTER = 0.01


def bent(features: FloatArray, column: int, at: float) -> FloatArray:
    """Append a column with what another one is beyond a knee."""
    return np.column_stack([features, np.maximum(features[:, column] - at, 0.0)])


def knee(features: FloatArray, durations: FloatArray, traces: IntArray, column: int) -> float | None:
    """Return where the slope of a column rises; None where one slope predicts as well.

    ``features`` (m, k) and ``durations`` (m,) are those of steps, ``traces`` (m,) say which trace each is from, from 0.
    Each trace in turn (a quarter, where there is one only) is predicted by the others, all of them brought to one pace.
    A knee must make the weighted squares of these errors a per cent smaller. Candidates are values of the column with
    30 steps or more on either side; of more than 50,000 steps, so many are looked at, evenly spaced.
    """
    every = -(-len(durations) // _SAMPLED)
    features, durations, folds = features[::every], durations[::every], traces[::every]
    if folds[0] == folds[-1]:
        folds = np.arange(len(folds)) * _FOLDS // len(folds)
    varies = np.ptp(features, axis=0) > 0
    varies[0] = True
    kept, coefficients = settle(features, durations, varies)
    features, durations, folds = features[kept], durations[kept], folds[kept]
    predicted = np.maximum(features @ coefficients, 1.0)
    pace = np.bincount(folds, durations) / np.maximum(np.bincount(folds, predicted), 1.0)
    durations = durations / pace[folds]
    straight = _missed(features, durations, predicted, folds)
    missed = {
        at: _missed(bent(features, column, at), durations, predicted, folds) for at in _candidates(features[:, column])
    }
    best = min(missed, key=lambda at: missed[at], default=None)
    return best if best is not None and missed[best] < (1 - _BETTER) * straight else None


def _candidates(values: FloatArray) -> list[float]:
    levels, counts = np.unique(values, return_counts=True)
    below = np.cumsum(counts)
    inside = levels[(below >= _FEWEST_BEYOND) & (len(values) - below >= _FEWEST_BEYOND) & (levels > 1)]
    places = np.unique(np.linspace(0, len(inside) - 1, min(len(inside), _MOST_KNEES)).astype(int))
    result: list[float] = inside[places].tolist()
    return result


def _missed(features: FloatArray, durations: FloatArray, predicted: FloatArray, folds: IntArray) -> float:
    """Weighted squares of the errors with which each fold is predicted by the others, at its own best pace."""
    own = features / np.maximum(np.abs(features).max(axis=0), 1e-300) / np.sqrt(predicted)[:, None]
    observed = durations / np.sqrt(predicted)
    parts = [folds == fold for fold in np.unique(folds)]
    squared = np.array([own[part].T @ own[part] for part in parts])
    target = np.array([own[part].T @ observed[part] for part in parts])
    missed = 0.0
    for at, part in enumerate(parts):
        values = nnls_of(squared.sum(axis=0) - squared[at], target.sum(axis=0) - target[at])
        whole, met = float(values @ squared[at] @ values), float(values @ target[at])
        missed += float(observed[part] @ observed[part]) - (met**2 / whole if whole else 0.0)
    return missed
