"""Several summaries side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from blis.metrics import Summary
from blis.report.blocks import Grid, Row, printable
from blis.report.numbers import NOTHING, count, milliseconds, per_second, share

__all__ = ["comparison"]


def _seen(summary: Summary, kind: Literal["ttft_us", "e2e_us"]) -> str:
    view = summary.client_view
    return milliseconds(getattr(view.overall, kind).p99) if view else NOTHING


def _attainment(summary: Summary) -> str:
    slo = (summary.client_view or summary).overall.slo
    return share(slo.attainment) if slo.with_targets else NOTHING


_FIGURES: tuple[tuple[str, Callable[[Summary], str]], ...] = (
    ("Requests", lambda s: count(s.conservation.injected)),
    ("Completed", lambda s: count(s.conservation.completed)),
    ("TTFT p50, ms", lambda s: milliseconds(s.overall.ttft_us.p50)),
    ("TTFT p99, ms", lambda s: milliseconds(s.overall.ttft_us.p99)),
    ("TTFT p99 as clients see it, ms", lambda s: _seen(s, "ttft_us")),
    ("TPOT p50, ms", lambda s: milliseconds(s.overall.tpot_us.p50)),
    ("TPOT p99, ms", lambda s: milliseconds(s.overall.tpot_us.p99)),
    ("E2E p50, ms", lambda s: milliseconds(s.overall.e2e_us.p50)),
    ("E2E p99, ms", lambda s: milliseconds(s.overall.e2e_us.p99)),
    ("E2E p99 as clients see it, ms", lambda s: _seen(s, "e2e_us")),
    ("Completed requests/s", lambda s: per_second(s.overall.throughput.requests_per_s)),
    ("Output tokens/s", lambda s: per_second(s.overall.throughput.output_tokens_per_s)),
    ("SLO attainment", _attainment),
    ("Preemptions", lambda s: count(s.overall.preemptions)),
)


def comparison(summaries: Mapping[str, Summary]) -> Grid:
    """Return the main figures of several traces, by name: those that any of them has."""
    rows = [Row((label, *(figure(summary) for summary in summaries.values()))) for label, figure in _FIGURES]
    views = {summary.view for summary in summaries.values()}
    note = "Where not said otherwise, latencies are a server's in simulations, and its clients' in observed runs."
    return Grid(
        ("", *(printable(name) for name in summaries)),
        tuple(row for row in rows if set(row.cells[1:]) != {NOTHING}),
        (note,) if len(views) > 1 else (),
    )
