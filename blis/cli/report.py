"""``blis report``."""

from __future__ import annotations

from typing import Annotated

import typer

from blis.cli.outputs import check_writable

__all__ = ["app"]

_EPILOG = """\
Examples:

  blis report run -o run.html

  blis report before.csv after.csv -o compared.html
"""

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(name="report", epilog=_EPILOG)
def report(
    traces: Annotated[
        list[str],
        typer.Argument(metavar="TRACE...", help="Traces, simulated or observed: prefix, header or data file of each."),
    ],
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="The HTML file to write.")],
) -> None:
    """Write a page about one trace, or several side by side: tables, and plots that can be zoomed.

    The page has all it needs inside, so that it can be sent and kept. It needs plotly (pip install plotly).
    """
    from pathlib import Path

    from blis.cli.results import write_file
    from blis.metrics import summarize
    from blis.report.html import html_report
    from blis.report.plots import plotting_code
    from blis.trace import Trace
    from blis.trace.files import found

    plotting_code()
    files = [found(trace) for trace in dict.fromkeys(traces)]
    inputs = [path for each in files for path in (each.header, each.data, each.itl)]
    check_writable({f"--output {output}": [Path(output)]}, inputs)
    read = {name: Trace.read(name) for name in dict.fromkeys(traces)}
    page = html_report({name: (trace, summarize(trace)) for name, trace in read.items()})
    write_file(Path(output), page.encode())
