"""Deployment files: what they say, what they refuse, and how they become instances."""

from __future__ import annotations

import pickle
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blis.errors import SpecError
from blis.spec.catalogue import gpu, model
from blis.spec.deployment import (
    DeploymentSpec,
    InstanceConfig,
    LatencySpec,
    deployment_from_dict,
    load_deployment,
    parse_deployment,
)
from blis.spec.overrides import FLAGS, parse_scorers

SPECS = Path(__file__).resolve().parent.parent.parent / "specs"
INVALID = sorted((SPECS / "invalid-deployments").glob("*.yaml"))
VALID = sorted((SPECS / "deployments").glob("*.yaml"))


def problems(error: SpecError) -> list[str]:
    return [str(problem) for problem in error.problems]


def refused(text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        parse_deployment(text, "d.yaml").resolve()
    return problems(caught.value)


def test_defaults() -> None:
    assert DeploymentSpec().resolve() == [
        InstanceConfig(
            name="instance_0",
            pool="",
            model=model("llama-3.1-8b"),
            hardware=gpu("H100"),
            tp=1,
            max_num_seqs=256,
            max_num_batched_tokens=2048,
            block_size=16,
            total_kv_blocks=26312,
            long_prefill_token_threshold=0,
            max_model_len=131072,
            scheduler="fcfs",
            priority_policy="by-class",
            preemption="fcfs",
            async_scheduling=False,
            latency=LatencySpec("trained-physics"),
        )
    ]
    spec = DeploymentSpec()
    assert (spec.admission.policy, spec.admission.latency_us) == ("always", 0)
    assert (spec.routing.policy, spec.routing.latency_us, spec.routing.snapshot_interval_us) == ("round-robin", 0, 0)


def test_the_demo() -> None:
    spec = load_deployment(SPECS / "deployments" / "demo.yaml")
    configs = spec.resolve()
    assert [config.name for config in configs] == ["instance_0", "instance_1", "instance_2", "instance_3"]
    assert {(c.model.name, c.hardware.name, c.tp, c.total_kv_blocks) for c in configs} == {
        ("llama-3.1-8b", "H100", 1, 26312)
    }
    assert spec.routing.policy == "weighted"
    assert spec.routing.weights == {"precise-prefix-cache": 2, "queue-depth": 1, "kv-utilization": 1}


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_shipped_deployments_resolve_and_round_trip(path: Path) -> None:
    spec = load_deployment(path)
    assert spec.resolve()
    again = deployment_from_dict(spec.to_dict())
    assert again.resolve() == spec.resolve()
    assert again.to_dict() == spec.to_dict()
    assert pickle.loads(pickle.dumps(spec)) == spec


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_invalid_deployments_say_what_they_should(path: Path) -> None:
    expected = [line.removeprefix("# expect: ") for line in path.read_text().splitlines() if "# expect: " in line]
    assert expected, "the file doesn't say what to expect"
    with pytest.raises(SpecError) as caught:
        load_deployment(path).resolve()
    found = [
        text.replace(f"{path.parent}/", "").removeprefix(f"{path.name}:").strip() for text in problems(caught.value)
    ]
    assert found == expected


def test_there_are_invalid_deployments() -> None:
    assert len(INVALID) >= 60


def test_pools_override_and_inherit() -> None:
    spec = parse_deployment(
        """
        max_num_seqs: 64
        latency: {model: roofline}
        pools:
          - {name: new, instances: 2}
          - name: old
            hardware: A100-80
            tp: 2
            max_num_seqs: 32
            total_kv_blocks: 5000
            latency: {model: trained-physics, coefficients: {alpha: [1, 2, 3]}}
        """
    )
    rows = [
        (c.name, c.pool, c.hardware.name, c.tp, c.max_num_seqs, c.total_kv_blocks, c.latency) for c in spec.resolve()
    ]
    assert rows == [
        ("instance_0", "new", "H100", 1, 64, 26312, LatencySpec("roofline")),
        ("instance_1", "new", "H100", 1, 64, 26312, LatencySpec("roofline")),
        ("instance_2", "old", "A100-80", 2, 32, 5000, LatencySpec("trained-physics", (1.0, 2.0, 3.0))),
    ]


def test_a_pool_can_go_back_to_a_default() -> None:
    spec = deployment_from_dict({"max_num_seqs": 64, "pools": [{"name": "a", "max_num_seqs": 256}, {"name": "b"}]})
    assert [config.max_num_seqs for config in spec.resolve()] == [256, 64]
    assert [config.max_num_seqs for config in deployment_from_dict(spec.to_dict()).resolve()] == [256, 64]


def test_max_model_len() -> None:
    assert deployment_from_dict({"model": "llama-2-7b"}).resolve()[0].max_model_len == 4096
    assert deployment_from_dict({"max_model_len": 0}).resolve()[0].max_model_len == 0
    assert deployment_from_dict({"max_model_len": 8192}).resolve()[0].max_model_len == 8192


def test_times_take_units() -> None:
    spec = parse_deployment("admission: {latency_us: 2ms}\nrouting: {latency_us: 150, snapshot_interval_us: 50ms}\n")
    assert (spec.admission.latency_us, spec.routing.latency_us, spec.routing.snapshot_interval_us) == (2000, 150, 50000)


def test_the_version_may_be_a_number() -> None:
    assert parse_deployment("version: 1\n") == parse_deployment('version: "1"\n')


def test_alpha_beta_coefficients_come_from_the_catalogue_or_the_file() -> None:
    spec = {"latency": {"model": "alpha-beta"}}
    assert deployment_from_dict(spec).resolve()[0].latency == LatencySpec(
        "alpha-beta",
        (232.46191091038054, 1.752360364195244, 3357.4400353290152),
        (5752.705191348184, 17.25086436834028, 5.999143920128404),
    )
    # The 3.3 of 70B has the shape of the 3.1.
    known = deployment_from_dict({"model": "llama-3.3-70b", "tp": 4, **spec}).resolve()[0].latency
    assert known.beta == (12601.271149123822, 76.42284100369776, 66.84396200500741)
    own = {"latency": {"model": "alpha-beta", "coefficients": {"alpha": [1, 2, 3], "beta": [4, 5, 6]}}}
    assert deployment_from_dict({"model": "llama-2-7b", **own}).resolve()[0].latency == LatencySpec(
        "alpha-beta", (1, 2, 3), (4, 5, 6)
    )


def test_unknown_combinations_list_the_known_ones() -> None:
    [text] = refused("hardware: A100-80\nlatency:\n  model: alpha-beta\n")
    assert text.startswith("d.yaml:2: latency: no alpha-beta coefficients are known for llama-3.1-8b on A100-80 tp 1; ")
    for row in (
        "llama-3.1-8b on H100 tp 1",
        "llama-3.1-8b on H100 tp 2",
        "llama-3.1-70b on H100 tp 4",
        "qwen2.5-7b on",
    ):
        assert row in text


def test_resolving_reports_every_pool() -> None:
    found = refused("tp: 3\npools:\n  - name: a\n    tp: 1\n    model: llama-3.1-70b\n  - {name: b}\n")
    assert [text.split(": ")[:2] for text in found] == [["d.yaml:4", "pools[0].tp"], ["d.yaml:6", "pools[1].tp"]]
    assert "use tp 2 or more" in found[0]
    assert found[1].endswith("3 does not divide the 32 heads of llama-3.1-8b; use one of 1, 2, 4, 8")


def test_a_config_json_is_found_beside_the_file(tmp_path: Path) -> None:
    config = (
        '{"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128, '
        '"vocab_size": 100, "max_position_embeddings": 512}'
    )
    (tmp_path / "tiny.json").write_text(config)
    path = tmp_path / "d.yaml"
    path.write_text("model: tiny.json\n")
    assert load_deployment(path).resolve()[0].model.hidden == 64
    assert load_deployment(path).with_overrides(num_instances=2).resolve()[1].model.name == "tiny"
    with pytest.raises(SpecError, match=r"model: tiny\.json: can't read"):
        parse_deployment("model: tiny.json\n").resolve()


@pytest.mark.parametrize(
    ("key", "off"),
    [
        ("speculative_decoding", False),
        ("speculative_decoding", None),
        ("pipeline_parallel", 1),
        ("dp", 1),
        ("kv_cache_dtype", "auto"),
        ("swap_space", 0),
        ("lora_modules", []),
        ("disaggregated_prefill", "none"),
    ],
)
def test_features_that_are_switched_off_are_harmless(key: str, off: Any) -> None:
    assert deployment_from_dict({key: off, "tp": 2}) == deployment_from_dict({"tp": 2})


@pytest.mark.parametrize(
    ("key", "on"),
    [
        ("speculative_decoding", True),
        ("enable_lora", 1),
        ("pp", 2),
        ("pp", True),
        ("swap_space", 1),
        ("role", "prefill"),
    ],
)
def test_features_that_are_not_modelled_are_refused_by_name(key: str, on: Any) -> None:
    for data, path in (({key: on}, key), ({"pools": [{"name": "a", key: on}]}, f"pools[0].{key}")):
        with pytest.raises(SpecError, match=re.escape(f"{path}: ") + ".* is not modelled yet; remove it"):
            deployment_from_dict(data)


def test_a_missing_file_and_one_that_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"nowhere\.yaml: cannot be read: No such file or directory"):
        load_deployment(tmp_path / "nowhere.yaml")
    path = tmp_path / "bytes.yaml"
    path.write_bytes(b"tp: \xff\n")
    with pytest.raises(SpecError, match="isn't text in UTF-8: invalid start byte"):
        load_deployment(path)


def test_python_data_has_no_lines() -> None:
    with pytest.raises(SpecError) as caught:
        deployment_from_dict({"tp": 0, "schedular": "fcfs"})
    assert [text.split(": found")[0].split(";")[0] for text in problems(caught.value)] == [
        "<deployment>: tp: must be a whole number >= 1, found 0",
        "<deployment>: schedular: unknown key 'schedular' (did you mean 'scheduler'?)",
    ]


def test_flags_that_are_not_given_change_nothing() -> None:
    spec = load_deployment(SPECS / "deployments" / "every-key.yaml")
    assert spec.with_overrides() is spec
    assert spec.with_overrides(tp=None, model=None, routing_scorers=None) is spec


def test_flags_override_values() -> None:
    spec = load_deployment(SPECS / "deployments" / "demo.yaml").with_overrides(
        num_instances=2, model="llama-2-7b", hardware="A100", tp=2, latency_model="roofline", max_num_seqs=8,
        max_num_batched_tokens=512, total_kv_blocks="900", routing_policy="least-loaded", scheduler="sjf",
        admission_policy="token-bucket", token_bucket_capacity=6000, token_bucket_refill_rate=4000,
        snapshot_interval="50ms",
    )  # fmt: skip
    configs = spec.resolve()
    assert len(configs) == 2
    assert (configs[1].model.name, configs[1].hardware.name, configs[1].tp) == ("llama-2-7b", "A100-80", 2)
    assert (configs[1].max_num_seqs, configs[1].max_num_batched_tokens, configs[1].total_kv_blocks) == (8, 512, 900)
    assert (configs[1].scheduler, configs[1].latency.model) == ("sjf", "roofline")
    assert (spec.routing.policy, spec.routing.snapshot_interval_us) == ("least-loaded", 50_000)
    assert (spec.admission.policy, spec.admission.capacity, spec.admission.refill_rate) == ("token-bucket", 6000, 4000)


def test_flags_about_instances_hold_for_pools_too() -> None:
    pools = [{"name": "a", "tp": 2, "latency": {"model": "roofline"}}, {"name": "b", "hardware": "A100-80"}]
    spec = deployment_from_dict({"pools": pools}).with_overrides(tp=4, latency_model="trained-physics", scheduler="sjf")
    rows = [(c.hardware.name, c.tp, c.latency.model, c.scheduler) for c in spec.resolve()]
    assert rows == [("H100", 4, "trained-physics", "sjf"), ("A100-80", 4, "trained-physics", "sjf")]
    with pytest.raises(SpecError, match="command line: --num-instances: the deployment has pools"):
        spec.with_overrides(num_instances=2)


def test_what_belongs_to_a_policy_goes_with_it() -> None:
    spec = load_deployment(SPECS / "deployments" / "every-key.yaml")
    changed = spec.with_overrides(routing_policy="round-robin", admission_policy="always", latency_model="roofline")
    assert changed.routing.scorers is None
    assert changed.admission.capacity is None
    assert changed.resolve()[0].latency == LatencySpec("roofline")
    # The same policy again keeps what it has.
    same = spec.with_overrides(
        routing_policy="weighted", admission_policy="token-bucket", latency_model="trained-physics"
    )
    assert same == spec


def test_scorers_as_text() -> None:
    spec = DeploymentSpec().with_overrides(
        routing_policy="weighted", routing_scorers="queue-depth:2, kv-utilization:0.5"
    )
    assert spec.routing.weights == {"queue-depth": 2.0, "kv-utilization": 0.5}
    assert parse_scorers("load-aware") == {"load-aware": 1.0}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"tp": 0}, "--tp: must be a whole number >= 1, found 0"),
        ({"max_num_seqs": -1}, "--max-num-seqs: must be a whole number >= 1, found -1"),
        ({"num_instances": 0}, "--num-instances: must be"),
        ({"model": "gpt-9"}, "--model: unknown model 'gpt-9'"),
        ({"scheduler": "sjff"}, "--scheduler: unknown scheduler 'sjff' (did you mean 'sjf'?)"),
        ({"latency_model": "rooflines"}, "--latency-model: unknown model 'rooflines' (did you mean 'roofline'?)"),
        ({"routing_scorers": "queue-depth:1"}, "--routing-scorers: only the policy weighted uses scorers"),
        (
            {"routing_policy": "weighted", "routing_scorers": "queue:1"},
            "--routing-scorers.queue: unknown scorer 'queue'",
        ),
        ({"routing_policy": "weighted", "routing_scorers": "queue-depth:x"}, "--routing-scorers: the weight of"),
        (
            {"routing_policy": "weighted", "routing_scorers": "queue-depth:nan"},
            "--routing-scorers.queue-depth: must be",
        ),
        ({"routing_policy": "weighted", "routing_scorers": "a:1,a:2"}, "--routing-scorers: names 'a' twice"),
        ({"routing_policy": "weighted", "routing_scorers": ""}, "--routing-scorers: must be NAME:WEIGHT"),
        ({"admission_policy": "token-bucket"}, "--token-bucket-capacity: missing"),
        ({"tp": 3}, "--tp: 3 does not divide the 32 heads"),
        ({"model": "llama-3.1-70b", "tp": 1}, "--tp: llama-3.1-70b does not fit"),
        ({"latency_model": "alpha-beta", "hardware": "L40S"}, "--latency-model: no alpha-beta coefficients"),
        ({"alpha_coeffs": [1, 2]}, "--alpha-coeffs: trained-physics takes 3 numbers"),
    ],
)
def test_wrong_flags_are_named(flags: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=re.escape(f"command line: {message}")):
        DeploymentSpec().with_overrides(**flags).resolve()


def test_unknown_flags_are_a_programming_error() -> None:
    with pytest.raises(TypeError, match="unknown flags: num_seqs; known: num_instances"):
        DeploymentSpec().with_overrides(num_seqs=1)


def test_every_flag_reaches_its_key() -> None:
    fields = DeploymentSpec.model_fields
    for name, (key, *_) in FLAGS.items():
        assert key in fields, name


def test_a_flag_leaves_the_files_lines_for_other_keys() -> None:
    spec = parse_deployment("hardware: H100\ntp: 1\n", "d.yaml").with_overrides(model="llama-3.1-70b")
    with pytest.raises(SpecError, match=r"^d\.yaml:2: tp: llama-3\.1-70b does not fit"):
        spec.resolve()


def test_equal_deployments_are_equal_wherever_they_come_from() -> None:
    assert parse_deployment("tp: 2\n", "a.yaml") == deployment_from_dict({"tp": 2})


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
keys = st.sampled_from(
    [*DeploymentSpec.model_fields, "speculative_decoding", "policy", "scorers", "name", "coefficients"]
)


@given(st.dictionaries(keys, anything | st.dictionaries(keys, anything, max_size=3), max_size=6))
def test_no_data_causes_anything_but_a_spec_error(data: dict[str, Any]) -> None:
    with suppress(SpecError):
        assert all(config.total_kv_blocks >= 1 for config in deployment_from_dict(data).resolve())


@given(st.text(max_size=60))
def test_no_text_causes_anything_but_a_spec_error(text: str) -> None:
    with suppress(SpecError):
        assert parse_deployment(text).to_dict()
