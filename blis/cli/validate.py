"""``blis validate``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from blis.cli.exits import EX_USAGE, explain
from blis.cli.streams import warn, write_out
from blis.errors import BlisError

__all__ = ["app"]

_EPILOG = """\
Examples:

  blis validate my-workload.yaml cluster.yaml run.csv
"""
_SPECS = (".yaml", ".yml", ".json")

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(name="validate", epilog=_EPILOG)
def validate(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Workloads, deployments and traces.")],
) -> None:
    """Check workload specs, deployment specs and traces, and list all their problems.

    Says "ok" and what it is for each sound file. The exit code is 2 if any has a problem.
    """
    wrong = 0
    for file in files:
        try:
            what = _check(file)
        except BlisError as error:
            wrong = explain(error)
        else:
            write_out(f"{file}: ok, {what}\n")
    if wrong:
        raise typer.Exit(EX_USAGE)


def _check(file: str) -> str:
    """Check one file and say what it is."""
    kinds: dict[str, Callable[[str], str]] = {"trace": _trace, "workload": _workload, "deployment": _deployment}
    return kinds[_kind(file)](file)


def _kind(file: str) -> str:
    path = Path(file)
    if path.suffix.lower() not in _SPECS and (path.suffix in (".csv", ".parquet") or not path.exists()):
        return "trace"
    try:
        data = _data(path)
    except (OSError, ValueError, BlisError):
        # Whoever reads it as a workload explains why it can't be read.
        return "workload"
    if "trace_version" in data:
        return "trace"
    from blis.spec.deployment import DeploymentSpec
    from blis.spec.workload import WorkloadSpec

    keys = data.keys() - {"version"}
    workload, deployment = (len(keys & spec.model_fields.keys()) for spec in (WorkloadSpec, DeploymentSpec))
    return "deployment" if deployment > workload or not keys & {"clients", "servegen_data"} and str(data.get("version")) == "1" else "workload"


def _data(path: Path) -> Mapping[str, Any]:
    from blis.spec.strict import load_yaml

    data, _ = load_yaml(path.read_text(encoding="utf-8-sig"), str(path), [])
    return data if isinstance(data, Mapping) else {}


def _trace(file: str) -> str:
    from blis.report.numbers import plural
    from blis.trace import Trace

    trace = Trace.read(file)
    return f"a {trace.header.mode} trace of {plural(len(trace), 'request')}"


def _workload(file: str) -> str:
    from blis.clients.build import sources
    from blis.report.numbers import plural
    from blis.spec.workload import load_workload

    spec = load_workload(file)
    for doubt in spec.warnings:
        warn(doubt)
    clients = sources(spec, spec.horizon, lambda text: warn(f"{file}: {text}"))
    return f"a workload of {plural(len(clients), 'client')}"


def _deployment(file: str) -> str:
    from blis.report.numbers import plural
    from blis.spec.deployment import load_deployment

    return f"a deployment of {plural(len(load_deployment(file).resolve()), 'instance')}"
