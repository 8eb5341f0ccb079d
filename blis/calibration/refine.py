"""Prediction of observed traces by a fitted model, and the refinement of the model on its errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from blis.calibration.fit import Fit
from blis.simulation import replay
from blis.spec.deployment import DeploymentSpec, deployment_from_dict
from blis.trace import Status, Trace

__all__ = ["predict", "refine", "served_by"]

FloatArray = npt.NDArray[np.float64]

_STEP = 0.02
_LEAST_STEP_US = 50.0
_GOOD = 0.03
_SURE = 3.0
_OVERHEAD_US = 500.0
_PACE = {"chunk-times": 0.01, "exposures": 0.05}
_DRIFT = 0.05
_MOST = 5000


def served_by(model: Fit, trace: Trace | None = None) -> DeploymentSpec:
    """The deployment that the model was fitted for, or that of a trace, with the model in it."""
    server = model.deployment if trace is None else model.deployment_for(trace)
    data = server.to_dict()
    data["latency"] = model.latency()
    if model.async_scheduling is not None and "async_scheduling" not in server.model_fields_set:
        data.pop("async_scheduling", None)
    return deployment_from_dict(data)


def predict(model: Fit, trace: Trace, num_requests: int | None = None) -> Trace:
    """Replay a trace's requests, or so many of them, on the model's deployment."""
    return replay(trace, served_by(model, trace), num_requests=num_requests, warn=_quiet)


def refine(model: Fit, traces: Sequence[Trace], rounds: int = 2, share: float = 1.0) -> Fit:
    """Adjust the overhead and one factor on all step times to what the traces' requests took on average.

    Gauss-Newton on the relative errors of mean TTFT and mean E2E, over all traces, with derivatives from simulations
    of the same requests (common random numbers). What regression found counts as an observation too: the factor to
    1 % where it comes from chunk times, which hold every step, otherwise to 5 %, the overhead to three standard errors
    or half a millisecond. Errors are taken to be good to 3 %, and to what a machine that was 5 % faster or slower in
    one trace makes of them: a server near its limit makes much of little, and says little about its pace. What steps
    cost relative to each other stays as it was. A round that doesn't help is undone, and ends it. Only requests sent
    in the first ``share`` of each trace's time count, and of these those among its first 5,000.
    """
    if rounds < 1:
        return model
    prior = np.array([max(_SURE * model.overhead.error_us, _OVERHEAD_US), _PACE[model.method]])
    moved = np.zeros(2)
    raw = _errors(model, traces, share)
    slope = _slope(model, moved, raw, traces, share)
    good = np.hypot(_GOOD, _DRIFT * slope[:, 1])
    errors = raw / good
    for turn in range(rounds):
        if turn:
            slope = _slope(model, moved, errors * good, traces, share)
        system = np.vstack([slope / good[:, None], np.diag(1 / prior)])
        change = np.linalg.lstsq(system, np.concatenate([-errors, -moved / prior]), rcond=None)[0]
        tried = moved + change
        new = _errors(_moved(model, tried), traces, share) / good
        if np.sum(new**2) + np.sum((tried / prior) ** 2) >= np.sum(errors**2) + np.sum((moved / prior) ** 2):
            break
        moved, errors = tried, new
    return _moved(model, moved)


def _slope(model: Fit, moved: FloatArray, errors: FloatArray, traces: Sequence[Trace], share: float) -> FloatArray:
    """How the errors change with the overhead, per µs, and with the pace, shape (2 * traces, 2)."""
    steps = np.diag([max(_STEP * _moved(model, moved).alpha[0], _LEAST_STEP_US), _STEP])
    return np.column_stack(
        [(_errors(_moved(model, moved + step), traces, share) - errors) / step.sum() for step in steps]
    )


def _moved(model: Fit, change: FloatArray) -> Fit:
    factor = 1 + float(change[1])
    alpha = (max(model.alpha[0] + float(change[0]), 0.0), *model.alpha[1:])
    estimate = model.estimate.scaled(factor)
    return replace(model, alpha=alpha, beta=tuple(estimate.values.tolist()), estimate=estimate)


def _errors(model: Fit, traces: Sequence[Trace], share: float) -> FloatArray:
    """Relative errors of the mean TTFT and the mean E2E of each trace, shape (2 * traces,)."""
    found = []
    for trace in traces:
        asked, simulated = _asked(trace, share), predict(model, trace, _MOST)
        asked &= np.isin(trace.column("request_id"), simulated.column("request_id"))
        same = np.isin(simulated.column("request_id"), trace.column("request_id")[asked])
        pairs = zip(_means(simulated, same), _means(trace, asked), strict=True)
        found += [(ours - theirs) / theirs for ours, theirs in pairs]
    return np.array(found)


def _asked(trace: Trace, share: float) -> npt.NDArray[np.bool_]:
    """Which requests count: completed, past the warm-up, and sent early enough."""
    sent = _sent(trace)
    good = (trace.column("status") == Status.OK) & (trace.column("request_id") >= trace.header.warm_up_requests)
    early: npt.NDArray[np.bool_] = good & (sent <= sent[good].min() + share * np.ptp(sent[good]))
    return early


def _sent(trace: Trace) -> npt.NDArray[np.int64]:
    return trace.column("send_time_us" if trace.header.mode == "real" else "arrival_time_us")


def _means(trace: Trace, chosen: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Mean TTFT and mean E2E of the chosen requests that were completed, µs."""
    good = chosen & (trace.column("status") == Status.OK)
    sent, first, last = _sent(trace), trace.column("first_chunk_time_us"), trace.column("last_chunk_time_us")
    return float(np.mean((first - sent)[good])), float(np.mean((last - sent)[good]))


def _quiet(text: str) -> None:
    """What a replay remarks about a trace was said when it was fitted."""
