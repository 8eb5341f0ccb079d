"""Traces: one format for simulated and observed runs.

:class:`Trace` is what everything after a run works with. Its rows are a :class:`RecordTable` filled by a simulation, or
arrays read from files or gathered from a real server.
"""

from __future__ import annotations

from blis.trace.chunks import ChunkTimes
from blis.trace.columns import COLUMNS, MISSING, ArrayColumns, Column, Columns, TextColumn
from blis.trace.files import TraceFiles, check_writable
from blis.trace.header import NetworkFacts, SloFacts, TraceHeader, facts_for
from blis.trace.histogram import Histogram
from blis.trace.segments import SegmentTable
from blis.trace.server_metrics import ServerMetrics, read_metrics
from blis.trace.status import FINISH_CODES, FINISH_REASONS, STATUS_CODES, STATUSES, FinishReason, Status
from blis.trace.store import write_trace
from blis.trace.table import RecordTable
from blis.trace.trace import Trace

__all__ = [
    "COLUMNS",
    "FINISH_CODES",
    "FINISH_REASONS",
    "MISSING",
    "STATUSES",
    "STATUS_CODES",
    "ArrayColumns",
    "ChunkTimes",
    "Column",
    "Columns",
    "FinishReason",
    "Histogram",
    "NetworkFacts",
    "RecordTable",
    "SegmentTable",
    "ServerMetrics",
    "SloFacts",
    "Status",
    "TextColumn",
    "Trace",
    "TraceFiles",
    "TraceHeader",
    "check_writable",
    "facts_for",
    "read_metrics",
    "write_trace",
]
