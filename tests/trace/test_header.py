from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blis.errors import TraceError
from blis.trace import NetworkFacts, SloFacts, TraceHeader

TEXT = """\
trace_version: 2
time_unit: microseconds
mode: simulated
warm_up_requests: 0
seed: 42
hardware: H100
deployment:
  instances: 4
network:
  a:
    rtt_ms: 10.0
slo_targets:
  a:
    ttft_us: 200000
notes:
- '1e6'
run:
  claimed_blocks: 12
spec_sha256: eb4f5b2a94cc77c6dea9bac9ad83e8bcf1aa3a2cb0a8d2b3bdf6ff9ea1ff6d69
spec: |
  version: "2"
  clients: []
"""

# Where versions of YAML differ, and what text blocks can't hold as it is.
AWKWARD = st.text(st.characters(codec="utf-8") | st.sampled_from(" \n\t\r:#-'\"{}[]&*!|>%@`\x85\u2028\ufeff\x00e1."))


def header() -> TraceHeader:
    return TraceHeader.with_spec(
        'version: "2"\nclients: []\n',
        seed=42,
        hardware="H100",
        deployment={"instances": 4},
        network={"a": {"rtt_ms": 10}},
        slo_targets={"a": {"ttft_us": 200_000}},
        notes=["1e6"],
        run={"claimed_blocks": np.int64(12)},
    )


def test_a_header_as_text():
    assert header().to_yaml().split("spec_sha256")[0] == TEXT.split("spec_sha256")[0]
    assert header().to_yaml().split("spec:")[1] == TEXT.split("spec:")[1]


def test_a_header_from_text():
    read = TraceHeader.from_yaml(TEXT, "x.yaml")
    assert read.network == {"a": NetworkFacts(rtt_ms=10.0)}
    assert read.slo_targets == {"a": SloFacts(ttft_us=200_000)}
    assert read.notes == ["1e6"]
    assert read.spec == 'version: "2"\nclients: []\n'
    assert read.epoch_us is None


def test_the_hash_is_of_the_text():
    # echo -n abc | sha256sum
    assert TraceHeader.with_spec("abc").spec_sha256 == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | AWKWARD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(AWKWARD, inner, max_size=3),
    max_leaves=8,
)


@given(AWKWARD, st.dictionaries(AWKWARD, PLAIN, max_size=4), st.integers(0, 2**62))
def test_headers_come_back_as_they_were(text, run, epoch):
    written = TraceHeader(mode="real", spec=text, notes=[text], run=run, network={text: {}}, epoch_us=epoch)
    assert TraceHeader.from_yaml(written.to_yaml(), "x.yaml") == written


def test_what_only_other_types_can_say_becomes_plain():
    run = {"a": (1, 2), "b": np.float64(0.5), "c": float("nan"), "d": np.array([1, 2]), "e": {"y", "x"}, "f": {5: True}}
    written = TraceHeader(run=run)
    assert written.run == {"a": [1, 2], "b": 0.5, "c": None, "d": [1, 2], "e": ["x", "y"], "f": {5: True}}
    assert TraceHeader.from_yaml(written.to_yaml(), "x.yaml") == written


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mode: real\n", "x.yaml:1: trace_version: found no trace_version; this blis reads the versions 2 and 3"),
        ("mode: real\ntrace_version: 4\n", "x.yaml:2: trace_version: found trace_version 4; this blis reads"),
        ("trace_version: 2\nmode: fake\n", "x.yaml:2: mode: unknown mode 'fake'"),
        ("trace_version: 2\nmod: real\n", "x.yaml:2: mod: unknown key 'mod' (did you mean 'mode'?)"),
        ("trace_version: 2\ntime_unit: ms\n", "x.yaml:2: time_unit: unknown time_unit 'ms'"),
        ("trace_version: 2\nwarm_up_requests: -1\n", "x.yaml:2: warm_up_requests: must be a whole number >= 0"),
        ("trace_version: 2\nnetwork:\n  a: {rtt_ms: -1}\n", "x.yaml:3: network.a.rtt_ms: must be a number >= 0"),
        ("trace_version: 2\nmode: real\nmode: real\n", "x.yaml:3: mode: duplicate key 'mode'"),
        ("trace_version: [\n", "not valid YAML"),
        ("", "the file is empty"),
        ("- 1\n", "must be a mapping"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text, message):
    with pytest.raises(TraceError) as caught:
        TraceHeader.from_yaml(text, "x.yaml")
    assert message in str(caught.value)


def test_all_problems_come_at_once():
    with pytest.raises(TraceError) as caught:
        TraceHeader.from_yaml("trace_version: 2\nmode: fake\nseed: x\nnotes: 5\n", "x.yaml")
    assert [line.split(": ")[0] for line in str(caught.value).splitlines()] == ["x.yaml:2", "x.yaml:3", "x.yaml:4"]


def test_older_facts_move_to_the_run():
    read = TraceHeader.from_yaml(
        "trace_version: 3\nmode: real\ncreated_at: today\nworkload_seed: 7\nnetwork: {measured_rtt_ms: 0.4}\n", "x.yaml"
    )
    assert read.run == {"created_at": "today", "workload_seed": 7, "network": {"measured_rtt_ms": 0.4}}
    assert read.network == {}
