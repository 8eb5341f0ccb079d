"""What servers told of their load against what simulated ones would have told."""

from __future__ import annotations

import math

import numpy as np
import pytest

from blis.calibration import calibrate
from blis.calibration.series import load_over_time, simulated_load
from blis.simulation import simulate
from blis.trace import ServerMetrics, Trace
from blis.units import US_PER_S

DEPLOYMENT = {
    "instances": 2,
    "model": "llama-3.1-8b",
    "hardware": "H100",
    "total_kv_blocks": 400,
    "block_size": 16,
    "max_num_seqs": 8,
    "latency": {"model": "alpha-beta", "coefficients": {"alpha": [0, 0, 0], "beta": [8000, 20, 30]}},
}
WORKLOAD = {
    "num_requests": 300,
    "clients": [
        {
            "id": "a",
            "rate": 45.0,
            "arrival": {"process": "gamma", "cv": 3},
            "input_distribution": {"type": "exponential", "params": {"mean": 200}},
            "output_distribution": {"type": "exponential", "params": {"mean": 60}},
        }
    ],
}
TIMES = np.arange(0, 8 * US_PER_S, US_PER_S // 7)


@pytest.fixture(scope="module")
def simulated() -> Trace:
    return simulate(WORKLOAD, DEPLOYMENT)


def observed(simulated: Trace, metrics: ServerMetrics | None, **facts) -> Trace:
    """The same run as a real one."""
    header = simulated.header.model_copy(update={"mode": "real", "deployment": None, **facts})
    return Trace(header, simulated.rows, simulated.itl, metrics=metrics)


def one_by_one(trace: Trace) -> dict[str, list[float]]:
    """The levels by looking at every request at every time."""
    names = ("arrival_time_us", "scheduling_delay_us", "first_chunk_time_us", "last_chunk_time_us")
    names += ("prompt_tokens", "output_tokens")
    rows = list(zip(*(trace.column(name).tolist() for name in names), strict=True))
    found: dict[str, list[float]] = {"running": [], "waiting": [], "kv_usage": []}
    for now in TIMES.tolist():
        running = [row for row in rows if row[0] + row[1] <= now < row[3]]
        found["running"].append(len(running))
        found["waiting"].append(sum(row[0] <= now < row[0] + row[1] for row in rows))
        blocks = 0
        for *_, first, last, prompt, output in running:
            done = max(now - first, 0) / max(last - first, 1)
            blocks += math.ceil((prompt + output * done) / 16)
        found["kv_usage"].append(blocks / 800)
    return found


def test_simulated_levels_are_those_of_the_requests_one_by_one(simulated: Trace) -> None:
    found, expected = simulated_load(simulated, TIMES), one_by_one(simulated)
    assert max(expected["waiting"]) > 5
    assert found.keys() == expected.keys()
    for name, levels in expected.items():
        assert found[name].tolist() == pytest.approx(levels), name


def metrics(simulated: Trace, more: float = 0.0) -> ServerMetrics:
    """Two replicas with half of the load each, the second scraped a moment later."""
    load = simulated_load(simulated, TIMES)
    samples = []
    for place, now in enumerate(TIMES.tolist()):
        half = {
            "running": load["running"][place] / 2 + more / 2,
            "waiting": load["waiting"][place] / 2,
            "kv_usage": load["kv_usage"][place],
        }
        samples += [(now, 0, half), (now, 1, half)]
    return ServerMetrics.of(samples)


def test_what_was_told_is_compared_with_what_was_simulated(simulated: Trace) -> None:
    real = observed(simulated, metrics(simulated))
    result = calibrate(real, simulated, resamples=50)
    assert set(result.servers) == {"running", "waiting", "kv_usage"}
    for name, comparison in result.servers.items():
        assert comparison.n == len(result.series[name].times_s) > 40
        assert comparison.bias.size.value == pytest.approx(0, abs=1e-12)
        assert comparison.pearson_r.value == pytest.approx(1)
        assert comparison.rating is None
    assert result.to_dict()["servers"]["running"]["n"] == result.servers["running"].n
    assert "series" not in result.to_dict()
    busier = calibrate(observed(simulated, metrics(simulated, more=3)), simulated, resamples=50).servers["running"]
    assert busier.bias.size.value == pytest.approx(-3)
    assert busier.bias.direction == "under"


def test_the_warm_up_is_left_out(simulated: Trace) -> None:
    real = observed(simulated, metrics(simulated), warm_up_requests=100)
    since = int(real.column("arrival_time_us")[100])
    assert calibrate(real, simulated, resamples=5).series["running"].times_s.min() >= since / US_PER_S


def test_only_what_both_sides_tell_is_compared(simulated: Trace) -> None:
    assert load_over_time(observed(simulated, None), simulated, 0) == {}
    running = ServerMetrics.of([(US_PER_S, 0, {"running": 3.0}), (2 * US_PER_S, 0, {"requests_total": 5.0})])
    found = load_over_time(observed(simulated, running), simulated, 0)
    assert list(found) == ["running"]
    assert found["running"].times_s.tolist() == [1.0]
    silent = Trace.from_columns({"arrival_time_us": [0], "input_tokens": [1]})
    assert load_over_time(observed(simulated, running), silent, 0) == {}
