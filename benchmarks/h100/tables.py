"""Errors as text and as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from measurements import Cell, Experiment

from blis.calibration.moments import MomentFit

__all__ = ["HEADLINES", "cell_table", "coefficient_table", "errors", "markdown", "summary_table", "text"]

HEADLINES = ("e2e_mean", "e2e_p90", "ttft_mean", "ttft_p90", "itl_mean")
_REPORTED = ("e2e_p50", "e2e_p99", "ttft_p50", "ttft_p99")
_TITLES = {
    "e2e_mean": "E2E mean", "e2e_p50": "E2E p50", "e2e_p90": "E2E p90", "e2e_p99": "E2E p99", "ttft_mean": "TTFT mean",
    "ttft_p50": "TTFT p50", "ttft_p90": "TTFT p90", "ttft_p99": "TTFT p99", "itl_mean": "ITL mean",
}  # fmt: skip

Table = list[list[str]]
"""Rows of cells, the head first."""


def errors(
    experiments: Mapping[str, Experiment], predictions: Mapping[Cell, Mapping[str, float]], moment: str
) -> list[float]:
    """Return 100 * (predicted - measured) / measured of each predicted cell."""
    found = []
    for (name, stage), predicted in predictions.items():
        measured = experiments[name].stages[stage].measured
        assert measured is not None, f"{name}, stage {stage} wasn't measured"
        found.append(100 * (predicted[moment] / measured[moment] - 1))
    return found


def summary_table(
    experiments: Mapping[str, Experiment], ways: Mapping[str, Mapping[Cell, Mapping[str, float]]]
) -> Table:
    """One row for each way to predict: median (mean) absolute error of each moment over its cells, in per cent."""
    table = [["median (mean) error, %", *(_TITLES[moment] for moment in (*HEADLINES, *_REPORTED))]]
    for way, predictions in ways.items():
        row = [way]
        for moment in (*HEADLINES, *_REPORTED):
            if any(moment not in predicted for predicted in predictions.values()):
                row.append("")
                continue
            sizes = [abs(error) for error in errors(experiments, predictions, moment)]
            row.append(f"{statistics.median(sizes):.1f} ({statistics.fmean(sizes):.1f})")
        table.append(row)
    return table


def cell_table(experiments: Mapping[str, Experiment], predictions: Mapping[Cell, Mapping[str, float]]) -> Table:
    """One row for each cell: its signed errors in per cent, and the measured means they refer to."""
    table = [["error of each cell, %", *(_TITLES[m] for m in HEADLINES), "E2E ms", "TTFT ms", "ITL ms"]]
    signed = [errors(experiments, predictions, moment) for moment in HEADLINES]
    for index, (name, stage) in enumerate(predictions):
        measured = experiments[name].stages[stage].measured or {}
        rate = experiments[name].stages[stage].rate
        row = [f"{experiments[name].title}, {rate:g}/s", *(f"{column[index]:+.1f}" for column in signed)]
        row += [f"{measured['e2e_mean']:.0f}", f"{measured['ttft_mean']:.1f}", f"{measured['itl_mean']:.2f}"]
        table.append(row)
    return table


def coefficient_table(fit: MomentFit) -> Table:
    """One row for each coefficient: prior, fitted value, both with standard deviations, and what was learned."""
    table = [["coefficient", "prior", "fitted", "learned"]]
    table += [
        [
            each.name,
            f"{each.prior:g} ± {each.spread:g}",
            f"{fit.values[each.name]:g} ± {fit.deviation(each.name):.2g}",
            f"{max(0.0, fit.learned(each.name)):.0%}",
        ]
        for each in fit.parameters
    ]
    return table


def text(table: Table) -> str:
    """Align a table's columns, the first to the left."""
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = []
    for row in table:
        first, *others = (
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join([first, *others]).rstrip())
    return "\n".join(lines) + "\n"


def markdown(table: Table) -> str:
    """Return a table as Markdown."""
    lines: Sequence[Sequence[str]] = [table[0], ["---", *["---:"] * (len(table[0]) - 1)], *table[1:]]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)
