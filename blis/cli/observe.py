"""``blis observe``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer
from typer import Option

from blis.cli import server_flags, workload
from blis.cli.exits import EX_INTERRUPTED, EX_MISSED
from blis.cli.flags import micros, takes_flags
from blis.cli.outputs import OutputFlags, check_writable, outputs
from blis.cli.server_flags import ServerFlags
from blis.cli.workload_flags import WorkloadFlags
from blis.errors import BlisError, Problem, SpecError, UnwrittenError

__all__ = ["app"]

_RUN = "Run"
_EPILOG = """\
Examples:

  blis observe my-workload.yaml --server-url http://localhost:8000 --trace-out run

  blis observe --workload chatbot --rate 5 --horizon 60s --server-url http://localhost:8000 --api-type chat

  blis observe my-workload.yaml --server-config server.yaml --connections 50 --warm-up-requests 20 --trace-out run

The exit code is 0 if the share of requests that failed is within --max-error-rate, otherwise 3. Ctrl-C stops the
sending and waits for what is in flight; a second one gives that up. Either way the report and the trace are written.
While the run goes on, PREFIX.journal.jsonl has every request that has ended: 'blis trace recover' makes a trace of it
if the run dies.
"""

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFlags:
    """How a run goes and ends."""

    warm_up_requests: Annotated[
        int, Option(metavar="N", help="Leave the first N requests out of latencies.", rich_help_panel=_RUN)
    ] = 0
    max_error_rate: Annotated[
        float,
        Option(metavar="SHARE", help="Share of failed requests up to which the exit code is 0.", rich_help_panel=_RUN),
    ] = 0.05
    drain: Annotated[
        str,
        Option(
            metavar="TIME", help="After Ctrl-C, wait this long for what is in flight: 30s, 2min.", rich_help_panel=_RUN
        ),
    ] = "30s"
    record_itl: Annotated[
        bool,
        Option(
            "--record-itl",
            metavar="",
            help="With --trace-out, keep the time of every chunk: PREFIX.chunks.csv, for ITL by request and blis fit.",
            rich_help_panel=_RUN,
        ),
    ] = False
    cut_at_horizon: Annotated[
        bool,
        Option(
            "--cut-at-horizon",
            metavar="",
            help="Give up at the horizon what is in flight then, as incomplete.",
            rich_help_panel=_RUN,
        ),
    ] = False


@app.command(name="observe", epilog=_EPILOG)
@takes_flags
def observe(work: WorkloadFlags, server: ServerFlags, flags: RunFlags, output: OutputFlags) -> None:
    """Send a workload to a real OpenAI-compatible server in real time, and report its latencies.

    Every request that was sent ends in the trace, with its times and how it ended. Requests leave when they are due,
    whatever the server does; how late they left is reported.
    """
    drain_us = _checked(flags)
    named = workload.load(work)
    spec = server_flags.load(server)
    if flags.cut_at_horizon and named.spec.horizon is None:
        raise BlisError("--cut-at-horizon: the workload has no horizon to cut at; give --horizon")
    if flags.record_itl and output.trace_out is None:
        raise BlisError("--record-itl: the times go beside a trace; give --trace-out")
    check_writable(outputs(output), [named.file, server.server_config])

    from blis.cli.results import give_out, provenance
    from blis.cli.standing import StatusLine
    from blis.observation import observe as run

    unwritten: UnwrittenError | None = None
    notes = workload.Notes(named, quiet=output.quiet)
    with StatusLine(shown=not output.quiet) as line:

        def note(text: str) -> None:
            line.clear()
            notes(text)

        try:
            trace = run(
                named.spec,
                spec,
                warm_up_requests=flags.warm_up_requests,
                cut_at_horizon=flags.cut_at_horizon,
                drain_us=drain_us,
                trace_out=output.trace_out,
                provenance=provenance(),
                record_itl=flags.record_itl,
                progress=line.callback,
                warn=note,
            )
        except UnwrittenError as error:
            unwritten, trace = error, error.trace
    for reason in trace.header.run["load"].get("saturation", ()):
        notes(f"this machine, not the server, shaped the load: {reason}; see 'Load' in the report")
    give_out(trace, output, {"Workload": named.name}, warnings=notes.texts, quiet=output.quiet)
    if unwritten is not None:
        raise unwritten
    if trace.header.run["interrupted"]:
        raise typer.Exit(EX_INTERRUPTED)
    if trace.header.run["error_share"] > flags.max_error_rate:
        raise typer.Exit(EX_MISSED)


def _checked(flags: RunFlags) -> int:
    """Check the flags that nobody else does, and return the time to drain in microseconds."""
    from blis.spec.fields import parse_us

    problems = []
    if not 0 <= flags.max_error_rate <= 1:
        problems.append(("--max-error-rate", f"must be a share from 0 to 1, found {flags.max_error_rate:g}"))
    if flags.warm_up_requests < 0:
        problems.append(("--warm-up-requests", f"must be 0 or more, found {flags.warm_up_requests}"))
    drain_us = 0
    try:
        drain_us = parse_us(micros(flags.drain))
    except ValueError as error:
        problems.append(("--drain", str(error)))
    if problems:
        raise SpecError([Problem("command line", None, name, text) for name, text in problems])
    return drain_us
