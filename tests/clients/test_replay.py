"""Replaying a trace on the deployment that gave it gives it again, byte for byte."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from cluster.test_against_oracle import gateway_specs
from engine_harness import serve
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle.strategies import Scenario, instance_config, scenarios

from blis.clients.recording import Recording
from blis.clients.replay import Replay
from blis.cluster.cluster import Cluster
from blis.cluster.run import run
from blis.cluster.virtual_time import VirtualTime
from blis.simulation import replay, simulate
from blis.trace import Trace, TraceHeader

numbers = itertools.count()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("replay")


def no_warning(text: str) -> None:
    raise AssertionError(text)


def written(trace: Trace, prefix: Path) -> list[bytes]:
    """Rows, token gaps and segments as files have them."""
    files = trace.write(prefix)
    return [path.read_bytes() if path.exists() else b"" for path in (files.data, files.itl, files.segments)]


@settings(max_examples=40)
@given(scenarios())
def test_any_prompts_and_any_deployment(folder: Path, scenario: Scenario) -> None:
    """Requests made by hand: many share prompts in ways that no column tells, and all come at once."""
    configs = [instance_config(config) for config in scenario.configs]
    admission, routing = gateway_specs(scenario.gateway)
    first, _ = serve(configs, scenario.requests, admission=admission, routing=routing)
    prefix = folder / f"run{next(numbers)}"
    recorded = written(Trace.from_table(first.table, TraceHeader(), first.itl), prefix)

    env = VirtualTime()
    cluster = Cluster(env, configs, admission=admission, routing=routing)
    player = Replay(env, cluster, Recording(Trace.read(prefix), warn=no_warning))
    env.process(player.run())
    run(env, cluster)
    again = Trace.from_table(cluster.table, TraceHeader(mode="replayed"), cluster.itl, player.request_ids())
    assert written(again, prefix) == recorded


def constant(value: float) -> dict[str, Any]:
    return {"type": "constant", "params": {"value": value}}


def exponential(mean: float) -> dict[str, Any]:
    return {"type": "exponential", "params": {"mean": mean}}


LENGTHS = st.sampled_from((1, 16, 40, 200)).flatmap(lambda size: st.sampled_from((constant(size), exponential(size))))
PAUSES = st.sampled_from((0, 1, 40_000, exponential(30_000.0)))
NETWORKS = st.sampled_from(
    (None, {"rtt_ms": 4}, {"rtt_ms": 3, "jitter_ms": 3, "bandwidth_mbps": 10}, {"bandwidth_mbps": 0.5})
)
SESSIONS = st.fixed_dictionaries(
    {
        "max_rounds": st.sampled_from((1, 2, 5, exponential(3.0))),
        "think_time_us": PAUSES,
        "context_growth": st.sampled_from(("accumulate", "fixed")),
    }
)
MEDIA = {
    "image_distribution": constant(30),
    "image_count_distribution": constant(2),
    "image_bytes_per_token": 100,
}


@st.composite
def clients(draw: st.DrawFn, number: int) -> dict[str, Any]:
    """A client of any kind: open loop, sessions, or a closed loop of requests or of sessions."""
    client: dict[str, Any] = {
        "id": f"client-{number}",
        "slo_class": draw(st.sampled_from(("", "batch", "critical"))),
        "input_distribution": draw(LENGTHS),
        "output_distribution": draw(LENGTHS),
        "network": draw(NETWORKS),
        "timeout": draw(st.sampled_from((None, None, "30ms", "2s"))),
        "max_output_tokens": draw(st.sampled_from((None, 30))),
    }
    if draw(st.booleans()):
        client |= {"prefix_group": draw(st.sampled_from("ab")), "prefix_length": draw(st.sampled_from((16, 50)))}
    if draw(st.booleans()):
        client["session"] = draw(SESSIONS)
    if draw(st.sampled_from((False, False, True))):
        client |= {"concurrency": draw(st.integers(1, 4)), "think_time_us": draw(PAUSES)}
    else:
        process = draw(st.sampled_from(({"process": "poisson"}, {"process": "gamma", "cv": 4})))
        client |= {"rate_fraction": 1.0, "arrival": process}
    if draw(st.integers(0, 4)) == 0:
        client["multimodal"] = MEDIA
    return {key: value for key, value in client.items() if value is not None}


@st.composite
def workloads(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "version": "2",
        "seed": draw(st.integers(0, 9)),
        "aggregate_rate": draw(st.sampled_from((20.0, 100.0, 1000.0))),
        "num_requests": draw(st.integers(1, 60)),
        "horizon": "2s",
        "clients": [draw(clients(number)) for number in range(draw(st.integers(1, 3)))],
    }


DEPLOYMENTS = st.fixed_dictionaries(
    {
        "instances": st.integers(1, 3),
        "total_kv_blocks": st.sampled_from((60, 200, 4000)),
        "max_num_seqs": st.sampled_from((2, 8, 256)),
        "max_model_len": st.sampled_from((150, 800, 0)),
        "scheduler": st.sampled_from(("fcfs", "sjf", "priority-fcfs")),
        "async_scheduling": st.booleans(),
        "routing": st.fixed_dictionaries({"policy": st.sampled_from(("round-robin", "least-loaded", "weighted"))}),
    }
)


@settings(max_examples=40)
@given(workloads(), DEPLOYMENTS, st.booleans(), st.booleans())
def test_any_workload(
    folder: Path, workload: dict[str, Any], deployment: dict[str, Any], open_loop: bool, cut: bool
) -> None:
    """Sessions, closed loops, prefixes, media, deadlines and networks, from the columns alone."""
    first = simulate(workload, deployment, cut_at_horizon=cut, warn=lambda text: None)
    prefix = folder / f"run{next(numbers)}"
    recorded = written(first, prefix)
    ends = {"horizon": "2s", "cut_at_horizon": True} if cut else {}
    again = replay(prefix, deployment, open_loop=open_loop, **ends, warn=no_warning)
    assert again.segments is None
    assert written(again, prefix) == recorded
