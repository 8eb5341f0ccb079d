"""How fast the simulator is on this machine, and how much memory a request takes.

Usage: python benchmarks/engine.py [--quick] [--repeat N] [--case NAME]... [--list] [--json FILE]

Each measurement is a call of ``blis.simulate`` with all figures computed from its trace, in a fresh process; the median
of several is shown. CPU time is also given in bare SimPy timeouts, whose cost is measured in the same process right
before and right after: 100 processes that do nothing but yield one timeout after another. Peak memory is counted from
that of a process that only imports what a simulation needs. Nothing is written but where a case says so.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from cases import CASES, OUTPUTS, Case, select

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "engine.json"
TIMEOUTS = 300_000
MOST_GROWTH = 1.5
"""How much more a request of the longest outputs may cost than one of the shortest."""
MOST_START_S = 1.0
COLD_START = "cold-start"
BASELINE = "baseline"

Row = dict[str, Any]


# ---- in the process that is measured ----


def timeout_us(timeouts: int) -> float:
    """CPU time in µs of one timeout among 100 SimPy processes that yield nothing else."""
    import simpy

    env = simpy.Environment()

    def process(delay: int) -> Any:
        for _ in range(timeouts // 100):
            yield env.timeout(delay)

    for number in range(100):
        env.process(process(1000 + number))
    begin = time.process_time()
    env.run()
    return (time.process_time() - begin) / timeouts * 1e6


def peak_bytes() -> int:
    """Peak resident memory of this process."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def measure(case: Case | None, timeouts: int) -> Row:
    """Run one case in this process; None only imports."""
    import blis.simulation
    from blis.metrics import summarize

    before = timeout_us(timeouts)
    if case is None:
        return {"peak_bytes": peak_bytes()}
    workload = case.workload()
    begin = time.process_time()
    trace = blis.simulation.simulate(workload, case.deployment)
    summary = summarize(trace)
    if case.write:
        with tempfile.TemporaryDirectory() as folder:
            trace.write(Path(folder) / "trace")
    cpu_s = time.process_time() - begin
    after = timeout_us(timeouts)
    waits = summary.overall.e2e_us.mean or 0.0
    return {
        "requests": len(trace),
        "cpu_s": cpu_s,
        "timeout_us": (before + after) / 2,
        "peak_bytes": peak_bytes(),
        "completed": summary.overall.completed,
        "preemptions": summary.overall.preemptions,
        "mean_concurrency": waits * summary.overall.completed / max(trace.header.run["span_us"], 1),
    }


# ---- in the process that measures ----


def environment() -> dict[str, str]:
    """The surroundings of a measured process: the sources beside this file, and hashes that are alike in all runs."""
    return {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": str(HERE.parent)}


def fresh(name: str, quick: bool) -> Row:
    """Measure a case in a process of its own."""
    command = [sys.executable, str(HERE / "engine.py"), "--worker", name, *(["--quick"] if quick else [])]
    run = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment(), text=True)
    row: Row = json.loads(run.stdout)
    return row


def cold_start(repeat: int) -> Row:
    """Seconds of wall-clock and CPU time of ``blis simulate`` on 100 requests, imports and all."""
    command = [sys.executable, "-m", "blis", "simulate", "--workload", "chatbot", "--rate", "10"]
    command += ["--num-requests", "100", "--json"]
    walls, cpus = [], []
    for _ in range(repeat):
        cpu, wall = children_s(), time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True, env=environment())
        walls.append(time.perf_counter() - wall)
        cpus.append(children_s() - cpu)
    return {"wall_s": statistics.median(walls), "cpu_s": statistics.median(cpus), "walls_s": walls}


def children_s() -> float:
    """CPU time of all child processes so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def result(case: Case, runs: list[Row], baseline: int) -> Row:
    """Condense the runs of a case: the median of what varies, and every run's cost."""

    def median(values: list[float]) -> float:
        return float(statistics.median(values))

    requests = runs[0]["requests"]
    costs = [run["cpu_s"] / requests * 1e6 / run["timeout_us"] for run in runs]
    peak = median([run["peak_bytes"] for run in runs])
    return {
        "about": case.about,
        "requests": requests,
        "requests_per_cpu_s": median([requests / run["cpu_s"] for run in runs]),
        "us_per_request": median([run["cpu_s"] / requests * 1e6 for run in runs]),
        "timeouts_per_request": median(costs),
        "timeouts_per_request_of_each_run": costs,
        "timeout_us": median([run["timeout_us"] for run in runs]),
        "peak_bytes": peak,
        "bytes_per_request": (peak - baseline) / requests,
        "preemptions": runs[0]["preemptions"],
        "mean_concurrency": runs[0]["mean_concurrency"],
        "most_timeouts": case.most_timeouts,
        "most_bytes": case.most_bytes,
    }


HEAD = f"{'case':<18} {'requests':>9} {'per CPU s':>10} {'µs each':>8} {'timeouts':>9} {'bytes':>7}  "


def line(name: str, row: Row) -> str:
    """A case as a line of the table, with what it promises and whether that holds."""
    marks = []
    for key, most in (("timeouts_per_request", row["most_timeouts"]), ("bytes_per_request", row["most_bytes"])):
        if most is not None:
            marks.append(f"{'ok' if row[key] <= most else 'TOO MUCH'}: at most {most} {key.split('_')[0]}")
    # With few requests what every run needs once would count as theirs.
    size = f"{row['bytes_per_request']:7.0f}" if row["requests"] >= 5_000 else f"{'-':>7}"
    return (
        f"{name:<18} {row['requests']:>9} {row['requests_per_cpu_s']:>10.0f} {row['us_per_request']:>8.1f} "
        f"{row['timeouts_per_request']:>9.1f} {size}  {row['about']}{'; ' if marks else ''}{'; '.join(marks)}"
    )


def closing(results: dict[str, Row]) -> list[str]:
    """What can be said only of several cases together, and the cold start."""
    lines = []
    shortest, longest = (results.get(f"output-{tokens}") for tokens in (OUTPUTS[0], OUTPUTS[-1]))
    if shortest and longest:
        growth = longest["timeouts_per_request"] / shortest["timeouts_per_request"]
        verdict = "ok" if growth <= MOST_GROWTH else "TOO MUCH"
        lines.append(
            f"a request of {OUTPUTS[-1]} output tokens costs {growth:.2f} times one of {OUTPUTS[0]} "
            f"({verdict}: at most {MOST_GROWTH}), "
            f"with {longest['mean_concurrency']:.0f} and {shortest['mean_concurrency']:.0f} at a time"
        )
    if COLD_START in results:
        start = results[COLD_START]
        verdict = "ok" if start["wall_s"] < MOST_START_S else "TOO MUCH"
        lines.append(
            f"blis simulate of 100 requests takes {start['wall_s']:.2f} s from a cold start "
            f"({verdict}: at most {MOST_START_S}), {start['cpu_s']:.2f} s of them CPU time"
        )
    return lines


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="a twentieth of the requests, one run of each case")
    parser.add_argument("--repeat", type=int, help="runs of each case, of which the median counts (default: 5)")
    parser.add_argument("--case", action="append", default=[], metavar="NAME", help="only this case; may be repeated")
    parser.add_argument("--list", action="store_true", help="name the cases and measure nothing")
    parser.add_argument("--json", type=Path, default=RESULTS, metavar="FILE", help="where the results go")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser.parse_args()


def run_all(options: argparse.Namespace) -> dict[str, Row]:
    """Measure the selected cases and print a line for each as it is done."""
    repeat = options.repeat or (1 if options.quick else 5)
    cases = select(options.case)
    results: dict[str, Row] = {}
    baseline = int(statistics.median(fresh(BASELINE, options.quick)["peak_bytes"] for _ in range(repeat)))
    print(HEAD)
    for case in cases:
        runs = [fresh(case.name, options.quick) for _ in range(repeat)]
        results[case.name] = result(case.quick() if options.quick else case, runs, baseline)
        print(line(case.name, results[case.name]), flush=True)
    if not options.case or COLD_START in options.case:
        results[COLD_START] = cold_start(max(repeat, 3))
    for sentence in closing(results):
        print(sentence)
    return results


def main() -> None:
    """Measure, print the table, and keep the results."""
    options = arguments()
    timeouts = TIMEOUTS // 3 if options.quick else TIMEOUTS
    if options.worker:
        case = None if options.worker == BASELINE else CASES[options.worker]
        print(json.dumps(measure(case.quick() if case and options.quick else case, timeouts)))
        return
    if options.list:
        print("\n".join(f"{case.name:<18} {case.requests:>9}  {case.about}" for case in CASES.values()))
        return
    results = run_all(options)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    machine = {"python": platform.python_version(), "machine": platform.platform(), "quick": options.quick}
    options.json.write_text(json.dumps({**machine, "cases": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
