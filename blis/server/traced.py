"""From what was seen of a run to its trace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from blis.server.load import load_facts
from blis.trace.columns import Columns
from blis.trace.header import TraceHeader
from blis.trace.observed import NO_USAGE, ObservedRows
from blis.trace.server_metrics import ServerMetrics
from blis.trace.status import Status
from blis.trace.trace import Trace

__all__ = ["traced"]

_NO_FAILURES = (Status.OK, Status.CANCELLED, Status.INCOMPLETE)
"""How requests end that didn't fail: completed, or given up by the client itself."""
_MOST_ERRORS = 10


def traced(
    header: TraceHeader,
    rows: ObservedRows,
    counted: Mapping[str, Any],
    metrics: ServerMetrics | None,
    *notes: str,
) -> Trace:
    """Return the trace of an observed run.

    Its ``header`` gets what was ``counted``, what rows and metrics tell, and ``notes``.
    """
    columns = rows.columns()
    failures, uncounted = _failures(columns)
    if uncounted:
        notes = (f"{uncounted} completed requests came without usage: their output_tokens are estimates.", *notes)
    run = {
        **counted,
        **failures,
        "without_usage": uncounted,
        "load": load_facts(columns, rows.own_delays_us),
        **header.run,
    }
    complete = header.model_copy(
        update={
            "run": run,
            "server": _with_metrics(header.server or {}, metrics),
            "notes": [*header.notes, *notes],
            "warm_up_requests": min(header.warm_up_requests, len(columns)),
        }
    )
    return Trace(complete, columns, rows.gaps_us, chunks=rows.chunks(), metrics=metrics)


def _with_metrics(server: Mapping[str, Any], metrics: ServerMetrics | None) -> dict[str, Any]:
    """Return what is known of a server, with a summary of each replica's metrics."""
    if metrics is None:
        return dict(server)
    replicas = [
        {**known, "scrapes": len(own := metrics.of_replica(replica)), **own.summary()}
        for replica, known in enumerate(server.get("metrics", ()))
    ]
    return {**server, "metrics": replicas}


def _failures(columns: Columns) -> tuple[dict[str, Any], int]:
    """Return the share and kinds of failures, and how many completed requests the server didn't count."""
    messages = columns.text("error_message", 0, len(columns)).texts().tolist()
    statuses = columns.text("status", 0, len(columns)).texts().tolist()
    failed = Counter(pair for pair in zip(statuses, messages, strict=True) if pair[0] not in _NO_FAILURES)
    facts: dict[str, Any] = {"error_share": failed.total() / len(columns) if len(columns) else 0.0}
    if failed:
        facts["errors"] = [
            {"status": status, "message": message, "requests": count}
            for (status, message), count in failed.most_common(_MOST_ERRORS)
        ]
    return facts, sum(message.endswith(NO_USAGE) for message in messages)
