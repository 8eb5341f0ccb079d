"""A report as one HTML file: tables, and plots that can be zoomed."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from blis.metrics import Summary
from blis.report.blocks import printable
from blis.report.comparison import comparison
from blis.report.page import block_html, blocks_html, page
from blis.report.plots import latency_plots, time_plots
from blis.report.summary import report
from blis.trace import Trace

__all__ = ["html_report"]


def html_report(traces: Mapping[str, tuple[Trace, Summary]]) -> str:
    """Return a page about one trace or several, by name: equal traces give equal pages.

    Raises:
        BlisError: the library for plots isn't installed.
    """
    names = [printable(name) for name in traces]
    parts: list[str] = []
    if len(traces) > 1:
        figures = comparison({name: summary for name, (_, summary) in traces.items()})
        parts += ["<h2>Side by side</h2>\n", block_html(figures)]
    parts.append(f'<h2>Latencies</h2>\n<div class="plots">\n{"".join(latency_plots(traces))}</div>\n')
    for number, (name, (trace, summary)) in enumerate(traces.items()):
        parts.append(f"<h2>{escape(printable(name))}</h2>\n")
        parts.append(blocks_html(report(trace.header, summary, {"Workload": name})))
        parts.append(f'<div class="plots">\n{"".join(time_plots(trace, number))}</div>\n')
    return page(f"blis: {', '.join(names)}", "".join(parts))
