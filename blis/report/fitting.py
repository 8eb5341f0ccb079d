"""A fitted latency model as a report: what it predicts first, then what it is."""

from __future__ import annotations

from collections.abc import Mapping

from blis.calibration.fit import Fit
from blis.calibration.results import Calibration
from blis.report.blocks import Block, Facts, Grid, Mood, Row
from blis.report.numbers import NOTHING, count, number, plural, share

__all__ = ["report"]

_METRICS = {"ttft_us": "TTFT", "e2e_us": "E2E", "tpot_us": "TPOT", "itl_us": "ITL"}
_FIGURES = ("mean", "p50", "p90", "p99")
_SCHEDULING = {True: "asynchronous", False: "synchronous", None: "undecided"}
_NOTE = "Errors are (predicted - observed) / observed. MAPE and r go by request."


def report(model: Fit, held_out: Mapping[str, Calibration], fitted: Mapping[str, Calibration]) -> list[Block]:
    """Return a fit's report; ``held_out`` and ``fitted`` are predictions of traces it didn't and did see, by name."""
    blocks: list[Block] = []
    if held_out:
        blocks.append(_errors("Held out", held_out))
    if fitted:
        blocks.append(_errors("Fitted to", fitted))
    blocks += [_coefficients(model), _facts(model)]
    if model.warnings:
        blocks.append(Facts("Warnings", tuple((f"{at}.", text) for at, text in enumerate(model.warnings, 1))))
    return blocks


def _errors(title: str, predictions: Mapping[str, Calibration]) -> Grid:
    rows: list[Row] = []
    for name, calibration in predictions.items():
        rows.append(Row((name,)))
        for metric, label in _METRICS.items():
            found = calibration.overall.get(metric)
            if found is None:
                continue
            figures = [found.figures[figure].error if figure in found.figures else None for figure in _FIGURES]
            mape = NOTHING if found.mape is None else share(found.mape.value)
            r = NOTHING if found.pearson_r is None else f"{found.pearson_r.value:.3f}"
            errors = [NOTHING if error is None else f"{error.value:+.1%}" for error in figures]
            rows.append(Row((f"  {label}", *errors, mape, r, found.rating or NOTHING), _mood(calibration, metric)))
    return Grid((title, *_FIGURES, "MAPE", "r", "rating"), tuple(rows), (_NOTE,))


def _mood(calibration: Calibration, metric: str) -> Mood:
    rating = calibration.overall[metric].rating
    return "" if rating is None else {"excellent": "good", "good": "good", "fair": "doubtful"}.get(rating, "bad")  # type: ignore[return-value]


def _coefficients(model: Fit) -> Grid:
    estimate = model.estimate
    rows = [Row(("overhead of a request, us", number(model.alpha[0]), _plus_minus(model.overhead.error_us), NOTHING))]
    for at, (name, value) in enumerate(zip(estimate.names, model.beta, strict=True)):
        low, high = estimate.interval(at)
        vif = f"{estimate.vif[at]:.1f}" if at else NOTHING
        rows.append(Row((name, number(value), f"{number(low)} .. {number(high)}" if high > low else "at 0", vif)))
    return Grid(("Coefficient", "value", "95 % interval", "VIF"), tuple(rows))


def _plus_minus(error: float) -> str:
    return f"± {number(1.96 * error)}"


def _facts(model: Fit) -> Facts:
    estimate = model.estimate
    seen = f"{plural(model.requests, 'request')}, by {model.method.replace('-', ' ')}"
    if model.steps:
        seen += f": {plural(model.steps, 'step')} seen, {count(estimate.used)} used"
    facts = [
        ("Data", seen),
        ("Step durations", f"r² {estimate.r2:.4f}, residuals ± {share(estimate.scale)}"),
        ("Condition number", number(estimate.condition)),
        ("Overhead", f"from {plural(model.overhead.requests, 'request')} ({model.overhead.source})"),
    ]
    if model.knee is not None:
        facts.append(("Knee", f"a decoding sequence costs more beyond {number(model.knee)} of them"))
    if model.scheduling is not None:
        found = model.scheduling
        word = _SCHEDULING[found.asynchronous]
        facts.append(
            (
                "Scheduling",
                f"{word}, log likelihood ratio {found.log_ratio:+.0f} over {plural(found.requests, 'request')}",
            )
        )
    if model.on_time is not None:
        facts.append(("Steps per token", f"{share(model.on_time)} of requests have one step per token"))
    facts += [
        (f"Range: {name.replace('_', ' ')}", f"{number(a)} to {number(b)}") for name, (a, b) in model.ranges.items()
    ]
    return Facts("Fit", tuple(facts))
