"""The YAML files that inference-perf is run with (version 0.7), as far as they say what is sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from blis.spec.fields import Count, Flag, NonNegative, Positive, PositiveCount, RealNumber, Text
from blis.spec.pool import PoolSize
from blis.spec.strict import Finding, StrictModel, is_number, lookup, shown

__all__ = ["Config", "Lengths", "Load", "SharedPrefix", "Stage"]

Unused = Any
"""Says how inference-perf works and reports, not what it sends."""

_SYNTHETIC = ("synthetic", "random")
_RENAMED = {"num_unique_system_prompts": "num_groups", "num_users_per_system_prompt": "num_prompts_per_group"}
_DATA_SET = (
    "prompts of a data set, whose lengths the file doesn't tell; fit a workload to a trace of the run instead:"
    " blis describe TRACE --fit-spec FILE"
)


class Lengths(StrictModel):
    """Lengths in tokens, rounded and clipped to [min, max]; ``variance`` stands in the place of ``std_dev``."""

    type: Literal["normal", "lognormal", "uniform", "fixed", "poisson", "skew_normal"] = "normal"
    min: Count = 10
    max: PositiveCount = 1024
    mean: NonNegative = 512.0
    std_dev: NonNegative = 200.0
    variance: NonNegative | None = None
    skew: RealNumber = 0.0
    total_count: Unused = None

    @classmethod
    def across(cls, raw: Mapping[str, Any]) -> Iterator[Finding]:
        """Min must not exceed max."""
        low, high = raw.get("min", 10), raw.get("max", 1024)
        if is_number(low) and is_number(high) and low > high:
            yield ("min",), f"must be at most max, which is {shown(high)}; found {shown(low)}"


class SharedPrefix(StrictModel):
    """Groups of prompts that begin with one system prompt each."""

    num_groups: PositiveCount = 10
    num_prompts_per_group: PoolSize = 10
    system_prompt_len: Lengths = Lengths(type="fixed", mean=100.0)
    question_len: Lengths = Lengths(type="fixed", mean=50.0)
    output_len: Lengths = Lengths(type="fixed", mean=50.0)
    enable_multi_turn_chat: Flag = False
    multimodal: Unused = None
    seed: Unused = None

    @classmethod
    def prepare(cls, raw: dict[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
        """Bring older names and plain numbers into the one form."""
        data = {_RENAMED.get(key, key): value for key, value in raw.items()}
        for key, older in (("question_len", "question_distribution"), ("output_len", "output_distribution")):
            if (value := data.pop(older, None)) is not None:
                data[key] = value
        for key in ("system_prompt_len", "question_len", "output_len"):
            if is_number(data.get(key)):
                data[key] = {"type": "fixed", "mean": data[key]}
        return data

    @classmethod
    def across(cls, raw: Mapping[str, Any]) -> Iterator[Finding]:
        """What can't be converted is refused."""
        if raw.get("enable_multi_turn_chat") is True:
            yield ("enable_multi_turn_chat",), "conversations can't be converted: write the session by hand"
        if raw.get("multimodal") is not None:
            yield ("multimodal",), "images, video and audio can't be converted: their tokens depend on the model"


class Data(StrictModel):
    """What prompts are made of."""

    type: Text = "mock"
    input_distribution: Lengths | None = None
    output_distribution: Lengths | None = None
    shared_prefix: SharedPrefix | None = None
    multimodal: Unused = None
    path: Unused = None
    corpus_file_path: Unused = None
    trace: Unused = None
    otel_trace_replay: Unused = None
    weka_trace_replay: Unused = None
    conversation_replay: Unused = None
    visionarena: Unused = None
    synthetic_agentic: Unused = None
    use_chat_template: Unused = None

    @classmethod
    def across(cls, raw: Mapping[str, Any]) -> Iterator[Finding]:
        """The kind of data says how long prompts are."""
        kind = raw.get("type", "mock")
        if kind == "shared_prefix":
            return
        if kind not in _SYNTHETIC:
            yield (
                ("type",),
                f"must be synthetic, random or shared_prefix to be converted, found {shown(kind)}: {_DATA_SET}",
            )
            return
        for key in ("input_distribution", "output_distribution"):
            if raw.get(key) is None:
                yield (key,), f"missing; {kind} data needs it"
        if raw.get("trace") is not None:
            yield (
                ("trace",),
                "lengths of a trace can't be converted: 'blis trace convert' and 'blis replay' take traces",
            )
        if raw.get("multimodal") is not None:
            yield ("multimodal",), "images, video and audio can't be converted: their tokens depend on the model"


class Stage(StrictModel):
    """A stretch of a load: a rate and a duration in seconds, or requests and how many of them at a time."""

    rate: Positive | None = None
    duration: Positive | None = None
    num_requests: PositiveCount | None = None
    concurrency_level: PositiveCount | None = None


class Load(StrictModel):
    """When requests are sent; ``interval`` and ``request_timeout`` are seconds."""

    type: Literal["constant", "poisson", "concurrent"] = "constant"
    interval: NonNegative = 1.0
    stages: tuple[Stage, ...] = ()
    request_timeout: Positive | None = None
    base_seed: Count | None = None
    sweep: Unused = None
    trace: Unused = None
    lora_traffic_split: Unused = None
    num_workers: Unused = None
    worker_max_concurrency: Unused = None
    worker_max_tcp_connections: Unused = None
    circuit_breakers: Unused = None
    request_retries: Unused = None
    request_retry_backoff_sec: Unused = None
    stage_teardown_grace_seconds: Unused = None

    @classmethod
    def across(cls, raw: Mapping[str, Any]) -> Iterator[Finding]:
        """Every stage has what its kind of load needs."""
        stages = raw.get("stages") or ()
        if raw.get("sweep") is not None:
            yield ("sweep",), "finds its rates by trying a server: give stages instead"
        elif not stages:
            yield ("stages",), "missing; expected a list of stages, such as {rate: 10, duration: 60}"
        concurrent = raw.get("type") == "concurrent"
        needed = ("num_requests", "concurrency_level") if concurrent else ("rate", "duration")
        for index, stage in enumerate(stages if isinstance(stages, list | tuple) else ()):
            for key in needed:
                if isinstance(stage, Mapping) and lookup(stage, key) is None:
                    yield ("stages", index, key), f"missing; a stage of a {raw.get('type', 'constant')} load needs it"
        if concurrent and len(stages) > 1:
            yield ("stages", 1), "only one concurrent stage can be converted: make each a workload of its own"


class Api(StrictModel):
    """How requests are sent."""

    streaming: Flag = False
    type: Unused = None
    headers: Unused = None
    slo_unit: Unused = None
    slo_tpot_header: Unused = None
    slo_ttft_header: Unused = None
    response_format: Unused = None
    session_id_header_key: Unused = None
    session_token_header_key: Unused = None


class Config(StrictModel):
    """A configuration of inference-perf."""

    load: Load
    data: Data
    api: Api = Api()
    metrics: Unused = None
    report: Unused = None
    storage: Unused = None
    server: Unused = None
    tokenizer: Unused = None
    circuit_breakers: Unused = None
