"""``blis trace``: commands about traces."""

from __future__ import annotations

from typing import Annotated

import typer

from blis.cli.outputs import check_writable, trace_outputs
from blis.cli.streams import write_out

__all__ = ["app"]

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
