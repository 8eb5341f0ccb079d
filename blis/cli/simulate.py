"""``blis simulate``."""

from __future__ import annotations

from typing import Annotated

import typer

from blis.cli import deployment_flags, workload
from blis.cli.deployment_flags import DeploymentFlags
from blis.cli.flags import takes_flags
from blis.cli.outputs import OutputFlags, check_writable, outputs
from blis.cli.replay import ReplayFlags, play
from blis.cli.uncertainty_flags import UncertaintyFlags, wanted
from blis.cli.workload_flags import WORKLOAD_PANEL, TraceFlags, WorkloadFlags
from blis.errors import BlisError

__all__ = ["app"]

_EPILOG = """\
Examples:

  blis simulate my-workload.yaml --num-instances 2 --model llama-3.1-8b --hardware H100

  blis simulate my-workload.yaml --deployment cluster.yaml --rate 40 --trace-out run

  blis simulate --workload chatbot --rate 20 --num-requests 1000 --arrival gamma --cv 3

  blis simulate --servegen DATA --span-end 3600 --num-instances 4 --json

  blis simulate my-workload.yaml --latency-model fitted.yaml --uncertainty --workers 2

  blis simulate --workload traces --workload-traces-filepath run.csv

A flag overrides the value of the spec or the deployment. Flags that contradict each other are an error.
"""

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(name="simulate", epilog=_EPILOG)
@takes_flags
def simulate(
    work: WorkloadFlags,
    traced: TraceFlags,
    cluster: DeploymentFlags,
    output: OutputFlags,
    sure: UncertaintyFlags,
    cut_at_horizon: Annotated[
        bool,
        typer.Option(
            "--cut-at-horizon",
            metavar="",
            help="Stop everything at the horizon; requests in flight get the status incomplete.",
            rich_help_panel=WORKLOAD_PANEL,
        ),
    ] = False,
    record_itl: Annotated[
        bool,
        typer.Option(
            "--record-itl",
            metavar="",
            help="With --trace-out, write the time of every token too, to PREFIX.chunks.csv.",
            rich_help_panel="Output",
        ),
    ] = False,
) -> None:
    """Simulate a workload on a cluster and report its latencies.

    The workload is a spec file, a built-in workload, ServeGen data or a trace; the cluster is a deployment file, flags
    or both.
    """
    recorded = workload.trace_to_replay(work, traced)
    if recorded is not None:
        ends = {name: getattr(work, name) for name in ("num_requests", "horizon", "seed")}
        flags = ReplayFlags(trace=recorded, trace_header=traced.trace_header, cut_at_horizon=cut_at_horizon, **ends)
        play(flags, cluster, output, sure)
        return
    named = workload.load(work)
    deployment = deployment_flags.load(cluster)
    if cut_at_horizon and named.spec.horizon is None:
        raise BlisError("--cut-at-horizon: the workload has no horizon to cut at; give --horizon")
    if record_itl and output.trace_out is None:
        raise BlisError("--record-itl: the times go beside a trace; give --trace-out")
    intervals = wanted(sure, named.spec, deployment, cut_at_horizon=cut_at_horizon)
    check_writable(outputs(output), [named.file, cluster.deployment])

    from blis.cli.progress import ProgressBar
    from blis.cli.results import give_out, write_trace
    from blis.simulation import simulate as run

    notes = workload.Notes(named, quiet=output.quiet)
    with ProgressBar(named.spec.horizon, named.spec.num_requests, shown=not output.quiet) as bar:
        trace = run(
            named.spec,
            deployment,
            cut_at_horizon=cut_at_horizon,
            record_itl=record_itl,
            progress=bar.callback,
            warn=notes,
        )
    if output.trace_out is not None:
        write_trace(trace, output.trace_out)
    origins = {"Workload": named.name, "Deployment": cluster.deployment or ""}
    give_out(trace, output, origins, warnings=notes.texts, quiet=output.quiet, intervals=intervals)
