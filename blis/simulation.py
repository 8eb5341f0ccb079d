"""Specify and predict: a workload spec and a deployment in, a trace out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from blis.clients.build import start
from blis.clients.network import ClientSide
from blis.clients.rates import END_OF_TIME_US
from blis.clients.recording import Recording
from blis.clients.replay import Replay
from blis.cluster.cluster import Cluster
from blis.cluster.run import Progress, built, chunk_times, counted, run, served_by
from blis.cluster.virtual_time import VirtualTime
from blis.errors import BlisError
from blis.metrics.extrapolation import extrapolations
from blis.rng import DEFAULT_SEED
from blis.spec import catalogue
from blis.spec.deployment import DeploymentSpec, deployment_of
from blis.spec.instance import InstanceConfig
from blis.spec.replay import ReplaySpec
from blis.spec.strict import validate
from blis.spec.workload import WorkloadSpec, workload_of
from blis.trace.foreign import read_any
from blis.trace.header import TraceHeader, networks_of
from blis.trace.trace import Trace

__all__ = ["Progress", "replay", "simulate"]


def simulate(
    spec: WorkloadSpec | Mapping[str, Any] | str | Path,
    deployment: DeploymentSpec | Mapping[str, Any] | str | Path | None = None,
    *,
    cut_at_horizon: bool = False,
    record_itl: bool = False,
    progress: Callable[[Progress], None] | None = None,
    warn: Callable[[str], None] = warnings.warn,
) -> Trace:
    """Simulate a workload on a deployment and return its trace.

    Args:
        spec: A workload: a spec, its data as a dictionary, or the path of its YAML file.
        deployment: The cluster, in the same forms; one llama-3.1-8b instance on an H100 by default.
        cut_at_horizon: Stop at the horizon; requests in flight then get the status ``incomplete``. By default the
            horizon (excluded) ends the arrivals only, and what is in flight drains.
        record_itl: Keep the time of every token of completed requests, as the trace's ``chunks``.
        progress: Called a few times a second, from another thread, while the simulation runs.
        warn: Called with a sentence for whatever is doubtful in the workload, and where the load went beyond what a
            fitted latency model knows.

    Raises:
        SpecError: The spec or the deployment is wrong; names every problem.
        BlisError: Workload and deployment can't be run together.
        InternalError: A request or a KV block was lost, which is a bug in blis.

    >>> trace = simulate(
    ...     {
    ...         "version": "2",
    ...         "aggregate_rate": 10.0,
    ...         "num_requests": 3,
    ...         "clients": [
    ...             {
    ...                 "id": "chat",
    ...                 "rate_fraction": 1.0,
    ...                 "arrival": {"process": "constant"},
    ...                 "input_distribution": {"type": "constant", "params": {"value": 512}},
    ...                 "output_distribution": {"type": "constant", "params": {"value": 32}},
    ...             }
    ...         ],
    ...     },
    ...     {"model": "llama-3.1-8b", "hardware": "H100"},
    ... )
    >>> trace.column("arrival_time_us").tolist(), trace.column("status").tolist()
    ([100000, 200000, 300000], ['ok', 'ok', 'ok'])
    """
    workload = workload_of(spec)
    cluster_spec = deployment_of(deployment)
    for doubt in workload.warnings:
        warn(doubt)
    env = VirtualTime()
    cluster = built(env, cluster_spec, workload.seed, may_cut=cut_at_horizon, log_steps=record_itl)
    _check_models(workload, [instance.config for instance in cluster.instances])
    stage_starts_us: list[int] = []
    start(
        env,
        cluster,
        workload,
        horizon_us=workload.horizon,
        num_requests=workload.num_requests,
        warn=warn,
        answering=ClientSide(env, cluster, networks_of(workload), workload.seed),
        stage_starts_us=stage_starts_us,
    )
    run(env, cluster, workload.horizon if cut_at_horizon else None, progress)
    counts = counted(cluster) | ({"stage_starts_us": stage_starts_us} if workload.stages else {})
    header = TraceHeader.of_workload(workload, counts, **served_by(cluster, cluster_spec))
    trace = Trace.from_table(cluster.table, header, cluster.itl)
    if record_itl:
        trace.chunks = chunk_times(cluster)
    _warn_outside(trace, cluster, warn)
    return trace


def replay(
    trace: Trace | str | Path,
    deployment: DeploymentSpec | Mapping[str, Any] | str | Path | None = None,
    *,
    speed: float = 1.0,
    open_loop: bool = False,
    intended: bool = False,
    seed: int | None = None,
    horizon: int | str | None = None,
    num_requests: int | None = None,
    cut_at_horizon: bool = False,
    progress: Callable[[Progress], None] | None = None,
    warn: Callable[[str], None] = warnings.warn,
) -> Trace:
    """Send the requests of a trace to a deployment and return the trace of that.

    Requests arrive when they did in the trace, with the same lengths, prompts, deadlines and request ids. A round of a
    session waits for the answer to the one before it and then as long as its client did in the trace. On the
    deployment that the trace was simulated on, and with its seed, all results are the same again.

    Args:
        trace: A trace, or the path of one (its prefix, header or data), or of a file in another format that
            :func:`blis.trace.foreign.read_any` knows.
        deployment: As for :func:`simulate`.
        speed: Times between requests, and the thinking between a session's rounds, are divided by this; deadlines and
            networks stay as they are.
        open_loop: Send the rounds of sessions at their recorded times, without waiting for answers.
        intended: Replay a real trace from the times at which its requests were meant to be sent; by default from those
            at which they were sent.
        seed: Seed of the router's random choices; the trace's by default.
        horizon: Leave out what would arrive then or later: microseconds, or text with a unit such as ``"60s"``.
        num_requests: Send no more than this many.
        cut_at_horizon, progress, warn: As for :func:`simulate`.

    Raises:
        TraceError: The trace can't be read.
        SpecError: The deployment or an argument is wrong; names every problem.
        BlisError: The trace contradicts itself.
        InternalError: A request or a KV block was lost, which is a bug in blis.

    >>> recorded = Trace.from_columns(
    ...     {"arrival_time_us": [0, 500], "input_tokens": [512, 64], "output_tokens": [2, 1]},
    ...     TraceHeader(mode="generated"),
    ... )
    >>> replay(recorded, {"hardware": "H100"}).column("output_tokens").tolist()
    [2, 1]
    """
    given = {
        "speed": speed,
        "open_loop": open_loop,
        "intended": intended,
        "seed": seed,
        "horizon": horizon,
        "num_requests": num_requests,
        "cut_at_horizon": cut_at_horizon,
    }
    options = validate(ReplaySpec, _given(given), file="<replay>")
    recorded = read_any(trace) if isinstance(trace, str | Path) else trace
    return _replayed(recorded, deployment_of(deployment), options, progress, warn)


def _replayed(
    recorded: Trace,
    deployment: DeploymentSpec,
    options: ReplaySpec,
    progress: Callable[[Progress], None] | None,
    warn: Callable[[str], None],
) -> Trace:
    header = recorded.header
    recorded_seed = DEFAULT_SEED if header.seed is None else header.seed
    seed = recorded_seed if options.seed is None else options.seed
    pace = {name: getattr(options, name) for name in ("speed", "open_loop", "intended")}
    recording = Recording(recorded, **pace, warn=warn)
    env = VirtualTime()
    cluster = built(env, deployment, seed, may_cut=options.cut_at_horizon)
    end_us = END_OF_TIME_US if options.horizon is None else options.horizon
    clients = ClientSide(env, cluster, header.network, recorded_seed)
    player = Replay(
        env,
        cluster,
        recording,
        network_us=clients.network_us,
        end_us=end_us,
        num_requests=options.num_requests,
    )
    env.process(player.run())
    run(env, cluster, options.horizon if options.cut_at_horizon else None, progress)
    if player.unsent:
        warn(f"{player.unsent:,} rounds of sessions weren't sent: a round before them failed that hadn't in the trace")
    asked = {"horizon_us": options.horizon, "num_requests": options.num_requests}
    facts = {"of": header.mode, **pace, "skipped": recording.skipped, "unsent_rounds": player.unsent}
    header = header.model_copy(
        update={
            "mode": "replayed",
            "seed": seed,
            "epoch_us": None,
            "server": None,
            "run": {**counted(cluster), **_given(asked), "replay": facts},
            **served_by(cluster, deployment),
        }
    )
    trace = Trace.from_table(cluster.table, header, cluster.itl, player.request_ids())
    _warn_outside(trace, cluster, warn)
    return trace


def _warn_outside(trace: Trace, cluster: Cluster, warn: Callable[[str], None]) -> None:
    for text in extrapolations(trace, [instance.config for instance in cluster.instances]):
        warn(text)


def _check_models(workload: WorkloadSpec, configs: Sequence[InstanceConfig]) -> None:
    """Refuse clients that ask for a model the cluster doesn't serve, or one of several: nothing routes by model yet."""
    served = sorted({config.model.name for config in configs})
    for client in workload.senders:
        if not client.model:
            continue
        try:
            wanted = catalogue.model(client.model, workload.base_dir).name
        except BlisError:
            wanted = client.model
        if wanted not in served:
            raise BlisError(
                f"client {client.id!r} asks for the model {client.model!r}, but the deployment serves"
                f" {', '.join(served)}: deploy that model, or leave out the client's model"
            )
        if len(served) > 1:
            raise BlisError(
                f"client {client.id!r} asks for the model {client.model!r}, and the deployment's pools serve several"
                f" ({', '.join(served)}): routing by model is not modelled; simulate each model's clients and pools by"
                " themselves, or leave out the clients' models"
            )


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
