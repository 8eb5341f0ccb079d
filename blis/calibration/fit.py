"""From traces of a server to a latency model that predicts other loads.

docs/explanation/fitting.md tells why this works without instruments on the server, and when it doesn't.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from blis.calibration.bend import bent, knee
from blis.calibration.configuration import with_server_facts
from blis.calibration.drift import drift
from blis.calibration.exposure import fit_exposures
from blis.calibration.observed import Observed, observed
from blis.calibration.ranges import ranges
from blis.calibration.regress import Estimate, regress
from blis.calibration.scheduling import Membership, combined, membership
from blis.calibration.steps import Steps, reconstruct
from blis.errors import BlisError
from blis.latency.fitted import ALPHA, BETA, KNEE
from blis.spec.deployment import DeploymentSpec
from blis.trace import Trace

__all__ = ["Fit", "Overhead", "fit", "overhead_of", "scheduling_of", "seen_in", "server_of"]

FloatArray = npt.NDArray[np.float64]

_FEWEST_ALONE = 10
_FEWEST_REQUESTS = 30
_MOSTLY = 0.9
_FORMS: dict[str, tuple[int, ...]] = {"fitted": (0, 1, 2, 3, 4, 5), "alpha-beta": (0, 3, 1)}
"""The columns of a step's features that each form of model has, in the order of its coefficients."""
_DECODES = 1


@dataclass(frozen=True)
class Overhead:
    """Time a request spends outside the steps: microseconds from its sending, with a standard error.

    ``source`` says what it was taken from: ``idle`` requests that met an idle server (TTFT less the steps of their
    prefill), or the ``first steps`` that requests appeared in, or ``none``. Only the sum of the ways in and out can be
    told from outside; all of it is put on the way in.
    """

    us: float
    error_us: float
    requests: int
    source: str


@dataclass(frozen=True)
class Fit:
    """A latency model and how it was found.

    ``form`` is fitted or alpha-beta, ``alpha`` and ``beta`` its coefficients. ``estimate`` has one entry per name of
    :data:`blis.latency.fitted.BETA` that the form has, in the order of ``beta``, and one more where the time per
    decoding sequence changes at ``knee`` (None: it doesn't). ``method`` is chunk-times or
    exposures; ``steps`` counts the steps that were seen, ``on_time`` is the share of requests with a step per token
    (None without chunk times). ``scheduling`` says whether the server schedules asynchronously. ``ranges`` are
    [least, most] of what the traces had, by the names of :class:`blis.spec.validity.ValiditySpec`. ``drift`` is the
    relative standard deviation of the server's pace from trace to trace (None where that isn't known). ``warnings``
    tell what the traces couldn't.
    """

    form: str
    alpha: tuple[float, ...]
    beta: tuple[float, ...]
    estimate: Estimate
    overhead: Overhead
    method: str
    requests: int
    steps: int
    on_time: float | None
    scheduling: Membership | None
    ranges: dict[str, tuple[float, float]]
    deployment: DeploymentSpec
    knee: float | None = None
    drift: float | None = None
    warnings: tuple[str, ...] = field(default=())

    @property
    def async_scheduling(self) -> bool | None:
        """Whether the server was found to schedule asynchronously; None where the traces don't tell."""
        return None if self.scheduling is None else self.scheduling.asynchronous

    def columns(self, features: FloatArray) -> FloatArray:
        """What ``beta`` multiplies, shape (m, b), of steps' :meth:`blis.calibration.steps.Steps.features`, (m, 6)."""
        own = features[:, _FORMS[self.form]]
        return own if self.knee is None else bent(own, _DECODES, self.knee)

    def validity(self) -> dict[str, Any]:
        """What the model's file says of where and how well it holds, a :class:`blis.spec.validity.ValiditySpec`."""
        found: dict[str, Any] = {name: list(pair) for name, pair in self.ranges.items()}
        if self.async_scheduling is not None:
            found["async_scheduling"] = self.async_scheduling
        if self.drift is not None:
            found["drift"] = self.drift
        return found | {"covariance": self.covariance().tolist()}

    def latency(self) -> dict[str, Any]:
        """The model as a deployment's ``latency``."""
        beta = list(self.beta) if self.knee is None else [*self.beta, self.knee]
        coefficients = {"alpha": list(self.alpha), "beta": beta}
        return {"model": self.form, "coefficients": coefficients, "validity": self.validity()}

    def deployment_for(self, trace: Trace) -> DeploymentSpec:
        """The server that a trace is predicted on."""
        return self.deployment

    def covariance(self) -> FloatArray:
        """Covariance of alpha and beta, one after the other, shape (a + b,) * 2, in µs^2; a knee counts as certain."""
        size, steps = len(self.alpha), len(self.beta)
        whole = np.zeros((size + steps + (self.knee is not None),) * 2)
        whole[0, 0] = self.overhead.error_us**2
        whole[size : size + steps, size : size + steps] = self.estimate.covariance
        return whole


def fit(
    traces: Sequence[Trace],
    deployment: DeploymentSpec | None = None,
    *,
    form: str = "fitted",
    chunk_times: bool = True,
    share: float = 1.0,
) -> Fit:
    """Fit a latency model to traces of one server, of different loads if possible.

    ``deployment`` says what the traces' headers don't about the server: batch limits above all. ``chunk_times`` False
    fits from first and last chunks alone even where the traces have more. Of each trace only the first ``share`` of its
    time counts, (0, 1]; the rest may then be held against the prediction.

    Raises:
        BlisError: nothing to fit, or too little.
    """
    if not traces:
        raise BlisError("nothing to fit: give at least one trace")
    server = server_of(deployment, traces[0])
    config = server.resolve()[0]
    parts = [part.until(share) for trace in traces for part in observed(trace, config)]
    columns = _FORMS[form]
    turn: float | None = None
    seen: list[Steps] = []
    if chunk_times and all(part.chunks is not None for part in parts):
        seen = [reconstruct(part.chunks, part.requests, part.budget) for part in parts if part.chunks is not None]
        counted = [steps.usable & (steps.end_us <= part.end_us) for part, steps in zip(parts, seen, strict=True)]
        features = np.concatenate([steps.features()[own] for steps, own in zip(seen, counted, strict=True)])
        durations = np.concatenate([steps.duration_us[own] for steps, own in zip(seen, counted, strict=True)])
        origins = np.repeat(np.arange(len(seen)), [int(own.sum()) for own in counted])
        estimate, turn = _regressed(features[:, columns], durations, origins, form)
    else:
        estimate = fit_exposures(parts, columns)
    beta = np.zeros(len(BETA))
    beta[list(columns)] = estimate.values[: len(columns)]
    scheduling = scheduling_of(parts, seen)
    overhead = overhead_of(parts, [beta] * len(parts), scheduling)
    result = Fit(
        form=form,
        alpha=(overhead.us, *[0.0] * ((len(ALPHA) if form == "fitted" else 3) - 1)),
        beta=tuple(estimate.values.tolist()),
        estimate=estimate,
        overhead=overhead,
        scheduling=scheduling,
        deployment=server,
        knee=turn,
        **seen_in(parts, seen),
    )
    wander = drift(parts, seen, [result.columns(steps.features()) @ np.array(result.beta) for steps in seen])
    return replace(result, drift=wander, warnings=tuple(_doubts(result, len(traces))))


class SeenIn(TypedDict):
    """The fields of :class:`Fit` that tell what the traces had."""

    method: str
    requests: int
    steps: int
    on_time: float | None
    ranges: dict[str, tuple[float, float]]


def seen_in(parts: Sequence[Observed], seen: Sequence[Steps]) -> SeenIn:
    """Return what the parts of the traces had, and the steps that were seen in them, if any."""
    return SeenIn(
        method="chunk-times" if seen else "exposures",
        requests=sum(len(part.first_us) for part in parts),
        steps=sum(len(steps.end_us) for steps in seen),
        on_time=float(np.mean([steps.on_time for steps in seen])) if seen else None,
        ranges=ranges(parts, seen),
    )


def _regressed(
    features: FloatArray, durations: FloatArray, traces: npt.NDArray[np.int64], form: str
) -> tuple[Estimate, float | None]:
    """Return the coefficients of the steps, and the knee of what decoding sequences cost, if there is one."""
    names = [BETA[column] for column in _FORMS[form]]
    enough = form == "fitted" and len(durations) > features.shape[1]
    turn = knee(features, durations, traces, _DECODES) if enough else None
    if turn is None:
        return regress(features, durations, names), None
    return regress(bent(features, _DECODES, turn), durations, [*names, KNEE[0]]), turn


def server_of(deployment: DeploymentSpec | None, trace: Trace) -> DeploymentSpec:
    """Return the server's settings; its model matters to a fit by its name only, so that any will do."""
    given = deployment or DeploymentSpec()
    if "model" not in given.model_fields_set and trace.header.server is not None:
        given = given.with_overrides(model=given.model)
    return with_server_facts(given, trace.header)


def scheduling_of(parts: Sequence[Observed], seen: Sequence[Steps]) -> Membership | None:
    """Add up what the parts tell about the scheduling; None without steps."""
    if not seen:
        return None
    found = [
        membership(steps, part.requests, part.budget, part.max_num_seqs)
        for part, steps in zip(parts, seen, strict=True)
    ]
    return combined(found)


def overhead_of(parts: Sequence[Observed], betas: Sequence[FloatArray], scheduling: Membership | None) -> Overhead:
    """Take the overhead from requests that met an idle server, or from the steps they appeared in: the surer one."""
    found = []
    alone = np.concatenate([_alone(part, beta) for part, beta in zip(parts, betas, strict=True)])
    if len(alone) >= _FEWEST_ALONE:
        centre = float(np.median(alone))
        # The standard error of a median of about normal values.
        error = 1.2533 * 1.4826 * float(np.median(np.abs(alone - centre))) / math.sqrt(len(alone))
        found.append(Overhead(max(centre, 0.0), error, len(alone), "idle"))
    if scheduling is not None and scheduling.asynchronous is not None:
        found.append(Overhead(scheduling.delay_us, scheduling.resolution_us, scheduling.requests, "first steps"))
    return min(found, key=lambda one: one.error_us, default=Overhead(0.0, 0.0, 0, "none"))


def _alone(part: Observed, beta: FloatArray) -> FloatArray:
    """TTFT less the steps of the prefill, of requests that came when nobody else was there and were let alone."""
    requests, budget = part.requests, part.budget
    order = np.argsort(requests.send_us, kind="stable")
    sent, first, last = requests.send_us[order], part.first_us[order], part.last_us[order]
    before = np.concatenate(([np.iinfo(np.int64).min], np.maximum.accumulate(last)[:-1]))
    after = np.concatenate((sent[1:], [np.iinfo(np.int64).max]))
    idle = (before < sent) & (after >= first)
    fresh = np.maximum(requests.prompt_tokens - requests.cached_tokens, 1)[order].astype(np.float64)
    cached = requests.cached_tokens[order]
    steps = np.ceil(fresh / budget)
    prefill = (beta[0] + beta[5]) * steps + beta[3] * fresh + beta[4] * fresh * (cached + fresh / 2)
    result: FloatArray = ((first - sent) - prefill)[idle & (first <= part.end_us)]
    return result


def _doubts(found: Fit, traces: int) -> Iterator[str]:
    """Say what the traces can't tell."""
    estimate = found.estimate
    if found.requests < _FEWEST_REQUESTS:
        yield f"only {found.requests} requests: coefficients and intervals are rough; observe for longer"
    if traces == 1:
        yield (
            "one trace only: a load it doesn't have may be predicted badly; observe at two loads or more, in"
            " interleaved blocks"
        )
    if found.on_time is not None and found.on_time < _MOSTLY:
        yield (
            f"only {found.on_time:.0%} of the requests have as many steps as tokens: chunks came late or together, so"
            " that steps are uncertain; check that client and network were not overloaded"
        )
    for name in estimate.bounded:
        yield f"'{name}' can't be told from these traces and was set to 0: it would be negative, or never varied"
    if estimate.weak:
        names = ", ".join(f"'{name}'" for name in estimate.weak)
        yield (
            f"{names} rise and fall together with other terms (variance inflation over 30): their sum is known better"
            " than each; loads with other prompt lengths and concurrencies tell them apart (--suggest-workload)"
        )
    if found.scheduling is not None and found.scheduling.asynchronous is None:
        yield "the traces don't tell whether the server schedules asynchronously; say so in the deployment"
    if found.overhead.source == "none":
        yield "no request met an idle server: the overhead outside the steps is taken as 0; add a light load"
