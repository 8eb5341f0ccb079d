"""``blis metrics``."""

from __future__ import annotations

from typing import Annotated

import typer

from blis.cli.flags import takes_flags
from blis.cli.outputs import SummaryFlags, check_writable, outputs
from blis.errors import BlisError

__all__ = ["app"]

_EPILOG = """\
Examples:

  blis metrics run

  blis metrics run.csv --json | jq .overall.ttft_us.p99
"""

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(name="metrics", epilog=_EPILOG)
@takes_flags
def metrics(
    trace: Annotated[str, typer.Argument(metavar="TRACE", help="A trace: its prefix, header or data file.")],
    output: SummaryFlags,
) -> None:
    """Report the latencies of a trace that was written before, simulated or observed."""
    from blis.cli.results import give_out
    from blis.trace import Trace
    from blis.trace.files import found

    files = found(trace)
    check_writable(outputs(output), files.paths)
    read = Trace.read(trace)
    if read.header.mode == "generated":
        raise BlisError(
            f"{trace}: its requests were generated and never sent, so there are no latencies; 'blis describe' says what"
            " they are like, 'blis replay' sends them"
        )
    give_out(read, output, {"Workload": trace})
