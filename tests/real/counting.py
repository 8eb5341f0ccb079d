"""Observe a real server, and what it counted meanwhile by its own account."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from real.servers import RealServer

import blis
from blis.trace import Trace

__all__ = ["Counts", "client", "counted", "rows"]

_LATE_S = 5.0

Counts = Mapping[str, float]
"""By how much the server's counters rose during a run, by their names on its page without the server's own prefix."""


def client(name: str = "a", **changes: Any) -> dict[str, Any]:
    """A client whose first request comes when the counters have been read."""
    return {
        "id": name,
        "rate": 4.0,
        "arrival": {"process": "constant"},
        "input_distribution": {"type": "gaussian", "params": {"mean": 120, "std_dev": 80, "min": 20, "max": 300}},
        "output_distribution": {"type": "gaussian", "params": {"mean": 10, "std_dev": 8, "min": 2, "max": 24}},
        **changes,
    }


def counted(server: RealServer, workload: Mapping[str, Any], **settings: Any) -> tuple[Trace, Counts]:
    """Observe a workload; return its trace, and what the server counted from the run's start to its end.

    The set-up's own requests come before the first scrape of the run, whose counters are the start's.
    """
    begun: dict[str, float] = {}

    def begin(_: object) -> None:
        if not begun:
            begun.update(_page(server))

    target = {"url": server.url, "inactivity_timeout": "60s", "prometheus_urls": [server.url], **settings}
    # Called half a second after the run's start: no client sends before that.
    late = {**workload, "clients": [{**one, "lifecycle": _LATER} for one in workload["clients"]]}
    trace = blis.observe(late, target, progress=begin, record_itl=True)
    asked = [row for row in rows(trace) if row["status"] == "ok"]
    end = time.monotonic() + _LATE_S
    while True:
        # Counters may follow the answers by a moment.
        now = _page(server)
        rise = {name: value - begun.get(name, 0.0) for name, value in now.items()}
        if _outputs(rise) >= sum(row["output_tokens"] for row in asked) or time.monotonic() > end:
            return trace, rise
        time.sleep(0.1)


def rows(trace: Trace) -> list[dict[str, Any]]:
    """The rows of a trace."""
    return [{str(name): cell for name, cell in row.items()} for row in trace.to_frame().to_dict("records")]


_LATER = {"windows": [{"start_us": "1s", "end_us": "10min"}]}


def _outputs(rise: Counts) -> float:
    return rise.get("generation_tokens_total", rise.get("tokens_predicted_total", 0.0))


def _page(server: RealServer) -> dict[str, float]:
    """Add up the samples of each name, and those of finished requests by their reason, too."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(server.get("/metrics").decode()):
        for sample in family.samples:
            name = sample.name.partition(":")[2]
            keys = [name, *([f"{name} {reason}"] if (reason := sample.labels.get("finished_reason")) else [])]
            for key in keys:
                found[key] = found.get(key, 0.0) + sample.value
    return found
