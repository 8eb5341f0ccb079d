"""Observing a server from end to end: sessions, horizons, interruptions, and a server that isn't there."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faulty_server import Exchange, FaultyServer, running

import blis
from blis.metrics import summarize
from blis.server.standing import Standing
from blis.trace import Trace


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with running() as found:
        found.answer = Exchange.good
        yield found


def client(name: str = "a", **more: Any) -> dict[str, Any]:
    return {
        "id": name,
        "rate": 50.0,
        "arrival": {"process": "poisson"},
        "input_distribution": {"type": "constant", "params": {"value": 20}},
        "output_distribution": {"type": "constant", "params": {"value": 3}},
        **more,
    }


def observe(server: FaultyServer, workload: dict[str, Any], settings: Any = (), **options: Any) -> Trace:
    server_spec = {"url": server.url, "model": "m", "type": "vllm", **dict(settings)}
    return blis.observe(workload, server_spec, warn=lambda _: None, **options)


def test_the_same_requests_as_in_a_simulation(server: FaultyServer) -> None:
    """One client process, two clocks: arrivals, lengths and order are those of a simulation."""
    workload = {"num_requests": 40, "clients": [client("a"), client("b", rate=100.0)]}
    real, simulated = observe(server, workload), blis.simulate(workload)
    for column in ("request_id", "client_id", "client_seq", "arrival_time_us", "input_tokens", "planned_output_tokens"):
        assert real.column(column).tolist() == simulated.column(column).tolist(), column
    assert (real.column("send_time_us") >= real.column("arrival_time_us")).all()
    assert real.header.epoch_us is not None
    assert abs(real.header.epoch_us / 1e6 - time.time()) < 60
    assert real.header.spec == simulated.header.spec


def test_the_same_prompts_in_every_run(server: FaultyServer) -> None:
    workload = {"num_requests": 10, "clients": [client("a", prefix_group="g", prefix_length=8), client("b")]}
    prompts = []
    for _ in range(2):
        server.received.clear()
        observe(server, workload)
        prompts.append(sorted(body["prompt"] for _, _, body in server.received))
    assert prompts[0] == prompts[1]


def test_a_trace_is_a_trace(server: FaultyServer, tmp_path: Path) -> None:
    trace = observe(server, {"num_requests": 20, "clients": [client(slo_targets={"ttft_us": 1})]}, warm_up_requests=5)
    trace.write(tmp_path / "run")
    again = Trace.read(tmp_path / "run")
    assert again == trace
    summary = summarize(again)
    assert summary.overall.completed == 20
    assert summary.overall.ttft_us.n == 15
    assert summary.itl_us is not None
    assert summary.itl_us.n == 40
    assert summary.overall.slo.attainment == 0.0
    assert summary.conservation.balanced


def test_sessions_send_the_real_answers_back(server: FaultyServer) -> None:
    session = {"max_rounds": 3, "context_growth": "accumulate", "think_time_us": 1000}
    workload = {"num_requests": 6, "clients": [client(session=session, rate=40.0)]}
    trace = observe(server, workload, {"api": "chat", "type": "openai"})
    assert trace.column("status").tolist() == ["ok"] * 6
    rounds = trace.column("round_index")
    turns = [len(body["messages"]) for _, _, body in server.received if body.get("stream")]
    assert sorted(turns) == sorted(2 * int(index) + 1 for index in rounds)
    last = next(body for _, _, body in server.received if len(body["messages"]) == 3)
    assert last["messages"][1] == {"role": "assistant", "content": " t0 t1 t2"}
    grown = trace.column("prompt_tokens") - trace.column("input_tokens")
    assert grown.tolist() == [23 * int(index) for index in rounds]


def test_a_session_goes_on_with_the_tokens_that_vllm_returns(server: FaultyServer) -> None:
    async def telling(x: Exchange) -> None:
        x.begin()
        last = x.token(1, "length")
        last["choices"][0]["token_ids"] = [71, 72, 73]
        x.event(last)
        x.event({"choices": [], **x.usage})
        x.event(b"[DONE]")
        x.raw(b"0\r\n\r\n")

    server.answer = telling
    session = {"max_rounds": 2, "context_growth": "accumulate", "think_time_us": 1000}
    observe(server, {"num_requests": 2, "clients": [client(session=session, rate=5.0)]})
    first, second = (body for _, _, body in server.received)
    assert first["return_token_ids"] is True
    assert second["prompt"][:23] == [*first["prompt"], 71, 72, 73]
    assert len(second["prompt"]) == 43


def test_the_horizon_may_cut_what_is_in_flight(server: FaultyServer) -> None:
    async def slow(x: Exchange) -> None:
        x.begin()
        await asyncio.sleep(30)

    server.answer = slow
    began = time.monotonic()
    trace = observe(server, {"horizon": "200ms", "clients": [client()]}, cut_at_horizon=True)
    assert time.monotonic() - began < 10
    assert len(trace) > 2
    assert set(trace.column("status")) == {"incomplete"}
    assert trace.header.run["error_share"] == 0


def test_no_time_and_no_requests_are_an_empty_trace(server: FaultyServer) -> None:
    for end in ({"horizon": 0}, {"num_requests": 0}):
        trace = observe(server, {**end, "clients": [client()]})
        assert len(trace) == 0
        assert trace.header.run["load"] == {"sent": 0, "saturated": False}


def test_an_unreachable_server_is_named_and_its_requests_are_recorded_as_failed() -> None:
    warnings: list[str] = []
    trace = blis.observe({"num_requests": 5, "clients": [client()]}, "http://127.0.0.1:9", warn=warnings.append)
    message = "can't connect to http://127.0.0.1:9: connection refused"
    assert trace.column("status").tolist() == ["connect_error"] * 5
    assert trace.column("error_message").tolist() == [message] * 5
    assert (trace.column("send_time_us") == -1).all()
    assert any(message in text for text in warnings)
    assert trace.header.run["error_share"] == 1.0


def test_where_a_run_stands_is_told_while_it_goes(server: FaultyServer) -> None:
    seen: list[Standing] = []
    observe(server, {"horizon": "700ms", "clients": [client()]}, progress=seen.append)
    assert len(seen) >= 2
    assert seen[-1].in_flight == 0
    assert seen[-1].submitted == seen[-1].done > 10
    assert seen[-1].ttft_us is not None
    assert 0 < seen[-1].rate < 100


@pytest.mark.parametrize("again", [False, True])
def test_an_interruption_stops_the_sending_and_keeps_everything(server: FaultyServer, again: bool) -> None:
    """Once: what is in flight may end. Twice: it's given up at once."""

    async def slow(x: Exchange) -> None:
        x.begin()
        await asyncio.sleep(30 if again else 0.3)
        x.rest()

    def interrupt() -> None:
        while len(server.received) < 5:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)
        if again:
            time.sleep(0.2)
            os.kill(os.getpid(), signal.SIGINT)

    server.answer = slow
    notices: list[str] = []
    thread = threading.Thread(target=interrupt)
    thread.start()
    spec = {"url": server.url, "model": "m", "type": "vllm"}
    began = time.monotonic()
    trace = blis.observe({"horizon": "60s", "clients": [client()]}, spec, warn=notices.append)
    thread.join()
    assert time.monotonic() - began < 20
    assert trace.header.run["interrupted"]
    assert any("waiting up to 30 s" in text for text in notices)
    assert any("interrupted" in note for note in trace.header.notes)
    assert 5 <= len(trace) < 100
    assert set(trace.column("status")) == ({"cancelled"} if again else {"ok"})
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_draining_has_an_end(server: FaultyServer) -> None:
    async def never(x: Exchange) -> None:
        await asyncio.sleep(30)

    def interrupt() -> None:
        while not server.received:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    server.answer = never
    threading.Thread(target=interrupt).start()
    trace = observe(server, {"horizon": "60s", "clients": [client()]}, drain_us=100_000)
    assert set(trace.column("status")) == {"cancelled"}
    assert trace.header.run["error_share"] == 0


def test_a_bug_in_the_client_ends_the_run_instead_of_losing_a_request(
    server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from blis.errors import InternalError
    from blis.server.attempt import Attempt

    def broken(*_: Any) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(Attempt, "opened", broken)
    with pytest.raises(InternalError, match="ZeroDivisionError in the HTTP client: oops"):
        observe(server, {"num_requests": 2, "clients": [client()]})
