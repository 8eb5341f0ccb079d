"""Prediction intervals as a table."""

from __future__ import annotations

from blis.calibration.uncertainty import FIGURES, Interval, Intervals
from blis.report.blocks import Grid, Row
from blis.report.numbers import NOTHING, milliseconds, per_second, plural, share

__all__ = ["prediction_intervals"]

_LATENCIES = {"ttft_us": "TTFT, ms", "itl_us": "ITL, ms", "tpot_us": "TPOT, ms", "e2e_us": "E2E, ms"}
_RATES = {"requests_per_s": "requests/s", "output_tokens_per_s": "output tokens/s"}


def prediction_intervals(found: Intervals) -> Grid:
    """Return the intervals of each latency's figures, and of the throughput's in the first column."""
    rows = [
        Row((label, *(_latency(found.figures[metric].get(figure)) for figure in FIGURES)))
        for metric, label in _LATENCIES.items()
        if metric in found.figures
    ]
    for name, label in _RATES.items():
        rate = found.figures.get("throughput", {}).get(name)
        if rate is not None and rate.low is not None:
            blank = [""] * (len(FIGURES) - 1)
            rows.append(Row((label, f"{per_second(rate.low)} .. {per_second(rate.high)}", *blank)))
    return Grid(("95 % prediction interval", *FIGURES), tuple(rows), (_contents(found),))


def _latency(interval: Interval | None) -> str:
    if interval is None or interval.low is None:
        return NOTHING
    return f"{milliseconds(interval.low)} .. {milliseconds(interval.high)}"


def _contents(found: Intervals) -> str:
    inside = "how sure the coefficients are"
    if found.drift is None:
        inside += "; how much the server's pace drifts from run to run isn't known, and not in it"
    else:
        inside += f", and that the server's pace drifts by {share(found.drift)} from run to run"
    return f"Of {plural(found.draws, 'draw')}, on the same workload: {inside}."
