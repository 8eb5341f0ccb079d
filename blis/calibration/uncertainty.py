"""Prediction intervals: what the uncertainty of a fitted latency model makes of a simulation's results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from blis.calibration.draws import drawn, normal_draws
from blis.calibration.uncertain_model import UncertainModel, uncertain_model
from blis.errors import BlisError
from blis.metrics import Summary, summarize
from blis.metrics.results import plain
from blis.simulation import replay, simulate
from blis.spec.deployment import DeploymentSpec, deployment_of
from blis.spec.latency import LatencySpec
from blis.spec.workload import WorkloadSpec, workload_of
from blis.trace import Trace

__all__ = ["DRAWS", "FIGURES", "Interval", "Intervals", "check", "uncertainty"]

DRAWS = 100
"""Draws of the coefficients where nobody says how many."""
FIGURES = ("mean", "p50", "p90", "p99")
"""The figures of a latency that get an interval."""
_FEWEST = 20
_LEVEL = 0.95
_LATENCIES = ("ttft_us", "itl_us", "tpot_us", "e2e_us")
_RATES = ("requests_per_s", "output_tokens_per_s")

Figures = dict[str, dict[str, float | None]]


@dataclass(frozen=True, slots=True)
class Interval:
    """The ``value`` that the fitted coefficients give, and the ends between which 95 % of the draws fell.

    The ends are None where some of the draws have no such figure.
    """

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Intervals:
    """95 % prediction intervals of a run's figures, by metric and figure.

    ``figures`` has ``ttft_us``, ``itl_us``, ``tpot_us`` and ``e2e_us`` with ``mean``, ``p50``, ``p90`` and ``p99``, in
    µs, and ``throughput`` with ``requests_per_s`` and ``output_tokens_per_s``; what the run doesn't have isn't there.
    ``drift`` is the relative standard deviation of the server's pace that is in them, the largest where models differ;
    None where no model knows it, so that the uncertainty of the coefficients alone is in them.
    """

    draws: int
    draw_seed: int
    drift: float | None
    figures: dict[str, dict[str, Interval]]

    def to_dict(self) -> dict[str, Any]:
        """The intervals as plain data for JSON."""
        data: dict[str, Any] = plain(self)
        return {"level": _LEVEL, **data}


def uncertainty(
    what: WorkloadSpec | Trace | Mapping[str, Any] | str | Path,
    deployment: DeploymentSpec | Mapping[str, Any] | str | Path | None = None,
    *,
    draws: int = DRAWS,
    draw_seed: int = 0,
    workers: int = 1,
    point: Summary | None = None,
    **options: Any,
) -> Intervals:
    """Say how sure the figures of a simulation are, as far as the latency model's coefficients go.

    Draws coefficients from the covariance in the model's file, none of them negative, and a common factor on all step
    times from its drift; simulates the same workload with each, with the same random numbers; and takes the 2.5th and
    97.5th percentile of each figure. docs/explanation/fitting.md says what is in such an interval and what isn't.

    Args:
        what: A workload for :func:`blis.simulate`, or a :class:`blis.trace.Trace` for :func:`blis.replay`.
        deployment: A cluster whose latency models, of all pools, were fitted.
        draws: How many, 20 or more. Each costs a simulation.
        draw_seed: Seed of the draws; the workload has its own.
        workers: Processes that share the simulations. More than one needs a script with a main guard, as
            :mod:`multiprocessing` explains, where processes aren't forked.
        point: The summary of the simulation with the coefficients themselves, which is run where it isn't given.
        options: Further arguments for :func:`blis.simulate` or :func:`blis.replay`.

    Raises:
        BlisError: a latency model without covariance, or with one that isn't; too few draws.
        SpecError: the workload or the deployment is wrong.
    """
    cluster = deployment_of(deployment)
    models = check(cluster, draws, workers)
    source = what if isinstance(what, Trace) else workload_of(what)
    found = list(_served(source, [*_deployments(cluster, models, draws, draw_seed)], options, workers))
    own = _figures(point or summarize(_run(source, cluster, options)))
    drifts = [model.drift for model in models.values() if model.drift is not None]
    return Intervals(draws, draw_seed, max(drifts, default=None), _intervals(own, found))


def check(cluster: DeploymentSpec, draws: int = DRAWS, workers: int = 1) -> dict[LatencySpec, UncertainModel]:
    """Return what is known of each latency model of a cluster, before anything is simulated; instances share them.

    Raises:
        BlisError: as :func:`uncertainty`.
    """
    if draws < _FEWEST:
        raise BlisError(f"an interval needs {_FEWEST} draws or more, found {draws}")
    if workers < 1:
        raise BlisError(f"the draws need one worker or more, found {workers}")
    found: dict[LatencySpec, UncertainModel] = {}
    for config in cluster.resolve():
        if config.latency not in found:
            found[config.latency] = uncertain_model(config)
    return found


def _deployments(
    cluster: DeploymentSpec, models: Mapping[LatencySpec, UncertainModel], draws: int, seed: int
) -> Iterator[DeploymentSpec]:
    """Yield the deployment with each draw of its latency models."""
    sizes = [len(model.centre) + 1 for model in models.values()]
    normal = np.split(normal_draws(draws, sum(sizes), seed), np.cumsum(sizes)[:-1], axis=1)
    vectors = {
        spec: model.paced(drawn(model.centre, model.covariance, own[:, 1:]), own[:, 0])
        for (spec, model), own in zip(models.items(), normal, strict=True)
    }
    configs = {config.pool: config for config in cluster.resolve()}
    for at in range(draws):
        changes = {}
        for pool, config in configs.items():
            latency = models[config.latency].latency(vectors[config.latency][at])
            # What the file's validity says about the scheduling goes with it, so the deployment says it.
            changes[pool] = {"latency": latency, "async_scheduling": config.async_scheduling}
        if cluster.pools:
            pools = tuple(pool.model_copy(update=changes[pool.name]) for pool in cluster.pools)
            yield cluster.model_copy(update={"pools": pools})
        else:
            yield cluster.model_copy(update=changes[""])


_job: tuple[WorkloadSpec | Trace, Mapping[str, Any]] | None = None
"""What a worker process simulates; a trace is sent to it only once."""


def _served(
    source: WorkloadSpec | Trace, deployments: Sequence[DeploymentSpec], options: Mapping[str, Any], workers: int
) -> Iterator[Figures]:
    if workers == 1:
        yield from (_figures(summarize(_run(source, deployment, options))) for deployment in deployments)
        return
    with ProcessPoolExecutor(workers, initializer=_prepare, initargs=(source, options)) as executor:
        yield from executor.map(_work, deployments)


def _prepare(source: WorkloadSpec | Trace, options: Mapping[str, Any]) -> None:
    global _job
    _job = source, options


def _work(deployment: DeploymentSpec) -> Figures:
    assert _job is not None, "the worker was prepared"
    source, options = _job
    return _figures(summarize(_run(source, deployment, options)))


def _run(source: WorkloadSpec | Trace, deployment: DeploymentSpec, options: Mapping[str, Any]) -> Trace:
    if isinstance(source, Trace):
        return replay(source, deployment, **options, warn=_quiet)
    return simulate(source, deployment, **options, warn=_quiet)


def _quiet(text: str) -> None:
    """What is doubtful is said where the simulation with the coefficients themselves is run."""


def _figures(summary: Summary) -> Figures:
    kinds = {name: getattr(summary, name, None) or getattr(summary.overall, name, None) for name in _LATENCIES}
    found: Figures = {
        name: {figure: getattr(kind, figure) for figure in FIGURES} for name, kind in kinds.items() if kind is not None
    }
    found["throughput"] = {name: getattr(summary.overall.throughput, name) for name in _RATES}
    return found


def _intervals(own: Figures, found: Sequence[Figures]) -> dict[str, dict[str, Interval]]:
    result: dict[str, dict[str, Interval]] = {}
    for metric, figures in own.items():
        for name, value in figures.items():
            if value is None:
                continue
            values = [each[metric][name] for each in found if metric in each]
            known = [each for each in values if each is not None]
            ends: list[float | None] = [None, None]
            if len(known) == len(found):
                # Hazen's positions (k - 1/2)/n are those of the strata's middles that the draws are.
                ends = np.quantile(known, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2], method="hazen").tolist()
            result.setdefault(metric, {})[name] = Interval(value, *ends)
    return result
