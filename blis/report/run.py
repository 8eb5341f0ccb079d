"""What was run, from a trace's header."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from blis.metrics import Summary
from blis.report.blocks import Facts, printable
from blis.report.numbers import number, plural, span
from blis.trace import TraceHeader

__all__ = ["run_facts"]

_TITLES = {
    "simulated": "Simulated run",
    "real": "Observed run",
    "replayed": "Replayed run",
    "generated": "Generated workload",
}


def run_facts(header: TraceHeader, summary: Summary, origins: Mapping[str, str]) -> Facts:
    """Return the first block of a report: workload, deployment, span and seed, each after its words in ``origins``."""
    facts = {"Workload": _workload(header, summary), "Deployment": "", "Policies": "", "Server": ""}
    if header.deployment:
        facts["Deployment"] = _cluster(header.deployment)
        facts["Policies"] = ", ".join(_policies(header.deployment))
    if header.server:
        facts["Server"] = _server(header.server)
    facts["Span"] = _span(header, summary)
    facts["Seed"] = "" if header.seed is None else str(header.seed)
    facts["Warnings"] = ""
    lines = (
        (label, ": ".join(part for part in (origins.get(label, ""), text) if part)) for label, text in facts.items()
    )
    return Facts(_TITLES[summary.mode], tuple((label, printable(text)) for label, text in lines if text))


def _server(server: Mapping[str, Any]) -> str:
    """Say what a server is; the rest is in the trace's header."""
    parts = [str(server[key]) for key in ("type", "version") if key in server]
    if "model" in server:
        parts.append(f"serving {server['model']}")
    if "url" in server:
        parts += ["at", str(server["url"])] if parts else [str(server["url"])]
    if "api" in server:
        parts.append(f"({server['api']} API)")
    return " ".join(parts)


def _workload(header: TraceHeader, summary: Summary) -> str:
    parts = []
    rate = header.run.get("aggregate_rate")
    if isinstance(rate, int | float) and rate > 0:
        parts.append(f"{number(rate)} request{'' if rate == 1 else 's'}/s")
    if isinstance(starts := header.run.get("stage_starts_us"), list):
        parts.append(f"in {plural(len(starts), 'stage')}")
    if isinstance(horizon := header.run.get("horizon_us"), int):
        parts.append(f"for {span(horizon)}")
    if isinstance(limit := header.run.get("num_requests"), int):
        parts.append(f"at most {plural(limit, 'request')}")
    clients = len(summary.clients) or summary.too_many.get("clients", 0)
    if clients:
        parts.append(f"from {plural(clients, 'client')}")
    return ", ".join(parts)


def _span(header: TraceHeader, summary: Summary) -> str:
    horizon = header.run.get("horizon_us")
    if isinstance(horizon, int) and summary.span_us > horizon:
        rest = span(summary.span_us - horizon)
        return f"{span(summary.span_us)}: {span(horizon)} of arrivals, then {rest} to finish what was in flight"
    return f"{span(summary.span_us)} until the last event"


def _cluster(deployment: Mapping[str, Any]) -> str:
    pools = deployment.get("pools")
    if not isinstance(pools, list) or not pools:
        return _instances(deployment, deployment.get("instances", 1))
    groups = [
        f"{pool.get('name', '')} ({_instances({**deployment, **pool}, pool.get('instances', 1))})"
        for pool in pools
        if isinstance(pool, Mapping)
    ]
    return " + ".join(groups)


def _instances(keys: Mapping[str, Any], amount: Any) -> str:
    many = plural(amount, "instance") if isinstance(amount, int) else f"{amount} instances"
    model, hardware, tp = (keys.get(name) for name in ("model", "hardware", "tp"))
    text = f"{many} of {model}" if model else many
    if hardware:
        text += f" on {tp} x {hardware}" if isinstance(tp, int) and tp > 1 else f" on {hardware}"
    return text


def _policies(deployment: Mapping[str, Any]) -> list[str]:
    def policy(holder: str, key: str) -> str:
        inner = deployment.get(holder)
        return str(inner.get(key, "")) if isinstance(inner, Mapping) else ""

    texts = [
        ("routing", policy("routing", "policy")),
        ("admission", policy("admission", "policy")),
        ("scheduler", str(deployment.get("scheduler", ""))),
        ("step times", policy("latency", "model")),
    ]
    return [f"{name} {value}" for name, value in texts if value]
