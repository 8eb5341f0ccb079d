"""Figures from a trace: latencies, throughput, SLO attainment, goodput, fairness."""

from __future__ import annotations

from blis.metrics.client_view import ClientView
from blis.metrics.distribution import Distribution
from blis.metrics.fairness import jain_index
from blis.metrics.results import (
    Anomalies,
    Cache,
    ClientFigures,
    Conservation,
    GroupSummary,
    Intended,
    Latencies,
    Sessions,
    Slo,
    Summary,
    Throughput,
    Unservable,
)
from blis.metrics.summarize import summarize
from blis.metrics.view import AsRecorded, SinceIntended, View

__all__ = [
    "Anomalies",
    "AsRecorded",
    "Cache",
    "ClientFigures",
    "ClientView",
    "Conservation",
    "Distribution",
    "GroupSummary",
    "Intended",
    "Latencies",
    "Sessions",
    "SinceIntended",
    "Slo",
    "Summary",
    "Throughput",
    "Unservable",
    "View",
    "jain_index",
    "summarize",
]
