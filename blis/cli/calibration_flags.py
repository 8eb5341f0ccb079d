"""Flags that say what a calibration compares, and where its report goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from typer import Option

__all__ = ["CalibrationFlags"]

_OUTPUT, _COMPARISON = "Output", "Comparison"


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationFlags:
    """What is compared, and where the report goes; None where a flag wasn't given."""

    warm_up_requests: Annotated[
        int | None,
        Option(
            metavar="N",
            help="Leave out requests with an id below this. Default: what the real trace's header says.",
            rich_help_panel=_COMPARISON,
        ),
    ] = None
    rtt_ms: Annotated[
        float | None,
        Option(
            metavar="MS",
            help="Round trip between clients and servers, added to simulated latencies. Default: what headers say.",
            rich_help_panel=_COMPARISON,
        ),
    ] = None
    bandwidth_mbps: Annotated[
        float | None,
        Option(
            metavar="MBPS", help="Bandwidth of that way, in Mbit/s. Default: no limit.", rich_help_panel=_COMPARISON
        ),
    ] = None
    resamples: Annotated[
        int | None,
        Option(
            metavar="N", help="Bootstrap resamples behind the intervals. Default: 1000.", rich_help_panel=_COMPARISON
        ),
    ] = None
    seed: Annotated[
        int | None, Option(metavar="N", help="Seed of the bootstrap. Default: 0.", rich_help_panel=_COMPARISON)
    ] = None
    json: Annotated[
        bool,
        Option(
            "--json",
            metavar="",
            help="Print one JSON object, times in microseconds, and nothing else.",
            rich_help_panel=_OUTPUT,
        ),
    ] = False
    calibration_output: Annotated[
        str | None, Option(metavar="FILE", help="Write that JSON object to a file.", rich_help_panel=_OUTPUT)
    ] = None
    html: Annotated[
        str | None,
        Option(
            metavar="FILE", help="Write the report with plots as an HTML page; needs plotly.", rich_help_panel=_OUTPUT
        ),
    ] = None
    history: Annotated[
        str | None,
        Option(
            metavar="FOLDER",
            help="Keep the report in this folder and compare it with those kept before.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None
    fail_below: Annotated[
        str | None,
        Option(
            metavar="RATING",
            help="Exit with code 3 if the rating is below excellent, good or fair.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None
