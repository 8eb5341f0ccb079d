"""Stages: one total rate after another, drained or not, and arrivals conditioned on their number."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import numpy as np
import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st

from blis.clients.arrivals import unit_gaps
from blis.clients.build import start
from blis.clients.conditioned import on_a_circle
from blis.request import Outcome, Request
from blis.rng import stream
from blis.spec.workload import workload_from_dict

Record = Callable[..., list[Request]]
Client = Callable[..., dict[str, Any]]

S = 1_000_000
CONSTANT = {"process": "constant"}
POISSON = {"process": "poisson", "conditioned": True}


def stage(rate: float, seconds: float, **more: Any) -> dict[str, Any]:
    return {"rate": rate, "duration": f"{seconds}s", **more}


def counts(requests: list[Request], *edges: float, client: str = "") -> list[int]:
    times = [request.arrival_us / S for request in requests if request.client.client_id.startswith(client)]
    return np.histogram(times, edges)[0].tolist()


class Server:
    """A target that answers every request after the same time."""

    def __init__(self, env: simpy.Environment, seconds: float) -> None:
        self.env = env
        self.seconds = seconds
        self.requests: list[Request] = []
        self.ends: list[int] = []

    def submit(self, request: Request) -> simpy.Event:
        assert self.env.now == request.arrival_us
        self.requests.append(request)
        done = self.env.event()
        self.env.process(self._answer(done, request))
        return done

    def _answer(self, done: simpy.Event, request: Request) -> Generator[simpy.Event, Any, None]:
        yield self.env.timeout(round(self.seconds * S))
        self.ends.append(int(self.env.now))
        done.succeed(Outcome(request.request_id, "ok", request.output_tokens, None, None))


def run(
    stages: list[dict[str, Any]], clients: list[dict[str, Any]], seconds: float = 3, **limits: Any
) -> tuple[Server, list[int]]:
    """Run to the end; returns the server and when the stages began, in microseconds."""
    spec = workload_from_dict({"stages": stages, "clients": clients, **limits})
    env = simpy.Environment()
    server, starts = Server(env, seconds), []
    done = start(
        env,
        server,
        spec,
        horizon_us=spec.horizon,
        num_requests=spec.num_requests,
        warn=pytest.fail,
        stage_starts_us=starts,
    )
    env.run()
    assert done.triggered
    return server, starts


def test_each_stage_has_its_rate(record: Record, client: Client) -> None:
    clients = [client("a", rate_fraction=3, arrival=CONSTANT), client("b", rate_fraction=1, arrival=CONSTANT)]
    sent = record({"stages": [stage(8, 10), stage(0, 10), stage(40, 5), stage(4, 10, pause="5s")], "clients": clients})
    assert counts(sent, 0, 10, 20, 25, 35, 99, client="a") == pytest.approx([60, 0, 150, 30, 0], abs=1)
    assert counts(sent, 0, 10, 20, 25, 35, 99, client="b") == pytest.approx([20, 0, 50, 10, 0], abs=1)


def test_stages_share_among_the_active(record: Record, client: Client) -> None:
    late = {"windows": [{"start_us": "5s", "end_us": "15s", "rate_fraction": 1}]}
    clients = [
        client("a", rate_fraction=1, arrival=CONSTANT),
        client("b", arrival=CONSTANT, lifecycle=late),
        client("c", rate_fraction=2, population=7, arrival=CONSTANT),
    ]
    sent = record({"stages": [stage(12, 10), stage(60, 10)], "clients": clients[:2], "cohorts": clients[2:]})
    assert counts(sent, 0, 5, 10, 15, 20) == pytest.approx([60, 60, 300, 300], abs=9)
    assert counts(sent, 0, 5, 10, 15, 20, client="a") == pytest.approx([20, 15, 75, 100], abs=1)
    assert counts(sent, 0, 5, 10, 15, 20, client="b") == pytest.approx([0, 15, 75, 0], abs=1)


def test_without_drain_the_next_stage_begins_at_once(client: Client) -> None:
    clients = [client("a", rate_fraction=1, arrival=CONSTANT)]
    server, starts = run([stage(1, 10), stage(2, 10, pause="7s"), stage(1, 3)], clients, seconds=100)
    assert starts == [0, 10 * S, 27 * S]
    times = [request.arrival_us / S for request in server.requests]
    # What would come where a stage ends comes where the next one begins.
    assert times == pytest.approx([*range(1, 10), *np.arange(10, 20, 0.5), 27, 28, 29])


def test_a_drained_stage_waits_for_the_last_answer(client: Client) -> None:
    clients = [client("a", rate_fraction=1, arrival=CONSTANT, timeout="9s")]
    server, starts = run([stage(1, 4.5, drain=True, pause="1s"), stage(2, 2.2), stage(1, 1.5)], clients)
    # The last request of the first stage comes at 4 s and ends at 7 s.
    assert starts == [0, 8 * S, 10_200_000]
    # Half a second is left of the gap that was under way, a quarter at the doubled rate; then a tenth of one.
    expected = [1, 2, 3, 4, 8.25, 8.75, 9.25, 9.75, 10.3, 11.3]
    assert [request.arrival_us / S for request in server.requests] == pytest.approx(expected)
    assert [request.client_seq for request in server.requests] == list(range(10))
    assert all(request.deadline_us == request.arrival_us + 9 * S for request in server.requests)


def test_a_stage_that_is_idle_at_its_end_is_drained(client: Client) -> None:
    clients = [client("a", rate_fraction=1, arrival=CONSTANT)]
    _, starts = run([stage(1, 4, drain=True), stage(0, 2, drain=True), stage(1, 4, drain=True)], clients, seconds=0.5)
    assert starts == [0, 4 * S, 6 * S]


def test_sessions_are_in_flight_until_their_last_round(client: Client) -> None:
    session = {"max_rounds": 2, "think_time_us": "10s"}
    clients = [client("a", rate_fraction=1, arrival=CONSTANT, session=session)]
    server, starts = run([stage(1, 1.5, drain=True), stage(1, 2)], clients, seconds=1)
    # One session from 1 s on: a second, ten seconds of thought, another second.
    assert starts == [0, 13 * S]
    assert [request.arrival_us / S for request in server.requests] == [1, 12, 13.5, 14.5, 24.5, 25.5]
    assert [request.session_id for request in server.requests] == ["a/0", "a/0", "a/1", "a/2", "a/1", "a/2"]


@pytest.mark.parametrize("session", [None, {"max_rounds": 1}])
def test_the_horizon_ends_stages(client: Client, session: dict[str, Any] | None) -> None:
    clients = [client("a", rate_fraction=1, arrival=CONSTANT, session=session)]
    stages = [stage(1, 4, drain=True), stage(1, 4, drain=True), stage(1, 4)]
    server, starts = run(stages, clients, horizon="9s")
    # Requests at 1, 2 and 3 s and, after 6 s, at 7 and 8 s; the third stage doesn't begin.
    assert starts == [0, 6 * S]
    assert [request.arrival_us / S for request in server.requests] == pytest.approx([1, 2, 3, 6, 7, 8])
    server, starts = run(stages, clients, num_requests=4)
    assert len(server.requests) == 4


def test_patterns_and_windows_go_by_the_stages_clock(client: Client) -> None:
    spike = {"start_time_us": "4s", "duration_us": "2s", "multiplier": 10}
    made = client("a", rate_fraction=1, population=1, spike=spike)
    server, starts = run([stage(10, 4, drain=True), stage(10, 4)], [], seconds=20, cohorts=[made])
    begun = starts[1] / S
    assert begun > 20
    assert counts(server.requests, begun, begun + 2, begun + 4) == pytest.approx([200, 20], rel=0.5)


def test_conditioned_arrivals_are_as_many_as_the_rate_says(record: Record, client: Client) -> None:
    clients = [client("a", rate_fraction=0.7, arrival=POISSON), client("b", rate_fraction=0.3, arrival=POISSON)]
    for seed in range(5):
        sent = record({"seed": seed, "stages": [stage(5, 60), stage(10, 60)], "clients": clients})
        assert counts(sent, 0, 60, 120, client="a") == [210, 420]
        assert counts(sent, 0, 60, 120, client="b") == [90, 180]


def test_conditioned_counts_are_rounded_so_that_nothing_is_lost(record: Record, client: Client) -> None:
    clients = [client(f"c{number:03}", rate_fraction=1, arrival=POISSON) for number in range(200)]
    sent = record({"stages": [stage(100, 1), stage(200, 1)], "clients": clients})
    first, second = counts(sent, 0, 1, 2)
    # Half a request each, up or down; then one each.
    assert first == pytest.approx(100, abs=35)
    assert second == 200
    own = [counts(sent, 0, 1, 2, client=one["id"]) for one in clients]
    assert {tuple(pair) for pair in own} == {(0, 1), (1, 1)}


def test_conditioned_windows(record: Record, client: Client) -> None:
    lifecycle = {"windows": [{"start_us": "1s", "end_us": "3s"}, {"start_us": "5s", "end_us": "6s", "rate": 80}]}
    gamma = {"process": "gamma", "cv": 5, "conditioned": True}
    sent = record({"horizon": "60s", "clients": [client("a", rate=20, arrival=gamma, lifecycle=lifecycle)]})
    assert counts(sent, 0, 1, 3, 5, 6, 60) == [0, 40, 0, 80, 0]


def test_a_stage_changes_no_draw_of_another(record: Record, client: Client) -> None:
    clients = [client("a", rate_fraction=1, arrival=POISSON)]
    one, other = (record({"stages": [stage(rate, 10), stage(10, 20)], "clients": clients}) for rate in (5, 8))
    later = [[r.arrival_us for r in sent if r.arrival_us >= 10 * S] for sent in (one, other)]
    assert len(later[0]) == 200
    assert later[0] == later[1]


@settings(max_examples=20)
@given(
    st.integers(0, 9_000), st.sampled_from([("poisson", None), ("gamma", 8.0), ("weibull", 0.3), ("constant", None)])
)
def test_places_on_a_circle(count: int, process: tuple[str, float | None]) -> None:
    def streams(*names: str) -> np.random.Generator:
        return stream(3, *names)

    places = [place for block in on_a_circle(unit_gaps(*process), streams, count) for place in block.tolist()]
    assert len(places) == count
    assert places == sorted(places)
    if count:
        assert places[0] >= 0
        assert places[-1] <= 1
        whole = np.cumsum(unit_gaps(*process)(stream(3), count))
        gaps = np.diff([*places, places[0] + 1])
        # The gaps of the process, from some place on: nothing but their order of beginning has changed.
        expected = np.diff(np.concatenate(([0], whole))) / whole[-1]
        assert np.sort(gaps) == pytest.approx(np.sort(expected), abs=1e-9)
