"""A fit of a served cluster, observed over the wire, gives back the step times it was served with."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
import yaml

import blis
from blis.calibration.fit import fit
from blis.spec.deployment import deployment_from_dict

BETA = (9000.0, 240.0, 450.0)
SETTINGS = {"max_num_seqs": 16, "max_num_batched_tokens": 512, "total_kv_blocks": 20_000}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a cluster is served whose steps take what BETA says."""
    file = tmp_path_factory.mktemp("served") / "cluster.yaml"
    latency = {"model": "alpha-beta", "coefficients": {"alpha": [3000, 0, 0], "beta": list(BETA)}}
    file.write_text(yaml.safe_dump({**SETTINGS, "latency": latency}))
    command = [sys.executable, "-m", "blis", "serve", "--deployment", str(file), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        assert server.stdout is not None
        giving_up = threading.Timer(60, server.kill)
        giving_up.start()
        try:
            said = ""
            for line in server.stdout:
                said += line
                if found := re.search(r"serving .* at (\S+)", line):
                    break
            else:
                raise AssertionError(f"the server didn't start:\n{said}")
            giving_up.cancel()
            yield found[1]
        finally:
            giving_up.cancel()
            server.terminate()
            server.wait(20)


def observed(url: str, rate: float, requests: int) -> blis.Trace:
    client = {
        "id": "a",
        "rate": rate,
        "arrival": {"process": "poisson"},
        "input_distribution": {"type": "gaussian", "params": {"mean": 120, "std_dev": 80, "min": 10, "max": 400}},
        "output_distribution": {"type": "gaussian", "params": {"mean": 30, "std_dev": 15, "min": 4, "max": 80}},
    }
    spec = {"seed": round(rate), "num_requests": requests, "clients": [client]}
    return blis.observe(spec, {"url": url}, record_itl=True, warn=lambda text: None)


def test_a_fit_gives_back_what_was_served(url: str) -> None:
    traces = [observed(url, 4, 24), observed(url, 14, 84)]
    found = fit(traces, deployment_from_dict(SETTINGS), form="alpha-beta")
    # Step, prefill token, decoding sequence; the server wakes some 0.1 ms late, so that steps keep their length.
    assert found.beta == pytest.approx(BETA, rel=0.05)
    for prefill, decodes in ((0, 1), (0, 12), (100, 0), (400, 8)):
        true = BETA[0] + BETA[1] * prefill + BETA[2] * decodes
        assert found.beta[0] + found.beta[1] * prefill + found.beta[2] * decodes == pytest.approx(true, rel=0.05)
    assert found.async_scheduling is False
