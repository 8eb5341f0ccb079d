"""From traces of several models to the coefficients of the physics model, which they share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from blis.calibration.drift import drift
from blis.calibration.exposure import Window
from blis.calibration.fit import Fit, overhead_of, scheduling_of, seen_in, server_of
from blis.calibration.observed import Observed, observed
from blis.calibration.physics import PHYSICS
from blis.calibration.posterior import learned, regress_with_priors
from blis.calibration.regress import Estimate
from blis.calibration.steps import Steps, reconstruct
from blis.errors import BlisError
from blis.latency.physics import Physics
from blis.spec.deployment import DeploymentSpec
from blis.spec.instance import InstanceConfig
from blis.spec.latency import PhysicsSpec
from blis.trace import Trace

__all__ = ["PhysicsFit", "fit_physics"]

FloatArray = npt.NDArray[np.float64]

_REQUEST = "request_us"
_TERMS = tuple(parameter for parameter in PHYSICS if parameter.name != _REQUEST)
"""The coefficients of a step's duration and what is expected of them."""
_NONE = dict.fromkeys(PhysicsSpec.model_fields, 0.0)
_LEARNED = 0.5
_ROUNDS = 6


@dataclass(frozen=True)
class PhysicsFit(Fit):
    """A physics model and how it was found: ``beta`` are the coefficients that ``estimate.names`` names.

    ``servers`` has each trace with the server it is of. ``learned`` is the share of each coefficient's prior variance
    that the traces removed, from 0 to 1, by name.
    """

    servers: tuple[tuple[Trace, DeploymentSpec], ...] = ()
    learned: Mapping[str, float] = field(default_factory=dict)

    def latency(self) -> dict[str, Any]:
        """The model as a deployment's ``latency``; what isn't fitted, such as the host's own work, is 0."""
        physics = {**_NONE, **dict(zip(self.estimate.names, self.beta, strict=True)), _REQUEST: self.alpha[0]}
        validity = self.validity() | {"covariance_of": [_REQUEST, *self.estimate.names]}
        return {"model": "physics", "physics": physics, "validity": validity}

    def deployment_for(self, trace: Trace) -> DeploymentSpec:
        """The server that a trace is of; one that wasn't fitted to must say itself which model it is of.

        Where it doesn't say what hardware, that is the first server's.
        """
        known = next((server for own, server in self.servers if own is trace), None)
        if known is not None:
            return known
        facts = trace.header.server or trace.header.deployment or {}
        hardware = None if facts.get("hardware") else self.deployment.hardware
        return _server(DeploymentSpec().with_overrides(hardware=hardware), trace, "the trace to predict")


def fit_physics(
    traces: Mapping[str, Trace],
    deployments: Sequence[DeploymentSpec | None] | None = None,
    *,
    chunk_times: bool = True,
    share: float = 1.0,
) -> PhysicsFit:
    """Fit the coefficients of the physics model to traces of servers, of several models if possible.

    ``traces`` go by names for messages; ``deployments`` has one for each, which says what the trace's header doesn't:
    the model above all. Where all traces have chunk times, and ``chunk_times`` isn't False, steps are reconstructed;
    otherwise the time from a request's first to its last chunk is what is fitted. All of it goes into one regression,
    with :data:`blis.calibration.physics.PHYSICS` as priors. Of each trace only the first ``share`` of its time counts.

    Raises:
        BlisError: nothing to fit, or too little; a trace of which nobody knows the model.
    """
    if not traces:
        raise BlisError("nothing to fit: give at least one trace")
    given = deployments or [None] * len(traces)
    servers = [_server(one, trace, name) for one, (name, trace) in zip(given, traces.items(), strict=True)]
    parts: list[Observed] = []
    configs: list[InstanceConfig] = []
    for server, trace in zip(servers, traces.values(), strict=True):
        config = server.resolve()[0]
        own = [part.until(share) for part in observed(trace, config)]
        parts += own
        configs += [config] * len(own)
    seen: list[Steps] = []
    if chunk_times and all(part.chunks is not None for part in parts):
        seen = [reconstruct(part.chunks, part.requests, part.budget) for part in parts if part.chunks is not None]
        estimate = _from_steps(parts, seen, configs)
    else:
        estimate = _from_windows(parts, configs)
    models = [_model(config, dict(zip(estimate.names, estimate.values.tolist(), strict=True))) for config in configs]
    scheduling = scheduling_of(parts, seen)
    overhead = overhead_of(parts, [np.array(model.as_fitted()) for model in models], scheduling)
    result = PhysicsFit(
        form="physics",
        alpha=(overhead.us,),
        beta=tuple(estimate.values.tolist()),
        estimate=estimate,
        overhead=overhead,
        scheduling=scheduling,
        deployment=servers[0],
        drift=drift(parts, seen, [model.exact_us(*_sums(steps)) for model, steps in zip(models, seen, strict=False)]),
        servers=tuple(zip(traces.values(), servers, strict=True)),
        learned=learned(estimate, _TERMS),
        **seen_in(parts, seen),
    )
    return replace(result, warnings=tuple(_doubts(result, configs)))


def _server(given: DeploymentSpec | None, trace: Trace, name: str) -> DeploymentSpec:
    """Return the server of a trace, whose model somebody must know."""
    facts = trace.header.server or trace.header.deployment or {}
    pools = facts.get("pools") or ()
    if not (facts.get("model") or (given is not None and "model" in given.model_fields_set)) or len(pools) > 1:
        raise BlisError(
            f"{name}: its header doesn't say which model the server has; the physics model needs to know: give --model,"
            " or with several traces --models, one for each: names of the catalogue, or paths of config.json"
        )
    if given is not None and "model" in given.model_fields_set:
        return server_of(given, trace)
    return server_of((given or DeploymentSpec()).with_overrides(model=facts["model"]), trace)


def _model(config: InstanceConfig, coefficients: Mapping[str, float]) -> Physics:
    return Physics(config.model, config.hardware, config.tp, PhysicsSpec(**{**_NONE, **coefficients}))


def _terms(config: InstanceConfig, sums: Sequence[FloatArray]) -> FloatArray:
    """Return what each coefficient multiplies in each step, shape (m, coefficients): durations are linear in them."""
    return np.column_stack([_model(config, {term.name: 1.0}).exact_us(*sums) for term in _TERMS])


def _sums(steps: Steps) -> list[FloatArray]:
    """Return the sums over each step's batch in the order of :meth:`Physics.exact_us`."""
    columns = (
        steps.prefill, steps.decodes, steps.context, steps.decodes + steps.chunks, steps.attention, steps.stored,
    )  # fmt: skip
    return [np.asarray(column, np.float64) for column in columns]


def _from_steps(parts: Sequence[Observed], seen: Sequence[Steps], configs: Sequence[InstanceConfig]) -> Estimate:
    terms, durations = [], []
    for part, steps, config in zip(parts, seen, configs, strict=True):
        own = steps.usable & (steps.end_us <= part.end_us)
        terms.append(_terms(config, [column[own] for column in _sums(steps)]))
        durations.append(steps.duration_us[own].astype(np.float64))
    # Durations that were cut to whole microseconds are half of one short on average.
    return regress_with_priors(np.concatenate(terms), np.concatenate(durations) + 0.5, _TERMS)


def _from_windows(parts: Sequence[Observed], configs: Sequence[InstanceConfig]) -> Estimate:
    """Fit to the times between requests' first and last chunks; the paces within them settle in a few rounds."""
    windows = [Window(part) for part in parts]
    lengths = np.concatenate([window.lengths for window in windows])
    estimate: Estimate | None = None
    for _ in range(_ROUNDS):
        terms = [_window_terms(config, window.features()) for config, window in zip(configs, windows, strict=True)]
        estimate = regress_with_priors(np.concatenate(terms), lengths, _TERMS)
        values = dict(zip(estimate.names, estimate.values.tolist(), strict=True))
        for config, window in zip(configs, windows, strict=True):
            window.pace_by(np.array(_model(config, values).as_fitted()))
    assert estimate is not None
    return estimate


def _window_terms(config: InstanceConfig, features: FloatArray) -> FloatArray:
    """Return what each coefficient multiplies over the steps of each window: those that only decode, then the others.

    Each prompt is taken to have a step of its own, all steps of a window to have as many decoding sequences.
    """
    steps, decodes, context, prefill, attention, prompts, stored = features.T
    nothing = np.zeros_like(steps)
    number = np.maximum(steps, 1.0)
    each = decodes / number, context / number
    with_prompt = np.maximum(prompts, 1.0)
    plain = _terms(config, (nothing, each[0], each[1], each[0], nothing, nothing))
    mixed = _terms(
        config,
        (prefill / with_prompt, *each, each[0] + 1, attention / with_prompt, stored / with_prompt),
    )
    mixing = np.minimum(prompts, steps)
    return np.asarray(plain * (steps - mixing)[:, None] + mixed * mixing[:, None], np.float64)


def _doubts(found: PhysicsFit, configs: Sequence[InstanceConfig]) -> Iterator[str]:
    """Say what the traces can't tell."""
    unsure = [name for name, share in found.learned.items() if share < _LEARNED]
    kinds = {(config.model.name, config.tp) for config in configs}
    if unsure:
        yield (
            f"{', '.join(unsure)}: the traces hardly tell, so these are about what is expected of any server; that"
            " doesn't matter for the models and loads that were fitted, and may for others"
        )
    if len({name for name, _ in kinds}) == 1:
        yield (
            f"one model only, {configs[0].model.name}: what its weights cost can't be told from what its layers and a"
            " step cost (weights, layer_us, step_us), nor prefill_layer_us from the compute of a prompt; observe a"
            " second model of another size before another model is predicted"
        )
    if all(config.tp == 1 for config in configs):
        yield "no trace with tp above 1: all_reduce and all_reduce_us are what is expected of any server"
    if not any(config.model.experts for config in configs):
        yield "no mixture of experts among the models: expert_compute is what is expected of any server"
    if found.overhead.source == "none":
        yield "no request met an idle server: the overhead outside the steps is taken as 0; add a light load"
