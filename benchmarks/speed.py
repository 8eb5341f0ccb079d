"""How fast blis starts and simulates on this machine.

Usage: python benchmarks/speed.py [REQUESTS]
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import blis
from blis.spec.workload import load_workload

SPECS = Path(__file__).resolve().parent.parent / "specs"
COLD_STARTS = {
    "import blis": ["-c", "import blis"],
    "blis --help": ["-m", "blis", "--help"],
    "blis simulate, 1 request": [
        *("-m", "blis", "simulate", "--workload", "chatbot", "--rate", "1", "--num-requests", "1", "--json"),
    ],
}


def best_of(times: int, arguments: list[str]) -> float:
    """Shortest wall-clock time in seconds of ``times`` runs of a fresh interpreter."""
    durations = []
    for _ in range(times):
        start = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        durations.append(time.perf_counter() - start)
    return min(durations)


def main() -> None:
    """Print the figures."""
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    for name, arguments in COLD_STARTS.items():
        print(f"{name:<40} {best_of(5, arguments) * 1e3:10.0f} ms")
    deployment = SPECS / "deployments" / "demo.yaml"
    blis.simulate(SPECS / "demo.yaml", deployment)
    workload = load_workload(SPECS / "demo.yaml", overrides={"num_requests": requests, "horizon": "100h"})
    start = time.perf_counter()
    trace = blis.simulate(workload, deployment)
    seconds = time.perf_counter() - start
    tokens = int(trace.column("output_tokens").clip(0).sum())
    print(f"{f'{len(trace)} requests on 4 instances':<40} {seconds:10.2f} s")
    print(f"{'requests per second':<40} {len(trace) / seconds:10.0f}")
    print(f"{'output tokens per second':<40} {tokens / seconds:10.0f}")


if __name__ == "__main__":
    main()
