"""Requests by label."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from blis.trace import Trace

__all__ = ["MOST_GROUPS", "Grouping", "TooManyGroupsError", "everything", "grouped"]

MOST_GROUPS = 1000
"""A breakdown by more labels than this isn't made: nobody reads it, and it would take long."""


class TooManyGroupsError(Exception):
    """A column has more labels than :data:`MOST_GROUPS`; ``count`` is how many."""

    def __init__(self, count: int) -> None:
        super().__init__(f"{count} labels")
        self.count = count


@dataclass(slots=True)
class Grouping:
    """Rows of a trace by label, labels ascending.

    ``codes``, uint16 of shape (n,), numbers the label of each of the trace's rows. ``order`` (int32, shape (k,))
    lists the positions 0 to k-1 of the completed rows group by group (None: one group, as they come), and ``bounds``
    (int64, shape (groups + 1,)) says where each group begins in it.
    """

    labels: Sequence[str]
    codes: npt.NDArray[np.uint16]
    order: npt.NDArray[np.int32] | None
    bounds: npt.NDArray[np.int64]

    def pick(self, values: npt.NDArray[Any], group: int) -> npt.NDArray[Any]:
        """Those of the completed rows' ``values``, shape (k,), that belong to a group; not to be changed."""
        if self.order is None:
            return values
        picked: npt.NDArray[Any] = values[self.order[self.bounds[group] : self.bounds[group + 1]]]
        return picked


def everything(trace: Trace, completed: npt.NDArray[np.bool_]) -> Grouping:
    """One group of all rows."""
    bounds = np.array([0, np.count_nonzero(completed)])
    return Grouping([""], np.broadcast_to(np.uint16(0), len(trace)), None, bounds)


def grouped(
    trace: Trace, column: str, completed: npt.NDArray[np.bool_], rename: Callable[[str], str] | None = None
) -> Grouping | None:
    """Group by a column of texts, renamed before that if asked; None where no request has a label.

    Raises:
        TooManyGroupsError: past :data:`MOST_GROUPS` labels.
    """
    codes, words = trace.categories(column)
    used = np.flatnonzero(np.bincount(codes, minlength=len(words)))
    names = {code: rename(words[code]) if rename else words[code] for code in used.tolist()}
    labels = sorted(set(names.values()))
    if not any(labels):
        return None
    if len(labels) > MOST_GROUPS:
        raise TooManyGroupsError(len(labels))
    number = {label: index for index, label in enumerate(labels)}
    renumbered = np.zeros(len(words), np.uint16)
    for code, name in names.items():
        renumbered[code] = number[name]
    small: npt.NDArray[np.uint16] = renumbered[codes]
    chosen = small[completed]
    bounds = np.concatenate(([0], np.cumsum(np.bincount(chosen, minlength=len(labels)))))
    order = np.argsort(chosen, kind="stable").astype(np.int32) if len(labels) > 1 else None
    return Grouping(labels, small, order, bounds)
