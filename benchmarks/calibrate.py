"""How long a calibration report takes: python benchmarks/calibrate.py [PAIRS] (default: 100,000).

Makes a pair of traces with three SLO classes and seven tenants, writes and reads them, and compares them with 1000
bootstrap resamples. Prints processor seconds and wall seconds of each part.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from blis.calibration import calibrate
from blis.rng import stream
from blis.trace import Histogram, Trace, TraceHeader

MEAN_GAP_US = 20_000


def timed(what: str, run: Callable[[], Any]) -> Any:
    """Run something and print how long it took."""
    cpu, wall = time.process_time(), time.perf_counter()
    result = run()
    print(f"{what:<12} {time.process_time() - cpu:>8.2f} {time.perf_counter() - wall:>8.2f}")
    return result


def pair(n: int) -> tuple[Trace, Trace]:
    """A trace taken for real, and one whose latencies are some 10 % higher, with noise."""
    rng = stream(0, "benchmark")
    arrivals = np.cumsum(rng.exponential(MEAN_GAP_US, n)).astype(np.int64)
    outputs = rng.integers(2, 200, n)
    ttft = rng.lognormal(11, 0.5, n)
    e2e = ttft + outputs * rng.uniform(20_000, 30_000, n)

    def trace(mode: Any, factor: float) -> Trace:
        columns = {
            "client_id": [f"client {i % 10}" for i in range(n)],
            "client_seq": np.arange(n) // 10,
            "tenant_id": [f"tenant {i % 7}" for i in range(n)],
            "slo_class": [("critical", "standard", "batch")[i % 3] for i in range(n)],
            "streaming": np.ones(n, np.bool_),
            "input_tokens": outputs * 4,
            "prompt_tokens": outputs * 4,
            "output_tokens": outputs,
            "arrival_time_us": arrivals,
            "send_time_us": arrivals,
            "first_chunk_time_us": arrivals + (ttft * factor * rng.lognormal(0, 0.1, n)).astype(np.int64),
            "last_chunk_time_us": arrivals + (e2e * factor * 2).astype(np.int64),
            "status": ["ok"] * n,
        }
        gaps = Histogram(rng.integers(20_000, 30_000, 5000), rng.integers(1, 1000, 5000))
        return Trace.from_columns(columns, TraceHeader(mode=mode), gaps)

    return trace("real", 1.0), trace("simulated", 1.1)


def main() -> None:
    """Measure."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    print(f"{n} pairs{'CPU s':>14} {'wall s':>8}")
    real, simulated = pair(n)
    with tempfile.TemporaryDirectory() as folder:
        prefixes = [Path(folder) / name for name in ("real", "simulated")]
        real.write(prefixes[0])
        simulated.write(prefixes[1])
        traces = timed("read", lambda: [Trace.read(prefix) for prefix in prefixes])
    report = timed("compare", lambda: calibrate(*traces))
    groups = 1 + len(report.slo_classes) + len(report.tenants) + len(report.phases)
    timed("compare, 1x", lambda: calibrate(*traces, resamples=1))
    print(f"{groups} groups, blocks of {report.bootstrap.block_requests} requests, rating {report.rating}")


if __name__ == "__main__":
    main()
