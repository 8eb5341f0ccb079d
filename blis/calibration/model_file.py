"""The file that a fitted model goes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from blis.calibration.fit import Fit
from blis.latency.fitted import ALPHA

__all__ = ["model_text"]

_HEAD = """\
# A latency model fitted by blis. Use it with: blis simulate WORKLOAD --latency-model THIS-FILE
# model, coefficients and validity are read; what is under provenance is for you.
"""
_DIGITS = 7


def model_text(model: Fit, sources: Sequence[str], errors: Mapping[str, Any]) -> str:
    """Return the model as YAML; ``sources`` name its traces, ``errors`` what predictions of traces were off by."""
    estimate = model.estimate
    coefficients = {
        name: {"value": _short(value), "interval_95": [_short(end) for end in estimate.interval(at)]}
        for at, (name, value) in enumerate(zip(estimate.names, model.beta, strict=True))
    }
    overhead = {"value": _short(model.alpha[0]), "standard_error": _short(model.overhead.error_us)}
    provenance = {
        "traces": list(sources),
        "requests": model.requests,
        "method": model.method,
        "steps": {"seen": model.steps, "used": estimate.used} if model.steps else None,
        "share_with_a_step_per_token": None if model.on_time is None else _short(model.on_time),
        "r_squared": _short(estimate.r2),
        "residual_spread": _short(estimate.scale),
        "condition_number": _short(estimate.condition),
        "coefficients": {ALPHA[0]: overhead, **coefficients},
        "knee_at_decoding_sequences": model.knee,
        "scheduling": _scheduling(model),
        "prediction_errors": dict(errors) or None,
        "warnings": list(model.warnings) or None,
    }
    latency = model.latency()
    rounded: dict[str, Any] = {
        key: {
            name: [_short(each) for each in value] if isinstance(value, list) else _short(value)
            for name, value in latency[key].items()
        }
        for key in ("coefficients", "physics")
        if key in latency
    }
    validity: dict[str, Any] = {
        name: [_short(value) for value in pair] if name in model.ranges else pair
        for name, pair in latency["validity"].items()
    }
    validity["covariance"] = [[_short(value) for value in row] for row in model.covariance().tolist()]
    data = {
        "model": latency["model"],
        **rounded,
        "validity": validity,
        "provenance": {key: value for key, value in provenance.items() if value is not None},
    }
    return _HEAD + yaml.safe_dump(data, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)


def _scheduling(model: Fit) -> dict[str, Any] | None:
    found = model.scheduling
    if found is None:
        return None
    word = {True: "asynchronous", False: "synchronous", None: "undecided"}[found.asynchronous]
    return {"found": word, "requests": found.requests, "log_likelihood_ratio": _short(found.log_ratio)}


def _short(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
