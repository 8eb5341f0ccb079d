"""How long a fit takes: python benchmarks/fit.py [REQUESTS] (default: 100,000).

Simulates a server with known coefficients at three loads, with chunk times, writes and reads the traces, and fits a
model to them. Prints processor seconds and wall seconds of each part, and the most memory that the process had.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from blis.calibration.fit import fit
from blis.calibration.refine import refine
from blis.simulation import simulate
from blis.trace import Trace

LOADS = (0.8, 2.0, 2.8)
BETA = (12460.0, 336.0, 1.67, 494.0, 0.21, 6100.0)


def timed(what: str, run: Callable[[], Any]) -> Any:
    """Run something and print how long it took."""
    cpu, wall = time.process_time(), time.perf_counter()
    result = run()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{what:<12} {time.process_time() - cpu:>8.2f} {time.perf_counter() - wall:>8.2f} {peak:>8}", flush=True)
    return result


def run(rate: float, requests: int) -> Trace:
    """A trace of a server with the coefficients."""
    client = {
        "id": "a",
        "rate_fraction": 1,
        "arrival": {"process": "poisson"},
        "input_distribution": {"type": "gaussian", "params": {"mean": 325, "std_dev": 180, "min": 50, "max": 600}},
        "output_distribution": {"type": "gaussian", "params": {"mean": 65, "std_dev": 36, "min": 10, "max": 120}},
    }
    latency = {"model": "fitted", "coefficients": {"alpha": [5000, 0, 0, 0], "beta": list(BETA)}}
    server = {"max_num_seqs": 16, "max_num_batched_tokens": 512, "total_kv_blocks": 20_000, "latency": latency}
    spec = {"aggregate_rate": rate, "num_requests": requests, "clients": [client]}
    return simulate(spec, server, record_itl=True)


def main() -> None:
    """Measure."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    print(f"{n} requests{'CPU s':>11} {'wall s':>8} {'MiB':>8}")
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"load{at}" for at in range(len(LOADS))]
        made = timed("simulate", lambda: [run(rate, n // len(LOADS)) for rate in LOADS])
        chunks = sum(len(trace.chunks.times_us) for trace in made)
        for trace, path in zip(made, paths, strict=True):
            trace.write(path)
        del made
        traces = timed("read", lambda: [Trace.read(path) for path in paths])
    model = timed("fit", lambda: fit(traces))
    refined = timed("refine", lambda: refine(model, traces))
    print(f"{chunks} chunks, {model.steps} steps; errors of the coefficients, %:")
    print(" ".join(f"{100 * (ours / true - 1):+.2f}" for ours, true in zip(refined.beta, BETA, strict=True)))


if __name__ == "__main__":
    main()
