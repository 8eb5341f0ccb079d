"""``blis describe``."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated

import typer

from blis.cli import workload
from blis.cli.flags import takes_flags
from blis.cli.kinds import kind_of
from blis.cli.outputs import JSON
from blis.cli.streams import warn, write_out
from blis.cli.workload_flags import WorkloadFlags
from blis.errors import Problem, SpecError
from blis.spec.overrides import COMMAND_LINE, flag

if TYPE_CHECKING:
    from blis.trace import Trace

__all__ = ["app"]

_EPILOG = """\
Examples:

  blis describe my-workload.yaml

  blis describe run.csv --top 20

  blis describe --servegen DATA --span-end 86400 --json
"""
_MOST = 1_000_000
_NO_FLAGS = "can't be used with a trace, whose requests are what they are"

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficFlags(WorkloadFlags):
    """Which traffic to look at."""

    spec: Annotated[
        str | None,
        typer.Argument(
            metavar="SPEC|TRACE",
            help="Workload spec, or a trace: its prefix, header or data file; or use --workload or --servegen.",
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFlags:
    """How the figures are given out."""

    top: Annotated[int, typer.Option(metavar="N", help="List this many of the busiest clients.")] = 10
    json: Annotated[bool, JSON] = False


@app.command(name="describe", epilog=_EPILOG)
@takes_flags
def describe(traffic: TrafficFlags, output: ReportFlags) -> None:
    """Report what traffic is like: rates over time, burstiness, lengths, clients, and what distributions fit.

    Of a workload the requests are generated, at most a million of them unless --num-requests says otherwise.
    """
    if output.top < 0:
        raise SpecError([Problem(COMMAND_LINE, None, "--top", f"must be at least 0, found {output.top}")])
    if traffic.spec is not None and kind_of(traffic.spec) == "trace":
        trace, origins = _read(traffic)
    else:
        trace, origins = _generated(traffic)

    from blis.characterise import characterise

    found = characterise(trace, top=output.top)
    if output.json:
        from blis.report.machine import to_json

        write_out(to_json(found.to_dict()).decode())
        return
    from blis.cli.results import print_report
    from blis.report.traffic import report

    print_report(report(found, origins))


def _read(traffic: TrafficFlags) -> tuple[Trace, dict[str, str]]:
    given = [flag(one.name) for one in fields(traffic) if one.name != "spec" and getattr(traffic, one.name) is not None]
    if given:
        raise SpecError([Problem(COMMAND_LINE, None, name, _NO_FLAGS) for name in given])
    from blis.trace import Trace

    assert traffic.spec is not None
    trace = Trace.read(traffic.spec)
    return trace, {"Trace": f"{traffic.spec}, {trace.header.mode}"}


def _generated(traffic: TrafficFlags) -> tuple[Trace, dict[str, str]]:
    named = workload.load(traffic)
    from blis.generation import generate

    most = None if traffic.num_requests is not None else _MOST
    trace = generate(named.spec, num_requests=most, warn=workload.Notes(named, quiet=False))
    if len(trace) == most and named.spec.num_requests != most:
        warn(f"{named.name}: these are its first {most:,} requests; --num-requests takes more of them")
    return trace, {"Workload": named.name}
