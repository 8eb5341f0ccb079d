"""The benchmarks run, and find what they are asked for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


def bench(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "benchmarks/engine.py", *arguments],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_short_run(repository: Path, tmp_path: Path) -> None:
    results = tmp_path / "sub" / "engine.json"
    run = bench(repository, "--quick", "--case", "requests-1000", "--json", str(results))
    assert run.returncode == 0, run.stderr
    assert [line.split()[0] for line in run.stdout.splitlines()] == ["case", "requests-1000"]
    written = json.loads(results.read_text())
    assert written["quick"] is True
    row = written["cases"]["requests-1000"]
    assert row["requests"] == 500
    assert row["timeouts_per_request"] > 1
    assert row["requests_per_cpu_s"] * row["us_per_request"] == pytest.approx(1e6)
    # 20 requests a second, of 256 tokens at some 8 ms.
    assert 20 < row["mean_concurrency"] < 70


def test_cases_go_by_their_names(repository: Path) -> None:
    listed = bench(repository, "--list").stdout
    names = [line.split()[0] for line in listed.splitlines()]
    assert len(names) == len(set(names)) > 20
    assert {"busy", "sixteen", "requests-1000000", "instances-64", "output-4096", "kv-starved"} <= set(names)
    wrong = bench(repository, "--case", "buzy")
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("no case buzy; there are: cold-start, busy, sixteen")
