"""One client of a workload: who it is, when it sends, what it sends, and what it expects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import ConfigDict, Field

from blis.spec.arrival import ArrivalSpec
from blis.spec.distributions import Distribution, length_findings
from blis.spec.fields import Count, Flag, Micros, Name, NonNegative, PositiveCount, PositiveMicros, Text, as_us, unit
from blis.spec.lifecycle import LifecycleSpec, window_findings
from blis.spec.multimodal import MultimodalSpec, moved_text, text_findings
from blis.spec.pool import PromptPoolSpec, pool_findings
from blis.spec.session import Durations, ReasoningSpec, SessionSpec, closed_loop_findings, moved_session
from blis.spec.strict import Finding, StrictModel, is_number, lookup, shown

__all__ = ["ClientSpec", "NetworkSpec", "SloTargets"]


class NetworkSpec(StrictModel):
    """The way between a client and the server. It changes what the client sees, never the server's times."""

    rtt_ms: NonNegative = Field(
        default=0.0, description="Round-trip time in milliseconds.", examples=[40], json_schema_extra=unit("ms")
    )
    bandwidth_mbps: NonNegative = Field(
        default=0.0,
        description="Bandwidth in Mbit/s each way; 0 means unlimited.",
        examples=[100],
        json_schema_extra=unit("Mbit/s"),
    )
    jitter_ms: NonNegative = Field(
        default=0.0,
        description="Round trips are uniform in rtt_ms ± jitter_ms, in milliseconds, and never below 0.",
        examples=[10],
        json_schema_extra=unit("ms"),
    )


class SloTargets(StrictModel):
    """Latencies a request should stay within; None sets no target."""

    ttft_us: PositiveMicros | None = Field(default=None, description="Time to the first token.", examples=["500ms"])
    tpot_us: PositiveMicros | None = Field(
        default=None, description="Mean time per output token after the first.", examples=["50ms"]
    )
    e2e_us: PositiveMicros | None = Field(default=None, description="Time to the last token.", examples=["10s"])


def _text_may_stand_elsewhere(schema: dict[str, Any]) -> None:
    schema["required"].remove("input_distribution")
    schema["properties"]["input_distribution"]["x-default"] = "required, here or as multimodal.text_distribution"
    schema["anyOf"] = [{"required": ["input_distribution"]}, {"required": ["multimodal"]}]


class ClientSpec(StrictModel):
    """One client.

    Its rate is ``rate_fraction`` of the workload's ``aggregate_rate``, after the fractions of the clients that are
    active together have been normalised; or, where aggregate_rate is 0 or absent, its own ``rate`` in requests/s. The
    rate of a client with a ``session`` counts sessions. A client with ``concurrency`` has no rate: it keeps that many
    requests, or sessions, going, each followed by the next when it has ended.
    ``slo_class`` is a label, kept as written in traces and metrics; schedulers treat realtime as critical and
    interactive as standard.
    """

    model_config = ConfigDict(json_schema_extra=_text_may_stand_elsewhere)

    id: Name = Field(
        description="Name of the client, unique in the file; its random streams are derived from it.", examples=["chat"]
    )
    tenant_id: Text = Field(
        default="", description="Who the client belongs to; fairness is measured over tenants.", examples=["acme"]
    )
    slo_class: Literal["critical", "standard", "sheddable", "batch", "background", "realtime", "interactive", ""] = (
        Field(
            default="",
            description="Service class; decides priority, and metrics are broken down by it.",
            examples=["critical", "batch"],
        )
    )
    model: Text = Field(
        default="", description="Name of the model asked for; empty means the deployment's.", examples=["llama-3.1-8b"]
    )
    rate_fraction: NonNegative | None = Field(
        default=None,
        description="Share of aggregate_rate; shares are normalised.",
        examples=[0.7],
        json_schema_extra=unit("none"),
    )
    rate: NonNegative | None = Field(
        default=None,
        description="Requests/s of its own, used where aggregate_rate is 0.",
        examples=[5],
        json_schema_extra=unit("requests/s"),
    )
    arrival: ArrivalSpec | None = Field(
        default=None,
        description="How the requests, or starts of sessions, are spaced; required without concurrency.",
        examples=[{"process": "gamma", "cv": 2.5}],
    )
    session: SessionSpec | None = Field(
        default=None,
        description="Conversations of several rounds; none: no sessions.",
        examples=[{"max_rounds": 5, "think_time_us": "3s"}],
    )
    concurrency: PositiveCount | None = Field(
        default=None,
        description="Requests, or sessions, that are kept going, in place of arrivals at a rate.",
        examples=[32],
        json_schema_extra=unit("requests"),
    )
    think_time_us: Durations | None = Field(
        default=None,
        description="With concurrency: time from an end to the next request or session; none: 1 µs.",
        examples=["500ms", {"type": "exponential", "params": {"mean": 3_000_000}}],
    )
    ramp_up_us: Micros | None = Field(
        default=None,
        description="With concurrency: time over which the first ones are spread; none: all at once.",
        examples=["10s"],
    )
    input_distribution: Distribution = Field(
        description="Tokens of a request's own part of the prompt, >= 1.",
        examples=[{"type": "lognormal", "params": {"mu": 5.5, "sigma": 0.8, "max": 8000}}],
        json_schema_extra=unit("tokens"),
    )
    output_distribution: Distribution = Field(
        description="Tokens the model produces, >= 1.",
        examples=[{"type": "exponential", "params": {"mean": 150, "max": 2000}}],
        json_schema_extra=unit("tokens"),
    )
    reasoning: ReasoningSpec | None = Field(
        default=None,
        description="Reasoning in the output; none means none.",
        examples=[{"reason_ratio_distribution": {"type": "constant", "params": {"value": 0.8}}}],
    )
    multimodal: MultimodalSpec | None = Field(
        default=None,
        description="Images, audio and video; none: text only.",
        examples=[{"image_distribution": {"type": "constant", "params": {"value": 576}}}],
    )
    prompt_pool: PromptPoolSpec | None = Field(
        default=None,
        description="Prompts that are sent again and again; none: no two requests have the same.",
        examples=[{"size": 100}],
    )
    prefix_group: Text = Field(
        default="", description="Clients of one group start their prompts with the same tokens.", examples=["assistant"]
    )
    prefix_length: Count = Field(
        default=0,
        description="Tokens of that shared start, on top of the input distribution.",
        examples=[300],
        json_schema_extra=unit("tokens"),
    )
    streaming: Flag = Field(
        default=True, description="Whether tokens are streamed as they are produced.", examples=[False]
    )
    network: NetworkSpec | None = Field(
        default=None,
        description="The way to the server; none means no delay.",
        examples=[{"rtt_ms": 40, "bandwidth_mbps": 100}],
    )
    lifecycle: LifecycleSpec | None = Field(
        default=None,
        description="When the client is active; none means always.",
        examples=[{"windows": [{"start_us": "30s", "end_us": "60s"}]}],
    )
    timeout: PositiveMicros | None = Field(
        default=None,
        description="A request not complete after this long is given up; none means never, but 300 s in sessions.",
        examples=["30s"],
    )
    max_output_tokens: PositiveCount | None = Field(
        default=None,
        description="Longer outputs are cut to this many tokens.",
        examples=[1024],
        json_schema_extra=unit("tokens"),
    )
    slo_targets: SloTargets | None = Field(
        default=None, description="Latency targets.", examples=[{"ttft_us": "500ms", "tpot_us": "50ms"}]
    )
    slo_target_us: PositiveMicros | None = Field(
        default=None, description="Older way to write slo_targets.ttft_us.", examples=["500ms"]
    )

    @classmethod
    def prepare(cls, raw: dict[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
        """Move what may be written in two places, where it is sound, into one of them."""
        raw = moved_session(moved_text(raw), context)
        target = as_us(raw.get("slo_target_us"))
        targets = raw.get("slo_targets")
        if not target or not isinstance(targets, dict | None) or (targets or {}).get("ttft_us") is not None:
            return raw
        return {**raw, "slo_targets": {**(targets or {}), "ttft_us": target}, "slo_target_us": None}

    @classmethod
    def across(cls, raw: Mapping[str, Any]) -> Iterator[Finding]:
        """Lengths are at least 1, a prefix has both group and length, and nothing is said twice."""
        yield from closed_loop_findings(raw)
        yield from text_findings(raw)
        yield from window_findings(raw)
        yield from pool_findings(raw)
        # Beside images there may be no text at all.
        least_one = ("input_distribution",) if raw.get("multimodal") is None else ()
        for key in (*least_one, "output_distribution"):
            yield from (((key, *path), text) for path, text in length_findings(raw.get(key)))
        length = raw.get("prefix_length")
        if is_number(length) and length > 0 and raw.get("prefix_group", "") == "":
            yield ("prefix_length",), f"needs prefix_group, the name of who shares it; found {shown(length)} without"
        if raw.get("slo_target_us") is not None and lookup(raw.get("slo_targets"), "ttft_us") is not None:
            yield ("slo_target_us",), "means slo_targets.ttft_us, which is given too; keep one of them"
