"""Latencies of requests, and whether they met their clients' targets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from blis.metrics.stretch import Stretch, stretches
from blis.metrics.view import View
from blis.trace import MISSING, SloFacts, Trace, facts_for

__all__ = ["KINDS", "Kind", "Targets", "latency", "of_completed"]

Kind = Literal["ttft_us", "first_answer_us", "tpot_us", "e2e_us", "scheduling_delay_us"]
Flags = npt.NDArray[np.bool_]

KINDS: dict[Kind, type[np.generic]] = {
    "ttft_us": np.int64,
    "first_answer_us": np.float64,
    "tpot_us": np.float64,
    "e2e_us": np.int64,
    "scheduling_delay_us": np.int64,
}
"""Kinds of latencies, and the type of number each is."""
_ROUNDING = 1e-9
_TARGETS = ("ttft_us", "tpot_us", "e2e_us")


def latency(kind: Kind, stretch: Stretch, view: View) -> npt.NDArray[Any]:
    """A latency of each row, shape (m,), negative where there is none.

    A real request that didn't stream has no first token of its own: it counts for E2E only. A request of less than
    two tokens has no gap between tokens.
    """
    match kind:
        case "ttft_us":
            values: npt.NDArray[Any] = view.ttft_us(stretch)
        case "e2e_us":
            return view.e2e_us(stretch)
        case "tpot_us":
            values = _tpot_us(stretch, view)
            values[stretch.column("output_tokens") < 2] = MISSING
        case "first_answer_us":
            values = _first_answer_us(stretch, view)
        case "scheduling_delay_us":
            return stretch.column("scheduling_delay_us")
    if stretch.header.mode == "real":
        values[~stretch.column("streaming")] = MISSING
    return values


def of_completed(kind: Kind, trace: Trace, view: View, completed: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    """A latency of each completed row, shape (k,), negative where there is none and for the warm-up."""
    values = np.empty(np.count_nonzero(completed), KINDS[kind])
    filled = 0
    for stretch in stretches(trace):
        found = latency(kind, stretch, view)
        if trace.header.warm_up_requests:
            found = np.where(stretch.column("request_id") < trace.header.warm_up_requests, MISSING, found)
        found = found[completed[stretch.start : stretch.stop]]
        values[filled : filled + len(found)] = found
        filled += len(found)
    return values


class Targets:
    """What the clients of a trace expect (the header's ``slo_targets``), held against what they got."""

    def __init__(self, by_client: dict[str, SloFacts]) -> None:
        self._by_client = by_client
        self._clients: Sequence[str] = ()
        self._limits: dict[str, npt.NDArray[np.int64]] = {}

    def met(self, stretch: Stretch, view: View) -> tuple[Flags, Flags]:
        """For each row, shape (m,): whether it met every target of its client, and whether there was one.

        A latency that is missing meets no target.
        """
        count = stretch.stop - stretch.start
        met, asked = np.ones(count, np.bool_), np.zeros(count, np.bool_)
        if not self._by_client:
            return met, asked
        clients = stretch.text("client_id")
        if clients.words is not self._clients:
            self._find_limits(clients.words)
        for kind, limits in self._limits.items():
            limit = limits[clients.codes]
            wanted = limit != MISSING
            if wanted.any():
                values = self._values(kind, stretch, view)
                met &= ~wanted | ((values >= 0) & (values <= limit))
                asked |= wanted
        return met, asked

    def _find_limits(self, clients: Sequence[str]) -> None:
        self._clients = clients
        for kind in _TARGETS:
            found = [getattr(facts_for(self._by_client, client), kind, None) for client in (*clients, "")]
            self._limits[kind] = np.array([MISSING if limit is None else limit for limit in found], np.int64)

    def _values(self, kind: str, stretch: Stretch, view: View) -> npt.NDArray[Any]:
        if kind == "tpot_us":
            return _tpot_us(stretch, view)
        return view.ttft_us(stretch) if kind == "ttft_us" else view.e2e_us(stretch)


def _tpot_us(stretch: Stretch, view: View) -> npt.NDArray[np.float64]:
    """(E2E - TTFT) / max(output tokens - 1, 1); negative where one of the two is missing."""
    e2e, ttft = view.e2e_us(stretch), view.ttft_us(stretch)
    gaps = np.maximum(stretch.column("output_tokens") - 1, 1)
    return np.where((e2e == MISSING) | (ttft == MISSING), float(MISSING), (e2e - ttft) / gaps)


def _first_answer_us(stretch: Stretch, view: View) -> npt.NDArray[np.float64]:
    """Time to the first token after the reasoning, number floor(reason ratio * output tokens) + 1 of the output.

    A trace has the times of the first and the last token; those between are taken to be evenly spaced. Negative where
    there is no reasoning or nothing after it.
    """
    e2e, ttft, outputs = view.e2e_us(stretch), view.ttft_us(stretch), stretch.column("output_tokens")
    ratios = stretch.column("reason_ratio")
    reasoning = np.floor(ratios * outputs + _ROUNDING)
    found = ttft + (e2e - ttft) * (reasoning / np.maximum(outputs - 1, 1))
    return np.where((ratios > 0) & (reasoning < outputs) & (ttft != MISSING) & (e2e != MISSING), found, float(MISSING))
