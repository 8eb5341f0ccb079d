"""``blis trace``: commands about traces."""

from __future__ import annotations

from typing import Annotated

import typer

from blis.cli.outputs import check_writable, trace_outputs
from blis.cli.streams import warn, write_out

__all__ = ["app"]

_RECOVER_EPILOG = """\
Examples:

  blis trace recover run.journal.jsonl

  blis trace recover run.journal.jsonl -o saved/run.parquet
"""

_CONVERT_EPILOG = """\
Examples:

  blis trace convert AzureLLMInferenceTrace_conv.csv azure

  blis trace convert conversation_trace.jsonl mooncake.parquet
"""

app = typer.Typer(add_completion=False, rich_markup_mode="rich", no_args_is_help=True)


@app.callback()
def trace() -> None:
    """Convert and repair traces."""


@app.command(name="convert", epilog=_CONVERT_EPILOG)
def convert(
    source: Annotated[
        str, typer.Argument(metavar="IN", help="A trace: its prefix, header or data, or a file of another format.")
    ],
    prefix: Annotated[
        str,
        typer.Argument(metavar="OUT", help="What to write: OUT.csv, its header OUT.yaml and more; or OUT.parquet."),
    ],
) -> None:
    """Write a trace of another format, or an older or CSV one of blis, as a trace of blis.

    Formats are told by their columns: Azure LLM inference traces, BurstGPT, Splitwise/Vidur CSV, Mooncake JSONL, and
    CSV with lists of token ids.
    """
    from blis.cli.replay import inputs
    from blis.cli.results import provenance
    from blis.report.numbers import plural
    from blis.trace.foreign import read_any

    check_writable(trace_outputs(prefix, "OUT"), inputs(source))
    converted = read_any(source)
    converted.write(prefix, provenance())
    shared = f", prompts of {len(converted.segments):,} in segments" if converted.segments else ""
    write_out(f"{prefix}: a {converted.header.mode} trace of {plural(len(converted), 'request')}{shared}\n")


@app.command(name="recover", epilog=_RECOVER_EPILOG)
def recover(
    journal: Annotated[
        str,
        typer.Argument(metavar="JOURNAL", help="What an observed run has left: PREFIX.journal.jsonl, or its PREFIX."),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="Where to write the trace: OUT.csv and more, or OUT.parquet.",
            show_default="PREFIX, where the run would have written it",
        ),
    ] = None,
) -> None:
    """Make a trace of the requests that had ended when an observed run was killed.

    The journal stays as it is. It may also be that of a run that is still going on.
    """
    from pathlib import Path

    from blis.cli.results import provenance
    from blis.report.numbers import plural
    from blis.server.recovery import recover as recovered
    from blis.trace.files import journal_of, named

    path = Path(journal) if Path(journal).is_file() else journal_of(journal)
    prefix = str(named(path).data) if output is None else output
    check_writable(trace_outputs(prefix, "OUT"), [path])
    trace, doubts = recovered(path)
    for doubt in doubts:
        warn(doubt)
    files = trace.write(prefix, provenance())
    write_out(f"{files.data}: {plural(len(trace), 'request')}; {path} is still there, and can be removed\n")
