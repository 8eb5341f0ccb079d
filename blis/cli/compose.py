"""``blis compose``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from blis.cli.convert import OUT, check_out, give_spec
from blis.cli.kinds import refuse_other
from blis.cli.streams import warn
from blis.errors import BlisError, SpecError

__all__ = ["app"]

_EPILOG = """\
Example:

  blis compose chat.yaml reports.yaml --out both.yaml
"""

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(name="compose", epilog=_EPILOG)
def compose(
    files: Annotated[list[str], typer.Argument(metavar="SPEC...", help="Workload specs, two or more.")],
    out: Annotated[str | None, OUT] = None,
) -> None:
    """Write one workload that sends what several send together.

    Every client keeps its own rate. Clients and prefix groups of one name in several files stay apart: they get their
    file's name before their own.
    """
    if len(files) < 2:
        raise BlisError(f"{files[0]} alone is no composition; give two workloads or more")
    check_out(out, files)

    from blis.convert import compose as composed
    from blis.spec.workload import load_workload

    workloads = {}
    for name, file in _names(files).items():
        try:
            workloads[name] = load_workload(file)
        except SpecError:
            refuse_other(file, "workload")
            raise
        for doubt in workloads[name].warnings:
            warn(doubt)
    give_spec(composed(workloads, warn), out, f"{', '.join(files[:-1])} and {files[-1]} together.")


def _names(files: list[str]) -> dict[str, str]:
    """Return the files by the names their clients may get: the files' own, told apart where they are alike."""
    named: dict[str, str] = {}
    for file in files:
        name, number = Path(file).stem, 1
        while (unique := name if number == 1 else f"{name}-{number}") in named:
            number += 1
        named[unique] = file
    return named
