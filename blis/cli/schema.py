"""``blis schema``."""

from __future__ import annotations

from typing import Annotated

import typer

from blis.cli.streams import write_out
from blis.errors import BlisError
from blis.spec.words import did_you_mean, listed, shown

__all__ = ["app"]

_EPILOG = """\
Examples:

  blis schema workload > workload.schema.json

An editor with a YAML language server then completes and checks a file that starts with the line

  # yaml-language-server: $schema=workload.schema.json
"""

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(name="schema", epilog=_EPILOG)
def schema(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="The kind of file: workload, deployment or server.")],
) -> None:
    """Print the JSON schema of a kind of spec, for editors and other programs."""
    from blis.report.machine import to_json
    from blis.spec.schema import deployment_schema, server_schema, workload_schema

    kinds = {"workload": workload_schema, "deployment": deployment_schema, "server": server_schema}
    if kind not in kinds:
        raise BlisError(f"schema: unknown kind {shown(kind)}{did_you_mean(kind, kinds)}; allowed: {listed(kinds)}")
    write_out(to_json(kinds[kind]()).decode())
