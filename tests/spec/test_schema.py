"""The JSON schema of workloads: draft 2020-12, takes what blis takes, refuses what an editor should underline."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from blis.errors import SpecError
from blis.spec.schema import deployment_schema, workload_schema
from blis.spec.strict import load_yaml
from blis.spec.workload import load_workload

ROOT = Path(__file__).resolve().parents[2]
WORKLOADS = sorted((ROOT / "specs").glob("*.yaml"))
SCHEMA = workload_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

# What the schema can't say: rules between values, in files, or in the YAML text itself.
BEYOND_THE_SCHEMA = {
    "cohort-ids",
    "cohort-with-concurrency",
    "concurrency-with-rate",
    "conditioned-without-span",
    "cv-of-poisson",
    "duplicate-client-id",
    "duplicate-key",
    "exponential-min-above-max",
    "fraction-of-microsecond",
    "gamma-cv-above",
    "gamma-cv-zero",
    "gamma-without-cv",
    "image-count-without-images",
    "infinite",
    "length-below-one",
    "min-above-max",
    "missing-arrival",
    "nan",
    "cv-nan",
    "no-clients",
    "no-clients-empty-list",
    "no-end",
    "number-too-large",
    "overflow",
    "pdf-all-zero",
    "pdf-file-missing",
    "pdf-value-twice",
    "prefix-without-group",
    "ramp-up-without-concurrency",
    "rate-absent",
    "rate-fraction-absent",
    "rate-with-aggregate",
    "reason-ratio-percent",
    "reasoning-empty",
    "servegen-and-clients",
    "servegen-span",
    "session-rounds-distribution",
    "session-twice",
    "slo-target-twice",
    "stages-and-others",
    "tag",
    "text-twice",
    "uniform-from-zero",
    "v1-weibull-cv",
    "weibull-cv-above",
    "weibull-cv-below",
    "weibull-without-cv",
    "window-empty",
    "window-of-concurrency",
    "window-overlap",
    "window-without-fraction",
}


def as_json(node: Any) -> Any:
    """Return the data as an editor sees it: every key is text."""
    if isinstance(node, dict):
        return {str(key): as_json(value) for key, value in node.items()}
    return [as_json(item) for item in node] if isinstance(node, list) else node


def test_the_schema_is_one_of_its_draft() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("path", WORKLOADS, ids=lambda path: path.name)
def test_shipped_workloads_fit(path: Path) -> None:
    VALIDATOR.validate(as_json(yaml.safe_load(path.read_text())))


@pytest.mark.parametrize("path", sorted((ROOT / "specs" / "invalid").glob("*.yaml")), ids=lambda path: path.stem)
def test_unsound_workloads_fit_only_where_the_schema_cannot_tell(path: Path) -> None:
    try:
        data, _ = load_yaml(path.read_text(), path.name, [])
    except SpecError:
        return
    assert VALIDATOR.is_valid(as_json(data)) == (path.stem in BEYOND_THE_SCHEMA)


def test_every_key_is_described() -> None:
    for name, model in [("workload", SCHEMA), *SCHEMA["$defs"].items()]:
        assert model["description"], name
        for key, value in model.get("properties", {}).items():
            assert key in ("type", "params") or value.get("description"), f"{name}.{key}"


def test_units_inline_pdfs_and_both_versions_fit() -> None:
    data = as_json(yaml.safe_load((ROOT / "specs" / "empirical.yaml").read_text()))
    for version in ("1", "2", 1, 2):
        for horizon in (5, "60s", "1.5 ms", None):
            for pdf in ({"100": 1}, {"pdf": {"1e2": 0.5}}, {"file": "x.csv"}):
                changed = copy.deepcopy(data) | {"version": version, "horizon": horizon}
                changed["clients"][0]["input_distribution"]["params"] = pdf
                VALIDATOR.validate(changed)


def test_nothing_is_left_of_the_generator() -> None:
    text = str(SCHEMA)
    assert "'discriminator'" not in text
    assert "'title': 'Rate Fraction'" not in text


def test_the_deployment_schema_is_one_too() -> None:
    schema = deployment_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert "instances" in schema["properties"]


@pytest.mark.parametrize("path", WORKLOADS, ids=lambda path: path.name)
def test_shipped_workloads_load_and_survive_a_round_trip(path: Path) -> None:
    from blis.spec.workload import workload_from_dict

    spec = load_workload(path)
    assert workload_from_dict(spec.to_dict()).clients == workload_from_dict(spec.to_dict()).clients
    assert len(spec.warnings) == (1 if path.name == "version-1.yaml" else 0)
