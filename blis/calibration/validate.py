"""How well a fitted model predicts traces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from blis.calibration.calibration import calibrate
from blis.calibration.fit import Fit
from blis.calibration.refine import predict
from blis.calibration.results import Calibration
from blis.trace import Trace

__all__ = ["error_figures", "held_out", "predictions"]

_METRICS = ("ttft_us", "e2e_us", "tpot_us", "itl_us")


def predictions(model: Fit, traces: Mapping[str, Trace]) -> dict[str, Calibration]:
    """Compare each trace with its replay on the model's deployment, by name."""
    return {name: calibrate(trace, predict(model, trace)) for name, trace in traces.items()}


def held_out(model: Fit, traces: Mapping[str, Trace], share: float) -> dict[str, Calibration]:
    """Compare what was sent in the last ``share`` of each trace's time, with everything before replayed too."""
    found = {}
    for name, trace in traces.items():
        sent = trace.column("send_time_us" if trace.header.mode == "real" else "arrival_time_us")
        known = sent >= 0
        start = sent[known].min() + (np.ptp(sent[known]) * (1 - share))
        first = int(trace.column("request_id")[known & (sent >= start)].min())
        found[f"{name}, last {share:.0%}"] = calibrate(trace, predict(model, trace), warm_up_requests=first)
    return found


def error_figures(calibration: Calibration) -> dict[str, Any]:
    """Errors of the mean and of percentiles, as fractions, and MAPE and r, by metric."""
    found: dict[str, Any] = {}
    for metric in _METRICS:
        comparison = calibration.overall.get(metric)
        if comparison is None:
            continue
        errors = {name: figure.error.value for name, figure in comparison.figures.items() if figure.error is not None}
        if comparison.mape is not None and comparison.pearson_r is not None:
            errors |= {"mape": comparison.mape.value, "pearson_r": comparison.pearson_r.value}
        found[metric] = {name: round(value, 5) for name, value in errors.items()}
    return found
