"""Flags that say which workload to run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from typer import Argument, Option

__all__ = [
    "LENGTH_FLAGS",
    "SERVEGEN_FLAGS",
    "SHAPE_FLAGS",
    "WORKLOAD_PANEL",
    "EndFlags",
    "ServeGenFlags",
    "ShapeFlags",
    "TraceFlags",
    "WorkloadFlags",
]

WORKLOAD_PANEL = "Workload (flags override the spec's values)"
_SHAPE = "Shape of a built-in workload (--workload)"
_SERVEGEN = "ServeGen data (--servegen, or a spec with servegen_data)"

LENGTH_FLAGS = tuple(f"{side}_tokens{end}" for side in ("prompt", "output") for end in ("", "_stdev", "_min", "_max"))
"""Names of the flags about lengths."""
SHAPE_FLAGS = (*LENGTH_FLAGS, "prefix_tokens", "arrival", "cv")
"""Names of the flags that shape a built-in workload; a spec says all this itself."""
SERVEGEN_FLAGS = ("span_start", "span_end", "time_window", "normalize", "length_correlation", "strict")
"""Names of the flags about the use of ServeGen data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceFlags:
    """The trace that is replayed in place of a workload."""

    workload_traces_filepath: Annotated[
        str | None,
        Option(
            metavar="TRACE",
            help="With --workload traces: a trace of blis, or a file of another format, whose requests are sent again. "
            "blis replay does the same and has more flags.",
            rich_help_panel=WORKLOAD_PANEL,
        ),
    ] = None
    trace_header: Annotated[
        str | None,
        Option(
            metavar="FILE",
            help="Header of that trace, where it isn't beside the data under the same name.",
            rich_help_panel=WORKLOAD_PANEL,
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class SourceFlags:
    """Where the workload comes from; None where a flag wasn't given, here and below."""

    spec: Annotated[
        str | None,
        Argument(metavar="SPEC", help="Workload spec, a YAML file; or use --workload or --servegen."),
    ] = None
    workload_spec: Annotated[
        str | None,
        Option(metavar="FILE", help="The same as SPEC; wins over --workload.", rich_help_panel=WORKLOAD_PANEL),
    ] = None
    workload: Annotated[
        str | None,
        Option(
            metavar="NAME",
            help="Built-in workload: of one client distribution, chatbot, summarization, contentgen or multidoc; as a "
            "scenario bursty, unfair-tenants, prefix-heavy, mixed-slo, diurnal, spike, agentic, rag, code-completion, "
            "reasoning or image-chat. For blis simulate also traces: the requests of --workload-traces-filepath.",
            rich_help_panel=WORKLOAD_PANEL,
        ),
    ] = None
    servegen: Annotated[
        str | None,
        Option(
            metavar="FOLDER",
            help="ServeGen data: each of the folder's chunks becomes a client.",
            rich_help_panel=WORKLOAD_PANEL,
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class EndFlags:
    """How much is sent, how long, and with which draws."""

    rate: Annotated[
        float | None,
        Option(
            metavar="REQ/S",
            help="Requests per second of all clients together: aggregate_rate. Built-in workloads default to 1, "
            "ServeGen data to the measured rates.",
            rich_help_panel=WORKLOAD_PANEL,
        ),
    ] = None
    num_requests: Annotated[
        int | None,
        Option(
            metavar="N",
            help="Stop arrivals after this many requests. Built-in workloads default to 100 where there is no "
            "--horizon.",
            rich_help_panel=WORKLOAD_PANEL,
        ),
    ] = None
    horizon: Annotated[
        str | None,
        Option(
            metavar="TIME",
            help="Stop arrivals at this time: 60s, 500ms, 2min, 1h, or whole microseconds. What is in flight then is "
            "still served.",
            rich_help_panel=WORKLOAD_PANEL,
        ),
    ] = None
    seed: Annotated[
        int | None,
        Option(
            metavar="N",
            help="Seed of all random streams. Default: the spec's, or 42.",
            rich_help_panel=WORKLOAD_PANEL,
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class ShapeFlags:
    """What a built-in workload is like."""

    prompt_tokens: Annotated[
        float | None,
        Option(metavar="TOKENS", help="Mean length of prompts (distribution: 512).", rich_help_panel=_SHAPE),
    ] = None
    prompt_tokens_stdev: Annotated[
        float | None,
        Option(metavar="TOKENS", help="Standard deviation of it (distribution: 256).", rich_help_panel=_SHAPE),
    ] = None
    prompt_tokens_min: Annotated[
        float | None,
        Option(metavar="TOKENS", help="Shortest prompt (distribution: 2).", rich_help_panel=_SHAPE),
    ] = None
    prompt_tokens_max: Annotated[
        float | None,
        Option(metavar="TOKENS", help="Longest prompt (distribution: 7000).", rich_help_panel=_SHAPE),
    ] = None
    output_tokens: Annotated[
        float | None,
        Option(metavar="TOKENS", help="Mean length of outputs (distribution: 512).", rich_help_panel=_SHAPE),
    ] = None
    output_tokens_stdev: Annotated[
        float | None,
        Option(metavar="TOKENS", help="Standard deviation of it (distribution: 256).", rich_help_panel=_SHAPE),
    ] = None
    output_tokens_min: Annotated[
        float | None,
        Option(metavar="TOKENS", help="Shortest output (distribution: 2).", rich_help_panel=_SHAPE),
    ] = None
    output_tokens_max: Annotated[
        float | None,
        Option(metavar="TOKENS", help="Longest output (distribution: 7000).", rich_help_panel=_SHAPE),
    ] = None
    prefix_tokens: Annotated[
        int | None,
        Option(
            metavar="TOKENS",
            help="Tokens that start every prompt, the same for all, on top of the prompt's length. Default: 0.",
            rich_help_panel=_SHAPE,
        ),
    ] = None
    arrival: Annotated[
        str | None,
        Option(
            metavar="PROCESS",
            help="How requests are spaced: constant, poisson, gamma or weibull. Default: constant.",
            rich_help_panel=_SHAPE,
        ),
    ] = None
    cv: Annotated[
        float | None,
        Option(
            metavar="CV",
            help="Burstiness of gamma and weibull: standard deviation of the gaps over their mean; poisson has 1.",
            rich_help_panel=_SHAPE,
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class ServeGenFlags:
    """How ServeGen data is used."""

    span_start: Annotated[
        float | None,
        Option(metavar="SECONDS", help="Start of the part of the data to use. Default: 0.", rich_help_panel=_SERVEGEN),
    ] = None
    span_end: Annotated[
        float | None,
        Option(
            metavar="SECONDS",
            help="End of the part to use, and of the arrivals unless --horizon is given. Default: the data's end.",
            rich_help_panel=_SERVEGEN,
        ),
    ] = None
    time_window: Annotated[
        float | None,
        Option(
            metavar="SECONDS", help="Length of a window of rates in the data. Default: 600.", rich_help_panel=_SERVEGEN
        ),
    ] = None
    normalize: Annotated[
        str | None,
        Option(
            metavar="RULE",
            help="How arrivals meet a window's rate: window (rescaled to fill it, ServeGen's rule, the default) or "
            "none (a plain renewal process).",
            rich_help_panel=_SERVEGEN,
        ),
    ] = None
    length_correlation: Annotated[
        str | None,
        Option(
            metavar="RULE",
            help="Lengths of one request: independent (the default) or comonotonic (all from one random number, as "
            "ServeGen draws them).",
            rich_help_panel=_SERVEGEN,
        ),
    ] = None
    strict: Annotated[
        bool | None,
        Option(
            "--strict",
            metavar="",
            help="Let a broken data file stop the run, instead of naming it and leaving it out.",
            rich_help_panel=_SERVEGEN,
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class WorkloadFlags(ServeGenFlags, ShapeFlags, EndFlags, SourceFlags):
    """Which workload to run; fields come in the order of the bases from the last."""
