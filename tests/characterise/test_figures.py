"""A trace's traffic in figures, against figures worked out another way."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from scipy import stats

import blis
from blis.characterise import Characterisation, characterise
from blis.trace import Trace

S = 1_000_000


def client(name: str, rate: float, **more: Any) -> dict[str, Any]:
    return {
        "id": name,
        "rate": rate,
        "arrival": {"process": "poisson"},
        "input_distribution": {"type": "lognormal", "params": {"mu": 5, "sigma": 1}},
        "output_distribution": {"type": "exponential", "params": {"mean": 100}},
        **more,
    }


@pytest.fixture(scope="module")
def trace() -> Trace:
    clients = [
        client("busy", 20, tenant_id="t1", arrival={"process": "gamma", "cv": 2}),
        client("some", 6, tenant_id="t1", prefix_group="docs", prefix_length=300),
        client("few", 3, tenant_id="t2", arrival={"process": "constant"}),
        client("rare", 1, tenant_id="t2"),
    ]
    return blis.generate({"seed": 3, "horizon": "300s", "clients": clients})


@pytest.fixture(scope="module")
def found(trace: Trace) -> Characterisation:
    return characterise(trace, top=3)


def test_figures_of_a_workload(trace: Trace, found: Characterisation) -> None:
    arrivals, inputs = trace.column("arrival_time_us"), trace.column("input_tokens")
    assert (found.mode, found.requests, found.span_us) == ("generated", len(trace), 300 * S)
    assert found.arrivals.rate_per_s == pytest.approx(len(trace) / 300)
    assert found.arrivals.cv == pytest.approx(np.diff(arrivals).std() / np.diff(arrivals).mean())
    own = found.lengths["input_tokens"]
    assert (own.tokens.p99, own.std_dev) == (np.percentile(inputs, 99), pytest.approx(inputs.std()))
    assert own.fits[0].family in ("lognormal", "pareto_lognormal")
    assert found.lengths["output_tokens"].tokens.mean == pytest.approx(trace.column("planned_output_tokens").mean())
    assert found.lengths["prompt_tokens"].tokens.mean == pytest.approx(trace.column("prompt_tokens").mean())
    spearman = stats.spearmanr(inputs, trace.column("planned_output_tokens")).statistic
    assert found.length_correlation == pytest.approx(spearman)
    assert (found.sessions, found.reason_ratio) == (None, None)


def test_rates_over_time_add_up(trace: Trace, found: Characterisation) -> None:
    rates = found.rates
    assert rates.width_us == 20 * S
    assert len(rates.requests_per_s) == 15
    for values, total in (
        (rates.requests_per_s, len(trace)),
        (rates.prompt_tokens_per_s, trace.column("prompt_tokens").sum()),
        (rates.output_tokens_per_s, trace.column("planned_output_tokens").sum()),
    ):
        assert sum(values) * 20 == pytest.approx(total)


def test_a_short_rest_is_no_peak() -> None:
    arrivals = [*range(0, 24 * S, S // 10), 24 * S + 5]
    rates = characterise(Trace.from_columns({"arrival_time_us": arrivals, "input_tokens": [1] * len(arrivals)})).rates
    assert rates.width_us == 2 * S
    assert rates.requests_per_s[:-1] == [10.0] * 11
    assert rates.requests_per_s[-1] == pytest.approx(10.5, rel=1e-3)


def test_clients_by_their_share(trace: Trace, found: Characterisation) -> None:
    clients = found.clients
    assert (clients.count, clients.tenants, clients.for_half, clients.for_90_percent) == (4, 2, 1, 3)
    assert [one.client_id for one in clients.busiest] == ["busy", "some", "few"]
    assert [one.arrivals.fits[0].family for one in clients.busiest][::2] == ["gamma", "constant"]
    busy, some, few = clients.busiest
    assert busy.arrivals.cv == pytest.approx(2, rel=0.1)
    assert some.arrivals.cv == pytest.approx(1, rel=0.1)
    assert few.share == pytest.approx(899 / len(trace))
    own = trace.column("client_id") == "some"
    assert some.mean_input_tokens == trace.column("input_tokens")[own].mean()


def test_shared_prefixes(trace: Trace, found: Characterisation) -> None:
    prefixes = found.prefixes
    assert prefixes is not None
    sharing = np.count_nonzero(trace.column("prefix_group") == "docs")
    assert prefixes.groups == 1
    assert prefixes.requests_share == pytest.approx(sharing / len(trace))
    assert prefixes.tokens_share == pytest.approx(sharing * 300 / trace.column("prompt_tokens").sum())


def test_sessions_arrive_by_their_first_round() -> None:
    session = {"max_rounds": 5, "think_time_us": "1s"}
    trace = blis.generate({"horizon": "200s", "clients": [client("chat", 5, session=session)]})
    found = characterise(trace, top=0)
    assert found.sessions is not None
    assert found.sessions.count == len(set(trace.column("session_id")))
    assert found.sessions.rounds.max == 5
    assert found.arrivals.requests == np.count_nonzero(trace.column("round_index") == 0)
    assert found.arrivals.cv == pytest.approx(1, rel=0.1)


def test_modalities_and_reasoning(repository: Any) -> None:
    data = {"path": str(repository / "tests" / "data" / "servegen" / "multimodal")}
    found = characterise(blis.generate({"horizon": "400s", "servegen_data": data}, warn=str), top=0)
    assert {"text_tokens", "image_tokens"} <= found.lengths.keys()
    data = {"path": str(repository / "tests" / "data" / "servegen" / "reasoning")}
    found = characterise(blis.generate({"horizon": "400s", "servegen_data": data}, warn=str), top=0)
    assert found.reason_ratio is not None
    assert 0 < (found.reason_ratio.mean or 0) <= 1


def test_it_does_not_matter_whether_the_workload_was_simulated() -> None:
    simulated = blis.simulate({"seed": 3, "horizon": "20s", "clients": [client("a", 20), client("b", 2)]})
    generated = blis.generate({"seed": 3, "horizon": "20s", "clients": [client("a", 20), client("b", 2)]})
    one, other = characterise(simulated).to_dict(), characterise(generated).to_dict()
    assert {**one, "mode": ""} == {**other, "mode": ""}


def test_a_trace_of_another_tool_that_is_not_in_order() -> None:
    trace = Trace.from_columns(
        {
            "request_id": [0, 1, 2],
            "arrival_time_us": [5 * S, 0, 2 * S],
            "input_tokens": [10, 20, 30],
            "output_tokens": [1, -1, 3],
        }
    )
    found = characterise(trace)
    assert (found.span_us, found.arrivals.rate_per_s) == (5 * S, pytest.approx(0.6))
    assert found.lengths["output_tokens"].tokens.n == 2
    assert found.clients.busiest[0].mean_output_tokens == 2


def test_an_empty_trace() -> None:
    found = characterise(Trace.from_columns({}))
    assert (found.requests, found.clients.count, found.clients.for_half) == (0, 0, 0)
    json.dumps(found.to_dict())
