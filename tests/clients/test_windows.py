"""Windows with rates, arrivals and lengths of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blis.clients.build import sources
from blis.clients.plans import SessionSource
from blis.clients.renewal import Gaps, taking_turns
from blis.request import Request
from blis.rng import stream
from blis.spec.workload import workload_from_dict

Record = Callable[..., list[Request]]
Client = Callable[..., dict[str, Any]]

S = 1_000_000
CONSTANT = {"process": "constant"}


def window(start: int, end: int, **own: Any) -> dict[str, Any]:
    return {"start_us": start * S, "end_us": end * S, **own}


def arrivals(requests: list[Request], client: str = "a") -> list[float]:
    return [request.arrival_us / S for request in requests if request.client.client_id == client]


def listed(*gaps: float) -> Gaps:
    """A process with these gaps, and gaps of 1000 after them."""
    left = [*gaps]

    def sampler(rng: np.random.Generator, n: int) -> np.ndarray:
        return np.array([left.pop(0) if left else 1000.0 for _ in range(n)])

    return Gaps(sampler, stream(1))


def sums(*turns: tuple[float, Gaps], likely: float = 100) -> list[float]:
    return [value for block in taking_turns(turns, likely) for value in block.tolist()]


def test_a_gap_cut_by_another_process_carries_on_with_the_part_that_is_left() -> None:
    # At 5 a quarter of a gap of 8 has passed; three quarters of the next one's 2 follow.
    assert sums((5.0, listed(3, 8)), (20.0, listed(2, 4, 100))) == [3, 6.5, 10.5]


def test_a_process_that_comes_back_goes_on_with_its_own_draws() -> None:
    first, second = listed(3, 8, 2, 5, 1000), listed(2, 4, 4)
    # Of the gap that is under way at 12, from 10.5 to 14.5, 2.5/4 are left: of the next one's 2 that is 1.25.
    assert sums((5.0, first), (12.0, second), (19.0, first)) == [3, 6.5, 10.5, 13.25, 18.25]


def test_a_turn_may_pass_without_an_arrival() -> None:
    # At 4 half of 8 is left, so half of 6 follows; at 5 a third of 6 is left, so a third of 3 follows.
    assert sums((4.0, listed(8)), (5.0, listed(6)), (9.0, listed(3, 1))) == [6.0, 7.0]


@given(st.floats(0.3, 50), st.floats(0, 60), st.integers(1, 9), st.integers(1, 900))
def test_turns_do_not_depend_on_blocks(cv: float, end: float, seed: int, likely: int) -> None:
    def processes() -> tuple[Gaps, Gaps]:
        rng, other = stream(seed, "a"), stream(seed, "b")
        return Gaps(lambda r, n: r.standard_gamma(1 / cv, n) * cv, rng), Gaps(lambda r, n: np.ones(n), other)

    def run(likely: float) -> list[float]:
        one, two = processes()
        return sums((end, one), (end + 7, two), (80.0, one), (90.0, two), likely=likely)

    assert run(likely) == pytest.approx(run(1), rel=1e-12)


def test_rates_per_window(record: Record, client: Client) -> None:
    lifecycle = {"windows": [window(6, 8, rate=5), window(0, 2), window(3, 5, rate=2)]}
    sent = record({"horizon": "60s", "clients": [client("a", rate=1, arrival=CONSTANT, lifecycle=lifecycle)]})
    assert arrivals(sent) == pytest.approx([1, 3, 3.5, 4, 4.5, 6, 6.2, 6.4, 6.6, 6.8, 7, 7.2, 7.4, 7.6, 7.8])


def test_a_client_needs_no_rate_beside_those_of_its_windows(record: Record, client: Client) -> None:
    lifecycle = {"windows": [window(0, 10, rate=1), window(10, 20, rate=2)]}
    sent = record({"horizon": "60s", "clients": [client("a", arrival=CONSTANT, lifecycle=lifecycle)]})
    assert len([at for at in arrivals(sent) if at < 10]) == 9
    assert len(sent) == 29


def test_fractions_per_window_share_the_aggregate(record: Record, client: Client) -> None:
    lifecycle = {"windows": [window(10, 20, rate_fraction=3), window(20, 30)]}
    clients = [
        client("a", rate_fraction=1, arrival=CONSTANT, lifecycle=lifecycle),
        client("b", rate_fraction=1, arrival=CONSTANT),
    ]
    sent = record({"horizon": "40s", "aggregate_rate": 8, "clients": clients})
    for phase, (a, b) in enumerate([(0, 80), (60, 20), (40, 40), (0, 80)]):
        inside = [sum(10 * phase <= at < 10 * phase + 10 for at in arrivals(sent, name)) for name in "ab"]
        assert inside == pytest.approx([a, b], abs=1)


def test_windows_may_space_requests_in_their_own_way(record: Record, client: Client) -> None:
    lifecycle = {"windows": [window(0, 50), window(50, 100, arrival=CONSTANT), window(100, 150)]}
    gaps = np.diff(arrivals(record({"horizon": "200s", "clients": [client("a", rate=4, lifecycle=lifecycle)]})))
    times = np.array(arrivals(record({"horizon": "200s", "clients": [client("a", rate=4, lifecycle=lifecycle)]})))
    even = gaps[(times[:-1] >= 50) & (times[1:] < 100)]
    assert len(even) > 190
    assert even == pytest.approx(0.25, abs=2e-6)
    assert gaps[times[1:] < 50].std() > 0.15
    assert gaps[times[:-1] >= 100].std() > 0.15


def test_naming_the_clients_own_process_changes_nothing(record: Record, client: Client) -> None:
    def run(**own: Any) -> list[float]:
        lifecycle = {"windows": [window(0, 20), window(30, 50, **own), window(60, 80)]}
        made = client("a", rate=9, arrival={"process": "gamma", "cv": 3.0}, lifecycle=lifecycle)
        return arrivals(record({"horizon": "90s", "clients": [made]}))

    assert run(arrival={"process": "gamma", "cv": 3}) == run()


def test_lengths_per_window(record: Record, client: Client) -> None:
    exponential = {"type": "exponential", "params": {"mean": 500}}
    three = {"type": "constant", "params": {"value": 3}}

    def run(**own: Any) -> list[Request]:
        lifecycle = {"windows": [window(0, 20), window(20, 30, **own), window(30, 50)]}
        made = client("a", rate=9, input_distribution=exponential, output_distribution=exponential, lifecycle=lifecycle)
        return record({"horizon": "90s", "clients": [made]})

    plain, special = run(), run(output_distribution=three)
    assert [(r.arrival_us, r.input_tokens) for r in plain] == [(r.arrival_us, r.input_tokens) for r in special]
    assert {r.output_tokens for r in special if 20 * S <= r.arrival_us < 30 * S} == {3}
    # Outside, the client's own outputs go on as if the window weren't there.
    outside = [r.output_tokens for r in special if not 20 * S <= r.arrival_us < 30 * S]
    assert outside == [r.output_tokens for r in plain][: len(outside)]


def test_sessions_take_the_lengths_of_the_window_they_start_in(client: Client) -> None:
    three = {"type": "constant", "params": {"value": 3}}
    lifecycle = {"windows": [window(0, 20), window(20, 30, input_distribution=three), window(30, 50)]}
    made = client("a", rate=2, arrival=CONSTANT, session={"max_rounds": 4}, lifecycle=lifecycle)
    (source,) = sources(workload_from_dict({"num_requests": 9, "clients": [made]}), None, pytest.fail)
    assert isinstance(source, SessionSource)
    plans = [plan for block in source.sessions(100 * S) for plan in block.plans()]
    assert len(plans) == 99
    for plan in plans:
        inside = 20 * S <= plan.start_us < 30 * S
        assert [row[1] for row in plan.rows] == [3 if inside else 100] * 4


def test_images_keep_their_draws_where_a_window_has_another_text(record: Record, client: Client) -> None:
    exponential = {"type": "exponential", "params": {"mean": 500}}
    images = {"image_distribution": exponential}

    def run(**own: Any) -> list[Request]:
        lifecycle = {"windows": [window(0, 20), window(20, 30, **own)]}
        return record({"horizon": "30s", "clients": [client("a", rate=5, multimodal=images, lifecycle=lifecycle)]})

    plain, special = run(), run(input_distribution={"type": "constant", "params": {"value": 0}})
    assert [r.parts and r.parts[1] for r in plain] == [r.parts and r.parts[1] for r in special]
    assert {r.parts and r.parts[0] for r in special} == {100, 0}


@st.composite
def windows(draw: st.DrawFn) -> list[dict[str, Any]]:
    cuts = sorted(draw(st.lists(st.integers(0, 60), min_size=2, max_size=8, unique=True)))
    processes = st.sampled_from([None, CONSTANT, {"process": "gamma", "cv": 4}, {"process": "weibull", "cv": 0.5}])
    lengths = st.sampled_from([None, {"type": "exponential", "params": {"mean": 40}}])
    rates = st.one_of(st.none(), st.sampled_from([0, 0.5, 20]))
    return [
        window(start, end, rate=draw(rates), arrival=draw(processes), input_distribution=draw(lengths))
        for start, end in zip(cuts[::2], cuts[1::2], strict=False)
    ]


@settings(max_examples=40)
@given(windows(), st.sampled_from([None, 3.0, 5000.0]), st.integers(1, 70 * S))
def test_requests_lie_in_windows_and_do_not_depend_on_blocks(
    client: Client, own: list[dict[str, Any]], likely: float | None, end_us: int
) -> None:
    made = client("a", rate=3, arrival={"process": "gamma", "cv": 2}, lifecycle={"windows": own})
    (source,) = sources(workload_from_dict({"num_requests": 9, "clients": [made]}), None, pytest.fail)

    def rows(end_us: int, likely: float | None) -> list[Any]:
        return [row for block in source.blocks(end_us, likely) for row in block.rows()]

    everything = rows(100 * S, None)
    assert [row for row in everything if row[0] < end_us] == rows(end_us, likely)
    for row in everything:
        assert any(one["start_us"] <= row[0] < one["end_us"] and one["rate"] != 0 for one in own)
    assert [row[0] for row in everything] == [at for block in source.arrivals(100 * S) for at in block.tolist()]
