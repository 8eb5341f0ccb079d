"""Figures from a trace: latencies, throughput, SLO attainment, goodput, fairness."""

from __future__ import annotations

from blis.metrics.distribution import Distribution
from blis.metrics.fairness import jain_index
from blis.metrics.results import Cache, Conservation, GroupSummary, Slo, Summary, Throughput
from blis.metrics.summarize import summarize
from blis.metrics.view import AsRecorded, View

__all__ = [
    "AsRecorded",
    "Cache",
    "Conservation",
    "Distribution",
    "GroupSummary",
    "Slo",
    "Summary",
    "Throughput",
    "View",
    "jain_index",
    "summarize",
]
