"""Client processes: what a request holds, when clients stop, and the order within one microsecond."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import simpy

from blis.clients.build import start
from blis.clients.processes import Arrivals
from blis.clients.rates import END_OF_TIME_US
from blis.clients.renewal import block_sizes
from blis.request import ClientFacts, Request
from blis.spec.workload import workload_from_dict

Record = Callable[..., list[Request]]
Client = Callable[..., dict[str, Any]]

CONSTANT = {"process": "constant"}


def test_a_request_holds_what_its_client_says(record: Record, client: Client) -> None:
    full = client(
        "a",
        rate=2.0,
        arrival=CONSTANT,
        tenant_id="t",
        slo_class="critical",
        model="m",
        streaming=False,
        prefix_group="docs",
        prefix_length=32,
        timeout="10s",
        max_output_tokens=8,
    )
    first, second = record({"horizon": "1001ms", "clients": [full]})
    facts = ClientFacts("a", "t", "critical", "m", False, "docs", 32)
    assert first.client == facts
    assert (first.arrival_us, second.arrival_us) == (500_000, 1_000_000)
    assert (first.client_seq, second.client_seq) == (0, 1)
    assert (first.input_tokens, first.prompt_tokens) == (100, 132)
    assert first.segments == (("docs", 32), (None, 100))
    assert (first.output_tokens, first.max_output_tokens, first.capped) == (8, 8, True)
    assert (first.deadline_us, second.deadline_us) == (10_500_000, 11_000_000)
    assert (first.parts, first.reason_ratio, first.session_id, first.round_index) == (None, 0.0, "", 0)
    assert type(first.arrival_us) is int
    assert type(first.capped) is bool


def test_new_fields_default_to_neutral_values(record: Record, client: Client) -> None:
    (request,) = record({"num_requests": 1, "clients": [client("a", rate=1.0)]})
    assert request.segments == ((None, 100),)
    assert (request.prompt_tokens, request.max_output_tokens, request.capped) == (100, 0, False)
    assert request.deadline_us is None
    assert request.client == ClientFacts("a")


def test_an_output_at_the_cap_is_not_cut(record: Record, client: Client) -> None:
    (request,) = record({"num_requests": 1, "clients": [client("a", rate=1.0, max_output_tokens=10)]})
    assert (request.output_tokens, request.capped) == (10, False)


def test_a_prefix_group_without_length_shares_nothing(record: Record, client: Client) -> None:
    (request,) = record({"num_requests": 1, "clients": [client("a", rate=1.0, prefix_group="docs")]})
    assert request.segments == ((None, 100),)


def test_arrivals_lie_before_the_horizon(record: Record, client: Client) -> None:
    sent = record({"horizon": "3s", "clients": [client("a", rate=1.0, arrival=CONSTANT)]})
    assert [request.arrival_us for request in sent] == [1_000_000, 2_000_000]


def test_num_requests_stops_all_clients_in_time_order(record: Record, client: Client) -> None:
    clients = [client("a", rate=30.0), client("b", rate=70.0)]
    everything = record({"horizon": "60s", "clients": clients})
    some = record({"num_requests": 1000, "clients": clients})
    assert len(some) == 1000
    assert [(r.client.client_id, r.arrival_us) for r in some] == [
        (r.client.client_id, r.arrival_us) for r in everything[:1000]
    ]


def test_the_last_arrival_fires_the_event_though_timeouts_are_pending(client: Client) -> None:
    slow_and_fast = [client("slow", rate=1e-6, arrival=CONSTANT), client("fast", rate=1.0, arrival=CONSTANT)]
    spec = workload_from_dict({"num_requests": 3, "clients": slow_and_fast})
    env = simpy.Environment()

    class Count:
        sent = 0

        def submit(self, request: Request) -> simpy.Event:
            self.sent += 1
            return env.event()

    target = Count()
    env.run(until=start(env, target, spec, horizon_us=None, num_requests=3, warn=pytest.fail))
    assert env.now == 3_000_000
    env.run()
    assert target.sent == 3


def test_whichever_limit_comes_first_ends_the_run(record: Record, client: Client) -> None:
    clients = [client("a", rate=1.0, arrival=CONSTANT)]
    assert len(record({"num_requests": 5, "horizon": "100s", "clients": clients})) == 5
    assert len(record({"num_requests": 5, "horizon": "3500ms", "clients": clients})) == 3


@pytest.mark.parametrize("limit", [{"horizon": 0}, {"num_requests": 0}])
def test_nothing_to_do_ends_at_once(limit: dict[str, int], record: Record, client: Client) -> None:
    assert record({**limit, "clients": [client("a", rate=1000.0)]}) == []


def test_rate_zero_sends_nothing_and_says_so(record: Record, client: Client) -> None:
    spec = workload_from_dict({"horizon": "60s", "aggregate_rate": 0, "clients": [client("a", rate_fraction=1.0)]})
    assert record(spec) == []
    assert len(spec.warnings) == 1
    assert "no requests" in spec.warnings[0]
    spec = workload_from_dict({"num_requests": 9, "aggregate_rate": 5, "clients": [client("a", rate_fraction=0)]})
    assert record(spec) == []
    assert "this client will send no requests" in spec.warnings[0]


@pytest.mark.parametrize("reverse", [False, True])
def test_order_within_a_microsecond_is_by_id(reverse: bool, record: Record, client: Client) -> None:
    """Client b schedules its arrival at 2 s long before a schedules its own, and still comes after it."""
    clients = [
        client("a", rate=1.0, arrival=CONSTANT),
        client("b", rate=0.5, arrival=CONSTANT),
        client("B", rate=0.5, arrival=CONSTANT),
    ]
    sent = record({"horizon": "5s", "clients": clients[::-1] if reverse else clients})
    assert [(r.arrival_us // 1_000_000, r.client.client_id) for r in sent] == [
        (1, "a"),
        (2, "B"),
        (2, "a"),
        (2, "b"),
        (3, "a"),
        (4, "B"),
        (4, "a"),
        (4, "b"),
    ]


def test_arrivals_come_before_plain_timeouts_of_the_same_microsecond(client: Client) -> None:
    env = simpy.Environment()
    log: list[str] = []

    class Log:
        def submit(self, request: Request) -> simpy.Event:
            log.append("arrival")
            return env.event()

    timeout = env.timeout(1_000_000)
    assert timeout.callbacks is not None
    timeout.callbacks.append(lambda _: log.append("timeout"))
    spec = workload_from_dict({"num_requests": 1, "clients": [client("a", rate=1.0, arrival=CONSTANT)]})
    start(env, Log(), spec, horizon_us=None, num_requests=1, warn=pytest.fail)
    env.run()
    assert log == ["arrival", "timeout"]


def test_clients_start_at_the_environments_time(client: Client) -> None:
    """A run that was prepared for some time still sends each request when it is due."""
    env = simpy.Environment(initial_time=250_000)
    times: list[float] = []

    class Clock:
        def submit(self, request: Request) -> simpy.Event:
            times.append(env.now)
            return env.event()

    spec = workload_from_dict({"num_requests": 2, "clients": [client("a", rate=1.0, arrival=CONSTANT)]})
    start(env, Clock(), spec, horizon_us=None, num_requests=2, warn=pytest.fail)
    env.run()
    assert times == [1_000_000, 2_000_000]


def test_lifecycle_windows(record: Record, client: Client) -> None:
    clients = [
        client("always", rate_fraction=1.0),
        client("late", rate_fraction=1.0, lifecycle={"windows": [{"start_us": "50s", "end_us": "100s"}]}),
    ]
    sent = record({"horizon": "100s", "aggregate_rate": 40.0, "clients": clients})
    late = [r.arrival_us for r in sent if r.client.client_id == "late"]
    always = [r.arrival_us for r in sent if r.client.client_id == "always"]
    assert min(late) >= 50_000_000
    # Four standard deviations of Poisson counts of 2000 and 1000.
    assert sum(at < 50_000_000 for at in always) == pytest.approx(2000, abs=180)
    assert sum(at >= 50_000_000 for at in always) == pytest.approx(1000, abs=127)
    assert len(late) == pytest.approx(1000, abs=127)


def test_block_sizes_follow_what_is_expected() -> None:
    def first(expected: float, n: int = 4) -> list[int]:
        sizes = block_sizes(expected)
        return [next(sizes) for _ in range(n)]

    assert first(0.3) == [8, 16, 32, 64]
    assert first(100.0) == [131, 262, 524, 1048]
    assert first(1e12) == [4096, 4096, 4096, 4096]
    assert END_OF_TIME_US == 9_007_199_254_740_992


def test_no_clients_are_done_at_once() -> None:
    env = simpy.Environment()
    assert Arrivals(env, None, 0).done.triggered
    assert not Arrivals(env, None, 1).done.triggered
