"""A report as one HTML file: tables, and plots that can be zoomed, with everything they need inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from string import Template

from blis.metrics import Summary
from blis.report.blocks import Block, Facts, Grid, Row, printable
from blis.report.comparison import comparison
from blis.report.plots import latency_plots, plotting_code, time_plots
from blis.report.summary import report
from blis.trace import Trace

__all__ = ["html_report"]

_PAGE = Template("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; color: #222; max-width: 1200px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.5em; } h2 { font-size: 1.25em; margin-top: 2em; border-bottom: 1px solid #ccc; }
h3 { font-size: 1em; }
table { border-collapse: collapse; margin: 0.5em 0 1em; }
th { text-align: right; padding: 0.15em 0.8em; border-bottom: 1px solid #bbb; vertical-align: bottom; }
td { text-align: right; padding: 0.1em 0.8em; font-variant-numeric: tabular-nums; }
th:first-child, td:first-child, table.facts td { text-align: left; }
td.group { font-weight: 600; padding-top: 0.5em; }
table.facts td:first-child { color: #666; white-space: nowrap; vertical-align: top; }
tr.good { color: #17692c; } tr.doubtful { color: #8a5a00; } tr.bad { color: #b00020; font-weight: 600; }
p.note { color: #666; margin: 0.1em 0; }
.tables { display: flex; flex-wrap: wrap; gap: 0 3em; align-items: flex-start; } .wide { overflow-x: auto; }
.plots { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 1em; }
@media (max-width: 900px) { .plots { grid-template-columns: minmax(0, 1fr); } }
</style>
<script>$code</script>
</head>
<body>
<h1>$title</h1>
$body</body>
</html>
""")


def html_report(traces: Mapping[str, tuple[Trace, Summary]]) -> str:
    """Return a page about one trace or several, by name: equal traces give equal pages.

    Raises:
        BlisError: the library for plots isn't installed.
    """
    code = plotting_code()
    names = [printable(name) for name in traces]
    parts: list[str] = []
    if len(traces) > 1:
        figures = comparison({name: summary for name, (_, summary) in traces.items()})
        parts += ["<h2>Side by side</h2>\n", _block(figures)]
    parts.append(f'<h2>Latencies</h2>\n<div class="plots">\n{"".join(latency_plots(traces))}</div>\n')
    for number, (name, (trace, summary)) in enumerate(traces.items()):
        parts.append(f"<h2>{escape(printable(name))}</h2>\n")
        parts.append(_blocks(report(trace.header, summary, {"Workload": name})))
        parts.append(f'<div class="plots">\n{"".join(time_plots(trace, number))}</div>\n')
    return _PAGE.substitute(title=escape(f"blis: {', '.join(names)}"), code=code, body="".join(parts))


def _blocks(blocks: Sequence[Block]) -> str:
    return f'<div class="tables">\n{"".join(_block(block) for block in blocks)}</div>\n'


def _block(block: Block) -> str:
    return _facts(block) if isinstance(block, Facts) else _grid(block)


def _facts(block: Facts) -> str:
    rows = "".join(f"<tr><td>{escape(label)}</td><td>{escape(text)}</td></tr>\n" for label, text in block.facts)
    return f'<div class="wide"><h3>{escape(block.title)}</h3>\n<table class="facts">\n{rows}</table></div>\n'


def _grid(block: Grid) -> str:
    head = "".join(f"<th>{escape(title)}</th>" for title in block.head)
    rows = "".join(_row(row, len(block.head)) for row in block.rows)
    notes = "".join(f'<p class="note">{escape(note)}</p>\n' for note in block.notes)
    return f'<div class="wide"><table>\n<tr>{head}</tr>\n{rows}</table>\n{notes}</div>\n'


def _row(row: Row, columns: int) -> str:
    if len(row.cells) == 1:
        return f'<tr><td class="group" colspan="{columns}">{escape(row.cells[0])}</td></tr>\n'
    cells = "".join(f"<td>{escape(cell)}</td>" for cell in row.cells)
    return f'<tr class="{row.mood}">{cells}</tr>\n' if row.mood else f"<tr>{cells}</tr>\n"
