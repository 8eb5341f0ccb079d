"""A workload and a deployment in, a trace out: what a user of :func:`blis.simulate` relies on."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

import blis
from blis.errors import BlisError
from blis.metrics import summarize
from blis.simulation import Progress
from blis.spec.workload import parse_workload
from blis.trace.header import NetworkFacts
from blis.trace.trace import Trace

STEP_US = 1000
DEPLOYMENT: dict[str, Any] = {
    "max_model_len": 0,
    "total_kv_blocks": 10_000,
    "latency": {"model": "alpha-beta", "coefficients": {"alpha": [0, 0, 0], "beta": [STEP_US, 0, 0]}},
}
"""One instance whose steps take a millisecond each."""


def client(name: str, fraction: float = 1.0, output: Any = 20, **more: Any) -> dict[str, Any]:
    lengths = output if isinstance(output, dict) else {"type": "constant", "params": {"value": output}}
    return {
        "id": name,
        "rate_fraction": fraction,
        "arrival": {"process": "poisson"},
        "input_distribution": {"type": "constant", "params": {"value": 10}},
        "output_distribution": lengths,
        **more,
    }


def workload(*clients: dict[str, Any], rate: float = 50.0, **more: Any) -> dict[str, Any]:
    return {"version": "2", "seed": 7, "aggregate_rate": rate, "clients": list(clients), **more}


def simulate(spec: dict[str, Any], deployment: dict[str, Any] | None = None, **keywords: Any) -> Trace:
    return blis.simulate(spec, DEPLOYMENT | (deployment or {}), **keywords)


# ---- who sends how much, and how evenly ----


def test_rate_fractions_are_shares_of_the_requests() -> None:
    trace = simulate(workload(client("A", 0.7), client("B", 0.3), num_requests=10_000, rate=200))
    counts = Counter(trace.column("client_id").tolist())
    assert sum(counts.values()) == 10_000
    assert counts["A"] / 10_000 == pytest.approx(0.7, rel=0.05)
    assert counts["B"] / 10_000 == pytest.approx(0.3, rel=0.05)


def test_only_the_proportion_of_rate_fractions_matters() -> None:
    traces = [
        simulate(workload(client("A", a), client("B", b), num_requests=2000)) for a, b in ((0.7, 0.3), (7.0, 3.0))
    ]
    for name in ("client_id", "arrival_time_us", "first_chunk_time_us", "last_chunk_time_us"):
        assert traces[0].column(name).tolist() == traces[1].column(name).tolist()


def measured_cv(arrival: dict[str, Any]) -> float:
    gaps = np.diff(simulate(workload(client("A", arrival=arrival), num_requests=5000)).column("arrival_time_us"))
    return float(gaps.std() / gaps.mean())


def test_burstiness_is_what_the_spec_asks_for() -> None:
    assert measured_cv({"process": "gamma", "cv": 3.5}) == pytest.approx(3.5, rel=0.1)
    assert measured_cv({"process": "gamma", "cv": 3.5}) > 2
    assert measured_cv({"process": "poisson"}) == pytest.approx(1, rel=0.05)
    assert measured_cv({"process": "weibull", "cv": 2.0}) == pytest.approx(2, rel=0.1)
    assert measured_cv({"process": "constant"}) == 0


# ---- the same run, the same bytes ----

MIXED = workload(
    client("chat", 3, {"type": "exponential", "params": {"mean": 40}}, prefix_group="p", prefix_length=64),
    client("batch", 1, {"type": "lognormal", "params": {"mu": 3, "sigma": 1}}, slo_class="batch", timeout="80ms"),
    client("bursts", 2, arrival={"process": "gamma", "cv": 3.0}, slo_class="critical"),
    rate=300,
    horizon="2s",
)
SEVERAL = {"instances": 3, "total_kv_blocks": 60, "routing": {"policy": "weighted"}, "scheduler": "priority-fcfs"}


def written(trace: Trace, folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    trace.write(folder / "trace")
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    del files["trace.provenance.json"]
    return files


def test_equal_runs_write_equal_bytes(tmp_path: Path) -> None:
    files = [written(simulate(MIXED, SEVERAL), tmp_path / name) for name in ("one", "other")]
    assert sorted(files[0]) == ["trace.csv", "trace.itl.csv", "trace.yaml"]
    assert files[0] == files[1]
    again = simulate(MIXED, SEVERAL)
    assert (written(again, tmp_path / "again"), written(again, tmp_path / "twice")) == (files[0], files[0])
    assert written(simulate(MIXED | {"seed": 8}, SEVERAL), tmp_path / "seed") != files[0]


def test_watching_a_run_changes_nothing(tmp_path: Path) -> None:
    seen: list[Progress] = []
    watched = simulate(MIXED | {"horizon": "8s"}, SEVERAL, progress=seen.append)
    unwatched = simulate(MIXED | {"horizon": "8s"}, SEVERAL)
    assert written(watched, tmp_path / "watched") == written(unwatched, tmp_path / "unwatched")
    assert all(0 <= one.ended <= one.arrived <= len(watched) for one in seen)
    assert [one.now_us for one in seen] == sorted(one.now_us for one in seen)


# ---- where a run ends ----


def test_arrivals_stop_at_the_horizon_and_what_is_in_flight_drains() -> None:
    trace = simulate(workload(client("A", output=500), horizon="2s"))
    assert 60 < len(trace) < 140
    assert trace.column("arrival_time_us").max() < 2_000_000
    assert set(trace.column("status").tolist()) == {"ok"}
    assert trace.column("last_chunk_time_us").max() > 2_000_000
    assert trace.header.run["span_us"] == trace.column("last_chunk_time_us").max()


def test_a_run_without_time_is_empty() -> None:
    for cut in (False, True):
        doubts: list[str] = []
        trace = simulate(workload(client("A"), horizon=0), cut_at_horizon=cut, warn=doubts.append)
        assert len(trace) == 0
        assert len(doubts) == 1
        assert trace.header.run["span_us"] == 0
        summary = summarize(trace)
        assert (summary.conservation.injected, summary.overall.ttft_us.n) == (0, 0)


def test_a_run_without_requests_is_empty() -> None:
    doubts: list[str] = []
    assert len(simulate(workload(client("A"), num_requests=0), warn=doubts.append)) == 0
    assert len(doubts) == 1


@pytest.mark.parametrize("cut", [False, True])
def test_the_number_of_requests_and_the_horizon_hold_together(cut: bool) -> None:
    few = simulate(workload(client("A"), num_requests=5, horizon="100s"), cut_at_horizon=cut)
    assert (len(few), set(few.column("status").tolist())) == (5, {"ok"})
    short = simulate(workload(client("A"), num_requests=500, horizon="1s"), cut_at_horizon=cut)
    assert 20 < len(short) < 90


CUTS = [
    pytest.param({}, True, id="plain"),
    pytest.param({"async_scheduling": True}, True, id="asynchronous"),
    pytest.param({"max_num_seqs": 6}, True, id="queueing"),
    pytest.param({"instances": 3, "routing": {"policy": "least-loaded", "latency_us": 700}}, True, id="instances"),
    pytest.param({"max_num_batched_tokens": 8}, False, id="little budget"),
    pytest.param({"total_kv_blocks": 24}, False, id="few blocks"),
    pytest.param({"total_kv_blocks": 24, "async_scheduling": True}, False, id="few blocks, asynchronous"),
]


@pytest.mark.parametrize(("deployment", "steady"), CUTS)
@pytest.mark.parametrize("horizon", [300_000, 487_654])
def test_a_run_cut_at_the_horizon_is_the_whole_one_up_to_there(
    deployment: dict[str, Any], steady: bool, horizon: int
) -> None:
    outputs = {"type": "exponential", "params": {"mean": 60}}
    spec = workload(client("A", 2, outputs, timeout="150ms"), client("B", 1, outputs), rate=200, horizon=horizon)
    whole, cut = simulate(spec, deployment).to_frame(), simulate(spec, deployment, cut_at_horizon=True)
    rows = cut.to_frame()
    # A late request leaves with its last token, or at its deadline if it waits.
    left = whole["last_chunk_time_us"].fillna(0)
    left = left.where(whole["status"] == "ok", np.maximum(left, whole["deadline_us"].fillna(0)))
    ended = (left < horizon).to_numpy()
    assert (rows["status"] != "incomplete").tolist() == ended.tolist()
    assert ended.sum() > 20
    assert (~ended).sum() > 3
    pd.testing.assert_frame_equal(rows[ended], whole[ended], check_dtype=False, check_categorical=False)
    specified = ["request_id", "client_id", "arrival_time_us", "input_tokens", "planned_output_tokens", "deadline_us"]
    pd.testing.assert_frame_equal(rows[specified], whole[specified], check_dtype=False, check_categorical=False)
    if steady:
        check_tokens_so_far(rows[~ended], whole[~ended], horizon)
    conservation = summarize(cut).conservation
    assert conservation.balanced
    assert conservation.running + conservation.queued == int((~ended).sum())


def check_tokens_so_far(rows: pd.DataFrame, whole: pd.DataFrame, horizon: int) -> None:
    """Where a running request gets a token at the end of each step, those before the horizon are easily counted."""
    first = whole["first_chunk_time_us"].to_numpy(float, na_value=np.inf)
    tokens = np.maximum(np.ceil((horizon - np.minimum(first, horizon)) / STEP_US), 0)
    assert rows["output_tokens"].tolist() == tokens.tolist()
    last = [at + (n - 1) * STEP_US if n else None for at, n in zip(first.tolist(), tokens.tolist(), strict=True)]
    assert [None if pd.isna(at) else at for at in rows["last_chunk_time_us"]] == last
    assert tokens.sum() > 20


# ---- how requests end ----


def test_requests_are_counted_by_how_they_ended() -> None:
    # One at a time, 50 ms each; they come a millisecond apart, and each gives up after 120. The first two are served by
    # 101. The third is in its 23rd step when its deadline, 123, passes: it leaves at 124, and the next one starts,
    # which is late itself by then, leaves at 125 with one token, and so on.
    spec = workload(
        client("A", output=50, arrival={"process": "constant"}, timeout="120ms"), rate=1000, num_requests=10
    )
    trace = simulate(spec, {"max_num_seqs": 1})
    assert trace.column("arrival_time_us").tolist() == [1000 * number for number in range(1, 11)]
    assert trace.column("status").tolist() == ["ok"] * 2 + ["timeout"] * 8
    assert trace.column("output_tokens").tolist() == [50, 50, 23] + [1] * 7
    summary = summarize(trace)
    assert summary.overall.statuses == {"ok": 2, "timeout": 8}
    assert (summary.conservation.completed, summary.conservation.timed_out) == (2, 8)
    assert summary.conservation.balanced


def test_every_status_of_a_simulation_is_counted() -> None:
    spec = workload(
        client("late", 1, 30, timeout="5ms"),
        client("long", 1, 300),
        client("fine", 3, 10),
        rate=100,
        horizon="2s",
    )
    bucket = {"policy": "token-bucket", "capacity": 100, "refill_rate": 800}
    trace = simulate(spec, {"total_kv_blocks": 12, "admission": bucket}, cut_at_horizon=True)
    counts = Counter(trace.column("status").tolist())
    assert set(counts) == {"ok", "timeout", "unservable", "rejected", "incomplete"}
    clients = np.array(trace.column("client_id"))
    status = np.array(trace.column("status"))
    assert set(clients[status == "timeout"]) == {"late"}
    assert set(clients[status == "unservable"]) == {"long"}
    conservation = summarize(trace).conservation
    assert conservation.balanced
    assert (conservation.injected, conservation.completed) == (len(trace), counts["ok"])
    assert (conservation.rejected, conservation.timed_out) == (counts["rejected"], counts["timeout"])
    assert conservation.running + conservation.queued == counts["incomplete"]


def one_client(**facts: Any) -> dict[str, Any]:
    return {
        "version": "2",
        "aggregate_rate": 5.0,
        "num_requests": 3,
        "clients": [
            {
                "id": "a",
                "rate_fraction": 1.0,
                "arrival": {"process": "constant"},
                "input_distribution": {"type": "constant", "params": {"value": 10}},
                "output_distribution": {"type": "constant", "params": {"value": 2}},
                **facts,
            }
        ],
    }


@pytest.mark.parametrize(
    ("network", "bandwidth"), [({"rtt_ms": 20}, None), ({"rtt_ms": 20, "bandwidth_mbps": 0}, None),
                               ({"rtt_ms": 20, "bandwidth_mbps": 100}, 100)]
)  # fmt: skip
def test_the_header_has_the_clients_networks(
    network: dict[str, float], bandwidth: float | None, tmp_path: Path
) -> None:
    trace = blis.simulate(one_client(network=network))
    trace.write(tmp_path / "run")
    for header in (trace.header, Trace.read(tmp_path / "run").header):
        assert header.network == {"a": NetworkFacts(rtt_ms=20, bandwidth_mbps=bandwidth)}
        assert "network" not in header.run


def test_a_model_that_is_not_served_is_refused() -> None:
    with pytest.raises(BlisError, match=r"client 'a' asks for the model 'qwen2.5-7b', but the deployment serves llama"):
        blis.simulate(one_client(model="qwen2.5-7b"))
    pools = [{"name": "p", "instances": 1}, {"name": "q", "instances": 1, "model": "qwen2.5-7b"}]
    with pytest.raises(BlisError, match="routing by model is not modelled"):
        blis.simulate(one_client(model="qwen2.5-7b"), {"pools": pools})
    trace = blis.simulate(one_client(model="meta-llama/llama-3.1-8b-instruct"))
    assert trace.column("model").tolist() == ["meta-llama/llama-3.1-8b-instruct"] * 3


def test_the_header_has_the_workload_that_was_run() -> None:
    text = yaml.safe_dump(one_client())
    plain, changed = parse_workload(text), parse_workload(text, overrides={"seed": 9, "num_requests": 2})
    assert blis.simulate(plain).header.spec == text
    header = blis.simulate(changed).header
    assert header.spec is not None
    assert parse_workload(header.spec) == changed


# ---- cohorts ----


def test_members_have_their_cohorts_targets_network_and_model() -> None:
    cohort = client("web", 1.0, population=20, slo_targets={"e2e_us": "20ms"}, network={"rtt_ms": 300})
    spec = {**workload(client("a"), horizon="4s"), "cohorts": [cohort]}
    trace = simulate(spec)
    assert trace.header.network == {"web-*": NetworkFacts(rtt_ms=300)}
    assert list(trace.header.slo_targets) == ["web-*"]
    summary = summarize(trace)
    members = sum(trace.column("client_id") != "a")
    assert 60 < members < 140
    assert len(trace) - members > 60
    assert summary.overall.slo.with_targets == members
    assert summary.overall.completed == len(trace)
    # The network is theirs as well: 300 ms on top of what the server took.
    assert summary.client_view is not None
    assert summary.client_view.overall.e2e_us.max > 300_000
    with pytest.raises(BlisError, match="client 'web' asks for the model 'gpt-9'"):
        simulate({**spec, "cohorts": [cohort | {"model": "gpt-9"}]})


def test_rounds_of_members_wait_for_their_network() -> None:
    session = {"max_rounds": 2}
    cohort = client("web", 1.0, population=5, network={"rtt_ms": 300, "jitter_ms": 100}, session=session)
    trace = simulate({**workload(rate=5), "clients": [], "cohorts": [cohort], "num_requests": 40})
    frame = trace.to_frame().sort_values(["session_id", "round_index"])
    waits = frame["arrival_time_us"].diff()[frame["round_index"] == 1]
    assert len(waits) > 10
    assert waits.min() > 200_000
    assert waits.max() < 440_000
    assert waits.nunique() == len(waits)
