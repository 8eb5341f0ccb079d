"""What several workloads send together is what each sends alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from populations import populations

import blis
from blis.convert import compose
from blis.errors import BlisError
from blis.spec.workload import WorkloadSpec, parse_workload, workload_from_dict
from blis.trace import Trace

S = 1_000_000


def client(name: str, **more: Any) -> dict[str, Any]:
    return {
        "id": name,
        "arrival": {"process": "gamma", "cv": 2},
        "input_distribution": {"type": "constant", "params": {"value": 10}},
        "output_distribution": {"type": "exponential", "params": {"mean": 100}},
        **more,
    }


def spec(*clients: dict[str, Any], **more: Any) -> WorkloadSpec:
    return workload_from_dict({"seed": 3, "horizon": "30s", "clients": list(clients), **more})


def sent(trace: Trace) -> dict[str, list[tuple[int, int, int]]]:
    """Arrival, input and output of each client's requests."""
    found: dict[str, list[tuple[int, int, int]]] = {}
    columns = ("client_id", "arrival_time_us", "input_tokens", "planned_output_tokens")
    for name, *rest in zip(*(trace.column(column).tolist() for column in columns), strict=True):
        found.setdefault(name, []).append(tuple(rest))
    return found


def composed(**workloads: WorkloadSpec) -> WorkloadSpec:
    whole = compose(workloads, pytest.fail)
    assert parse_workload(whole.text) == whole
    return whole


def close(one: list[tuple[int, int, int]], other: list[tuple[int, int, int]]) -> bool:
    """Whether the requests are alike up to the rounding of times."""
    return len(one) == len(other) and all(
        abs(a[0] - b[0]) <= 2 and a[1:] == b[1:] for a, b in zip(one, other, strict=True)
    )


@given(populations(least=2), st.booleans())
@settings(max_examples=25)
def test_each_sends_what_it_sends_alone(clients: list[dict[str, Any]], shared: bool) -> None:
    """Here each client's requests; shares and windows of all kinds are among them."""
    if shared:
        clients = [{**one, "rate_fraction": one["rate"], "rate": None} for one in clients]
    more = {"aggregate_rate": 20} if shared else {}
    one = spec(*clients[:-1], **more)
    other = spec(client("another", rate=3))
    alone = sent(blis.generate(one, warn=str)) | sent(blis.generate(other, warn=str))
    together = sent(blis.generate(composed(one=one, other=other), warn=str))
    assert together.keys() == alone.keys()
    for name, requests in alone.items():
        assert close(together[name], requests), name


def test_shares_become_rates() -> None:
    whole = composed(
        a=spec(client("x", rate_fraction=3), client("y", rate_fraction=1), aggregate_rate=20),
        b=spec(client("z", rate_fraction=7), aggregate_rate=5),
    )
    assert whole.aggregate_rate == 0
    assert {one.id: one.rate for one in whole.clients} == {"x": 15.0, "y": 5.0, "z": 5.0}
    assert all(one.rate_fraction is None and one.lifecycle is None for one in whole.clients)


def test_names_in_several_files_are_different_ones() -> None:
    whole = composed(
        a=spec(client("x", rate=1, prefix_group="docs", prefix_length=10), client("y", rate=1)),
        b=spec(client("x", rate=2, prefix_group="docs", prefix_length=20)),
        c=spec(client("z", rate=2, prefix_group="own", prefix_length=20)),
    )
    assert [(one.id, one.prefix_group) for one in whole.clients] == [
        ("a-x", "a-docs"),
        ("y", ""),
        ("b-x", "b-docs"),
        ("z", "own"),
    ]


def test_new_names_are_nobody_elses() -> None:
    """Neither those of the files, nor those that other clients have got, nor those of members or chunks."""
    docs = {"prefix_group": "docs", "prefix_length": 10}
    people = client("web", rate=1, population=3)
    one = spec(client("x", rate=1, **docs), client("b-x", rate=1, prefix_group="b-docs", prefix_length=20))
    other = spec(client("x", rate=1, **docs), client("y", rate=1, **docs), client("web-1", rate=1))
    third = spec(client("y", rate=1), cohorts=[people, client("y-web", rate=1, population=2)])
    whole = composed(a=one, b=other, c=third)
    assert [(one.id, one.prefix_group) for one in whole.senders] == [
        ("a-x", "a-docs"),
        ("b-x", "b-docs"),
        ("b-2-x", "b-2-docs"),
        ("b-y", "b-2-docs"),
        ("b-web-1", ""),
        ("c-y", ""),
        ("web", ""),
        ("y-web", ""),
    ]
    lone = spec(client("web-0", rate=1), client("c-web-0", rate=1))
    both = composed(lone=lone, c=spec(cohorts=[people]), d=spec(cohorts=[people]))
    assert [one.id for one in both.senders] == ["lone-web-0", "c-web-0", "c-2-web", "d-web"]


def test_a_shorter_workload_stops_at_its_horizon() -> None:
    windows = {"windows": [{"start_us": 0, "end_us": "8s"}, {"start_us": "20s", "end_us": "25s"}]}
    short = spec(client("x", rate=5), client("y", rate=5, lifecycle=windows), horizon="10s")
    whole = composed(short=short, long=spec(client("z", rate=5)))
    assert whole.horizon == 30 * S
    assert sent(blis.generate(whole)) == sent(blis.generate(short)) | sent(blis.generate(spec(client("z", rate=5))))
    assert whole.clients[2].lifecycle is None


def test_numbers_of_requests_add_up_where_nobody_has_a_horizon() -> None:
    several = [spec(client(name, rate=1), horizon=None, num_requests=10) for name in "ab"]
    whole = composed(a=several[0], b=several[1])
    assert (whole.num_requests, whole.horizon) == (20, None)
    told: list[str] = []
    mixed = compose({"a": several[0], "b": spec(client("b", rate=1), seed=4)}, told.append)
    assert (mixed.num_requests, mixed.horizon, mixed.seed) == (None, 30 * S, 3)
    assert told == [
        "the seeds differ; that of the first workload, 3, serves all",
        "a: num_requests (10) isn't kept, since a horizon ends the whole",
    ]


def test_cohorts_keep_their_rates_and_patterns() -> None:
    people = {
        **client("people", population=30, rate_fraction=3, prefix_group="persona", prefix_length=20),
        "spike": {"start_time_us": "10s", "duration_us": "5s", "multiplier": 3},
        "drain": {"start_time_us": "25s", "ramp_duration_us": "5s"},
    }
    windows = {"windows": [{"start_us": "4s", "end_us": "20s"}]}
    one = spec(client("x", rate_fraction=1, lifecycle=windows), aggregate_rate=20, cohorts=[people])
    other = spec(client("y", rate=1), cohorts=[{**people, "id": "others", "rate_fraction": None, "rate": 2}])
    whole = composed(one=one, other=other)
    assert [cohort.prefix_group for cohort in whole.cohorts] == ["one-persona", "other-persona"]
    together, alone = sent(blis.generate(whole)), sent(blis.generate(one)) | sent(blis.generate(other))
    assert together.keys() == alone.keys()
    assert all(close(together[name], requests) for name, requests in alone.items())


def test_stages_become_windows() -> None:
    stages = [
        {"rate": 5, "duration": "8s"},
        {"rate": 20, "duration": "5s", "pause": "2s"},
        {"rate": 8, "duration": "5s"},
    ]
    other = spec(client("y", rate=1))
    windows = {"windows": [{"start_us": "4s", "end_us": "20s"}]}
    counted = {"process": "poisson", "conditioned": True}
    for changes in ({"lifecycle": windows}, {"arrival": counted}):
        clients = [{**client("x", rate_fraction=2), **changes}, client("z", rate_fraction=1)]
        one = spec(*clients, horizon=None, stages=stages)
        whole = composed(one=one, other=other)
        assert (whole.stages, whole.horizon) == ((), 30 * S)
        together, alone = sent(blis.generate(whole)), sent(blis.generate(one)) | sent(blis.generate(other))
        assert together.keys() == alone.keys()
        assert all(close(together[name], requests) for name, requests in alone.items())
    drained = spec(client("x", rate_fraction=2), horizon=None, stages=[{**stages[0], "drain": True}, stages[1]])
    with pytest.raises(BlisError, match="a: its stages drain"):
        compose({"a": drained, "b": other}, str)


def test_closed_loops_stay_as_they_are() -> None:
    loop = {**client("loop", concurrency=4), "arrival": None}
    whole = composed(a=spec(client("x", rate_fraction=1), loop, aggregate_rate=2), b=spec(client("y", rate=1)))
    assert [(one.id, one.concurrency, one.rate) for one in whole.clients] == [
        ("x", None, 2.0),
        ("loop", 4, None),
        ("y", None, 1.0),
    ]


def test_servegen_data(repository: Any) -> None:
    data = {"path": str(repository / "tests" / "data" / "servegen" / "language"), "span_end": 200}
    only = workload_from_dict({"servegen_data": data, "seed": 3})
    both = composed(data=only, mine=spec(client("x", rate=1), horizon="500s"))
    assert both.horizon == 500 * S
    requests = sent(blis.generate(both, warn=str))
    alone = sent(blis.generate(workload_from_dict({"servegen_data": data, "seed": 3, "horizon": "200s"}), warn=str))
    assert {name: own for name, own in requests.items() if name != "x"} == alone
    short = workload_from_dict({"servegen_data": data, "seed": 3, "horizon": "50s"})
    cut = composed(data=short, mine=spec(client("x", rate=1), horizon="100s"))
    assert cut.servegen_data is not None
    assert cut.servegen_data.span_end == 50
    clash = spec(client("chunk-0", rate=1), client("chunk", rate=1))
    assert [one.id for one in composed(data=only, mine=clash).senders] == ["mine-chunk-0", "chunk"]
    for workloads, message in (
        ({"a": only, "b": only}, "a and b both have ServeGen data"),
        ({"a": workload_from_dict({"servegen_data": data, "aggregate_rate": 3})}, "a: an aggregate_rate scales its"),
        ({}, "there is no workload to compose"),
    ):
        with pytest.raises(BlisError, match=message):
            compose(workloads, str)
