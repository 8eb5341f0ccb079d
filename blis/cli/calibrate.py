"""``blis calibrate``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from blis.cli import deployment_flags
from blis.cli.calibration_flags import CalibrationFlags
from blis.cli.deployment_flags import DeploymentFlags
from blis.cli.exits import EX_MISSED
from blis.cli.flags import takes_flags
from blis.cli.outputs import check_writable
from blis.cli.streams import write_out
from blis.errors import BlisError, Problem, SpecError
from blis.spec.overrides import COMMAND_LINE, flag
from blis.spec.words import did_you_mean, listed

if TYPE_CHECKING:
    from blis.calibration import Calibration, Rating
    from blis.calibration.history import Past
    from blis.report.blocks import Block
    from blis.trace import NetworkFacts

__all__ = ["app"]

_EPILOG = """\
Examples:

  blis calibrate observed simulated

  blis calibrate observed --hardware H100 --tp 2 --latency-model fitted.yaml

  blis calibrate observed simulated --calibration-output report.json --html report.html

  blis calibrate observed simulated --history calibrations --fail-below good

  blis calibrate --history calibrations

Exit code 3: the rating is below --fail-below.
"""

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(name="calibrate", epilog=_EPILOG)
@takes_flags
def calibrate(
    real: Annotated[
        str | None, typer.Argument(metavar="REAL", help="The observed trace: its prefix, header or data file.")
    ] = None,
    simulated: Annotated[
        str | None,
        typer.Argument(
            metavar="SIM", help="A simulated trace of the same workload. Default: REAL's requests are simulated."
        ),
    ] = None,
    *,
    flags: CalibrationFlags,
    cluster: DeploymentFlags,
) -> None:
    """Say how well a simulation predicted an observed run: errors, correlation, distributions, and a rating.

    Without SIM, the requests of REAL are simulated on the spot, on a deployment as REAL's header describes the server;
    a deployment file and flags say the rest, and take precedence.
    """
    least = _rating(flags.fail_below)
    if real is None:
        _show_history(flags, least)
        return
    given = [field.name for field in fields(cluster) if getattr(cluster, field.name) is not None]
    if simulated is not None and given:
        raise BlisError(f"{flag(given[0])}: {simulated} was simulated already; leave out one of them")
    network = _network(flags)
    _check(flags, [real] if simulated is None else [real, simulated], cluster.deployment)
    deployment = deployment_flags.load(cluster) if given else None

    from blis.calibration import calibrate as compare
    from blis.cli.progress import ProgressBar

    numbers = {name: getattr(flags, name) for name in ("warm_up_requests", "resamples", "seed")}
    numbers = {name: value for name, value in numbers.items() if value is not None}
    with ProgressBar(None, None, shown=simulated is None) as bar:
        calibration = compare(real, simulated, deployment, network=network, progress=bar.callback, **numbers)
    pasts: list[Past] = []
    if flags.history is not None:
        from blis.calibration.history import keep, read_history

        keep(flags.history, calibration)
        pasts = read_history(flags.history)
    _give_out(calibration, pasts, flags)
    _judge(calibration.rating, least)


def _give_out(calibration: Calibration, pasts: Sequence[Past], flags: CalibrationFlags) -> None:
    from blis.cli.results import print_report, write_file
    from blis.report.calibration import report

    if flags.json or flags.calibration_output is not None:
        from blis.report.machine import to_json

        text = to_json(calibration.to_dict() | _history_data(pasts))
        if flags.calibration_output is not None:
            write_file(Path(flags.calibration_output), text)
        if flags.json:
            write_out(text.decode())
    blocks: list[Block] = [*report(calibration), *_history_blocks(pasts)]
    if flags.html is not None:
        from blis.report.calibration_page import calibration_page

        write_file(Path(flags.html), calibration_page(calibration, blocks).encode())
    if not flags.json:
        print_report(blocks)


def _show_history(flags: CalibrationFlags, least: Rating | None) -> None:
    if flags.history is None:
        raise BlisError("name an observed trace and a simulated one: blis calibrate REAL SIM")
    for name in ("calibration_output", "html"):
        if getattr(flags, name) is not None:
            raise BlisError(f"{flag(name)}: there is no report without traces; name them: blis calibrate REAL SIM")
    from blis.calibration.history import read_history
    from blis.cli.results import print_report
    from blis.report.machine import to_json

    pasts = read_history(flags.history)
    if not pasts:
        raise BlisError(f"{flags.history}: no calibration was kept in this folder yet")
    if flags.json:
        write_out(to_json(_history_data(pasts)).decode())
    else:
        print_report(_history_blocks(pasts))
    _judge(pasts[-1].rating, least)


def _history_data(pasts: Sequence[Past]) -> dict[str, Any]:
    if not pasts:
        return {}
    from blis.calibration.history import drift
    from blis.metrics.results import plain

    return {"history": {"runs": plain(list(pasts)), "drift": plain(drift(pasts))}}


def _history_blocks(pasts: Sequence[Past]) -> list[Block]:
    if not pasts:
        return []
    from blis.calibration.history import drift
    from blis.report.calibration_history import history_grid

    return [history_grid(pasts, drift(pasts))]


def _check(flags: CalibrationFlags, traces: Sequence[str], deployment: str | None) -> None:
    """Find out before the work whether its results can be written.

    Raises:
        BlisError: naming the flag.
    """
    from blis.trace.files import found

    files = [path for trace in traces for path in (found(trace).header, found(trace).data, found(trace).itl)]
    targets = {
        f"{flag(name)} {given}": [Path(given)]
        for name in ("calibration_output", "html")
        if (given := getattr(flags, name)) is not None
    }
    check_writable(targets, [*files, deployment])
    if flags.history is not None and Path(flags.history).exists():
        from blis.calibration.history import read_history

        read_history(flags.history)
    if flags.html is not None:
        from blis.report.plots import plotting_code

        plotting_code()


def _network(flags: CalibrationFlags) -> NetworkFacts | None:
    given = {name: value for name in ("rtt_ms", "bandwidth_mbps") if (value := getattr(flags, name)) is not None}
    if not given:
        return None
    from blis.spec.strict import validate
    from blis.trace import NetworkFacts

    try:
        return validate(NetworkFacts, given)
    except SpecError as error:
        problems = [Problem(COMMAND_LINE, None, flag(problem.path), problem.message) for problem in error.problems]
        raise SpecError(problems) from None


def _rating(text: str | None) -> Rating | None:
    if text is None:
        return None
    from blis.calibration import Rating

    names = [rating.value for rating in Rating]
    if text not in names:
        raise BlisError(f"--fail-below: unknown rating {text!r}{did_you_mean(text, names)}; allowed: {listed(names)}")
    return Rating(text)


def _judge(rating: Rating | None, least: Rating | None) -> None:
    """Exit with code 3 if a rating is worse than it has to be; no rating at all is."""
    if least is not None and (rating is None or rating.below(least)):
        sys.stderr.write(f"blis: the rating is {rating or 'unknown'}, below {least}\n")
        raise typer.Exit(EX_MISSED)
