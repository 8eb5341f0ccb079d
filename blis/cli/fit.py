"""``blis fit``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option

from blis.cli import deployment_flags
from blis.cli.deployment_flags import DeploymentFlags
from blis.cli.flags import takes_flags
from blis.cli.outputs import check_writable
from blis.cli.streams import warn, write_out
from blis.errors import BlisError
from blis.spec.words import listed

if TYPE_CHECKING:
    from blis.calibration import Calibration
    from blis.calibration.fit import Fit
    from blis.trace import Trace

__all__ = ["app"]

_EPILOG = """\
Examples:

  blis fit light heavy --validate medium -o model.yaml

  blis simulate workload.yaml --latency-model model.yaml

  blis fit small large --latency-model physics --models llama-3.1-8b,qwen3-14b --hardware H100 -o physics.yaml

  blis fit --suggest-workload probe.yaml --rate 3 --max-num-seqs 16 --max-num-batched-tokens 512

What the traces' headers don't tell about the server, flags or a deployment must: above all --max-num-seqs and
--max-num-batched-tokens.
"""
_FORMS = ("fitted", "alpha-beta", "physics")
_PHYSICS = _FORMS[2]
_PANEL = "Fitting"

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@dataclass(frozen=True, slots=True, kw_only=True)
class FitFlags:
    """How a model is fitted and where it goes."""

    output: Annotated[
        str | None,
        Option("--output", "-o", metavar="FILE", help="Write the model, a YAML file.", rich_help_panel=_PANEL),
    ] = None
    hold_out: Annotated[
        float | None,
        Option(
            metavar="SHARE",
            help="Share of each trace's end that is predicted by a fit to the rest, to see how good it is. Default:"
            " 0.3, or 0 with --validate.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    refine: Annotated[
        int | None,
        Option(
            metavar="ROUNDS",
            help="Rounds of simulating the traces and adjusting overhead and pace. Default: 2.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    no_chunk_times: Annotated[
        bool,
        Option("--no-chunk-times", metavar="", help="Fit from first and last chunks alone.", rich_help_panel=_PANEL),
    ] = False
    models: Annotated[
        str | None,
        Option(
            metavar="MODEL,...",
            help="With --latency-model physics: the model of each trace, in order, where headers don't say; the name of"
            " one, the path of a config.json, or a deployment file that says tp and hardware too.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    json: Annotated[bool, Option("--json", metavar="", help="Print one JSON object.", rich_help_panel=_PANEL)] = False
    suggest_workload: Annotated[
        str | None,
        Option(
            metavar="FILE", help="Write a workload spec whose trace tells all coefficients.", rich_help_panel=_PANEL
        ),
    ] = None
    rate: Annotated[
        float | None,
        Option(metavar="R", help="With --suggest-workload: requests/s the server can stand.", rich_help_panel=_PANEL),
    ] = None


@app.command(name="fit", epilog=_EPILOG)
@takes_flags
def fit(
    real: Annotated[list[str] | None, typer.Argument(metavar="REAL...", help="Observed traces of one server.")] = None,
    validate: Annotated[
        list[str] | None,
        Option(metavar="TRACE", help="Predict this trace, which isn't fitted to. Repeatable.", rich_help_panel=_PANEL),
    ] = None,
    *,
    flags: FitFlags,
    cluster: DeploymentFlags,
) -> None:
    """Fit a latency model to traces of a real server, seen from the client alone, and say how well it predicts."""
    form = cluster.latency_model or "fitted"
    if form not in _FORMS:
        raise BlisError(f"--latency-model: allowed are {listed(_FORMS)}, found {form!r}")
    cluster = replace(cluster, latency_model=None)
    if flags.suggest_workload is not None:
        _suggest(flags, cluster)
        return
    if not real:
        raise BlisError("name the traces to fit to: blis fit REAL... -o model.yaml")
    hold_out = flags.hold_out if flags.hold_out is not None else 0.0 if validate else 0.3
    if not 0 <= hold_out <= 0.9:
        raise BlisError(f"--hold-out: must be a share from 0 to 0.9, found {hold_out:g}")
    if flags.output is not None:
        check_writable({f"--output {flags.output}": [Path(flags.output)]}, [Path(path) for path in real])
    _run(real, validate or [], hold_out, form, flags, cluster)


def _run(
    real: Sequence[str], held: Sequence[str], hold_out: float, form: str, flags: FitFlags, cluster: DeploymentFlags
) -> None:
    from blis.calibration.validate import held_out, predictions
    from blis.trace import Trace

    traces = {path: Trace.read(path) for path in real}
    rounds = 2 if flags.refine is None else flags.refine
    found = _physics(traces, flags, cluster) if form == _PHYSICS else _own(traces, form, rounds, flags, cluster)
    outside: dict[str, Calibration] = {}
    if hold_out:
        outside |= held_out(found(1 - hold_out), traces, hold_out)
    model = found(1.0)
    outside |= predictions(model, {path: Trace.read(path) for path in held})
    _give_out(model, traces, outside, flags)


def _own(
    traces: Mapping[str, Trace], form: str, rounds: int, flags: FitFlags, cluster: DeploymentFlags
) -> Callable[[float], Fit]:
    """Return the fit of a model of one server to a share of the traces' time."""
    from blis.calibration.fit import fit as fitted
    from blis.calibration.refine import refine

    if flags.models is not None:
        raise BlisError(f"--models: {form} is fitted to traces of one server; it belongs to --latency-model {_PHYSICS}")
    deployment, every = deployment_flags.load(cluster), [*traces.values()]

    def found(share: float) -> Fit:
        model = fitted(every, deployment, form=form, chunk_times=not flags.no_chunk_times, share=share)
        return refine(model, every, rounds, share=share)

    return found


def _physics(traces: Mapping[str, Trace], flags: FitFlags, cluster: DeploymentFlags) -> Callable[[float], Fit]:
    """Return the fit of the physics model to a share of the traces' time."""
    from blis.calibration.physics_fit import fit_physics

    if flags.refine:
        raise BlisError("--refine: the physics model isn't refined, since that would move one model's error to others")
    deployments = [deployment_flags.load(each) for each in _clusters(traces, flags, cluster)]

    def found(share: float) -> Fit:
        return fit_physics(traces, deployments, chunk_times=not flags.no_chunk_times, share=share)

    return found


def _clusters(traces: Mapping[str, Trace], flags: FitFlags, cluster: DeploymentFlags) -> list[DeploymentFlags]:
    """Return the deployment's flags for each trace."""
    if flags.models is None:
        return [cluster] * len(traces)
    if cluster.model is not None:
        raise BlisError("--models: contradicts --model; leave one of them out")
    models = flags.models.split(",")
    if len(models) != len(traces):
        raise BlisError(f"--models: names {len(models)}, but there are {len(traces)} traces; one for each is needed")
    return [
        replace(cluster, deployment=name) if name.endswith((".yaml", ".yml")) else replace(cluster, model=name)
        for name in models
    ]


def _give_out(model: Fit, traces: Mapping[str, Trace], outside: Mapping[str, Calibration], flags: FitFlags) -> None:
    from blis.calibration.model_file import model_text
    from blis.calibration.validate import error_figures, predictions
    from blis.cli.results import print_report, write_file
    from blis.report.fitting import report

    inside = predictions(model, traces)
    errors = {name: error_figures(calibration) for name, calibration in outside.items()}
    if flags.output is not None:
        write_file(Path(flags.output), model_text(model, list(traces), errors).encode())
    for text in model.warnings:
        warn(text)
    if flags.json:
        from blis.report.machine import to_json

        write_out(to_json(_machine(model, outside, inside)).decode())
    else:
        print_report(report(model, outside, inside))


def _machine(model: Fit, outside: Mapping[str, Calibration], inside: Mapping[str, Calibration]) -> dict[str, Any]:
    from blis.calibration.validate import error_figures

    return {
        "held_out": {name: error_figures(calibration) for name, calibration in outside.items()},
        "fitted_to": {name: error_figures(calibration) for name, calibration in inside.items()},
        "latency": model.latency(),
        "method": model.method,
        "warnings": list(model.warnings),
    }


def _suggest(flags: FitFlags, cluster: DeploymentFlags) -> None:
    import yaml

    from blis.calibration.suggest import suggested_workload
    from blis.cli.results import write_file

    if flags.rate is None:
        raise BlisError("--suggest-workload needs --rate, the requests/s that the server can stand")
    assert flags.suggest_workload is not None
    check_writable({f"--suggest-workload {flags.suggest_workload}": [Path(flags.suggest_workload)]}, [])
    spec = suggested_workload(flags.rate, deployment_flags.load(cluster).resolve()[0])
    write_file(Path(flags.suggest_workload), yaml.safe_dump(spec, sort_keys=False).encode())
