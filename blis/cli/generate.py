"""``blis generate``."""

from __future__ import annotations

from typing import Annotated

import typer

from blis.cli import workload
from blis.cli.flags import takes_flags
from blis.cli.outputs import QUIET, TRACE_OUT, check_writable, trace_outputs
from blis.cli.workload_flags import WorkloadFlags
from blis.errors import BlisError

__all__ = ["app"]

_EPILOG = """\
Examples:

  blis generate my-workload.yaml --trace-out requests

  blis generate --servegen DATA --span-end 86400 --trace-out day.parquet

  blis generate --workload chatbot --rate 500 --num-requests 1000000 --trace-out many

The requests are those that blis simulate sends for the same workload and seed.
"""
_NOWHERE = "--trace-out PREFIX is needed: it says where the trace goes"

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(name="generate", epilog=_EPILOG)
@takes_flags
def generate(
    work: WorkloadFlags, trace_out: Annotated[str | None, TRACE_OUT] = None, quiet: Annotated[bool, QUIET] = False
) -> None:
    """Write a workload's requests as a trace, without simulating anything.

    The trace has every request's client, arrival time, prompt and planned output; what only a server can tell is blank.
    """
    named = workload.load(work)
    if not trace_out:
        raise BlisError(_NOWHERE)
    check_writable(trace_outputs(trace_out), [named.file])

    from blis.cli.progress import ProgressBar
    from blis.cli.results import print_report, provenance
    from blis.generation import Generated, generate_to

    notes = workload.Notes(named, quiet=quiet)
    with ProgressBar(named.spec.horizon, named.spec.num_requests, shown=not quiet, what="of arrivals") as bar:

        def show(so_far: Generated) -> None:
            bar.show(so_far.last_arrival_us, so_far.requests, so_far.requests)

        done = generate_to(trace_out, named.spec, provenance=provenance(), progress=show, warn=notes)
    if not quiet:
        from blis.report.generated import report

        print_report(report(done, {"Workload": named.name, "Trace": trace_out}))
