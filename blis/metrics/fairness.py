"""How evenly something is shared."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["jain_index"]


def jain_index(shares: npt.ArrayLike) -> float | None:
    """Jain's index (sum x)^2 / (n sum x^2) of shares >= 0: 1 when all are equal, 1/n when one has everything.

    None where nobody has anything. Source: Jain, Chiu and Hawe, "A Quantitative Measure of Fairness" (1984).

    >>> jain_index([5, 5, 5]), jain_index([1, 2, 3]), jain_index([7, 0])
    (1.0, 0.8571428571428571, 0.5)
    """
    x = np.asarray(shares, np.float64)
    squares = float(np.dot(x, x))
    return float(x.sum()) ** 2 / (x.size * squares) if squares > 0 else None
