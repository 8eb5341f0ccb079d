"""How a real server was loaded, and what went wrong, from the header of an observed trace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from blis.report.blocks import Block, Facts, printable
from blis.report.numbers import milliseconds, number, plural, share
from blis.trace import TraceHeader

__all__ = ["load_blocks"]


def load_blocks(header: TraceHeader) -> list[Block]:
    """Return the blocks about an observed run; none for other traces."""
    load = header.run.get("load")
    if header.mode != "real" or not isinstance(load, Mapping):
        return []
    blocks: list[Block] = [Facts("Load", tuple((label, text) for label, text in _load(header.run, load) if text))]
    replicas = (header.server or {}).get("metrics")
    if isinstance(replicas, list):
        shown = [(printable(str(each.get("url", ""))), _levels(each)) for each in replicas if isinstance(each, Mapping)]
        blocks.append(Facts("Server's own metrics", tuple(shown)))
    errors = header.run.get("errors")
    if isinstance(errors, list) and errors:
        lines = [
            (str(error.get("status", "")), f"{plural(error.get('requests', 0), 'request')}: {error.get('message', '')}")
            for error in errors
            if isinstance(error, Mapping)
        ]
        blocks.append(Facts("Errors", tuple((label, printable(text)) for label, text in lines)))
    return blocks


def _load(run: Mapping[str, Any], load: Mapping[str, Any]) -> list[tuple[str, str]]:
    rate = ""
    if "requested_rate" in load:
        asked, sent = number(load["requested_rate"]), number(load["achieved_rate"])
        rate = f"{sent} requests/s sent, {asked} due"
    verdict = "no: requests left as the workload says"
    if load.get("saturated"):
        verdict = "YES: " + "; ".join(load.get("saturation", ()))
    connections = run.get("connections")
    opened = ""
    if isinstance(connections, Mapping):
        opened = f"{plural(connections.get('opened_in_run', 0), 'connection')} opened during the run"
        if "setup_us" in connections:
            opened += f", {_figures(connections['setup_us'])} each"
    held, retried = run.get("held_back", 0), run.get("retried", 0)
    return [
        ("Rate", rate),
        ("Schedule delay", _figures(load.get("schedule_delay_us"))),
        ("Generator saturated", verdict),
        ("Held back", f"{plural(held, 'request')} by --max-concurrency" if held else ""),
        ("Sent again", plural(retried, "time") if retried else ""),
        ("Connections", opened),
        ("Client CPU", f"{share(run['client_cpu_share'])} of a core" if "client_cpu_share" in run else ""),
    ]


def _levels(replica: Mapping[str, Any]) -> str:
    """Say what a replica's metrics showed over the run."""
    parts = []
    labels = {"running": ("running", number), "waiting": ("waiting", number), "kv_usage": ("KV cache in use", share)}
    for name, (label, written) in labels.items():
        if isinstance(level := replica.get(name), Mapping):
            parts.append(f"{label} {written(level['mean'])} (max {written(level['max'])})")
    if "prefix_hit_rate" in replica:
        parts.append(f"prefix hits {share(replica['prefix_hit_rate'])}")
    if "preemptions" in replica:
        parts.append(plural(replica["preemptions"], "preemption"))
    if failed := replica.get("failed_scrapes"):
        parts.append(f"{plural(failed, 'scrape')} failed, the last one: {replica.get('last_failure')}")
    return printable(", ".join(parts))


def _figures(figures: object) -> str:
    if not isinstance(figures, Mapping):
        return ""
    return f"p50 {milliseconds(figures.get('p50'))} ms, p99 {milliseconds(figures.get('p99'))} ms"
