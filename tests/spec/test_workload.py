"""Workload specs: what is read, what may be left out, overrides, warnings, and writing out."""

from __future__ import annotations

import itertools
import pickle
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from blis.errors import SpecError
from blis.spec.workload import WorkloadSpec, load_workload, parse_workload, workload_from_dict

LENGTH = {"type": "constant", "params": {"value": 100}}


def client(identity: str = "a", **changes: Any) -> dict[str, Any]:
    base = {
        "id": identity,
        "rate_fraction": 1,
        "arrival": {"process": "poisson"},
        "input_distribution": LENGTH,
        "output_distribution": LENGTH,
    }
    return {key: value for key, value in {**base, **changes}.items() if value is not ...}


def workload(*clients: dict[str, Any], **changes: Any) -> dict[str, Any]:
    base = {"version": "2", "horizon": 1_000_000, "aggregate_rate": 10, "clients": list(clients) or [client()]}
    return {key: value for key, value in {**base, **changes}.items() if value is not ...}


def messages(data: Any) -> list[str]:
    with pytest.raises(SpecError) as caught:
        workload_from_dict(data)
    return [f"{problem.path}: {problem.message}" for problem in caught.value.problems]


def test_every_field_is_read() -> None:
    spec = parse_workload("""
version: "2"
seed: 7
category: reasoning
aggregate_rate: 0
num_requests: 1000
horizon: 10min
clients:
  - id: a
    tenant_id: t
    slo_class: realtime
    model: llama
    rate_fraction: 0.25
    rate: 3
    arrival: {process: weibull, cv: 0.01}
    input_distribution: {type: exponential, params: {mean: 100, max: 500}}
    output_distribution: {type: gaussian, params: {mean: 10, std_dev: 0, min: 10, max: 10}}
    prefix_group: g
    prefix_length: 64
    streaming: false
    network: {rtt_ms: 1.5, bandwidth_mbps: 100}
    lifecycle: {windows: [{start_us: 0, end_us: 5s}, {start_us: 5s, end_us: 10000000}]}
    timeout: 300ms
    max_output_tokens: 5
    slo_targets: {ttft_us: 1ms, tpot_us: 2, e2e_us: 3s}
servegen_data:
  path: data
  span_start: 600
  span_end: 1200
  time_window: 300
  normalize: none
  length_correlation: comonotonic
  strict: true
""")
    assert (spec.version, spec.seed, spec.category, spec.aggregate_rate) == ("2", 7, "reasoning", 0.0)
    assert (spec.num_requests, spec.horizon) == (1000, 600_000_000)
    (a,) = spec.clients
    assert (a.id, a.tenant_id, a.slo_class, a.model, a.rate_fraction, a.rate) == (
        "a",
        "t",
        "realtime",
        "llama",
        0.25,
        3.0,
    )
    assert (a.arrival.process, a.arrival.cv) == ("weibull", 0.01)
    assert a.input_distribution.type == "exponential"
    assert (a.input_distribution.params.mean, a.input_distribution.params.min) == (100.0, None)
    assert (a.prefix_group, a.prefix_length, a.streaming) == ("g", 64, False)
    assert a.network is not None
    assert (a.network.rtt_ms, a.network.bandwidth_mbps) == (1.5, 100.0)
    assert a.lifecycle is not None
    assert [(w.start_us, w.end_us) for w in a.lifecycle.windows] == [(0, 5_000_000), (5_000_000, 10_000_000)]
    assert (a.timeout, a.max_output_tokens) == (300_000, 5)
    assert a.slo_targets is not None
    assert (a.slo_targets.ttft_us, a.slo_targets.tpot_us, a.slo_targets.e2e_us) == (1_000, 2, 3_000_000)
    data = spec.servegen_data
    assert data is not None
    assert (data.path, data.span_start, data.span_end, data.time_window) == ("data", 600.0, 1200.0, 300.0)
    assert (data.normalize, data.length_correlation, data.strict) == ("none", "comonotonic", True)


def test_what_is_left_out_is_neutral() -> None:
    spec = workload_from_dict({"num_requests": 1, "clients": [client(rate_fraction=..., rate=1)]})
    assert (spec.version, spec.seed, spec.category, spec.aggregate_rate) == ("2", 42, "language", 0.0)
    assert (spec.horizon, spec.servegen_data, spec.warnings) == (None, None, ())
    (a,) = spec.clients
    assert (a.tenant_id, a.slo_class, a.model, a.prefix_group, a.prefix_length) == ("", "", "", "", 0)
    assert (a.streaming, a.network, a.lifecycle, a.timeout) == (True, None, None, None)
    assert (a.max_output_tokens, a.slo_targets, a.arrival.cv) == (None, None, None)


@pytest.mark.parametrize(
    "label", ["critical", "standard", "sheddable", "batch", "background", "realtime", "interactive", ""]
)
def test_class_labels_are_kept_as_written(label: str) -> None:
    assert workload_from_dict(workload(client(slo_class=label))).clients[0].slo_class == label


@pytest.mark.parametrize("version", ["2", 2])
def test_the_version_may_go_without_quotes(version: object) -> None:
    assert workload_from_dict(workload(version=version)).version == "2"


@pytest.mark.parametrize(("process", "cv"), [("gamma", 1e-9), ("gamma", 10), ("weibull", 0.01), ("weibull", 10.4)])
def test_ends_of_the_cv_ranges_are_taken(process: str, cv: float) -> None:
    spec = workload_from_dict(workload(client(arrival={"process": process, "cv": cv})))
    assert spec.clients[0].arrival.cv == cv


@pytest.mark.parametrize(("process", "cv"), [("poisson", 1), ("constant", 0)])
def test_a_cv_that_goes_without_saying_may_be_said(process: str, cv: float) -> None:
    assert workload_from_dict(workload(client(arrival={"process": process, "cv": cv}))).warnings == ()


def test_models_made_in_python_go_together_and_can_be_pickled() -> None:
    spec = workload_from_dict(workload(client("a"), client("b")), base_dir="/specs")
    made = WorkloadSpec(horizon=5, aggregate_rate=1, clients=spec.clients)
    assert made.clients == spec.clients
    assert parse_workload(made.text) == made
    copied = pickle.loads(pickle.dumps(spec))
    assert (copied, copied.base_dir) == (spec, Path("/specs"))
    with pytest.raises(ValidationError, match="ids must be unique"):
        WorkloadSpec(horizon=5, aggregate_rate=1, clients=(spec.clients[0], spec.clients[0]))


def test_slo_target_us_means_the_first_token() -> None:
    spec = workload_from_dict(workload(client(slo_target_us="100ms", slo_targets={"e2e_us": 5})))
    targets = spec.clients[0].slo_targets
    assert targets is not None
    assert (targets.ttft_us, targets.tpot_us, targets.e2e_us) == (100_000, None, 5)


def test_servegen_data_needs_no_clients() -> None:
    spec = workload_from_dict({"horizon": 1, "servegen_data": {"path": "data"}}, base_dir="/specs")
    data = spec.servegen_data
    assert data is not None
    assert spec.servegen_path == Path("/specs/data")
    assert (data.span_start, data.span_end, data.time_window) == (0.0, None, 600.0)
    assert (data.normalize, data.length_correlation, data.strict) == ("window", "independent", False)


@pytest.mark.parametrize("data", [{"horizon": 1}, {"horizon": 1, "clients": []}, {"horizon": 1, "clients": None}])
def test_nobody_who_sends_is_an_error(data: dict[str, Any]) -> None:
    assert "clients: at least one client or servegen_data path required" in messages(data)


def test_no_end_is_an_error_that_says_what_to_set() -> None:
    assert messages(workload(horizon=...)) == [": set horizon or num_requests: with neither, the workload never ends"]


def test_unknown_data_types_of_python_are_refused() -> None:
    assert messages(workload(seed=1j)) == ["seed: must be a whole number >= 0, found 1j"]
    assert messages([1]) == [
        ": must be a mapping with the keys version, seed, category, aggregate_rate, num_requests, horizon, clients, "
        "cohorts, stages, servegen_data, found a list of 1 item"
    ]


def test_problems_of_one_client_do_not_hide_those_of_another() -> None:
    found = messages(workload(client("a", slo_class="x"), client("a", rate_fraction=...), client("b", timeout=-1)))
    assert [text.split(": ")[0] for text in found] == [
        "clients[0].slo_class",
        "clients[2].timeout",
        "clients[1].id",
        "clients[1].rate_fraction",
    ]


OVERRIDDEN = """
aggregate_rate: 5
seed: 1
clients:
  - id: a
    rate_fraction: 1
    arrival: {process: poisson}
    input_distribution: {type: constant, params: {value: 1}}
    output_distribution: {type: constant, params: {value: 1}}
"""


def test_overrides_come_before_the_checks() -> None:
    with pytest.raises(SpecError, match="set horizon or num_requests"):
        parse_workload(OVERRIDDEN)
    spec = parse_workload(OVERRIDDEN, overrides={"horizon": "2s", "seed": 9, "num_requests": None})
    assert (spec.horizon, spec.seed, spec.num_requests, spec.aggregate_rate) == (2_000_000, 9, None, 5.0)
    assert parse_workload(spec.text) == spec


def test_an_override_replaces_a_wrong_value_of_the_file() -> None:
    wrong = OVERRIDDEN.replace("seed: 1", "seed: one")
    assert parse_workload(wrong, overrides={"seed": 3, "num_requests": 1}).seed == 3


def test_a_wrong_override_is_not_blamed_on_the_file() -> None:
    with pytest.raises(SpecError) as caught:
        parse_workload(OVERRIDDEN + "sed: 1\n", "f.yaml", overrides={"horizon": -1, "seed": 3})
    assert [str(problem) for problem in caught.value.problems if problem.path != "sed"] == [
        "override: horizon: must be a time >= 0: whole microseconds, or text with a unit such as '60s' or '10ms', "
        "found -1"
    ]
    assert [problem.line for problem in caught.value.problems if problem.path == "sed"] == [10]


def test_an_override_of_servegen_data_changes_the_keys_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = "horizon: 1s\nservegen_data: {path: there, span_start: 600}\n"
    spec = parse_workload(text, base_dir="/specs", overrides={"servegen_data": {"path": "here"}})
    assert spec.servegen_data is not None
    assert spec.servegen_data.span_start == 600
    assert spec.servegen_path == tmp_path / "here"
    assert parse_workload(text, base_dir="/specs").servegen_path == Path("/specs/there")


def test_overrides_alone_can_make_a_workload() -> None:
    spec = parse_workload("{}", overrides={"horizon": 5, "servegen_data": {"path": "/x"}})
    assert spec.servegen_path == Path("/x")


@pytest.mark.parametrize(
    ("data", "warnings"),
    [
        (workload(), []),
        (workload(horizon=0), ["horizon: is 0: no requests will be sent; leave horizon out for no such limit"]),
        (
            workload(num_requests=0),
            ["num_requests: is 0: no requests will be sent; leave num_requests out for no such limit"],
        ),
        (
            workload(aggregate_rate=0),
            ["aggregate_rate: is 0 and no client has a rate of its own: the clients will send no requests"],
        ),
        (
            workload(client(), client("b", rate_fraction=0)),
            ["clients[1].rate_fraction: is 0: this client will send no requests"],
        ),
        (
            workload(client(rate=2), client("b"), aggregate_rate=...),
            ["clients[1]: has no rate of its own while aggregate_rate is 0: it will send no requests"],
        ),
        (workload(client(rate=2)), ["clients[0].rate: isn't used, since aggregate_rate is above 0"]),
        (
            workload(client(prefix_group="g")),
            ["clients[0].prefix_group: shares nothing, since prefix_length is 0 or absent"],
        ),
        ({"horizon": 5, "servegen_data": {"path": "x"}}, []),
    ],
)
def test_what_is_likely_not_meant_is_a_warning(data: dict[str, Any], warnings: list[str]) -> None:
    spec = workload_from_dict(data, file="f")
    assert list(spec.warnings) == [f"f: {text}" for text in warnings]
    assert list(WorkloadSpec(**data).warnings) == warnings


def test_warnings_have_lines() -> None:
    spec = parse_workload(
        OVERRIDDEN.replace("rate_fraction: 1", "rate_fraction: 0.0"), "f.yaml", overrides={"horizon": 1}
    )
    assert spec.warnings == ("f.yaml:6: clients[0].rate_fraction: is 0: this client will send no requests",)


def test_version_1_falls_back_to_poisson_with_a_warning() -> None:
    arrivals = [
        {"process": "gamma"},
        {"process": "weibull", "cv": None},
        {"process": "gamma", "cv": 10.5},
        {"process": "gamma", "cv": 10},
        {"process": "constant"},
    ]
    data = workload(
        *(client(name, arrival=arrival) for name, arrival in zip("abcde", arrivals, strict=True)), version="1"
    )
    spec = workload_from_dict(data, file="f")
    assert spec.version == "2"
    assert [(c.arrival.process, c.arrival.cv) for c in spec.clients] == [
        ("poisson", None),
        ("poisson", None),
        ("poisson", None),
        ("gamma", 10.0),
        ("constant", None),
    ]
    assert spec.warnings == (
        "f: clients[0].arrival: a gamma process without cv: treated as poisson, as version 1 did",
        "f: clients[1].arrival: a weibull process without cv: treated as poisson, as version 1 did",
        "f: clients[2].arrival: a gamma process with the cv 10.5, above 10: treated as poisson, as version 1 did",
    )
    assert data["clients"][0]["arrival"] == {"process": "gamma"}, "the argument stays as it was"


@pytest.mark.parametrize(
    "arrival",
    [{"process": "weibull", "cv": 11}, {"process": "gamma", "cv": 0}, {"process": "gamma", "cv": float("inf")}],
)
def test_version_1_forgives_nothing_else(arrival: dict[str, Any]) -> None:
    (text,) = messages(workload(client(arrival=arrival), version=1))
    assert text.startswith("clients[0].arrival.cv: ")


def test_a_spec_made_in_python_gives_text_that_reads_the_same() -> None:
    spec = workload_from_dict(
        workload(client(lifecycle={"windows": [{"start_us": 0, "end_us": "1s"}]}, slo_target_us=5))
    )
    assert parse_workload(spec.text) == spec
    assert workload_from_dict(spec.to_dict()) == spec
    assert spec != workload_from_dict(workload())


def test_reordered_clients_are_another_file_but_the_same_clients() -> None:
    orders = [workload_from_dict(workload(*order)) for order in itertools.permutations([client("a"), client("b")])]
    assert {tuple(sorted(c.id for c in spec.clients)) for spec in orders} == {("a", "b")}


def test_a_file_is_read_with_its_folder(tmp_path: Path) -> None:
    (tmp_path / "lengths.csv").write_text("100,1\n200,3\n")
    path = tmp_path / "w.yaml"
    text = "\ufeff" + OVERRIDDEN.replace(
        "input_distribution: {type: constant, params: {value: 1}}",
        "input_distribution: {type: empirical, params: {file: lengths.csv}}",
    )
    path.write_text(text, encoding="utf-8")
    spec = load_workload(path, overrides={"num_requests": 3})
    distribution = spec.clients[0].input_distribution
    assert distribution.type == "empirical"
    assert distribution.params.pdf == {100.0: 1.0, 200.0: 3.0}
    assert spec.base_dir == tmp_path
    assert parse_workload(spec.text).to_dict() == spec.to_dict()
    assert parse_workload(workload_from_dict(spec.to_dict()).text) == workload_from_dict(spec.to_dict())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"seed: 1\nname: \xff\n", ":2: isn't text in UTF-8: invalid start byte"),
        (None, ": cannot be read: No such file or directory"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "w.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SpecError) as caught:
        load_workload(path)
    assert str(caught.value) == f"{path}{message}"


@pytest.mark.parametrize("path", [".", "a\0b"])
def test_paths_that_are_no_files(path: str) -> None:
    with pytest.raises(SpecError, match="cannot be read"):
        load_workload(path)
