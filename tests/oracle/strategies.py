"""Hypothesis strategies for small deployments and workloads that get into all the corners of an engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import strategies as st

from blis.request import ClientFacts, Request, Segment
from blis.spec.catalogue import Gpu, ModelShape
from blis.spec.deployment import InstanceConfig, LatencySpec, PhysicsSpec
from blis.spec.instance import EncoderSpec
from oracle.config import Config

__all__ = [
    "ADMISSIONS",
    "ROUTINGS",
    "SHAPE",
    "Latency",
    "Scenario",
    "configs",
    "gateways",
    "instance_config",
    "latencies",
    "scenarios",
    "workloads",
]

SHAPE = ModelShape(
    name="tiny", hidden=64, layers=2, heads=4, kv_heads=2, head_dim=16, ffn=128, vocab=1000, max_model_len=4096
)
"""A model whose steps take some tens of microseconds on these GPUs, bound by memory on the first and by computing on
the second."""
GPUS = (
    Gpu("slow-memory", 5.0, bandwidth_tbs=0.01, mfu_prefill=0.45, mfu_decode=0.30, memory_gib=1.0, link_gbs=1.0),
    Gpu("slow-units", 0.05, bandwidth_tbs=0.03, mfu_prefill=0.40, mfu_decode=0.20, memory_gib=1.0, link_gbs=2.0),
)
CLASSES = ("", "critical", "standard", "batch", "sheddable", "background", "realtime", "interactive")
ADMISSIONS = ("always", "token-bucket", "reject-all")
ROUTINGS = ("round-robin", "least-loaded", "weighted", "always-busiest")
SCORERS = (
    "precise-prefix-cache", "queue-depth", "kv-utilization", "load-balance", "prefix-affinity", "active-requests",
    "running-requests", "load-aware",
)  # fmt: skip


@dataclass(frozen=True)
class Latency:
    """A latency model by name, with coefficients or None for the model's own."""

    model: str
    alpha: tuple[float, ...] | None = None
    beta: tuple[float, ...] | None = None
    physics: PhysicsSpec | None = None


@dataclass(frozen=True)
class Scenario:
    """A deployment and its traffic: ``oracle.run(s.configs, s.requests, **s.gateway)`` serves it.

    Requests are in order of arrival and numbered so.
    """

    configs: list[Config]
    requests: list[Request]
    gateway: dict[str, Any] = field(default_factory=dict)


def instance_config(config: Config) -> InstanceConfig:
    """Make the ``blis.spec.deployment.InstanceConfig`` that says the same."""
    given = config.latency
    latency = LatencySpec(given.model, given.alpha, given.beta, given.physics)
    settings = {name: getattr(config, name) for name in Config.__dataclass_fields__}
    return InstanceConfig(**(settings | {"latency": latency, "pool": ""}))


@st.composite
def latencies(draw: st.DrawFn) -> Latency:
    """Any latency model; steps take from 1 to a few hundred microseconds."""
    small = st.one_of(st.integers(0, 12).map(float), st.floats(0, 12, width=32))
    match draw(st.sampled_from(("alpha-beta", "alpha-beta", "roofline", "trained-physics", "physics", "fitted"))):
        case "alpha-beta":
            alpha = (draw(small), draw(st.sampled_from((0.0, 0.0, 0.5, 1.0, 1.3))), draw(small))
            return Latency("alpha-beta", alpha, (draw(small), draw(small) / 4, draw(small) / 4))
        case "roofline":
            return Latency("roofline", draw(st.sampled_from((None, (3.0, 0.25, 2.5)))))
        case "fitted":
            alpha = (draw(small), draw(st.sampled_from((0.0, 0.7))), draw(small), draw(small))
            fitted = (draw(small), draw(small) / 4, draw(small) / 100, draw(small) / 4, draw(small) / 1000, draw(small))
            return Latency("fitted", alpha, fitted)
        case "physics":
            names = ("layer_us", "all_reduce_us", "prefill_layer_us", "sequence_us", "step_us", "request_us")
            host = {"host_step_us": draw(st.sampled_from((0.0, 0.0, 30.5))), "host_sequence_us": draw(small) / 4}
            times = {name: draw(small) for name in (*names, "output_token_us", "completion_us")}
            return Latency("physics", physics=PhysicsSpec(**times, **host, prompt_token_us=0.25))
        case _:
            beta = (0.15, draw(small) / 10, 0.01, 1.9, 1.36, 0.75, 3.2, draw(small) / 4, draw(small), 0.0, 0.75)
            return Latency("trained-physics", (draw(small), draw(small), draw(small)), beta)


@st.composite
def configs(draw: st.DrawFn, *, asynchronous: bool | None = None) -> Config:
    """One instance, starved more often than not; ``asynchronous`` None means either."""
    return Config(
        total_kv_blocks=draw(st.one_of(st.integers(8, 60), st.integers(4, 60))),
        latency=draw(latencies()),
        block_size=draw(st.one_of(st.sampled_from((4, 2, 8, 16)), st.integers(1, 16))),
        max_num_seqs=draw(st.one_of(st.integers(3, 8), st.integers(1, 8))),
        max_num_batched_tokens=draw(st.one_of(st.integers(12, 64), st.integers(1, 64))),
        long_prefill_token_threshold=draw(st.sampled_from((0, 0, 1, 3, 8, 20))),
        max_model_len=draw(st.sampled_from((0, 0, 0, 0, 60, 100))),
        scheduler=draw(st.sampled_from(("fcfs", "fcfs", "sjf", "priority-fcfs", "reverse-priority"))),
        priority_policy=draw(st.sampled_from(("by-class", "constant", "slo-based", "inverted-slo"))),
        preemption=draw(st.sampled_from(("fcfs", "priority"))),
        async_scheduling=draw(st.booleans()) if asynchronous is None else asynchronous,
        model=SHAPE,
        hardware=draw(st.sampled_from(GPUS)),
        tp=draw(st.sampled_from((1, 1, 2))),
        encoder=draw(st.sampled_from(ENCODERS)),
    )


ENCODERS = (
    None,
    None,
    EncoderSpec(us_per_image_token=1.5, us_per_audio_token=0.3),
    EncoderSpec(base_us=20.7, us_per_image_token=0.1, us_per_video_token=3),
)
PARTS = (None, None, None, (1, 0, 0, 0), (1, 7, 0, 0), (0, 3, 11, 2))
"""What a request is made of; engines needn't care whether it adds up to the prompt."""

KINDS = (
    (None,),
    ("group-a", None),
    ("group-b", None),
    ("session-a", None),
    ("session-a",),
    ("session-b",),
    ("group-a", "session-b", None),
    ("group-a", "session-a"),
    ("group-a", "answer"),
    ("group-a", "pool-a", "nobody's"),
    ("pool-a", "nobody's"),
    (None, None),
)
"""The keys of a prompt's segments: unique ones, shared prefixes, sessions whose requests grow on one another, and
answers to one and the same prompt, which have a key of their own, or none, without a token of the prompt."""


def prompt(keys: Sequence[str | None], sizes: Sequence[int]) -> tuple[Segment, ...]:
    """Make segments of these keys and sizes, cut to 80 tokens in all."""
    segments: list[Segment] = []
    left = 80
    for key, size in zip(keys, sizes, strict=False):
        if key in ("answer", "nobody's"):
            segments.append((None if key == "nobody's" else key, 0))
        elif left:
            segments.append((key, min(size, left)))
            left -= segments[-1][1]
    return tuple(segments)


@st.composite
def workloads(draw: st.DrawFn, *, block_size: int = 4, deadlines: bool = True) -> list[Request]:
    """Make 5 to 40 requests, many at the same microsecond, many with lengths that fill blocks to the brim."""
    brim = st.integers(1, max(1, 48 // block_size)).map(lambda blocks: blocks * block_size)
    size = st.one_of(st.integers(1, 10), st.integers(1, 30), st.integers(1, 80), brim)
    gap = st.one_of(st.just(0), st.integers(0, 5), st.integers(0, 60), st.integers(0, 200))
    output = st.one_of(st.integers(0, 3), st.integers(2, 60), st.integers(10, 40))
    patience = st.sampled_from((None, None, None, None, 20, 400, 1500)).flatmap(
        lambda most: st.none() if most is None else st.integers(0, most)
    )
    row = st.tuples(
        gap, st.sampled_from(KINDS), st.tuples(size, size, size), output, st.sampled_from(CLASSES),
        patience if deadlines else st.none(), st.sampled_from(PARTS),
    )  # fmt: skip
    now = 0
    requests = []
    rows = draw(st.lists(row, min_size=draw(st.sampled_from((5, 12, 25))), max_size=40))
    for number, (wait, keys, sizes, tokens, slo_class, patient, parts) in enumerate(rows):
        now += wait
        segments = prompt(keys, sizes)
        requests.append(
            Request(
                client=ClientFacts(f"client-{slo_class}", slo_class=slo_class),
                client_seq=number,
                arrival_us=now,
                input_tokens=segments[-1][1],
                prompt_tokens=sum(length for _, length in segments),
                segments=segments,
                output_tokens=tokens,
                deadline_us=None if patient is None else now + patient,
                round_index=int(keys[-1] is not None),
                parts=parts,
                request_id=number,
            )
        )
    return requests


@st.composite
def gateways(
    draw: st.DrawFn, *, admissions: Sequence[str] = ADMISSIONS[:2], routings: Sequence[str] = ROUTINGS
) -> dict[str, Any]:
    """Admission and routing, as keyword arguments of ``oracle.run``."""
    gateway: dict[str, Any] = {
        "admission": draw(st.sampled_from([admissions[0]] * 3 + [*admissions])),
        "routing": draw(st.sampled_from(routings)),
        "admission_latency_us": draw(st.sampled_from((0, 0, 7))),
        "routing_latency_us": draw(st.sampled_from((0, 0, 3))),
        "snapshot_interval_us": draw(st.sampled_from((0, 0, 40, 1000))),
    }
    if gateway["admission"] == "token-bucket":
        gateway["bucket_capacity"] = draw(st.integers(20, 600))
        gateway["bucket_refill_rate"] = draw(st.sampled_from((1, 10_000, 1_000_000, 2_500_000)))
    if gateway["routing"] == "weighted":
        weights = st.dictionaries(st.sampled_from(SCORERS), st.sampled_from((0.5, 1.0, 2.0, 3.0)), min_size=1)
        gateway["scorers"] = draw(st.one_of(st.none(), weights))
    return gateway


@st.composite
def scenarios(
    draw: st.DrawFn,
    *,
    max_instances: int = 3,
    asynchronous: bool | None = None,
    deadlines: bool = True,
    admissions: Sequence[str] = ADMISSIONS[:2],
    routings: Sequence[str] = ROUTINGS,
) -> Scenario:
    """A deployment of one to ``max_instances`` instances, alike or each of its own kind, with its traffic."""
    first = draw(configs(asynchronous=asynchronous))
    alike = draw(st.booleans())
    members = [first]
    for _ in range(draw(st.integers(1, max_instances)) - 1):
        members.append(first if alike else draw(configs(asynchronous=asynchronous)))
    members = [replace(config, name=f"instance_{number}") for number, config in enumerate(members)]
    requests = draw(workloads(block_size=first.block_size, deadlines=deadlines))
    return Scenario(members, requests, draw(gateways(admissions=admissions, routings=routings)))
