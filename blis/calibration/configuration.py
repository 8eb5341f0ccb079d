"""Which of the server's settings the simulation had."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blis.errors import BlisError
from blis.spec import catalogue
from blis.spec.catalogue import Gpu, ModelShape
from blis.spec.deployment import DeploymentSpec, deployment_from_dict, deployment_of
from blis.spec.instance import InstanceConfig
from blis.spec.latency import LatencySpec
from blis.spec.overrides import FLAGS
from blis.trace import TraceHeader

__all__ = ["Configuration", "Difference", "compare_configurations", "with_server_facts"]

_NAMES: dict[str, tuple[str, ...]] = {
    "model": ("model",),
    "hardware": ("hardware",),
    "tp": ("tp", "tensor_parallel_size"),
    "max_num_seqs": ("max_num_seqs", "slots"),
    "max_num_batched_tokens": ("max_num_batched_tokens",),
    "block_size": ("block_size",),
    "total_kv_blocks": ("total_kv_blocks", "num_gpu_blocks"),
    "max_model_len": ("max_model_len",),
    "async_scheduling": ("async_scheduling",),
    "latency": (),
}
"""Settings of an instance, and the names by which a server may tell them."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A setting in which server and simulation differ."""

    server: Any
    simulated: Any


@dataclass(frozen=True, slots=True)
class Configuration:
    """The settings of an instance, by name.

    The server's are those in the real trace's header (or, where that is a simulation's, its deployment). ``matched``
    were simulated as the server has them, ``differing`` weren't. What the header doesn't tell was either ``given`` for
    the simulation, or left at its default: ``defaulted``.
    """

    matched: dict[str, Any] = field(default_factory=dict)
    differing: dict[str, Difference] = field(default_factory=dict)
    given: dict[str, Any] = field(default_factory=dict)
    defaulted: dict[str, Any] = field(default_factory=dict)


def compare_configurations(real: TraceHeader, simulated: TraceHeader) -> Configuration | None:
    """Compare a server's settings with those of a simulation; None where the simulated trace doesn't tell its own."""
    if simulated.deployment is None:
        return None
    facts, defaults = _server_facts(real), DeploymentSpec().to_dict()
    pools = simulated.deployment.get("pools") or ()
    result = Configuration()
    for name, value in _simulated_settings(simulated.deployment).items():
        if name in facts and _equal(name, facts[name], value):
            result.matched[name] = value
        elif name in facts:
            result.differing[name] = Difference(facts[name], value)
        elif any(name in pool for pool in pools) or simulated.deployment.get(name) not in (None, defaults.get(name)):
            result.given[name] = value
        else:
            result.defaulted[name] = value
    return result


def with_server_facts(
    deployment: DeploymentSpec | Mapping[str, Any] | str | Path | None, real: TraceHeader
) -> DeploymentSpec:
    """Return the deployment with the server's settings in place of defaults; what was given stays.

    Without any deployment, a trace that was simulated itself has its own.

    Raises:
        BlisError: no model was given, and the server's isn't in the catalogue.
        SpecError: the settings don't go together.
    """
    if deployment is None and real.server is None:
        deployment = real.deployment
    spec = deployment_of(deployment)
    given = spec.model_fields_set.union(*(pool.model_fields_set for pool in spec.pools))
    facts = {name: value for name, value in _server_facts(real).items() if name not in given and name in FLAGS}
    if "model" in facts:
        try:
            catalogue.model(str(facts["model"]))
        except BlisError as error:
            raise BlisError(f"the server's model isn't known, so say what to simulate with --model: {error}") from None
    return spec.with_overrides(**facts)


def _server_facts(header: TraceHeader) -> dict[str, Any]:
    if header.server is None:
        return _simulated_settings(header.deployment) if header.deployment is not None else {}
    found = {
        name: next((header.server[own] for own in names if header.server.get(own) is not None), None)
        for name, names in _NAMES.items()
    }
    return {name: value for name, value in found.items() if value is not None}


def _simulated_settings(deployment: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the instances; a list where they aren't all alike."""
    try:
        configs: Sequence[InstanceConfig] = deployment_from_dict(deployment).resolve()
    except BlisError:
        # The header of a trace from elsewhere: its model's config.json may not be here.
        return {name: deployment[name] for name in _NAMES if deployment.get(name) is not None}
    return dict(_common(configs))


def _common(configs: Sequence[InstanceConfig]) -> Iterator[tuple[str, Any]]:
    for name in _NAMES:
        values = [_said(getattr(config, name)) for config in configs]
        different = list(dict.fromkeys(values))
        yield name, different[0] if len(different) == 1 else different


def _said(value: Any) -> Any:
    """Return a setting as a name or a number."""
    match value:
        case ModelShape() | Gpu():
            return value.name
        case LatencySpec():
            return value.model
        case _:
            return value


def _equal(name: str, server: Any, simulated: Any) -> bool:
    if name != "model":
        return bool(server == simulated)
    return _model_name(server) == _model_name(simulated)


def _model_name(name: Any) -> str:
    try:
        return catalogue.model(str(name)).name
    except BlisError:
        return str(name).lower()
