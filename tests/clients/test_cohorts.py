"""Cohorts: members are clients of their own, patterns modulate their rates, and many of them cost little."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import simpy
from hypothesis import given, settings
from populations import cohorts

from blis.clients.build import sources, start
from blis.clients.plans import SessionSource
from blis.request import Request
from blis.spec.workload import workload_from_dict

Record = Callable[..., list[Request]]
Client = Callable[..., dict[str, Any]]

S = 1_000_000
CONSTANT = {"process": "constant"}
LENGTHS = ("input_distribution", "output_distribution")
ONE = {"type": "constant", "params": {"value": 1}}


@pytest.fixture
def cohort(client: Client) -> Callable[..., dict[str, Any]]:
    def make(population: int = 50, **changes: Any) -> dict[str, Any]:
        return client("web", **{"population": population, "rate": 100, **changes})

    return make


def counts(requests: list[Request], *edges: float) -> list[int]:
    """How many requests arrive between the edges, in seconds."""
    return np.histogram([request.arrival_us / S for request in requests], edges)[0].tolist()


def test_members_are_clients(record: Record, cohort: Client) -> None:
    made = cohort(3, tenant_id="acme", slo_class="batch", prefix_group="docs", prefix_length=7, timeout="9s")
    sent = record({"horizon": "2s", "cohorts": [made]})
    facts = {request.client for request in sent}
    assert {(one.client_id, one.tenant_id, one.slo_class, one.prefix_group, one.prefix_length) for one in facts} == {
        (f"web-{number}", "acme", "batch", "docs", 7) for number in range(3)
    }
    for request in sent:
        assert request.deadline_us == request.arrival_us + 9 * S
    for name in ("web-0", "web-1", "web-2"):
        mine = [request for request in sent if request.client.client_id == name]
        assert [request.client_seq for request in mine] == list(range(len(mine)))
        assert len(mine) == pytest.approx(67, abs=35)


def test_prefixes_of_their_own(record: Record, cohort: Client) -> None:
    made = cohort(3, prefix_group="docs", prefix_length=7, prefix_sharing="per_member")
    sent = record({"horizon": "1s", "cohorts": [made]})
    assert {request.segments[0] for request in sent} == {("docs/web-0", 7), ("docs/web-1", 7), ("docs/web-2", 7)}
    assert {(request.client.client_id[-1], request.client.prefix_group[-1]) for request in sent} == {
        ("0", "0"),
        ("1", "1"),
        ("2", "2"),
    }
    both = record({"horizon": "1s", "cohorts": [made, {**made, "id": "app"}]})
    assert len({request.segments[0] for request in both}) == 6, "members of two cohorts don't share a prefix either"


def test_a_member_depends_on_its_name_alone(record: Record, cohort: Client, client: Client) -> None:
    arrival = {"process": "gamma", "cv": 3}
    few = record({"horizon": "20s", "cohorts": [cohort(4, rate=8, arrival=arrival)]})
    everybody = {"cohorts": [cohort(40, rate=80, arrival=arrival)], "clients": [client("a", rate=5)]}
    many = record({"horizon": "20s", **everybody})
    for name in ("web-0", "web-3"):
        one, other = ([r.arrival_us for r in sent if r.client.client_id == name] for sent in (few, many))
        assert len(one) > 10
        assert one == other


def test_members_have_been_sending_for_long(record: Record, cohort: Client) -> None:
    """A metronome each, 20 s apart: they don't all begin in step, but as many in every second."""
    sent = record({"horizon": "60s", "cohorts": [cohort(600, rate=30, arrival=CONSTANT)]})
    assert counts(sent, *range(0, 61, 10)) == pytest.approx([300] * 6, abs=45)
    mine = [request.arrival_us for request in sent if request.client.client_id == "web-7"]
    assert np.diff(mine) == pytest.approx(20 * S, abs=1)


@pytest.mark.parametrize("arrival", [{"process": "gamma", "cv": 4}, {"process": "weibull", "cv": 4}])
def test_few_bursty_requests_each_are_a_steady_rate_together(
    record: Record, cohort: Client, arrival: dict[str, Any]
) -> None:
    sent = record({"horizon": "60s", "cohorts": [cohort(600, rate=12, arrival=arrival)]})
    # A request brings others along, about 16 in all, so that counts vary as those of a sixteenth of them.
    assert counts(sent, *range(0, 61, 20)) == pytest.approx([240] * 3, abs=3.5 * (16 * 240) ** 0.5)


def test_a_spike_multiplies(record: Record, cohort: Client) -> None:
    spike = {"start_time_us": "20s", "duration_us": "10s", "multiplier": 5}
    sent = record({"horizon": "60s", "cohorts": [cohort(arrival=CONSTANT, spike=spike)]})
    assert counts(sent, 0, 20, 30, 60) == pytest.approx([2000, 5000, 3000], abs=50)


def test_a_spike_of_a_given_rate(record: Record, cohort: Client, client: Client) -> None:
    """The rate is the cohort's whatever it shares, and the others keep their shares."""
    spike = {"start_time_us": "20s", "duration_us": "10s", "trace_rate": 300}
    made = cohort(arrival=CONSTANT, spike=spike, rate=None, rate_fraction=1)
    other = client("a", rate_fraction=3, arrival=CONSTANT)
    sent = record({"horizon": "60s", "aggregate_rate": 80, "cohorts": [made], "clients": [other]})
    members = [request for request in sent if request.client.client_id != "a"]
    assert counts(members, 0, 20, 30, 60) == pytest.approx([400, 3000, 600], abs=50)
    assert counts([r for r in sent if r.client.client_id == "a"], 0, 20, 30, 60) == pytest.approx([1200, 600, 1800], 1)


def test_a_drain_falls_evenly(record: Record, cohort: Client) -> None:
    drain = {"start_time_us": "20s", "ramp_duration_us": "20s"}
    sent = record({"horizon": "90s", "cohorts": [cohort(arrival=CONSTANT, drain=drain)]})
    assert counts(sent, 0, 20, 30, 40, 90) == pytest.approx([2000, 750, 250, 0], abs=50)
    at_once = {"start_time_us": "20s", "ramp_duration_us": 0}
    sent = record({"horizon": "90s", "cohorts": [cohort(arrival=CONSTANT, drain=at_once)]})
    assert counts(sent, 0, 20, 90) == pytest.approx([2000, 0], abs=50)


def test_a_day_rises_and_falls(record: Record, cohort: Client) -> None:
    diurnal = {"peak_hour": 6, "peak_to_trough_ratio": 3, "day_us": "24s"}
    sent = record({"horizon": "48s", "cohorts": [cohort(arrival=CONSTANT, diurnal=diurnal)]})
    # From 1.5 at the peak to 0.5: the half day around the peak has 1/2 + 1/(2 pi) of the requests.
    half = 2400 * (0.5 + 1 / (2 * np.pi))
    assert counts(sent, 0, 12, 24, 36, 48) == pytest.approx([half, 2400 - half] * 2, abs=50)


def test_patterns_multiply(record: Record, cohort: Client) -> None:
    patterns = {
        "diurnal": {"peak_hour": 6, "peak_to_trough_ratio": 3, "day_us": "40s"},
        "spike": {"start_time_us": "10s", "duration_us": "40s", "multiplier": 2},
        "drain": {"start_time_us": "20s", "ramp_duration_us": "40s"},
    }
    (source,) = sources(workload_from_dict({"horizon": "9s", "cohorts": [cohort(1, **patterns)]}), None, pytest.fail)
    # Between 29 s and 31 s: twice the rate, in the trough of the day, three quarters left of it.
    assert source.expected(31 * S) - source.expected(29 * S) == pytest.approx(2 * 100 * 2 * 0.5 * 0.75, rel=0.01)


def test_patterns_come_after_the_shares(record: Record, cohort: Client, client: Client) -> None:
    """The clients beside a cohort send the same, whatever it does; and its day is visible though it shares a rate."""
    diurnal = {"peak_hour": 6, "peak_to_trough_ratio": 3, "day_us": "24s"}
    other = client("a", rate_fraction=1)

    def run(**patterns: Any) -> list[Request]:
        made = cohort(arrival=CONSTANT, rate=None, rate_fraction=1, **patterns)
        return record({"horizon": "24s", "aggregate_rate": 200, "cohorts": [made], "clients": [other]})

    plain, rhythmic = run(), run(diurnal=diurnal)
    own = [[r.arrival_us for r in sent if r.client.client_id == "a"] for sent in (plain, rhythmic)]
    assert own[0] == own[1]
    half = 2400 * (0.5 + 1 / (2 * np.pi))
    assert counts([r for r in rhythmic if r.client.client_id != "a"], 0, 12, 24) == pytest.approx(
        [half, 2400 - half], abs=50
    )


def test_a_cohort_counts_once_in_the_shares(record: Record, cohort: Client, client: Client) -> None:
    lifecycle = {"windows": [{"start_us": "10s", "end_us": "20s"}]}
    made = cohort(40, rate=None, rate_fraction=3, arrival=CONSTANT, lifecycle=lifecycle)
    other = client("a", rate_fraction=1, arrival=CONSTANT)
    sent = record({"horizon": "30s", "aggregate_rate": 80, "cohorts": [made], "clients": [other]})
    assert counts(sent, 0, 10, 20, 30) == pytest.approx([800] * 3, abs=41)
    assert counts([r for r in sent if r.client.client_id == "a"], 0, 10, 20, 30) == pytest.approx(
        [800, 200, 800], abs=1
    )


def test_cohorts_of_sessions_and_of_closed_loops(record: Record, cohort: Client) -> None:
    session = {"max_rounds": 3, "think_time_us": "1s"}
    spec = workload_from_dict({"horizon": "9s", "cohorts": [cohort(4, rate=4, session=session)]})
    population = sources(spec, None, pytest.fail)
    assert [source.facts.client_id for source in population] == ["web-0", "web-1", "web-2", "web-3"]
    starts = [next(source.sessions()).start_us[0] for source in population if isinstance(source, SessionSource)]
    assert len(set(starts)) == 4
    sent = record({"num_requests": 8, "cohorts": [cohort(4, rate=None, arrival=None, concurrency=2)]})
    assert [request.client.client_id for request in sent] == [f"web-{number}" for number in (0, 0, 1, 1, 2, 2, 3, 3)]


@settings(max_examples=15)
@given(cohorts())
def test_members_send_nothing_before_they_begin(groups: list[dict[str, Any]]) -> None:
    nobody = {"id": "nobody", "rate": 0, "arrival": CONSTANT, **dict.fromkeys(LENGTHS, ONE)}
    spec = workload_from_dict({"horizon": "9s", "clients": [nobody], "cohorts": groups})
    for source in sources(spec, None, pytest.fail):
        first = next((int(block.arrival_us[0]) for block in source.blocks(40 * S)), None)
        assert first is None or source.not_before_us < first


class Forget:
    """A target that keeps nothing."""

    def __init__(self, env: simpy.Environment) -> None:
        self.sent = 0
        self._event = env.event()

    def submit(self, request: Request) -> simpy.Event:
        self.sent += 1
        return self._event


def test_many_members_take_little(cohort: Client) -> None:
    """Each has a process and its requests ahead, but no spec of its own, and none before it begins."""
    population = 400
    lengths = {"type": "exponential", "params": {"mean": 500}}
    made = cohort(population, rate=population / 20, input_distribution=lengths, output_distribution=lengths)
    spec = workload_from_dict({"horizon": "60s", "cohorts": [made]})
    env = simpy.Environment()
    target = Forget(env)
    tracemalloc.start()
    done = start(env, target, spec, horizon_us=60 * S, num_requests=None, warn=pytest.fail)
    waiting = tracemalloc.get_traced_memory()[0]
    env.run(until=done)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert target.sent == pytest.approx(3 * population, rel=0.15)
    assert waiting / population < 800
    assert most / population < 3000
