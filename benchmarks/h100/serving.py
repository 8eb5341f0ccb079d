"""The load that the servers got, sent to simulated ones.

A hundred prompts are shuffled once and sent in turn through all stages, so that from the hundredth request on every
prompt is cached. Within a stage as many requests as were sent arrive at exponential gaps, scaled to the duration: a
Poisson process, given its count. A stage starts a pause after the one before has drained.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import simpy
from measurements import GAPS, LATENCIES, QUANTILES, Experiment, Stage

from blis.cluster.cluster import Cluster
from blis.cluster.virtual_time import VirtualTime
from blis.request import ClientFacts, Request
from blis.rng import stream
from blis.spec.deployment import deployment_from_dict
from blis.trace.status import STATUSES, Status

__all__ = ["arrivals_us", "serve", "serve_stages"]

_OK = STATUSES.index(Status.OK)
_CLIENT = ClientFacts("client")


def arrivals_us(stage: Stage, share: float, generator: np.random.Generator) -> list[int]:
    """Return the arrival times of a stage since its begin: exponential gaps, scaled to the duration they took."""
    ends = np.cumsum(generator.exponential(size=max(1, round(stage.requests * share))))
    times: list[int] = np.rint(ends / ends[-1] * stage.duration_s * share * 1e6).astype(int).tolist()
    return times


def deployment(experiment: Experiment, coefficients: Mapping[str, float]) -> dict[str, Any]:
    """Return the simulated server: the facts of the real one, with asynchronous scheduling as on all GPUs."""
    server = experiment.server
    return {
        "model": experiment.model,
        "hardware": "H100",
        "tp": experiment.tp,
        "max_num_seqs": server["max_num_seqs"],
        "max_num_batched_tokens": server["max_num_batched_tokens"],
        "max_model_len": server["max_model_len"],
        "block_size": server["block_size"],
        "total_kv_blocks": server["gpu_kv_blocks"],
        "async_scheduling": True,
        "latency": {"model": "physics", "physics": dict(coefficients)},
    }


def serve_stages(
    experiment: Experiment, coefficients: Mapping[str, float], seed: int, stages: int, share: float = 1.0
) -> tuple[Cluster, list[range]]:
    """Simulate the first ``stages`` of an experiment, each for a ``share`` of its time.

    Returns the cluster, whose table has all requests, and the requests of each stage.
    """
    env = VirtualTime()
    cluster = Cluster(env, deployment_from_dict(deployment(experiment, coefficients)).resolve(), seed)
    spans: list[range] = []
    (instance,) = cluster.instances
    instance.step_ends = []
    env.process(_client(env, cluster, experiment, stages, share, seed, spans))
    env.drain()
    cluster.close()
    return cluster, spans


def _client(
    env: simpy.Environment,
    cluster: Cluster,
    experiment: Experiment,
    stages: int,
    share: float,
    seed: int,
    spans: list[range],
) -> Generator[simpy.Event, None, None]:
    prompts = stream(seed, "h100", "prompts").permutation(experiment.prompt_tokens).tolist()
    patience = round(experiment.timeout_s * 1e6)
    sent = 0
    for stage in experiment.stages[:stages]:
        begin, first, answers = int(env.now), sent, []
        for arrival in arrivals_us(stage, share, stream(seed, "h100", "arrivals", str(stage.number))):
            if begin + arrival > env.now:
                yield env.timeout(begin + arrival - int(env.now))
            now, which = int(env.now), sent % len(prompts)
            tokens = prompts[which]
            # The last token stands for the output, which nobody else's prompt continues.
            segments = ((f"prompt {which}", tokens - 1), (None, 1))
            answers.append(
                cluster.submit(
                    Request(
                        _CLIENT,
                        sent,
                        now,
                        tokens,
                        tokens,
                        segments,
                        experiment.output_tokens,
                        deadline_us=now + patience,
                    )
                )
            )
            sent += 1
        spans.append(range(first, sent))
        yield env.all_of(answers)
        yield env.timeout(round(experiment.pause_s * 1e6))


def serve(
    experiment: Experiment, coefficients: Mapping[str, float], seed: int, stages: int, share: float = 1.0
) -> list[dict[str, float]]:
    """Return the moments of each of the first ``stages``, over successful requests, in ms."""
    cluster, spans = serve_stages(experiment, coefficients, seed, stages, share)
    ends = np.array(cluster.instances[0].step_ends)
    found = []
    for span in spans:
        columns = {
            name: cluster.table.column(name, span.start, span.stop)
            for name in ("status", "arrival_us", "first_us", "last_us")
        }
        ok = columns["status"] == _OK
        sent, first, last = (columns[name][ok] for name in ("arrival_us", "first_us", "last_us"))
        moments = _latencies((last - sent) / 1e3, (first - sent) / 1e3, experiment.output_tokens)
        found.append(moments | _gaps(ends, first, last))
    return found


def _latencies(e2e: npt.NDArray[np.float64], ttft: npt.NDArray[np.float64], output_tokens: int) -> dict[str, float]:
    result = {}
    for kind, values in zip(LATENCIES, (e2e, ttft), strict=True):
        result[f"{kind}_mean"] = float(values.mean())
        result |= {f"{kind}_{name}": float(np.quantile(values, level)) for name, level in QUANTILES.items()}
    return {**result, "itl_mean": (result["e2e_mean"] - result["ttft_mean"]) / (output_tokens - 1)}


def _gaps(ends: npt.NDArray[np.int64], first: npt.NDArray[np.int64], last: npt.NDArray[np.int64]) -> dict[str, float]:
    """Return quantiles over all gaps between tokens: a step is a gap for every request that decodes in it."""
    begins, durations = ends[:-1], np.diff(ends) / 1e3
    decoding = np.searchsorted(np.sort(first), begins, "right") - np.searchsorted(np.sort(last), begins, "right")
    order = np.argsort(durations)
    up_to = np.cumsum(decoding[order])
    return {
        f"gap_{name}": float(durations[order][np.searchsorted(up_to, level * up_to[-1])])
        for name, level in GAPS.items()
    }
