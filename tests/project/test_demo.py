"""The loop of `make demo`, in short: what is served is what is simulated, and a client measures it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from blis.trace import Trace


@pytest.mark.skipif(shutil.which("sh") is None, reason="needs sh")
def test_serve_observe_simulate_and_compare(repository: Path, tmp_path: Path) -> None:
    shutil.copytree(repository / "specs", tmp_path / "specs")
    run = subprocess.run(
        ["sh", "specs/demo.sh", sys.executable, "--horizon", "3s", "--cut-at-horizon"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    log = tmp_path / "build" / "demo" / "server.log"
    assert re.match(r"blis: serving qwen3-14b at http://127.0.0.1:\d+\n  1 x qwen3-14b on A100-80", log.read_text())
    real, sim = (Trace.read(tmp_path / "build" / "demo" / name) for name in ("real", "sim"))
    assert len(real) == len(sim) > 5
    assert set(real.column("status")) == {"ok", "incomplete"}
    assert real.header.server is not None
    assert real.header.server["version"].startswith("blis-")
    keys = ["client_id", "session_id", "round_index", "client_seq"]
    both = real.to_frame().merge(sim.to_frame(), on=keys, suffixes=("_real", "_sim"))
    assert len(both) == len(real)
    both = both[(both.status_real == "ok") & (both.status_sim == "ok")]
    assert len(both) > 5
    assert (both.output_tokens_real == both.output_tokens_sim).all()
    e2e = [both[f"last_chunk_time_us_{side}"] - both[f"{sent}_{side}"] for side, sent in SENT]
    assert np.median(np.abs(e2e[0] - e2e[1])) < 50_000, "however busy the machine is"


SENT = (("real", "send_time_us"), ("sim", "arrival_time_us"))
