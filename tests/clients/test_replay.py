"""Replaying a trace on the deployment that gave it gives it again, byte for byte."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
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
from blis.errors import SpecError
from blis.generation import generate
from blis.simulation import replay, simulate
from blis.trace import Trace, TraceHeader
from blis.trace.foreign import read_any

numbers = itertools.count()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("replay")


@pytest.fixture
def data(repository: Path) -> Path:
    return repository / "tests" / "data"


def no_warning(text: str) -> None:
    raise AssertionError(text)


def written(trace: Trace, prefix: Path) -> list[bytes]:
    """Rows, token gaps and segments as files have them."""
    files = trace.write(prefix)
    return [path.read_bytes() if path.exists() else b"" for path in (files.data, files.itl, files.segments)]


@settings(max_examples=30)
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


@settings(max_examples=30)
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


def waiting(name: str, **more: Any) -> dict[str, Any]:
    """A client of sessions that think for 50 ms and keep their context."""
    session = {"max_rounds": 4, "think_time_us": "50ms", "context_growth": "accumulate"}
    client = {"id": name, "rate_fraction": 1.0, "arrival": {"process": "poisson"}, "session": session}
    return {**client, "input_distribution": exponential(60), "output_distribution": exponential(30), **more}


def results(trace: Trace) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """When each request came and was answered, by the key that runs of one workload share."""
    keys = zip(*(trace.column(name).tolist() for name in ("client_id", "session_id", "round_index")), strict=True)
    names = ("arrival_time_us", "first_chunk_time_us", "last_chunk_time_us", "prompt_tokens", "cached_tokens", "status")
    return dict(zip(keys, zip(*(trace.column(name).tolist() for name in names), strict=True), strict=True))


def test_a_generated_workload_replayed_is_that_workload_simulated() -> None:
    """Sessions wait for answers that the generated trace knows nothing of; their contexts grow by them."""
    workload = {
        "version": "2",
        "aggregate_rate": 30.0,
        "horizon": "3s",
        "clients": [
            waiting("a", network={"rtt_ms": 20, "bandwidth_mbps": 5}),
            waiting("b", prefix_group="g", prefix_length=64),
        ],
    }
    simulated = simulate(workload)
    replayed = replay(generate(workload), horizon="3s", warn=no_warning)
    assert results(replayed) == results(simulated)
    assert len(replayed) > 100


def test_another_deployment_keeps_the_ids_and_moves_the_rounds() -> None:
    workload = {"version": "2", "aggregate_rate": 60.0, "num_requests": 200, "clients": [waiting("a"), waiting("b")]}
    simulated = simulate(workload)
    slower = replay(simulated, {"hardware": "L40S"}, warn=no_warning)
    columns = ("client_id", "session_id", "round_index", "input_tokens", "prompt_tokens", "planned_output_tokens")
    order = np.argsort(slower.column("request_id"))
    assert slower.column("request_id")[order].tolist() == list(range(200))
    assert not np.array_equal(order, np.arange(200)), "rounds come in another order on slower machines"
    for name in columns:
        assert slower.column(name)[order].tolist() == simulated.column(name).tolist()
    first = simulated.column("round_index") == 0
    moved = slower.column("arrival_time_us")[order] - simulated.column("arrival_time_us")
    assert (moved[first] == 0).all()
    assert (moved[~first] > 0).all()
    again = replay(slower, {"hardware": "L40S"}, warn=no_warning)
    assert again.column("last_chunk_time_us").tolist() == slower.column("last_chunk_time_us").tolist()
    assert again.column("request_id").tolist() == slower.column("request_id").tolist()


def test_prompts_of_hash_ids_are_found_in_the_cache_and_survive_a_replay(folder: Path, data: Path) -> None:
    recorded = read_any(data / "foreign" / "mooncake.jsonl")
    replayed = replay(recorded, warn=no_warning)
    # The second prompt begins with two blocks of 512 tokens of the first; the fourth has 16 tokens more of the second;
    # the last is cached in full, and one KV block of it is computed again.
    assert replayed.column("cached_tokens").tolist() == [0, 1024, 0, 1040, 1008]
    assert replayed.segments == recorded.segments
    prefix = folder / "mooncake"
    once = written(replayed, prefix)
    assert once[2].startswith(b'{"request_id":0,"segments":[["p0",1544],[null,0]]}')
    assert written(replay(prefix, warn=no_warning), prefix) == once


def test_what_the_header_says(folder: Path) -> None:
    workload = {
        "version": "2",
        "seed": 3,
        "aggregate_rate": 5.0,
        "num_requests": 4,
        "clients": [waiting("a", timeout="1s")],
    }
    simulated = simulate(workload, {"instances": 2})
    header = replay(simulated, {"instances": 1}, speed=2, num_requests=3, seed=9).header
    assert (header.mode, header.seed, header.spec) == ("replayed", 9, simulated.header.spec)
    assert header.deployment is not None
    assert header.deployment["instances"] == 1
    assert header.run["num_requests"] == 3
    assert header.run["replay"] == {
        "of": "simulated", "speed": 2.0, "open_loop": False, "intended": False, "skipped": 0, "unsent_rounds": 0,
    }  # fmt: skip


def test_rounds_left_unsent_are_warned_of() -> None:
    simulated = simulate({"version": "2", "aggregate_rate": 9.0, "num_requests": 8, "clients": [waiting("a")]})
    warnings: list[str] = []
    refused = replay(simulated, {"admission": {"policy": "reject-all"}}, warn=warnings.append)
    unsent = 8 - len(refused)
    assert unsent > 0
    assert warnings == [
        f"{unsent} rounds of sessions weren't sent: a round before them failed that hadn't in the trace"
    ]
    assert refused.header.run["replay"]["unsent_rounds"] == unsent


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"speed": 0}, "<replay>: speed: must be a number > 0, found 0"),
        ({"horizon": "soon"}, "<replay>: horizon: must be a time >= 0"),
        ({"num_requests": -1}, "<replay>: num_requests: must be a whole number >= 0, found -1"),
        ({"cut_at_horizon": True}, "<replay>: cut_at_horizon: there is no horizon to cut at; give one"),
    ],
)
def test_arguments(options: dict[str, Any], error: str) -> None:
    with pytest.raises(SpecError) as refusal:
        replay(Trace.from_columns({}), **options)
    assert str(refusal.value).startswith(error)
