"""How fast a workload's requests are written to CSV, and in how much memory: python benchmarks/generate.py [FOLDER].

FOLDER holds ServeGen data (default: BLIS_DATA/servegen/data/language/m-large; without, only a parametric spec is
measured). Each line is the best of several runs in fresh processes: requests per second of CPU time, and peak memory
beyond that of a process that only imports what is needed.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
REPEATS = 3
TARGET = 300_000
"""Requests per second that every case must reach."""

Spec = dict[str, Any]


def parametric(clients: int, requests: int) -> Spec:
    """Clients with bursty arrivals, of four tenants and three classes, half of them with a shared prefix."""
    return {
        "aggregate_rate": 1000,
        "num_requests": requests,
        "clients": [
            {
                "id": f"client-{number}",
                "tenant_id": f"tenant-{number % 4}",
                "slo_class": ("critical", "standard", "batch")[number % 3],
                "rate_fraction": 1 + number % 5,
                "arrival": {"process": "gamma", "cv": 2.5},
                "input_distribution": {"type": "lognormal", "params": {"mu": 6, "sigma": 1}},
                "output_distribution": {"type": "exponential", "params": {"mean": 200}},
                **({"prefix_group": "docs", "prefix_length": 512} if number % 2 else {}),
            }
            for number in range(clients)
        ],
    }


def measured(folder: str, hours: int, **more: Any) -> Spec:
    """Every chunk of a folder of ServeGen data."""
    return {"horizon": f"{hours}h", "servegen_data": {"path": folder}, **more}


def cases(folder: str) -> dict[str, Spec]:
    """The workloads by name."""
    found = {
        "8 clients, 10^6 requests": parametric(8, 1_000_000),
        "8 clients, 4 x 10^6 requests": parametric(8, 4_000_000),
        "1000 clients, 10^6 requests": parametric(1000, 1_000_000),
    }
    if folder:
        found["ServeGen, 1 day"] = measured(folder, 24)
        found["ServeGen, 14 days"] = measured(folder, 336)
        found["ServeGen, 12 h, 50/s"] = measured(folder, 12, aggregate_rate=50)
    return found


def measure(spec: Spec | None) -> dict[str, float]:
    """Generate in this process; None only imports."""
    from blis.generation import generate_to
    from blis.spec.workload import workload_from_dict

    requests, seconds = 0, 0.0
    if spec is not None:
        workload = workload_from_dict(spec)
        with tempfile.TemporaryDirectory() as folder:
            begin = time.process_time()
            requests = generate_to(Path(folder) / "trace", workload, warn=lambda _: None).requests
            seconds = time.process_time() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    return {"requests": requests, "seconds": seconds, "peak_mb": peak}


def fresh(spec: Spec | None) -> dict[str, float]:
    """Measure in a process of its own."""
    run = subprocess.run(
        [sys.executable, __file__, "--worker"],
        input=json.dumps(spec),
        stdout=subprocess.PIPE,
        check=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(HERE.parent)},
    )
    result: dict[str, float] = json.loads(run.stdout)
    return result


def main() -> None:
    """Measure all cases; the exit code is 1 if one is below the target."""
    if sys.argv[1:] == ["--worker"]:
        print(json.dumps(measure(json.load(sys.stdin))))
        return
    data = os.environ.get("BLIS_DATA")
    folder = sys.argv[1] if len(sys.argv) > 1 else f"{data}/servegen/data/language/m-large" if data else ""
    baseline = fresh(None)["peak_mb"]
    print(f"{'case':<30} {'requests':>10} {'per second':>11} {'MB':>5}")
    slow = False
    for name, spec in cases(folder).items():
        best = min((fresh(spec) for _ in range(REPEATS)), key=lambda run: run["seconds"])
        speed = best["requests"] / best["seconds"]
        slow |= speed < TARGET
        verdict = "" if speed >= TARGET else f"  TOO SLOW: at least {TARGET:,}"
        print(f"{name:<30} {best['requests']:>10,} {speed:>11,.0f} {best['peak_mb'] - baseline:>5.0f}{verdict}")
    if slow:
        sys.exit(1)


if __name__ == "__main__":
    main()
