"""A workload in, its requests out: the same that a simulation of it sends."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import simpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from populations import cohorts, populations

import blis
from blis.clients import merge
from blis.clients.build import start
from blis.errors import BlisError, SpecError
from blis.generation import Generated, generate_to
from blis.request import Outcome, Request
from blis.spec.workload import workload_from_dict
from blis.trace import COLUMNS, MISSING, Trace

DEPLOYMENT: dict[str, Any] = {
    "max_model_len": 0,
    "latency": {"model": "alpha-beta", "coefficients": {"alpha": [0, 0, 0], "beta": [1, 0, 0]}},
}
SERVER_SIDE = {
    "output_tokens",
    "server_input_tokens",
    "send_time_us",
    "first_chunk_time_us",
    "last_chunk_time_us",
    "num_chunks",
    "status",
    "finish_reason",
    "instance",
    "scheduling_delay_us",
    "preemptions",
    "cached_tokens",
    "token_time_ref",
}
"""What only a run can tell."""
CLIENT_SIDE = [column.name for column in COLUMNS if column.name not in SERVER_SIDE]


def client(name: str, **more: Any) -> dict[str, Any]:
    return {
        "id": name,
        "rate": 100,
        "arrival": {"process": "constant"},
        "input_distribution": {"type": "constant", "params": {"value": 10}},
        "output_distribution": {"type": "constant", "params": {"value": 5}},
        **more,
    }


def check_same_requests(spec: dict[str, Any]) -> Trace:
    simulated, generated = blis.simulate(spec, DEPLOYMENT, warn=str), blis.generate(spec, warn=str)
    for name in CLIENT_SIDE:
        assert generated.column(name).tolist() == simulated.column(name).tolist(), name
    for name in SERVER_SIDE:
        assert set(generated.column(name).tolist()) <= {-1, ""}, name
    return generated


MORE = st.fixed_dictionaries(
    {},
    optional={
        "tenant_id": st.sampled_from(["x", "y"]),
        "slo_class": st.sampled_from(["batch", "critical"]),
        "streaming": st.booleans(),
        "prefix_group": st.just("docs"),
        "timeout": st.integers(1, 10**6),
    },
)


@given(populations(), cohorts(), MORE, st.sampled_from([None, 1, 5, 100]), st.sampled_from([1, 7, merge.SLICE_ROWS]))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_generated_is_what_a_simulation_sends(
    monkeypatch: pytest.MonkeyPatch,
    clients: list[dict[str, Any]],
    groups: list[dict[str, Any]],
    more: dict[str, Any],
    num_requests: int | None,
    rows: int,
) -> None:
    monkeypatch.setattr(merge, "SLICE_ROWS", rows)
    clients[0] |= {**more, "prefix_length": 48} if "prefix_group" in more else more
    limits = {"horizon": "20s", "num_requests": num_requests}
    check_same_requests({"seed": 5, **limits, "clients": clients, "cohorts": groups})


class Oracle:
    """A target that answers everything at once and in full."""

    def __init__(self, env: simpy.Environment) -> None:
        self.env = env
        self.requests: list[Request] = []

    def submit(self, request: Request) -> simpy.Event:
        self.requests.append(request)
        now = request.arrival_us
        return self.env.event().succeed(Outcome(request.request_id, "ok", request.output_tokens, now, now))


SESSIONS = st.fixed_dictionaries(
    {
        "max_rounds": st.sampled_from(
            [1, 3, {"type": "exponential", "params": {"mean": 4, "max": 20}}],
        ),
        "think_time_us": st.sampled_from(
            [0, "700ms", {"type": "exponential", "params": {"mean": 2_000_000}}],
        ),
        "context_growth": st.sampled_from(["accumulate", "fixed"]),
        "single_session": st.booleans(),
    }
)


@given(populations(), SESSIONS, st.sampled_from([None, 7, 100]), st.sampled_from([1, 7, merge.SLICE_ROWS]))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rounds_are_those_of_a_server_that_takes_no_time(
    monkeypatch: pytest.MonkeyPatch,
    clients: list[dict[str, Any]],
    session: dict[str, Any],
    num_requests: int | None,
    rows: int,
) -> None:
    monkeypatch.setattr(merge, "SLICE_ROWS", rows)
    clients[0] |= {"session": session, "prefix_group": "docs", "prefix_length": 48, "timeout": "30s"}
    spec = workload_from_dict({"seed": 5, "horizon": "20s", "num_requests": num_requests, "clients": clients})
    env = simpy.Environment()
    oracle = Oracle(env)
    done = start(env, oracle, spec, horizon_us=spec.horizon, num_requests=num_requests, warn=str)
    env.run(until=done)
    trace = blis.generate(spec, warn=str)
    assert [
        (r.client.client_id, r.session_id, r.round_index, r.client_seq, r.arrival_us, r.deadline_us or MISSING)
        for r in oracle.requests
    ] == rows_of(trace, "client_id", "session_id", "round_index", "client_seq", "arrival_time_us", "deadline_us")
    assert [(r.input_tokens, r.prompt_tokens, r.output_tokens) for r in oracle.requests] == rows_of(
        trace, "input_tokens", "prompt_tokens", "planned_output_tokens"
    )


def rows_of(trace: Trace, *columns: str) -> list[tuple[Any, ...]]:
    return list(zip(*(trace.column(name).tolist() for name in columns), strict=True))


def test_what_waits_for_answers_only_is_refused(tmp_path: Path) -> None:
    spec = {"horizon": "10s", "clients": [client("a"), {**client("b", rate=None, concurrency=3), "arrival": None}]}
    with pytest.raises(BlisError, match="client 'b' has a concurrency: it sends when it has been answered"):
        generate_to(tmp_path / "run", spec)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["language", "reasoning", "multimodal"])
def test_what_is_generated_from_servegen_data_is_what_a_simulation_sends(repository: Path, kind: str) -> None:
    data = {"path": str(repository / "tests" / "data" / "servegen" / kind)}
    trace = check_same_requests({"horizon": "400s", "aggregate_rate": 5, "servegen_data": data})
    assert len(trace) > 100


def test_requests_of_one_microsecond_come_in_the_order_of_their_clients() -> None:
    clients = [client(name) for name in ("c", "a", "b")]
    trace = check_same_requests({"num_requests": 8, "clients": clients})
    assert trace.column("client_id").tolist() == ["a", "b", "c", "a", "b", "c", "a", "b"]
    assert trace.column("arrival_time_us").tolist() == [10_000] * 3 + [20_000] * 3 + [30_000] * 2


def test_sources_of_very_different_rates_are_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge, "SLICE_ROWS", 10)
    windows = {"windows": [{"start_us": "50s", "end_us": "51s"}]}
    burst = client("burst", rate=5000, lifecycle=windows)
    trace = check_same_requests({"horizon": "100s", "clients": [client("slow", rate=0.1), burst, client("a", rate=1)]})
    assert len(trace) == 4999 + 9 + 99


@pytest.mark.parametrize("ends", [{"horizon": 0}, {"num_requests": 0}, {"horizon": "1ms"}])
def test_nothing_to_send(ends: dict[str, Any], tmp_path: Path) -> None:
    spec = {**ends, "clients": [client("a"), client("b", rate=0)]}
    assert len(blis.generate(spec, warn=str)) == 0
    assert generate_to(tmp_path / "run", spec, warn=str) == Generated()
    assert len(Trace.read(tmp_path / "run")) == 0


def test_a_trace_that_is_written_is_the_one_in_memory(tmp_path: Path) -> None:
    spec = {"seed": 9, "num_requests": 1000, "clients": [client("a", slo_targets={"ttft_us": "1s"}), client("b")]}
    told: list[Generated] = []
    done = generate_to(tmp_path / "run", spec, progress=told.append)
    trace = blis.generate(spec)
    assert Trace.read(tmp_path / "run") == trace
    assert trace.header.mode == "generated"
    assert trace.header.slo_targets["a"].ttft_us == 1_000_000
    assert trace.header.run == {"aggregate_rate": 0.0, "num_requests": 1000}
    assert told[-1] == done == Generated(1000, 10_000, 5_000, 5_000_000)
    trace.write(tmp_path / "again")
    for ending in (".csv", ".yaml"):
        assert (tmp_path / f"run{ending}").read_bytes() == (tmp_path / f"again{ending}").read_bytes()


def test_a_part_of_a_long_workload() -> None:
    spec = {"horizon": "1000h", "clients": [client("a")]}
    trace = blis.generate(spec, num_requests=20)
    assert len(trace) == 20
    assert trace.header.run["num_requests"] == 20
    assert len(blis.generate({**spec, "num_requests": 10}, num_requests=20)) == 10


def test_memory_does_not_grow_with_the_horizon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge, "SLICE_ROWS", 2000)

    def peak(horizon: str) -> int:
        tracemalloc.start()
        generate_to(tmp_path / "run", {"horizon": horizon, "clients": [client("a"), client("b")]})
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    peak("100s")
    assert peak("1000s") < 1.1 * peak("100s")


def test_a_wrong_spec_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="at least one client"):
        generate_to(tmp_path / "run", {"horizon": "1s"})
    assert list(tmp_path.iterdir()) == []
