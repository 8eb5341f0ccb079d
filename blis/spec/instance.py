"""What one simulated instance is made of: its keys in a deployment, and the values they resolve to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from blis.errors import BlisError
from blis.request import Parts
from blis.spec import catalogue
from blis.spec.capacity import kv_blocks
from blis.spec.catalogue import Gpu, ModelShape
from blis.spec.fields import Checked, Count, Flag, NonNegative, PositiveCount, real, refusal, unit, whole
from blis.spec.latency import LatencyModelSpec, LatencySpec, resolve_latency
from blis.spec.strict import StrictModel, shown

__all__ = ["EncoderSpec", "InstanceConfig", "InstanceKeys", "Unresolvable", "configure"]

SchedulerName = Literal["fcfs", "sjf", "priority-fcfs", "reverse-priority"]
PriorityPolicyName = Literal["by-class", "constant", "slo-based", "inverted-slo"]
PreemptionName = Literal["fcfs", "priority"]


@dataclass(frozen=True, slots=True)
class InstanceConfig:
    """Everything one instance needs to know of itself, resolved.

    ``name`` is instance_0, instance_1, ... across all pools; ``pool`` is empty without pools. ``total_kv_blocks`` is
    a number of blocks of ``block_size`` tokens, per replica; ``max_model_len`` 0 means no limit, and so does
    ``long_prefill_token_threshold`` 0.
    """

    name: str
    pool: str
    model: ModelShape
    hardware: Gpu
    tp: int
    max_num_seqs: int
    max_num_batched_tokens: int
    block_size: int
    total_kv_blocks: int
    long_prefill_token_threshold: int
    max_model_len: int
    scheduler: SchedulerName
    priority_policy: PriorityPolicyName
    preemption: PreemptionName
    async_scheduling: bool
    latency: LatencySpec
    encoder: EncoderSpec | None = None


class Unresolvable(BlisError):
    """Keys that are sound each but don't go together; ``key`` is the one to change."""

    def __init__(self, key: str, message: str) -> None:
        self.key = key
        super().__init__(message)


def _check_model(value: Any) -> str:
    if not isinstance(value, str):
        raise refusal(f"must be the name of a model, or the path of a config.json, found {shown(value)}")
    if "/" in value or value.lower().endswith(".json"):
        return value
    try:
        catalogue.model(value)
    except BlisError as error:
        raise refusal(str(error)) from None
    return value


def _check_hardware(value: Any) -> str:
    if not isinstance(value, str):
        raise refusal(f"must be the name of a GPU, found {shown(value)}")
    try:
        catalogue.gpu(value)
    except BlisError as error:
        raise refusal(str(error)) from None
    return value


def _check_blocks(value: Any) -> int | str:
    if value == "auto":
        return "auto"
    if isinstance(value, str):
        raise refusal(f"must be auto or a whole number >= 1, found {shown(value)}")
    return int(whole(1).check(value))


_MODEL = Checked(
    "the name of a model, or the path of a config.json", _check_model, {"type": "string", "x-range": "a name or a path"}
)
_HARDWARE = Checked("the name of a GPU", _check_hardware, {"type": "string", "x-range": "a name"})
_BLOCKS = Checked(
    "auto or a whole number >= 1", _check_blocks, {"anyOf": [{"const": "auto"}, {"type": "integer", "minimum": 1}]}
)
_SHARE = real(0, 1, above=True)


class EncoderSpec(StrictModel):
    """What images, audio and video cost before their request can be scheduled.

    A request with any of them takes base + the sum over its tokens, truncated to whole microseconds, on top of its
    queueing delay; encoders run beside the engine's steps and don't slow those down.
    """

    base_us: NonNegative = Field(
        default=0.0,
        description="Microseconds for a request with images, audio or video.",
        examples=[3000],
        json_schema_extra=unit("µs"),
    )
    us_per_image_token: NonNegative = Field(
        default=0.0,
        description="Microseconds per token of its images.",
        examples=[12],
        json_schema_extra=unit("µs/token"),
    )
    us_per_audio_token: NonNegative = Field(
        default=0.0,
        description="Microseconds per token of its audio.",
        examples=[8],
        json_schema_extra=unit("µs/token"),
    )
    us_per_video_token: NonNegative = Field(
        default=0.0,
        description="Microseconds per token of its video.",
        examples=[12],
        json_schema_extra=unit("µs/token"),
    )

    def duration_us(self, parts: Parts) -> float:
        """Return the time for a request of these parts, before truncation."""
        _, image, audio, video = parts
        if not (image or audio or video):
            return 0.0
        media = self.us_per_image_token * image + self.us_per_audio_token * audio + self.us_per_video_token * video
        return self.base_us + media


class InstanceKeys(StrictModel):
    """The keys that describe an instance, with the defaults of a deployment."""

    model: Annotated[str, _MODEL] = Field(
        default="llama-3.1-8b",
        description="A model of the catalogue, or the path of a Hugging Face config.json.",
        examples=["qwen2.5-7b", "models/config.json"],
    )
    hardware: Annotated[str, _HARDWARE] = Field(
        default="H100", description="A GPU of the catalogue.", examples=["A100-80"]
    )
    tp: PositiveCount = Field(
        default=1,
        description="Tensor parallelism: GPUs per instance; must divide the model's heads.",
        examples=[2],
        json_schema_extra=unit("GPUs"),
    )
    max_num_seqs: PositiveCount = Field(
        default=256, description="Most sequences that run at once.", examples=[128], json_schema_extra=unit("sequences")
    )
    max_num_batched_tokens: PositiveCount = Field(
        default=2048, description="Most new tokens in a step.", examples=[8192], json_schema_extra=unit("tokens")
    )
    block_size: PositiveCount = Field(
        default=16, description="Tokens per KV block.", examples=[32], json_schema_extra=unit("tokens")
    )
    total_kv_blocks: Annotated[int | str, _BLOCKS] = Field(
        default="auto",
        description="KV blocks of an instance; auto computes them from GPU memory.",
        examples=[20_000],
        json_schema_extra=unit("blocks"),
    )
    gpu_memory_utilization: Annotated[float, _SHARE] = Field(
        default=0.9,
        description="Share of GPU memory the server may use; matters where total_kv_blocks is auto.",
        examples=[0.85],
        json_schema_extra=unit("none"),
    )
    long_prefill_token_threshold: Count = Field(
        default=0,
        description="Most prompt tokens of one request in a step; 0: off.",
        examples=[512],
        json_schema_extra=unit("tokens"),
    )
    max_model_len: Count | None = Field(
        default=None,
        description="Longest prompt plus output; the model's own where absent, no limit where 0.",
        examples=[8192],
        json_schema_extra=unit("tokens"),
    )
    scheduler: SchedulerName = Field(default="fcfs", description="Order of the wait queue.", examples=["sjf"])
    priority_policy: PriorityPolicyName = Field(
        default="by-class", description="Where a request's priority comes from.", examples=["slo-based"]
    )
    preemption: PreemptionName = Field(
        default="fcfs", description="Who gives way when KV blocks run out.", examples=["priority"]
    )
    async_scheduling: Flag | None = Field(
        default=None,
        description="Form the next batch while a step runs, as vLLM does on GPUs; where absent, as a fitted latency"
        " model was found to, otherwise not.",
        examples=[True],
    )
    latency: LatencyModelSpec = Field(
        default_factory=lambda: LatencyModelSpec(),
        description="How long the engine's steps take.",
        examples=[{"model": "roofline"}],
    )
    encoder: EncoderSpec | None = Field(
        default=None,
        description="How long images, audio and video take; none means no time.",
        examples=[{"base_us": 3000, "us_per_image_token": 12}],
    )


def configure(values: Mapping[str, Any], base_dir: Path | None) -> InstanceConfig:
    """Resolve the values of :class:`InstanceKeys`; names stay empty.

    Raises:
        Unresolvable: an unusable config.json, a tp that doesn't divide the heads, a model that is too large for the
            GPUs, or alpha-beta without coefficients for the combination.
    """
    tp, block_size = values["tp"], values["block_size"]
    with _about("model"):
        shape = catalogue.model(values["model"], base_dir)
    gpu = catalogue.gpu(values["hardware"])
    if shape.heads % tp:
        fitting = ", ".join(str(n) for n in range(1, 9) if shape.heads % n == 0)
        raise Unresolvable("tp", f"{tp} does not divide the {shape.heads} heads of {shape.name}; use one of {fitting}")
    blocks = values["total_kv_blocks"]
    if blocks == "auto":
        with _about("tp"):
            blocks = kv_blocks(shape, gpu, tp, values["gpu_memory_utilization"], block_size)
    longest = values["max_model_len"]
    with _about("latency"):
        latency = resolve_latency(values["latency"], shape, gpu, tp, base_dir)
    return InstanceConfig(
        name="",
        pool="",
        model=shape,
        hardware=gpu,
        tp=tp,
        max_num_seqs=values["max_num_seqs"],
        max_num_batched_tokens=values["max_num_batched_tokens"],
        block_size=block_size,
        total_kv_blocks=blocks,
        long_prefill_token_threshold=values["long_prefill_token_threshold"],
        max_model_len=shape.max_model_len if longest is None else longest,
        scheduler=values["scheduler"],
        priority_policy=values["priority_policy"],
        preemption=values["preemption"],
        async_scheduling=_asynchronous(values["async_scheduling"], latency),
        latency=latency,
        encoder=values["encoder"],
    )


def _asynchronous(given: bool | None, latency: LatencySpec) -> bool:
    if given is None and latency.validity is not None:
        return bool(latency.validity.async_scheduling)
    return bool(given)


@contextmanager
def _about(key: str) -> Iterator[None]:
    try:
        yield
    except BlisError as error:
        raise Unresolvable(key, str(error)) from None
