"""What can be counted per group in one pass: statuses, rates, targets met, preemptions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from blis.metrics.anomalies import BLOCKED, INVERTED, JUDGED, STARVED, Marks
from blis.metrics.groups import Grouping
from blis.metrics.latencies import Targets
from blis.metrics.results import Anomalies, Slo, Throughput
from blis.metrics.stretch import Stretch, stretches
from blis.metrics.view import View
from blis.trace import MISSING, STATUS_CODES, STATUSES, Status, Trace

__all__ = ["Counted", "Tally"]

IntArray = npt.NDArray[np.int64]
Sums = npt.NDArray[np.float64]

_KINDS = len(STATUSES) + 1
_OK = STATUS_CODES[Status.OK]
_TOKENS = ("input_tokens", "prompt_tokens", "output_tokens")
_MARKS = {"judged": JUDGED, "inverted": INVERTED, "blocked": BLOCKED, "starved": STARVED}


class Counted(TypedDict):
    """The fields of :class:`blis.metrics.results.GroupSummary` that aren't latencies."""

    requests: int
    completed: int
    statuses: dict[str, int]
    throughput: Throughput
    slo: Slo
    preemptions: int
    anomalies: Anomalies | None


class Tally:
    """Counts over the rows of a trace, by the groups of several groupings.

    ``statuses`` are those of :func:`blis.metrics.stretch.statuses_of`, ``span_s`` the seconds that rates are over,
    ``marks`` the anomalies, where they are known.
    """

    def __init__(
        self,
        trace: Trace,
        view: View,
        statuses: npt.NDArray[np.int8],
        groupings: Mapping[str, Grouping],
        span_s: float,
        marks: Marks | None = None,
    ) -> None:
        self._groupings = groupings
        self._span_s = span_s
        self._marks = marks
        self._prompts_known = True
        self._sums: dict[str, dict[str, Sums]] = {name: {} for name in groupings}
        self._statuses: dict[str, IntArray] = {
            name: np.zeros(len(grouping.labels) * _KINDS, np.int64) for name, grouping in groupings.items()
        }
        targets = Targets(trace.header.slo_targets)
        for stretch in stretches(trace):
            self._count(stretch, statuses[stretch.start : stretch.stop], *targets.met(stretch, view))

    def sums(self, name: str, what: str) -> Sums:
        """A sum over each group of a grouping, float64, shape (groups,)."""
        return self._sums[name].get(what, np.zeros(len(self._groupings[name].labels)))

    def groups(self, name: str) -> list[Counted]:
        """What was counted, for each group of a grouping."""
        statuses = self._statuses[name].reshape(-1, _KINDS)
        return [self._counted(name, group, counts) for group, counts in enumerate(statuses)]

    def _count(
        self, stretch: Stretch, statuses: npt.NDArray[np.int8], met: npt.NDArray[np.bool_], asked: npt.NDArray[np.bool_]
    ) -> None:
        completed = statuses == _OK
        met = met & completed
        measured = completed & (stretch.column("request_id") >= stretch.header.warm_up_requests)
        amounts: dict[str, npt.NDArray[Any]] = {
            "met": met,
            "asked": asked & completed,
            "measured": measured,
            "measured_met": measured & met,
            "preemptions": np.maximum(stretch.column("preemptions"), 0),
        }
        for column in _TOKENS:
            tokens = stretch.column(column)
            if column == "prompt_tokens":
                self._prompts_known &= not (completed & (tokens == MISSING)).any()
            amounts[column] = np.maximum(tokens, 0) * completed
        amounts["good_tokens"] = amounts["output_tokens"] * met
        if self._marks is not None:
            marks = self._marks.of_rows[stretch.start : stretch.stop]
            amounts |= {what: (marks & bit) > 0 for what, bit in _MARKS.items()}
        for name, grouping in self._groupings.items():
            whole = len(grouping.labels) == 1
            codes = grouping.codes[stretch.start : stretch.stop].astype(np.intp)
            cells = codes * _KINDS + statuses % _KINDS
            self._statuses[name] += np.bincount(cells, minlength=len(self._statuses[name]))
            for what, amount in amounts.items():
                # Sums are float64: exact below 2^53, and without overflow beyond.
                found = amount.sum(dtype=np.float64) if whole else np.bincount(codes, amount, len(grouping.labels))
                self._sums[name][what] = self.sums(name, what) + found

    def _counted(self, name: str, group: int, statuses: IntArray) -> Counted:
        def total(what: str) -> int:
            return int(self.sums(name, what)[group])

        measured = total("measured")
        return Counted(
            requests=int(statuses.sum()),
            completed=int(statuses[_OK]),
            statuses={word: count for word, count in zip((*STATUSES, ""), statuses.tolist(), strict=True) if count},
            throughput=Throughput(
                self._per_s(int(statuses[_OK])),
                self._per_s(total("input_tokens")),
                self._per_s(total("prompt_tokens")) if self._prompts_known else None,
                self._per_s(total("output_tokens")),
            ),
            slo=Slo(
                total("asked"),
                total("measured_met") / measured if measured else None,
                self._per_s(total("met")),
                self._per_s(total("good_tokens")),
            ),
            preemptions=total("preemptions"),
            anomalies=self._anomalies(*(total(what) for what in _MARKS)),
        )

    def _anomalies(self, judged: int, inverted: int, blocked: int, starved: int) -> Anomalies | None:
        if self._marks is None:
            return None
        return Anomalies(judged, inverted, blocked if self._marks.blocking_known else None, starved)

    def _per_s(self, amount: int) -> float | None:
        return amount / self._span_s if self._span_s > 0 else None
