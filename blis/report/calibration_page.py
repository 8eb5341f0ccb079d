"""A calibration as one HTML file: its report, and for each latency plots of distributions, pairs and errors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from blis.calibration import Calibration, Comparison
from blis.calibration.samples import Sample
from blis.report.blocks import Block
from blis.report.calibration import LEVELS, TITLES
from blis.report.numbers import count
from blis.report.page import blocks_html, page
from blis.report.plots import Line, plot
from blis.units import US_PER_MS

__all__ = ["calibration_page"]

Floats = npt.NDArray[np.float64]

_REAL, _SIMULATED, _REFERENCE = 0, 1, 7
_MS = {"xaxis": {"title": "real, ms"}, "yaxis": {"title": "simulated, ms"}}


def calibration_page(calibration: Calibration, blocks: Sequence[Block]) -> str:
    """Return a page with the ``blocks`` of a calibration's report and its plots; equal calibrations give equal pages.

    Raises:
        BlisError: the library for plots isn't installed.
    """
    parts = []
    for name, sample in calibration.samples.items():
        if calibration.overall[name].n:
            parts.append(f'<h2>{TITLES[name]}</h2>\n<div class="plots">\n')
            parts += [*_plots(name, calibration.overall[name], sample), "</div>\n"]
    if calibration.series:
        parts.append('<h2>Servers over time</h2>\n<div class="plots">\n')
        parts += [*_levels(calibration), "</div>\n"]
    names = [run.path for run in (calibration.real, calibration.simulated) if run.path]
    return page(f"blis calibrate {' '.join(names)}".rstrip(), blocks_html(blocks) + "".join(parts))


def _levels(calibration: Calibration) -> Iterator[str]:
    for name, series in calibration.series.items():
        unit, scale = ("%", 100) if name == "kv_usage" else ("requests", 1)
        sides = [
            Line("real", series.times_s, scale * series.real, _REAL),
            Line("simulated", series.times_s, scale * series.simulated, _SIMULATED),
        ]
        layout = {"xaxis": {"title": "seconds since the start"}, "yaxis": {"title": unit, "rangemode": "tozero"}}
        yield plot(LEVELS[name], sides, layout, f"level-{name}")


def _plots(name: str, comparison: Comparison, sample: Sample) -> Iterator[str]:
    assert comparison.qq is not None
    real, simulated = (np.array(side) / US_PER_MS for side in (comparison.qq.real, comparison.qq.simulated))
    shares = (np.arange(real.size) + 0.5) / real.size
    sides = [Line("real", real, shares, _REAL), Line("simulated", simulated, shares, _SIMULATED)]
    layout = {"xaxis": {"title": "ms"}, "yaxis": {"title": "share of requests", "range": [0, 1.01]}}
    yield plot("Distribution", sides, layout, f"cdf-{name}")
    yield plot("Quantiles", _against("quantile", real, simulated), _MS, f"qq-{name}")
    shown = "" if sample.real.size == sample.n else f" ({count(sample.real.size)} of {count(sample.n)})"
    pairs = _against("request", sample.real / US_PER_MS, sample.simulated / US_PER_MS)
    yield plot(f"Pairs{shown}", pairs, _MS, f"pairs-{name}")
    known = sample.real > 0
    sent_s, errors = sample.sent_s[known], 100 * (sample.simulated[known] / sample.real[known] - 1)
    if errors.size:
        layout = {"xaxis": {"title": "sent, seconds since the start"}, "yaxis": {"title": "simulated over real, %"}}
        right = Line("no error", sent_s[[0, -1]], np.zeros(2), _REFERENCE, dotted=True)
        yield plot(
            "Error over time", [Line("request", sent_s, errors, _SIMULATED, dots=True), right], layout, f"error-{name}"
        )


def _against(what: str, real: Floats, simulated: Floats) -> list[Line]:
    """Simulated values over real ones, and where they would be equal."""
    ends = np.array([min(real.min(), simulated.min()), max(real.max(), simulated.max())])
    return [Line(what, real, simulated, _SIMULATED, dots=True), Line("equal", ends, ends, _REFERENCE, dotted=True)]
