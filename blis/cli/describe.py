"""``blis describe``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, cast

import typer

from blis.cli import workload
from blis.cli.flags import takes_flags
from blis.cli.kinds import kind_of
from blis.cli.outputs import JSON, check_writable
from blis.cli.streams import warn, write_out
from blis.cli.workload_flags import WorkloadFlags
from blis.errors import Problem, SpecError
from blis.spec.overrides import COMMAND_LINE, flag
from blis.spec.words import listed, shown

if TYPE_CHECKING:
    from blis.trace import Trace

__all__ = ["app"]

_EPILOG = """\
Examples:

  blis describe my-workload.yaml

  blis describe run.csv --top 20

  blis describe --servegen DATA --span-end 86400 --json

  blis describe run --fit-spec like-run.yaml
"""
_MOST = 1_000_000
_FIT_PANEL = "Fitted workload"
_METHODS = ("empirical", "fitted")
_NO_FLAGS = "can't be used with a trace, whose requests are what they are"

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficFlags(WorkloadFlags):
    """Which traffic to look at."""

    spec: Annotated[
        str | None,
        typer.Argument(
            metavar="SPEC|TRACE",
            help="Workload spec, or a trace: its prefix, header or data, or a file of another format that 'blis trace "
            "convert' knows; or use --workload or --servegen.",
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFlags:
    """How the figures are given out."""

    top: Annotated[int, typer.Option(metavar="N", help="List this many of the busiest clients.")] = 10
    json: Annotated[bool, JSON] = False
    fit_spec: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Write a workload spec that sends such traffic.", rich_help_panel=_FIT_PANEL),
    ] = None
    fit_clients: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Clients to give a description of their own; the others are pooled by class.",
            rich_help_panel=_FIT_PANEL,
        ),
    ] = 50
    fit_lengths: Annotated[
        str,
        typer.Option(
            metavar="HOW",
            help="Lengths as they were found (empirical), or as formulas where these come close (fitted).",
            rich_help_panel=_FIT_PANEL,
        ),
    ] = "empirical"


@app.command(name="describe", epilog=_EPILOG)
@takes_flags
def describe(traffic: TrafficFlags, output: ReportFlags) -> None:
    """Report what traffic is like: rates over time, burstiness, lengths, clients, and what distributions fit.

    Of a workload the requests are generated, at most a million of them unless --num-requests says otherwise.
    --fit-spec writes a workload that sends such traffic.
    """
    _check(output)
    if traffic.spec is not None and kind_of(traffic.spec) == "trace":
        look = _read(traffic, output)
    else:
        look = _generated(traffic, output)

    from blis.characterise import characterise, fit_spec

    found = characterise(look.trace, top=output.top)
    if output.fit_spec is not None:
        from blis.cli.results import write_file

        fitted = fit_spec(look.trace, clients=output.fit_clients, lengths=cast(Any, output.fit_lengths))
        write_file(Path(output.fit_spec), f"# Traffic like that of {look.name}.\n{fitted.text}".encode())
    if output.json:
        from blis.report.machine import to_json

        write_out(to_json(found.to_dict()).decode())
        return
    from blis.cli.results import print_report
    from blis.report.traffic import report

    print_report(report(found, {look.label: look.name}))


class Look(NamedTuple):
    """What is looked at: its requests, what kind of thing it is, and its name."""

    trace: Trace
    label: str
    name: str


def _check(output: ReportFlags) -> None:
    numbers = {"--top": output.top, "--fit-clients": output.fit_clients}
    problems = [
        Problem(COMMAND_LINE, None, name, f"must be at least 0, found {value}")
        for name, value in numbers.items()
        if value < 0
    ]
    if output.fit_lengths not in _METHODS:
        text = f"must be one of {listed(_METHODS)}, found {shown(output.fit_lengths)}"
        problems.append(Problem(COMMAND_LINE, None, "--fit-lengths", text))
    if problems:
        raise SpecError(problems)


def _check_place(output: ReportFlags, inputs: Iterable[str | Path | None]) -> None:
    if output.fit_spec is not None:
        check_writable({f"--fit-spec {output.fit_spec}": [Path(output.fit_spec)]}, inputs)


def _read(traffic: TrafficFlags, output: ReportFlags) -> Look:
    given = [flag(one.name) for one in fields(traffic) if one.name != "spec" and getattr(traffic, one.name) is not None]
    if given:
        raise SpecError([Problem(COMMAND_LINE, None, name, _NO_FLAGS) for name in given])
    from blis.cli.replay import inputs
    from blis.trace.foreign import read_any

    assert traffic.spec is not None
    _check_place(output, inputs(traffic.spec))
    return Look(read_any(traffic.spec), "Trace", traffic.spec)


def _generated(traffic: TrafficFlags, output: ReportFlags) -> Look:
    named = workload.load(traffic)
    _check_place(output, [named.file])
    from blis.generation import generate

    most = None if traffic.num_requests is not None else _MOST
    trace = generate(named.spec, num_requests=most, warn=workload.Notes(named, quiet=False))
    if len(trace) == most and named.spec.num_requests != most:
        warn(f"{named.name}: these are its first {most:,} requests; --num-requests takes more of them")
    return Look(trace, "Workload", named.name)
