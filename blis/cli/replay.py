"""``blis replay``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from blis.cli import deployment_flags
from blis.cli.deployment_flags import DeploymentFlags
from blis.cli.flags import micros, takes_flags
from blis.cli.outputs import OutputFlags, check_writable, outputs
from blis.cli.streams import warn
from blis.cli.uncertainty_flags import UncertaintyFlags, wanted
from blis.errors import Problem, SpecError
from blis.spec.overrides import COMMAND_LINE, flag

if TYPE_CHECKING:
    from blis.spec.replay import ReplaySpec

__all__ = ["ReplayFlags", "app", "inputs", "play"]

_EPILOG = """\
Examples:

  blis replay run --num-instances 4 --hardware H100 --trace-out again

  blis replay AzureLLMInferenceTrace_conv.csv --deployment cluster.yaml --speed 2

  blis replay conversation_trace.jsonl --horizon 10min --json

Formats are told by their columns: traces of blis, Azure LLM inference traces, BurstGPT, Splitwise/Vidur CSV, Mooncake
JSONL, and CSV with lists of token ids.
"""
_PANEL = "Replay"

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayFlags:
    """What to replay, and how; None where a flag wasn't given."""

    trace: Annotated[
        str, Argument(metavar="TRACE", help="A trace: its prefix, header or data, or a file of another format.")
    ]
    trace_header: Annotated[
        str | None,
        Option(
            metavar="FILE",
            help="Header of a trace of blis, where it isn't beside the data under the same name.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    speed: Annotated[
        float | None,
        Option(
            metavar="FACTOR",
            help="Divide all times between requests, and the thinking between a session's rounds, by this. Deadlines "
            "stay as they are. Default: 1.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    open_loop: Annotated[
        bool,
        Option(
            "--open-loop",
            metavar="",
            help="Send the rounds of sessions at their recorded times. By default each waits for the answer to the one "
            "before it.",
            rich_help_panel=_PANEL,
        ),
    ] = False
    intended: Annotated[
        bool,
        Option(
            "--intended",
            metavar="",
            help="Replay an observed trace from the times at which requests were meant to be sent. By default from "
            "those at which they were.",
            rich_help_panel=_PANEL,
        ),
    ] = False
    num_requests: Annotated[
        int | None, Option(metavar="N", help="Stop arrivals after this many requests.", rich_help_panel=_PANEL)
    ] = None
    horizon: Annotated[
        str | None,
        Option(
            metavar="TIME",
            help="Stop arrivals at this time: 60s, 500ms, 2min, 1h, or whole microseconds.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    cut_at_horizon: Annotated[
        bool,
        Option(
            "--cut-at-horizon",
            metavar="",
            help="Stop everything at the horizon; requests in flight get the status incomplete.",
            rich_help_panel=_PANEL,
        ),
    ] = False
    seed: Annotated[
        int | None,
        Option(
            metavar="N",
            help="Seed of the router's random choices. Default: the trace's, or 42.",
            rich_help_panel=_PANEL,
        ),
    ] = None


@app.command(name="replay", epilog=_EPILOG)
@takes_flags
def replay(what: ReplayFlags, cluster: DeploymentFlags, output: OutputFlags, sure: UncertaintyFlags) -> None:
    """Send the requests of a trace to a simulated cluster and report their latencies.

    Requests arrive when they did in the trace, with the same lengths, prefixes, sessions and deadlines.
    """
    play(what, cluster, output, sure)


def play(what: ReplayFlags, cluster: DeploymentFlags, output: OutputFlags, sure: UncertaintyFlags) -> None:
    """Replay a trace as the flags say.

    Raises:
        BlisError: trace, deployment or flags are wrong, or contradict each other.
    """
    options = _options(what)
    deployment = deployment_flags.load(cluster)
    check_writable(outputs(output), [*inputs(what.trace), what.trace_header, cluster.deployment])

    from blis.cli.progress import ProgressBar
    from blis.cli.results import give_out, write_trace
    from blis.simulation import replay as run
    from blis.trace.foreign import read_any

    warnings: list[str] = []

    def note(text: str) -> None:
        warnings.append(f"{what.trace}: {text}")
        if not output.quiet:
            warn(warnings[-1])

    recorded = read_any(what.trace, what.trace_header)
    intervals = wanted(sure, recorded, deployment, **options.model_dump())
    most = len(recorded) if options.num_requests is None else min(options.num_requests, len(recorded))
    with ProgressBar(options.horizon, most, shown=not output.quiet) as bar:
        trace = run(recorded, deployment, **options.model_dump(), progress=bar.callback, warn=note)
    if output.trace_out is not None:
        write_trace(trace, output.trace_out)
    pace = "" if options.speed == 1 else f" at {options.speed:g} times its speed"
    origins = {"Workload": f"replay of {what.trace}{pace}", "Deployment": cluster.deployment or ""}
    give_out(trace, output, origins, warnings=warnings, quiet=output.quiet, intervals=intervals)


def _options(what: ReplayFlags) -> ReplaySpec:
    """Check the flags among each other.

    Raises:
        SpecError: naming each flag that is wrong.
    """
    from blis.spec.replay import ReplaySpec
    from blis.spec.strict import validate

    given = {name: getattr(what, name) for name in ReplaySpec.model_fields}
    if what.horizon is not None:
        given["horizon"] = micros(what.horizon)
    try:
        return validate(ReplaySpec, {name: value for name, value in given.items() if value is not None})
    except SpecError as error:
        flags = [Problem(COMMAND_LINE, None, flag(problem.path), problem.message) for problem in error.problems]
        raise SpecError(flags) from None


def inputs(trace: str) -> list[Path]:
    """Return the files that reading a trace may read."""
    from blis.trace.files import beside

    return [Path(trace), *beside(trace)]
