"""Clients that wait for answers, in front of a simulated cluster."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import simpy
from engine_harness import serve
from hypothesis import given, settings
from hypothesis import strategies as st

import blis
from blis.clients.build import start
from blis.clients.network import ClientSide
from blis.cluster.cluster import Cluster
from blis.cluster.virtual_time import VirtualTime
from blis.metrics import summarize
from blis.request import Request
from blis.spec.client import NetworkSpec
from blis.spec.deployment import deployment_from_dict
from blis.spec.workload import workload_from_dict
from blis.trace.header import NetworkFacts
from blis.trace.trace import Trace

STEP_US = 1000
DEPLOYMENT: dict[str, Any] = {
    "max_model_len": 0,
    "total_kv_blocks": 10_000,
    "latency": {"model": "alpha-beta", "coefficients": {"alpha": [0, 0, 0], "beta": [STEP_US, 0, 0]}},
}
"""One instance whose steps take a millisecond each, with blocks of 16 tokens."""
COLUMNS = (
    "request_id client_id session_id round_index client_seq arrival_time_us last_chunk_time_us input_tokens"
    " prompt_tokens output_tokens cached_tokens status scheduling_delay_us"
).split()


def lengths(kind: str, **params: float) -> dict[str, Any]:
    return {"type": kind, "params": params}


def client(name: str = "chat", *, tokens: tuple[float, float] = (100, 20), **more: Any) -> dict[str, Any]:
    return {
        "id": name,
        "input_distribution": lengths("constant", value=tokens[0]),
        "output_distribution": lengths("constant", value=tokens[1]),
        **({} if "concurrency" in more else {"rate": 1.0, "arrival": {"process": "constant"}}),
        **more,
    }


def rows(trace: Trace) -> pd.DataFrame:
    return pd.DataFrame({name: trace.column(name) for name in COLUMNS})


def simulate(*clients: dict[str, Any], deployment: dict[str, Any] | None = None, **more: Any) -> Trace:
    trace = blis.simulate({"seed": 7, "clients": list(clients), **more}, DEPLOYMENT | (deployment or {}))
    assert summarize(trace).conservation.balanced
    return trace


def test_each_round_finds_the_one_before_in_the_cache() -> None:
    """All full blocks of what has been said so far."""
    session = {"max_rounds": 6, "think_time_us": "10ms"}
    found = rows(simulate(client(session=session, prefix_group="g", prefix_length=48), horizon="2500ms"))
    first, second = (found[found.session_id == f"chat/{number}"] for number in (0, 1))
    assert first.prompt_tokens.tolist() == [148 + 120 * at for at in range(6)]
    assert first.cached_tokens.tolist() == [0, *((48 + 120 * at) // 16 * 16 for at in range(1, 6))]
    assert (np.diff(first.cached_tokens) > 0).all()
    # The next session shares the prefix and nothing else.
    assert second.cached_tokens.tolist() == [48, *first.cached_tokens.tolist()[1:]]


def test_a_round_waits_for_the_last_token_and_the_network() -> None:
    """The reported last token, 20 ms there and back, 4 bytes per token at 8 Mbit/s, and 5 ms of thought."""
    waits = client(session={"max_rounds": 3, "think_time_us": "5ms"}, network={"rtt_ms": 20, "bandwidth_mbps": 8})
    overhead = {"latency": {"model": "alpha-beta", "coefficients": {"alpha": [50, 0, 7], "beta": [STEP_US, 0, 0]}}}
    found = rows(simulate(waits, horizon="2s", deployment=overhead))
    assert found.last_chunk_time_us[0] == 1_000_000 + 50 + 20 * (STEP_US + 7)
    later = found.last_chunk_time_us + 20_000 + 4 * (found.prompt_tokens + found.output_tokens) + 5_000
    assert found.arrival_time_us.tolist()[1:] == later.tolist()[:-1]


def test_a_context_beyond_the_limit_has_a_status_of_its_own() -> None:
    growing = client(session={"max_rounds": 100})
    too_long = client("long", tokens=(500, 20), session={"max_rounds": 100})
    fixed = client("same", tokens=(400, 20), session={"max_rounds": 3, "context_growth": "fixed"})
    found = rows(simulate(growing, too_long, fixed, horizon="1500ms", deployment={"max_model_len": 500}))
    # 100 + 120 k tokens of prompt and 20 of output fit 500 up to k = 3.
    assert found[found.client_id == "chat"].status.tolist() == ["ok"] * 4 + ["context_overflow"]
    assert found[found.client_id == "long"].status.tolist() == ["unservable"]
    assert found[found.client_id == "same"].status.tolist() == ["ok"] * 3


def test_a_context_beyond_the_cache_alone_is_unservable() -> None:
    found = rows(simulate(client(session={"max_rounds": 9}), horizon="1500ms", deployment={"total_kv_blocks": 20}))
    assert found.status.tolist() == ["ok", "ok", "unservable"]


def test_a_round_that_times_out_ends_its_session() -> None:
    slow = client(tokens=(100, 2000), session={"max_rounds": 5}, timeout="1s")
    assert rows(simulate(slow, horizon="1500ms")).status.tolist() == ["timeout"]


def test_a_closed_loop_keeps_the_cluster_busy() -> None:
    """Four workers, each 20 steps and 5 ms of thought for a request."""
    found = rows(simulate(client("load", concurrency=4, think_time_us="5ms"), horizon="1s"))
    assert len(found) == 4 * 40
    assert sorted(found.client_seq) == list(range(160))
    assert set(found.arrival_time_us % 25_000) == {0}


def test_a_loop_that_is_turned_away_does_not_spin() -> None:
    refused = {"admission": {"policy": "reject-all"}}
    found = rows(simulate(client("load", concurrency=2), horizon="10s", deployment=refused))
    assert found.arrival_time_us.tolist() == [at * 1_000_000 for at in range(10) for _ in range(2)]


def test_who_waits_changes_no_draw_of_who_does_not() -> None:
    plain = client("plain", rate=20.0, arrival={"process": "poisson"})
    alone = rows(simulate(plain, horizon="5s"))
    beside = rows(simulate(plain, client(session={"max_rounds": 9}), client("load", concurrency=3), horizon="5s"))
    mine = beside[beside.client_id == "plain"]
    assert mine.arrival_time_us.tolist() == alone.arrival_time_us.tolist()
    assert mine.input_tokens.tolist() == alone.input_tokens.tolist()


def test_a_run_cut_at_its_horizon_loses_nothing() -> None:
    spec = {
        "horizon": "2s",
        "clients": [client(tokens=(50, 300), session={"max_rounds": 9}, rate=20.0), client("load", concurrency=3)],
    }
    trace = blis.simulate(spec, DEPLOYMENT, cut_at_horizon=True)
    conservation = summarize(trace).conservation
    assert conservation.balanced
    assert conservation.running + conservation.queued > 0


def test_encoders_delay_what_has_media() -> None:
    multimodal = {
        "image_distribution": lengths("constant", value=200),
        "image_count_distribution": lengths("constant", value=2),
    }
    clients = client("image", multimodal=multimodal), client("text")
    encoder = {"base_us": 500.5, "us_per_image_token": 2.5, "us_per_audio_token": 99}
    trace = simulate(*clients, num_requests=2, deployment={"encoder": encoder})
    # The text is computed at once; the image's request joins the step after.
    assert rows(trace).scheduling_delay_us.tolist() == [2 * STEP_US, 0]
    alone = simulate(clients[0], num_requests=1, deployment={"encoder": encoder})
    assert rows(alone).scheduling_delay_us.tolist() == [1500]
    assert rows(simulate(clients[0], num_requests=1)).scheduling_delay_us.tolist() == [0]


WAITING = st.fixed_dictionaries(
    {
        "tokens": st.sampled_from([(10, 3), (60, 25), (200, 60)]),
        "prefix": st.sampled_from([0, 20]),
        "session": st.none()
        | st.fixed_dictionaries(
            {
                "max_rounds": st.integers(1, 6),
                "think_time_us": st.sampled_from([0, 1000, "20ms"]),
                "context_growth": st.sampled_from(["accumulate", "accumulate", "fixed"]),
            }
        ),
        "concurrency": st.none() | st.integers(1, 3),
        "timeout": st.sampled_from([None, "30ms", "200ms"]),
        "network": st.sampled_from([None, {"rtt_ms": 1, "jitter_ms": 3}]),
    }
)


@st.composite
def mixtures(draw: st.DrawFn) -> dict[str, Any]:
    clients = []
    for name, settings_ in zip("abc", draw(st.lists(WAITING, min_size=1, max_size=3)), strict=False):
        settings_ = dict(settings_)
        prefix = settings_.pop("prefix")
        made = client(name, **{key: value for key, value in settings_.items() if value is not None})
        if prefix:
            made |= {"prefix_group": "g", "prefix_length": prefix}
        clients.append(made | ({} if "concurrency" in made else {"rate": 8.0}))
    return {"seed": 3, "horizon": "500ms", "num_requests": draw(st.sampled_from([None, 9])), "clients": clients}


DEPLOYMENTS: list[dict[str, Any]] = [
    {},
    {"total_kv_blocks": 40, "max_num_seqs": 3},
    {"max_model_len": 300, "async_scheduling": True},
    {"instances": 2, "total_kv_blocks": 60},
]


class Recording:
    """A target that keeps what passes through it."""

    def __init__(self, target: Cluster) -> None:
        self.target = target
        self.requests: list[Request] = []

    def submit(self, request: Request) -> simpy.Event:
        self.requests.append(request)
        return self.target.submit(request)


@given(mixtures(), st.sampled_from(DEPLOYMENTS))
@settings(max_examples=30)
def test_nothing_is_lost_and_a_replay_by_arrival_times_is_the_same_run(
    spec: dict[str, Any], changes: dict[str, Any]
) -> None:
    workload = workload_from_dict(spec)
    configs = deployment_from_dict(DEPLOYMENT | changes).resolve()
    env = VirtualTime()
    cluster = Cluster(env, configs)
    recorded = Recording(cluster)
    networks = {c.id: _facts(c.network) for c in workload.clients if c.network is not None}
    answering = ClientSide(env, recorded, networks, workload.seed)
    limits = {"horizon_us": workload.horizon, "num_requests": workload.num_requests}
    done = start(env, recorded, workload, **limits, warn=pytest.fail, answering=answering)
    env.drain()
    cluster.close()
    assert done.processed
    arrivals = [r.arrival_us for r in recorded.requests]
    assert arrivals == sorted(arrivals)
    assert not arrivals or arrivals[-1] < 500_000
    replayed, _ = serve(configs, recorded.requests)
    for name in ("status", "first_us", "last_us", "output_tokens", "cached_tokens", "scheduling_delay_us"):
        assert cluster.table.column(name).tolist() == replayed.table.column(name).tolist()


def _facts(network: NetworkSpec) -> NetworkFacts:
    return NetworkFacts(rtt_ms=network.rtt_ms, jitter_ms=network.jitter_ms or None)
