"""Plots of traces as pieces of HTML, drawn by plotly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt

from blis.errors import BlisError
from blis.metrics import ClientView, Summary
from blis.metrics.curves import Curve, Timeline, itl_curve, latency_curves, timeline
from blis.metrics.latencies import Kind
from blis.report.blocks import printable
from blis.trace import Trace
from blis.units import US_PER_MS

__all__ = ["Line", "latency_plots", "plot", "plotting_code", "time_plots"]

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")
_KINDS: tuple[tuple[Kind, str], ...] = (
    ("ttft_us", "Time to first token"),
    ("first_answer_us", "Time to the first token after the reasoning"),
    ("tpot_us", "Time per output token"),
    ("e2e_us", "End-to-end latency"),
)
_MOST_CLASSES = 7
_HEIGHT = 360


@dataclass(frozen=True, slots=True)
class Line:
    """A line: its name, points, and number, which decides the colour.

    ``dotted`` for another view of the same, or something to compare with; ``dots`` for points that aren't connected.
    """

    name: str
    x: npt.NDArray[Any]
    y: npt.NDArray[Any]
    number: int
    dotted: bool = False
    dots: bool = False


def plotting_code() -> str:
    """Return the script that draws the plots.

    Raises:
        BlisError: where plotly isn't installed.
    """
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise BlisError("plots need plotly, which isn't installed: pip install plotly") from None
    code: str = get_plotlyjs()
    return code


def latency_plots(traces: Mapping[str, tuple[Trace, Summary]]) -> Iterator[str]:
    """Yield a plot for each kind of latency: a line per trace, or of a single one also per SLO class."""
    for kind, title in _KINDS:
        if lines := _latency_lines(kind, traces):
            yield _distribution(title, lines, f"cdf-{kind}", "requests")
    gaps = {name: itl_curve(trace.itl) for name, (trace, _) in traces.items() if trace.itl is not None}
    known = {name: curve for name, curve in gaps.items() if curve is not None}
    if lines := [_cdf_line(name, curve, number) for number, (name, curve) in enumerate(known.items())]:
        yield _distribution("Time between two tokens", lines, "cdf-itl", "gaps")


def time_plots(trace: Trace, number: int) -> Iterator[str]:
    """Yield the plots of what was going on over time in trace ``number`` of the page."""
    found = timeline(trace)
    if found is None:
        return
    for name, title, unit, curves in _timelines(found):
        lines = [Line(label, found.at_s, values, place) for place, (label, values) in enumerate(curves.items())]
        layout = {"xaxis": {"title": "seconds since the start"}, "yaxis": {"title": unit, "rangemode": "tozero"}}
        yield plot(title, lines, layout, f"time-{name}-{number}")


def _timelines(found: Timeline) -> Iterator[tuple[str, str, str, dict[str, npt.NDArray[Any]]]]:
    """Yield name, title, unit and lines of each plot over time."""
    rates = {"arrivals": found.arrivals_per_s, "completions": found.completions_per_s}
    yield "rates", "Arrivals and completions", "requests/s", rates
    waiting = {} if found.waiting is None else {"waiting to be admitted": found.waiting}
    yield "load", "Requests in flight", "requests", {"in flight": found.in_flight, **waiting}
    ttft = {"p50": found.ttft_p50_us / US_PER_MS, "p99": found.ttft_p99_us / US_PER_MS}
    yield "ttft", "Time to first token, by arrival", "ms", ttft


def _latency_lines(kind: Kind, traces: Mapping[str, tuple[Trace, Summary]]) -> list[Line]:
    lines: list[Line] = []
    alone = len(traces) == 1
    for number, (name, (trace, summary)) in enumerate(traces.items()):
        curves = latency_curves(trace, kind)
        if "" in curves:
            label, server = "all" if alone else name, ", at the server" if summary.client_view else ""
            lines.append(_cdf_line(label + server, curves.pop(""), number))
            if server:
                seen = latency_curves(trace, kind, ClientView(trace.header))[""]
                lines.append(_cdf_line(f"{label}, as clients see it", seen, number, dotted=True))
        if alone and len(curves) <= _MOST_CLASSES:
            lines += [_cdf_line(label, curve, 1 + place) for place, (label, curve) in enumerate(curves.items())]
    return lines


def _cdf_line(name: str, curve: Curve, number: int, *, dotted: bool = False) -> Line:
    return Line(name, curve.x / US_PER_MS, curve.y, number, dotted)


def _distribution(title: str, lines: list[Line], name: str, what: str) -> str:
    layout = {"xaxis": {"title": "ms", "type": "log"}, "yaxis": {"title": f"share of {what}", "range": [0, 1.01]}}
    return plot(title, lines, layout, name)


def plot(title: str, lines: Sequence[Line], layout: dict[str, Any], name: str) -> str:
    """Return a plot as a piece of HTML; ``name`` is its own on the page."""
    from plotly.graph_objects import Figure

    figure = Figure([_trace(line) for line in lines])
    figure.update_layout(
        title=title,
        template="plotly_white",
        height=_HEIGHT,
        margin={"l": 60, "r": 20, "t": 45, "b": 45},
        legend={"orientation": "h", "y": -0.22},
        showlegend=True,
        hovermode="x unified" if not any(line.dots for line in lines) else "closest",
        **layout,
    )
    config = {"responsive": True, "displaylogo": False}
    text: str = figure.to_html(full_html=False, include_plotlyjs=False, div_id=name, config=config)
    return f"<div>{text}</div>\n"


def _trace(line: Line) -> Any:
    from plotly.graph_objects import Scatter, Scattergl

    facts = {"x": np.round(line.x, 6), "y": np.round(line.y, 6), "name": escape(printable(line.name))}
    colour = _COLOURS[line.number % len(_COLOURS)]
    if line.dots:
        return Scattergl(**facts, mode="markers", marker={"color": colour, "size": 4, "opacity": 0.5})
    return Scatter(**facts, mode="lines", line={"color": colour, "dash": "dot" if line.dotted else "solid"})
