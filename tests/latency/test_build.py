"""From an instance's configuration to its latency model."""

from __future__ import annotations

from dataclasses import replace

import pytest

from blis.errors import BlisError
from blis.latency import AlphaBeta, BatchSums, Physics, Roofline, TrainedPhysics, build
from blis.spec.catalogue import gpu, model
from blis.spec.deployment import LatencySpec, PhysicsSpec, deployment_from_dict


def built(**latency: object) -> object:
    return build(deployment_from_dict({"latency": latency} if latency else {}).resolve()[0])


def test_each_name_builds_its_model() -> None:
    assert isinstance(built(), TrainedPhysics)
    assert isinstance(built(model="trained-physics"), TrainedPhysics)
    assert isinstance(built(model="roofline"), Roofline)
    assert isinstance(built(model="physics"), Physics)
    assert isinstance(built(model="alpha-beta"), AlphaBeta)


def test_alpha_beta_takes_the_measured_coefficients_of_its_combination() -> None:
    config = deployment_from_dict({"tp": 2, "latency": {"model": "alpha-beta"}}).resolve()[0]
    latency = build(config)
    assert latency.overheads.queue_base == 1601.350510688092
    assert latency.step_us(BatchSums(prefill_tokens=100, decodes=3, sequences=4)) == 8685


def test_given_coefficients_replace_the_models_own() -> None:
    latency = built(model="trained-physics", coefficients={"alpha": [1, 2, 3]})
    assert isinstance(latency, TrainedPhysics)
    assert (latency.overheads.queue_base, latency.overheads.completion, latency.overheads.per_token) == (1, 2, 3)
    assert latency.step_us(BatchSums()) == TrainedPhysics(model("llama-3.1-8b"), gpu("H100"), 1).step_us(BatchSums())
    roofline = built(model="roofline", coefficients={"alpha": [5, 0.5, 7]})
    assert isinstance(roofline, Roofline)
    assert roofline.overheads.queue_per_token == 0.5


def test_named_coefficients_replace_some_of_the_physics_models_own() -> None:
    own, slower = built(model="physics"), built(model="physics", physics={"step_us": 1e6, "request_us": 12.5})
    assert isinstance(own, Physics)
    assert isinstance(slower, Physics)
    assert slower.overheads.queue_base == 12.5
    gap = slower.step_us(BatchSums()) - own.step_us(BatchSums())
    assert gap == pytest.approx(1e6 - PhysicsSpec().step_us, abs=1)


def test_asynchronous_scheduling_hides_the_hosts_work() -> None:
    durations = []
    for asynchronous in (False, True):
        latency = {"model": "physics", "physics": {"host_step_us": 1000, "host_sequence_us": 10}}
        config = deployment_from_dict({"latency": latency, "async_scheduling": asynchronous}).resolve()[0]
        durations.append(build(config).few_decodes_us(20, 1000, 1)[0])
    assert durations[0] - durations[1] == 1200


def test_equal_instances_share_a_model_and_others_do_not() -> None:
    pools = [{"name": "a", "instances": 2}, {"name": "b", "tp": 2}]
    first, second, third = (build(config) for config in deployment_from_dict({"pools": pools}).resolve())
    assert first is second
    assert first is not third
    assert third.few_decodes_us(8, 4000, 1)[0] != first.few_decodes_us(8, 4000, 1)[0]


def test_alpha_beta_without_coefficients_is_refused() -> None:
    config = deployment_from_dict({}).resolve()[0]
    with pytest.raises(BlisError, match="alpha-beta needs coefficients"):
        build(replace(config, latency=LatencySpec("alpha-beta")))
