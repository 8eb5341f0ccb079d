"""A workload fitted to a trace sends traffic like the trace's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import blis
from blis.characterise import fit_spec
from blis.characterise.arrivals import of_arrivals
from blis.characterise.empirical import as_spec, measured
from blis.characterise.requests import Requests
from blis.errors import BlisError
from blis.spec.workload import WorkloadSpec, parse_workload
from blis.trace import Trace

LOGNORMAL = {"type": "lognormal", "params": {"mu": 6, "sigma": 0.8}}
EXPONENTIAL = {"type": "exponential", "params": {"mean": 150}}


def client(name: str, rate: float, **more: Any) -> dict[str, Any]:
    return {
        "id": name,
        "rate": rate,
        "arrival": {"process": "poisson"},
        "input_distribution": LOGNORMAL,
        "output_distribution": EXPONENTIAL,
        **more,
    }


def again(spec: WorkloadSpec) -> WorkloadSpec:
    """The spec written and read."""
    written = parse_workload(spec.text)
    assert written == spec
    return written


def both(spec: dict[str, Any], **keywords: Any) -> tuple[Requests, Requests, WorkloadSpec]:
    """Requests of a workload, of the workload fitted to its trace, and the latter."""
    trace = blis.generate({"seed": 11, **spec}, warn=str)
    fitted = again(fit_spec(trace, **keywords))
    return Requests(trace), Requests(blis.generate(fitted, warn=str)), fitted


def assert_alike(one: Requests, other: Requests, rel: float = 0.04) -> None:
    arrivals, fitted = (of_arrivals(requests.arrival_us, requests.span_us) for requests in (one, other))
    assert fitted.rate_per_s == pytest.approx(arrivals.rate_per_s, rel=rel)
    assert fitted.steady_cv == pytest.approx(arrivals.steady_cv, rel=2.5 * rel)
    for name in ("input_tokens", "prompt_tokens", "output_tokens"):
        values, again = getattr(one, name), getattr(other, name)
        assert again.mean() == pytest.approx(values.mean(), rel=rel), name
        for p in (50, 90, 95):
            assert np.percentile(again, p) == pytest.approx(np.percentile(values, p), rel=rel), name
        assert np.percentile(again, 99) == pytest.approx(np.percentile(values, 99), rel=3 * rel), name


@pytest.mark.parametrize("lengths", ["empirical", "fitted"])
def test_traffic_is_alike(lengths: Any) -> None:
    clients = [
        client("bursty", 30, arrival={"process": "gamma", "cv": 2.5}, slo_class="critical", tenant_id="x"),
        client("plain", 15, prefix_group="docs", prefix_length=512, timeout="30s"),
        client("tick", 5, arrival={"process": "constant"}, streaming=False, max_output_tokens=256),
        client("long", 8, arrival={"process": "weibull", "cv": 1.8}, slo_targets={"ttft_us": "2s"}),
    ]
    one, other, spec = both({"horizon": "250s", "clients": clients}, lengths=lengths)
    assert_alike(one, other)
    assert other.prefix_tokens.mean() == pytest.approx(one.prefix_tokens.mean(), rel=0.05)
    found = {one.id: one for one in spec.clients}
    assert [one.id for one in spec.clients] == ["bursty", "plain", "long", "tick"]
    processes = {name: one.arrival.process for name, one in found.items() if one.arrival is not None}
    assert processes == {"bursty": "gamma", "plain": "poisson", "tick": "constant", "long": "weibull"}
    assert found["bursty"].arrival is not None
    assert found["bursty"].arrival.cv == pytest.approx(2.5, rel=0.1)
    assert (found["bursty"].slo_class, found["bursty"].tenant_id) == ("critical", "x")
    assert (found["plain"].prefix_group, found["plain"].prefix_length) == ("docs", 512)
    assert (found["plain"].timeout, found["plain"].max_output_tokens) == (30_000_000, None)
    assert (found["tick"].streaming, found["tick"].max_output_tokens) == (False, 256)
    assert found["long"].slo_targets is not None
    assert found["long"].slo_targets.ttft_us == 2_000_000
    for one_client in spec.clients:
        assert one_client.lifecycle is None
        kind = one_client.input_distribution.type
        assert kind == "empirical" if lengths == "empirical" else kind in ("lognormal", "pareto_lognormal")


def test_a_changing_rate_is_kept() -> None:
    windows = [
        {"start_us": "0s", "end_us": "100s", "rate": 5},
        {"start_us": "100s", "end_us": "200s", "rate": 40},
        {"start_us": "200s", "end_us": "300s", "rate": 15},
    ]
    waves = client("waves", 1, arrival={"process": "gamma", "cv": 2}, lifecycle={"windows": windows})
    one, other, spec = both({"horizon": "300s", "clients": [waves]})
    assert spec.clients[0].lifecycle is not None
    assert_alike(one, other, rel=0.06)
    assert spec.clients[0].arrival is not None
    assert spec.clients[0].arrival.process == "gamma"
    for requests, rel in ((one, 0.35), (other, 0.35)):
        assert np.bincount(requests.arrival_us // 100_000_000) / 100 == pytest.approx([5, 40, 15], rel=rel)


def test_sessions_stay_sessions() -> None:
    session = {"max_rounds": {"type": "exponential", "params": {"mean": 4}}, "think_time_us": "3s"}
    one, other, spec = both({"horizon": "600s", "clients": [client("chat", 2, session=session)]})
    found = spec.clients[0].session
    assert found is not None
    assert found.context_growth == "accumulate"
    assert found.think_time_us is not None
    assert found.think_time_us.type == "constant"
    assert other.opening.sum() == pytest.approx(one.opening.sum(), rel=0.1)
    assert len(other) / other.opening.sum() == pytest.approx(len(one) / one.opening.sum(), rel=0.1)
    assert other.prompt_tokens.mean() == pytest.approx(one.prompt_tokens.mean(), rel=0.2)
    fixed = client("chat", 2, session={**session, "context_growth": "fixed"})
    assert both({"horizon": "60s", "clients": [fixed]})[2].clients[0].session.context_growth == "fixed"  # type: ignore[union-attr]


def test_think_times_of_a_simulation_do_not_hold_the_answers() -> None:
    chat = client("chat", 1, session={"max_rounds": 3, "think_time_us": "3s"})
    trace = blis.simulate({"horizon": "60s", "clients": [chat]})
    session = fit_spec(trace).clients[0].session
    assert session is not None
    assert session.think_time_us is not None
    assert session.think_time_us.params.value == 3_000_000  # type: ignore[union-attr]


def test_modalities_and_reasoning(repository: Any) -> None:
    folder = repository / "tests" / "data" / "servegen"
    for kind in ("multimodal", "reasoning"):
        data = {"path": str(folder / kind)}
        one, other, spec = both({"horizon": "400s", "aggregate_rate": 40, "servegen_data": data})
        assert other.parts.keys() == one.parts.keys()
        for name, values in one.parts.items():
            assert other.parts[name].mean() == pytest.approx(values.mean(), rel=0.08), name
        if kind == "reasoning":
            assert other.reason_ratio.mean() == pytest.approx(one.reason_ratio.mean(), rel=0.03)
        else:
            assert all(client.multimodal is not None for client in spec.clients)
            assert one.parts.keys() == {"text_tokens", "image_tokens"}


def test_many_clients_are_pooled_by_class() -> None:
    clients = [client(f"c{at}", 1 + at % 7, slo_class=("batch", "critical")[at % 2]) for at in range(20)]
    one, other, spec = both({"horizon": "100s", "clients": clients}, clients=3)
    assert [one.id for one in spec.clients][3:] == ["others-batch", "others-critical"]
    assert_alike(one, other, rel=0.06)
    small = [client("big", 50), *(client(f"s{at}", 0.1) for at in range(10))]
    assert [one.id for one in fit_spec(blis.generate({"horizon": "60s", "clients": small})).clients] == [
        "big",
        "others",
    ]
    everyone = fit_spec(blis.generate({"horizon": "10s", "clients": clients}), clients=0)
    assert len(everyone.clients) == 2


def test_cohorts_keep_their_prefix_sessions_and_network() -> None:
    """Each member sends less than 0.5 %: together they are one client, of the kind they are."""
    network = {"rtt_ms": 20, "bandwidth_mbps": 10}
    people = {
        **client("people", 20, prefix_group="p", prefix_length=500, tenant_id="t", slo_targets={"ttft_us": 90_000}),
        "network": network,
        "population": 900,
    }
    chats = {**client("chats", 3, slo_class="batch", session={"max_rounds": 4}), "population": 300}
    one, other, spec = both({"horizon": "600s", "cohorts": [people, chats]})
    assert_alike(one, other)
    assert len(np.unique(other.session.codes[other.in_session])) == pytest.approx(1800, rel=0.1)
    fitted = {client.id: client for client in spec.clients}
    assert set(fitted) == {"others", "others-batch"}
    assert (fitted["others"].prefix_group, fitted["others"].prefix_length) == ("p", 500)
    assert fitted["others"].tenant_id == "t"
    assert fitted["others"].network is not None
    assert (fitted["others"].network.rtt_ms, fitted["others"].network.bandwidth_mbps) == (20, 10)
    assert fitted["others"].slo_targets is not None
    assert fitted["others-batch"].session is not None
    few, _, spec = both({"horizon": "100s", "cohorts": [{**people, "population": 2}]})
    assert len(few) > 1000
    assert [one.id for one in spec.clients] in (["people-0", "people-1"], ["people-1", "people-0"])
    assert all(one.network is not None and one.slo_targets is not None for one in spec.clients)


def test_sizes_of_uploads_are_kept() -> None:
    pictures = {"image_distribution": EXPONENTIAL, "image_bytes_per_token": 250}
    _, _, spec = both({"horizon": "60s", "clients": [client("a", 5, multimodal=pictures, network={"rtt_ms": 3})]})
    (fitted,) = spec.clients
    assert fitted.multimodal is not None
    assert fitted.multimodal.image_bytes_per_token == 250
    assert fitted.network is not None
    assert fitted.network.rtt_ms == 3


def test_a_trace_of_another_tool() -> None:
    trace = Trace.from_columns(
        {
            "arrival_time_us": np.arange(100) ** 2 * 1000,
            "input_tokens": np.arange(100),
            "output_tokens": np.full(100, 7),
            "slo_class": ["gold", "standard"] * 50,
        }
    )
    spec = again(fit_spec(trace))
    assert [(one.id, one.slo_class) for one in spec.clients] == [("client", ""), ("client-2", "standard")]
    assert spec.horizon == 99**2 * 1000 + 1
    assert spec.clients[0].rate == pytest.approx(50 / (99**2 / 1000), rel=1e-3)


def test_nothing_to_fit() -> None:
    with pytest.raises(BlisError, match="the trace has no requests"):
        fit_spec(Trace.from_columns({}))


def test_measured_distributions_keep_the_mean_and_the_percentiles() -> None:
    values = np.rint(np.random.default_rng(1).lognormal(6, 1.5, 100_000)).astype(np.int64)
    table = measured(values)["params"]
    assert 100 < len(table) < 400
    found = np.array(list(table)), np.array(list(table.values()))
    assert found[1].sum() == pytest.approx(1, abs=1e-4)
    assert found[0] @ found[1] == pytest.approx(values.mean(), rel=1e-4)
    order = np.argsort(found[0])
    cumulative = np.cumsum(found[1][order])
    for p in (10, 50, 90, 99, 99.9):
        assert found[0][order][np.searchsorted(cumulative, p / 100)] == pytest.approx(
            np.percentile(values, p), rel=0.03
        )
    assert measured(np.array([5, 5])) == {"type": "constant", "params": {"value": 5}}
    assert measured(np.array([1, 1, 1, 0])) == {"type": "empirical", "params": {0: 0.25, 1: 0.75}}


def test_formulas_only_where_they_come_close() -> None:
    rng = np.random.default_rng(2)
    lumps = np.concatenate([rng.integers(size, size + 5, 500) for size in (10, 100, 1000, 10_000)])
    assert as_spec(lumps, "fitted")["type"] == "empirical"
    assert as_spec(np.rint(rng.normal(500, 20, 2000)).astype(np.int64), "fitted")["type"] == "gaussian"
    assert as_spec(np.array([1, 5, 9]), "fitted")["type"] == "empirical"
