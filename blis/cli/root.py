"""The program as a whole: its commands by name, and its own flags."""

from __future__ import annotations

from typing import Annotated

import typer

from blis.cli.group import Commands
from blis.cli.streams import write_out

__all__ = ["app"]

_HELP = """\
Predict the latencies of LLM inference: a workload, a cluster of vLLM-like instances, and what the clients see.

Workloads and deployments are YAML files, flags or both.
"""
_EPILOG = """\
First steps:

  blis simulate --workload chatbot --rate 20 --num-requests 1000

  blis simulate my-workload.yaml --num-instances 4 --trace-out run

  blis metrics run
"""

app = typer.Typer(
    cls=Commands,
    help=_HELP,
    epilog=_EPILOG,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _version(asked: bool) -> None:
    if asked:
        from blis import __version__

        write_out(f"blis {__version__}\n")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool,
        typer.Option("--version", metavar="", callback=_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    pass
