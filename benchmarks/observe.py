"""How much load one process can send honestly, and how true its times are, on this machine.

Usage: python benchmarks/observe.py [--rates N,N,...] [--seconds N] [--connections N] [--json FILE]

A mock server in a process of its own (mock_server.py) answers every request with a stream of ten chunks. For each rate,
in requests per second with Poisson gaps, the client's schedule delay is shown (actual less intended send), and the
error of its TTFT: what it measured less the time from the arrival of the whole request at the server to the server's
first write, both on the clock that the two processes share. Last, the time from the start of the command to its first
request. Client and server together need two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
CHUNKS = 10
RATES = (100, 400, 800, 1200)
COLUMNS = ("rate", "sent", "ok", "achieved", "delay p50", "delay p99", "delay max", "TTFT error p50", "p99", "CPU")

Row = dict[str, Any]


@contextmanager
def mock_server() -> Iterator[str]:
    """The URL of a server that runs as long as the block."""
    server = subprocess.Popen(
        [sys.executable, str(HERE / "mock_server.py"), "--chunks", str(CHUNKS)], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(server.stdout.readline())}"
    finally:
        server.terminate()
        server.wait()


def server_times(url: str) -> dict[int, tuple[int, int]]:
    """By request id: when the server had the request, and when it wrote the first chunk, in ns."""
    with urllib.request.urlopen(f"{url}/times") as answer:
        times = json.load(answer)
    return {int(name.rpartition("-")[2]): tuple(pair) for name, pair in times.items()}


def workload(rate: float, seconds: float) -> dict[str, Any]:
    """Short prompts at ``rate``, for so many seconds."""
    return {
        "horizon": f"{seconds}s",
        "clients": [
            {
                "id": "load",
                "rate": rate,
                "arrival": {"process": "poisson"},
                "input_distribution": {"type": "constant", "params": {"value": 256}},
                "output_distribution": {"type": "constant", "params": {"value": CHUNKS}},
            }
        ],
    }


def measure(url: str, rate: float, seconds: float, connections: int | None) -> Row:
    """Send one load and return what came of it; times in ms."""
    import blis

    server = {"url": url, "type": "vllm", "connections": connections or int(rate / 4) + 4}
    trace = blis.observe(workload(rate, seconds), server, warn=lambda _: None)
    times = server_times(url)
    ids, sends, firsts = (trace.column(name) for name in ("request_id", "send_time_us", "first_chunk_time_us"))
    errors = [
        (first - send) / 1e3 - (times[request][1] - times[request][0]) / 1e6
        for request, send, first in zip(ids.tolist(), sends.tolist(), firsts.tolist(), strict=True)
        if first >= 0 and request in times
    ]
    load = trace.header.run["load"]
    delay = load["schedule_delay_us"]
    return {
        "rate": rate,
        "sent": load["sent"],
        "ok": int(np.count_nonzero(trace.column("status") == "ok")),
        "achieved": load["achieved_rate"],
        **{f"delay {name}": delay[name] / 1e3 for name in ("p50", "p99", "max")},
        "TTFT error p50": float(np.median(errors)),
        "p99": float(np.percentile(errors, 99)),
        "CPU": trace.header.run["client_cpu_share"],
    }


def first_request_s(url: str) -> float:
    """Seconds from the start of ``blis observe`` to the arrival of its first request at the server."""
    with tempfile.TemporaryDirectory() as folder:
        spec = Path(folder) / "spec.json"
        spec.write_text(json.dumps({**workload(1000.0, 1.0), "num_requests": 1}))
        arguments = ["observe", str(spec), "--server-url", url, "--server-type", "vllm", "-q"]
        began_ns = time.monotonic_ns()
        subprocess.run(
            [sys.executable, "-m", "blis", *arguments],
            check=True,
            env={**os.environ, "PYTHONPATH": str(HERE.parent)},
        )
    return (min(received for received, _ in server_times(url).values()) - began_ns) / 1e9


def main() -> None:
    """Climb the rates and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", default=",".join(map(str, RATES)))
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--connections", type=int, default=None)
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    sys.path.insert(0, str(HERE.parent))
    print("".join(f"{name:>15}" for name in COLUMNS), "  (times in ms)")
    rows = []
    with mock_server() as url:
        for rate in map(float, options.rates.split(",")):
            row = measure(url, rate, options.seconds, options.connections)
            rows.append(row)
            print("".join(f"{row[name]:>15.4g}" for name in COLUMNS), flush=True)
        start_s = first_request_s(url)
    print(f"first request {start_s:.2f} s after the start of the command")
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        found = {"python": platform.python_version(), "cpus": os.cpu_count(), "first_request_s": start_s, "rates": rows}
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
