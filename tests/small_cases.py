"""Small deployments and requests for cases that can be worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import oracle
from engine_harness import Served, serve
from oracle.strategies import GPUS, SHAPE, Latency, instance_config

from blis.cluster.cluster import Cluster
from blis.request import ClientFacts, Request, Segment
from blis.spec.instance import InstanceConfig
from blis.trace.histogram import Histogram

__all__ = ["Segment", "Served", "caches", "config", "gaps", "outcomes", "request", "run", "steps"]


def config(
    total_kv_blocks: int = 100,
    *,
    alpha: tuple[float, float, float] = (0, 0, 0),
    beta: tuple[float, float, float] = (10, 0, 0),
    **settings: Any,
) -> InstanceConfig:
    """Describe an instance under alpha-beta: by default every step takes 10 µs, and nothing else takes any time."""
    latency = Latency("alpha-beta", alpha, beta)
    made = oracle.Config(total_kv_blocks, latency, model=SHAPE, hardware=GPUS[0], **settings)
    return instance_config(made)


def request(
    arrival: int = 0,
    prompt: int | tuple[Segment, ...] = 1,
    output: int = 2,
    *,
    deadline: int | None = None,
    slo_class: str = "",
) -> Request:
    """Describe a request whose prompt is a number of tokens nobody else has, or segments."""
    segments = ((None, prompt),) if isinstance(prompt, int) else prompt
    return Request(
        client=ClientFacts("client", slo_class=slo_class),
        client_seq=0,
        arrival_us=arrival,
        input_tokens=segments[-1][1],
        prompt_tokens=sum(tokens for _, tokens in segments),
        segments=segments,
        output_tokens=output,
        deadline_us=deadline,
    )


def run(configs: InstanceConfig | list[InstanceConfig], *requests: Request, **keywords: Any) -> tuple[Cluster, Any]:
    """Serve the requests; returns the cluster and what became of each, in order."""
    alone = [configs] if isinstance(configs, InstanceConfig) else configs
    named = [replace(one, name=f"instance_{index}") for index, one in enumerate(alone)]
    cluster, served = serve(named, requests, log_steps=True, **keywords)
    return cluster, [served[number] for number in range(len(requests))]


def outcomes(served: list[Served]) -> list[tuple[str, int | None, int | None, int | None, int]]:
    """Status, TTFT, E2E, scheduling delay (all µs) and output tokens of each request."""
    return [(s.status, s.ttft_us, s.e2e_us, s.scheduling_delay_us, s.output_tokens) for s in served]


def steps(cluster: Cluster, instance: int = 0) -> list[int]:
    """When the steps of an instance ended."""
    ends = cluster.instances[instance].step_ends
    assert ends is not None
    return ends


def caches(cluster: Cluster, instance: int = 0) -> tuple[int, int]:
    """Blocks of an instance claimed from the cache and allocated anew, over the whole run."""
    kv = cluster.instances[instance].scheduler.kv
    return kv.claimed, kv.allocated


def gaps(*values: int) -> Histogram:
    """ITLs as a run's histogram holds them."""
    return Histogram(values, [1] * len(values))
