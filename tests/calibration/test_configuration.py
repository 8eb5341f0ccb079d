"""Settings of the server beside those of the simulation."""

from __future__ import annotations

import pytest

from blis.calibration.configuration import Difference, compare_configurations, with_server_facts
from blis.errors import BlisError
from blis.spec.deployment import deployment_from_dict
from blis.trace import TraceHeader

SERVER = {
    "version": "0.32.0",
    "model": "meta-llama/Llama-3.1-8B-Instruct",
    "max_num_seqs": 64,
    "block_size": 32,
    "num_gpu_blocks": 9000,
    "max_model_len": 8192,
}


def real(**server) -> TraceHeader:
    return TraceHeader(mode="real", server=server)


def simulated(**deployment) -> TraceHeader:
    return TraceHeader(deployment=deployment_from_dict(deployment).to_dict())


def test_what_matches_what_differs_and_what_nobody_knows():
    found = compare_configurations(
        real(**SERVER),
        simulated(
            model="llama-3.1-8b", max_num_seqs=64, block_size=16, total_kv_blocks=9000, max_num_batched_tokens=512
        ),
    )
    assert found.matched == {"model": "llama-3.1-8b", "max_num_seqs": 64, "total_kv_blocks": 9000}
    assert found.differing == {"block_size": Difference(32, 16), "max_model_len": Difference(8192, 131072)}
    assert found.given == {"max_num_batched_tokens": 512}
    assert found.defaulted == {"hardware": "H100", "tp": 1, "async_scheduling": False, "latency": "trained-physics"}


def test_settings_left_to_be_computed_are_defaults_with_their_value():
    found = compare_configurations(real(), simulated(model="llama-3.1-8b"))
    assert found.defaulted["total_kv_blocks"] > 1000
    assert found.defaulted["max_model_len"] == 131072
    assert (found.matched, found.differing, found.given) == ({}, {}, {})


def test_instances_of_different_kinds_match_no_single_value():
    pools = [{"name": "a", "max_num_seqs": 64}, {"name": "b", "max_num_seqs": 8}]
    found = compare_configurations(real(max_num_seqs=64), simulated(pools=pools))
    assert found.differing == {"max_num_seqs": Difference(64, [64, 8])}
    assert compare_configurations(real(), simulated(pools=pools)).given == {"max_num_seqs": [64, 8]}


def test_a_simulation_in_place_of_the_real_run_tells_its_deployment():
    found = compare_configurations(simulated(max_num_seqs=64), simulated(max_num_seqs=32))
    assert found.differing == {"max_num_seqs": Difference(64, 32)}
    assert set(found.matched) == {
        "model", "hardware", "tp", "max_num_batched_tokens", "block_size", "total_kv_blocks", "max_model_len",
        "async_scheduling", "latency",
    }  # fmt: skip


def test_without_a_deployment_there_is_nothing_to_compare():
    assert compare_configurations(real(**SERVER), TraceHeader()) is None


def test_a_deployment_that_cannot_be_resolved_here_is_compared_as_written():
    header = TraceHeader(deployment={"model": "elsewhere/config.json", "max_num_seqs": 64, "total_kv_blocks": "auto"})
    found = compare_configurations(real(model="tiny-llama", max_num_seqs=64), header)
    assert found.matched == {"max_num_seqs": 64}
    assert found.differing == {"model": Difference("tiny-llama", "elsewhere/config.json")}
    assert found.given == {}
    assert found.defaulted == {"total_kv_blocks": "auto"}


def test_server_facts_take_the_place_of_defaults_only():
    taken = with_server_facts(deployment_from_dict({"block_size": 16, "hardware": "A100-80"}), real(**SERVER))
    (config,) = taken.resolve()
    assert (config.model.name, config.max_num_seqs, config.total_kv_blocks) == ("llama-3.1-8b", 64, 9000)
    assert (config.max_model_len, config.block_size, config.hardware.name) == (8192, 16, "A100-80")
    assert config.max_num_batched_tokens == 2048


def test_what_a_pool_says_stays():
    pools = [{"name": "a", "max_num_seqs": 8}, {"name": "b"}]
    taken = with_server_facts(deployment_from_dict({"pools": pools}), real(max_num_seqs=64, block_size=32))
    assert [(config.max_num_seqs, config.block_size) for config in taken.resolve()] == [(8, 32), (256, 32)]


def test_an_unknown_model_has_to_be_named():
    with pytest.raises(
        BlisError, match="the server's model isn't known, so say what to simulate with --model: unknown"
    ):
        with_server_facts(deployment_from_dict({}), real(model="tiny-llama"))
    taken = with_server_facts(deployment_from_dict({"model": "llama-3.1-8b"}), real(model="tiny-llama"))
    assert taken.model == "llama-3.1-8b"


def test_without_a_deployment_a_simulated_trace_has_its_own():
    own = {"max_num_seqs": 7, "hardware": "L40S", "latency": {"model": "roofline"}}
    (config,) = with_server_facts(None, simulated(**own)).resolve()
    assert (config.max_num_seqs, config.hardware.name, config.latency.model) == (7, "L40S", "roofline")
    (config,) = with_server_facts({"hardware": "A100-80"}, simulated(**own)).resolve()
    assert (config.max_num_seqs, config.hardware.name, config.latency.model) == (7, "A100-80", "trained-physics")
    (config,) = with_server_facts(None, real(max_num_seqs=9)).resolve()
    assert (config.max_num_seqs, config.hardware.name) == (9, "H100")
