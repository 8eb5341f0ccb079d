"""Every key of the three kinds of files is documented in full, and every example in the reference works."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from spec_keys import Beside, Key, Keys, Schema, lacking

import blis
from blis.spec.deployment import deployment_from_dict
from blis.spec.schema import deployment_schema, server_schema, workload_schema
from blis.spec.server import server_from_dict
from blis.spec.workload import workload_from_dict

SCHEMAS = {"workload": workload_schema(), "deployment": deployment_schema(), "server": server_schema()}
KEYS = {name: Keys(schema, name) for name, schema in SCHEMAS.items()}
VALIDATORS = {name: jsonschema.Draft202012Validator(schema) for name, schema in SCHEMAS.items()}

CLIENT = {
    "id": "others",
    "rate": 50,
    "arrival": {"process": "poisson"},
    "input_distribution": {"type": "constant", "params": {"value": 300}},
    "output_distribution": {"type": "constant", "params": {"value": 5}},
}
SENDS = {key: CLIENT[key] for key in ("rate", "arrival", "input_distribution")}
SHARES = {"rate": None, "rate_fraction": 1}
CLOSED = {"ClientSpec": {"concurrency": 2, "rate": None, "arrival": None}}
BUCKET = {"AdmissionSpec": {"policy": "token-bucket", "capacity": 100_000, "refill_rate": 20_000}}
SHARED = {"workload": {"aggregate_rate": 50}, "ClientSpec": SHARES, "CohortSpec": SHARES}
IMAGE = {"type": "constant", "params": {"value": 576}}

# What mappings have in every spec here; two of their keys take the others' place.
ALWAYS: Beside = {
    "workload": {"num_requests": 4, "clients": [CLIENT]},
    "workload.cohorts": {"clients": None},
    "workload.servegen_data": {"clients": None},
    "ClientSpec": SENDS,
    "CohortSpec": SENDS,
    "SpikeSpec": {"multiplier": 3},
    "ReasoningSpec": {"reason_ratio_distribution": {"type": "constant", "params": {"value": 0.8}}},
    "CoefficientsSpec": {"alpha": [1000, 0.5, 20], "beta": [7000, 25, 12]},
}
# What a key isn't sound or of use without, by the mappings around it; "X." is for all keys of X.
NEEDS: dict[str, Beside] = {
    "workload.aggregate_rate": {"workload": {"clients": [CLIENT | SHARES]}},
    "workload.clients": {"workload": {"aggregate_rate": 50}},
    "workload.cohorts": {"workload": {"aggregate_rate": 50}},
    "workload.stages": {"workload": {"clients": [CLIENT | SHARES]}},
    "StageSpec.": {"workload": {"clients": [CLIENT | SHARES]}},
    "ClientSpec.concurrency": {"ClientSpec": {"rate": None, "arrival": None}},
    "ClientSpec.think_time_us": CLOSED,
    "ClientSpec.ramp_up_us": CLOSED,
    "ClientSpec.prefix_length": {"ClientSpec": {"prefix_group": "assistant"}},
    "ClientSpec.prefix_group": {"ClientSpec": {"prefix_length": 300}},
    "ClientSpec.rate_fraction": {"workload": {"aggregate_rate": 50}, "ClientSpec": {"rate": None}},
    "WindowSpec.rate_fraction": SHARED,
    "ArrivalSpec.cv": {"ArrivalSpec": {"process": "gamma"}},
    "ArrivalSpec.conditioned": {
        "workload": {"stages": [{"rate": 50, "duration": "60s"}]},
        "ClientSpec": SHARES,
    },
    "SpikeSpec.trace_rate": {"SpikeSpec": {"multiplier": None}},
    "CohortSpec.prefix_sharing": {"CohortSpec": {"prefix_group": "assistant", "prefix_length": 300}},
    "MultimodalSpec.text_distribution": {"ClientSpec": {"input_distribution": None}},
    **{
        f"MultimodalSpec.{kind}_{what}": {"MultimodalSpec": {f"{kind}_distribution": IMAGE}}
        for kind in ("image", "audio", "video")
        for what in ("count_distribution", "bytes_per_token")
    },
    "AdmissionSpec.policy": BUCKET,
    "AdmissionSpec.capacity": BUCKET,
    "AdmissionSpec.refill_rate": BUCKET,
    "RoutingSpec.scorers": {"RoutingSpec": {"policy": "weighted"}},
    "LatencyModelSpec.coefficients": {"LatencyModelSpec": {"model": "alpha-beta"}},
    "LatencyModelSpec.physics": {"LatencyModelSpec": {"model": "physics"}},
    "CoefficientsSpec.": {"LatencyModelSpec": {"model": "alpha-beta"}},
    "PhysicsSpec.": {"LatencyModelSpec": {"model": "physics"}},
}


def needs(key: Key) -> Beside:
    """What a key needs; a cohort's keys need what a client's do."""
    found = NEEDS.get(str(key), NEEDS.get(f"{key.holder}.", {}))
    if key.holder != "CohortSpec" or found:
        return found
    of_client = NEEDS.get(f"ClientSpec.{key.name}", {})
    return {"CohortSpec" if holder == "ClientSpec" else holder: extra for holder, extra in of_client.items()}


def examples(kind: str) -> list[Any]:
    """Every example of every key of a kind of file, with a minimal file that has it in its place."""
    return [
        pytest.param(KEYS[kind].spec(key, example, ALWAYS, needs(key)), id=f"{key}-{number}")
        for key in KEYS[kind].all
        for number, example in enumerate(key.schema.get("examples", ()))
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """A folder with the files that examples name."""
    path = tmp_path_factory.mktemp("files")
    (path / "lengths.csv").write_text("value,probability\n100,0.5\n400,0.5\n")
    (path / "fitted.yaml").write_text(
        "model: alpha-beta\ncoefficients: {alpha: [1000, 0.5, 20], beta: [7000, 25, 12]}\n"
    )
    (path / "models").mkdir()
    shape = {"hidden_size": 1024, "num_hidden_layers": 4, "num_attention_heads": 16, "intermediate_size": 4096}
    (path / "models" / "config.json").write_text(
        json.dumps({**shape, "vocab_size": 32_000, "max_position_embeddings": 8192})
    )
    shutil.copytree(repository / "tests" / "data" / "servegen" / "language", path / "servegen-data")
    return path


def as_json(node: Any) -> Any:
    return json.loads(json.dumps(node))


@pytest.mark.parametrize("kind", SCHEMAS)
def test_every_key_has_meaning_unit_default_range_and_example(kind: str) -> None:
    missing = {str(key): what for key in KEYS[kind].all if (what := lacking(key))}
    assert missing == {}


@pytest.mark.parametrize("kind", SCHEMAS)
def test_every_mapping_of_the_schema_is_reached(kind: str) -> None:
    definitions: Schema = SCHEMAS[kind].get("$defs", {})
    mappings = {name for name, one in definitions.items() if "properties" in one or "anyOf" in one}
    assert KEYS[kind].holders() == mappings | {kind}


@pytest.mark.parametrize("kind", SCHEMAS)
def test_an_example_shows_more_than_the_default(kind: str) -> None:
    same = [str(key) for key in KEYS[kind].all if key.schema.get("default", ...) in key.schema["examples"]]
    assert same == ([] if kind == "server" else [f"{kind}.version"])


def test_what_is_left_out_is_missed() -> None:
    def lacks(schema: Schema, *required: str) -> list[str]:
        return lacking(Key("holder", "key", {"key": schema}, required))

    whole = {"type": "number", "minimum": 0, "description": "m", "default": 1, "examples": [2], "x-unit": "s"}
    assert lacks(whole) == []
    for name, what in (
        ("description", "meaning"), ("x-unit", "unit"), ("default", "default"), ("minimum", "range"),
        ("examples", "example"),
    ):  # fmt: skip
        left = {key: value for key, value in whole.items() if key != name}
        assert lacks(left) == [what], name
        assert lacks(left, "key") == ([] if what == "default" else [what])
    text = {"type": "string", "description": "m", "default": "", "examples": ["x"]}
    assert lacks(text) == []
    optional = {**text, "anyOf": [{"type": "array", "items": {"type": "integer"}}, {"type": "null"}]}
    assert lacks({key: value for key, value in optional.items() if key != "type"}) == ["unit", "range"]
    assert lacks({**text, "$ref": "#/$defs/Distribution"}) == ["unit"]


@pytest.mark.parametrize("data", examples("workload"))
def test_examples_of_workloads_send_requests(data: dict[str, Any], folder: Path) -> None:
    assert [error.message for error in VALIDATORS["workload"].iter_errors(as_json(data))] == []
    spec = workload_from_dict(data, base_dir=folder)
    trace = blis.simulate(spec)
    assert len(trace) == spec.num_requests
    assert spec.warnings == ()


@pytest.mark.parametrize("data", examples("deployment"))
def test_examples_of_deployments_serve_requests(data: dict[str, Any], folder: Path) -> None:
    assert [error.message for error in VALIDATORS["deployment"].iter_errors(as_json(data))] == []
    deployment = deployment_from_dict(data, folder)
    trace = blis.simulate({"num_requests": 4, "clients": [CLIENT]}, deployment)
    assert trace.column("status").tolist() == ["ok"] * 4


@pytest.mark.parametrize("data", examples("server"))
def test_examples_of_servers_are_taken(data: dict[str, Any]) -> None:
    assert [error.message for error in VALIDATORS["server"].iter_errors(as_json(data))] == []
    server_from_dict(data)
