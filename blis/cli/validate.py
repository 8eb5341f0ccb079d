"""``blis validate``."""

from __future__ import annotations

from typing import Annotated

import typer

from blis.cli.exits import EX_USAGE, explain
from blis.cli.kinds import kind_of
from blis.cli.streams import warn, write_out
from blis.errors import BlisError

__all__ = ["app"]

_EPILOG = """\
Examples:

  blis validate my-workload.yaml cluster.yaml run.csv

  blis validate specs/*.yaml specs/deployments/*.yaml
"""

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(name="validate", epilog=_EPILOG)
def validate(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="Workload specs, deployment specs, server configs, and traces (prefix, header or data; any format).",
        ),
    ],
) -> None:
    """Check specs and traces without running anything, and list all their problems.

    Each sound file gets a line that says "ok" and what it is; problems go to standard error. The exit code is 2 if any
    file has one.
    """
    checks = {"workload": _workload, "deployment": _deployment, "server": _server, "trace": _trace}
    wrong = False
    for file in files:
        try:
            # What can't be told is checked as a workload, whose errors say what is missing.
            found = checks[kind_of(file) or "workload"](file)
        except BlisError as error:
            explain(error)
            wrong = True
        else:
            write_out(f"{file}: ok, {found}\n")
    if wrong:
        raise typer.Exit(EX_USAGE)


def _workload(file: str) -> str:
    from blis.clients.build import sources
    from blis.report.numbers import plural
    from blis.spec.workload import load_workload

    spec = load_workload(file)
    for doubt in spec.warnings:
        warn(doubt)
    # ServeGen data is read too, as far as a run would.
    clients = sources(spec, spec.horizon, lambda text: warn(f"{file}: {text}"))
    return f"a workload of {plural(len(clients), 'client')}"


def _deployment(file: str) -> str:
    from blis.report.numbers import plural
    from blis.spec.deployment import load_deployment

    return f"a deployment of {plural(len(load_deployment(file).resolve()), 'instance')}"


def _server(file: str) -> str:
    from blis.server.address import Address
    from blis.spec.server import load_server

    return f"the config of the server at {Address.parse(load_server(file).url)}"


def _trace(file: str) -> str:
    from blis.report.numbers import plural
    from blis.trace.foreign import read_any

    trace = read_any(file)
    return f"a {trace.header.mode} trace of {plural(len(trace), 'request')}"
