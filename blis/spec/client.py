"""One client of a workload: who it is, when it sends, what it sends, and what it expects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import Field

from blis.spec.arrival import ArrivalSpec
from blis.spec.distributions import Distribution, length_findings
from blis.spec.fields import Count, Flag, Micros, Name, NonNegative, PositiveCount, PositiveMicros, Text, as_us
from blis.spec.lifecycle import LifecycleSpec, window_findings
from blis.spec.multimodal import MultimodalSpec, moved_text, text_findings
from blis.spec.pool import PromptPoolSpec, pool_findings
from blis.spec.session import Durations, ReasoningSpec, SessionSpec, closed_loop_findings, moved_session
from blis.spec.strict import Finding, StrictModel, is_number, lookup, shown

__all__ = ["ClientSpec", "NetworkSpec", "SloTargets"]


class NetworkSpec(StrictModel):
    """The way between a client and the server. It changes what the client sees, never the server's times."""

    rtt_ms: NonNegative = Field(default=0.0, description="Round-trip time in milliseconds.")
    bandwidth_mbps: NonNegative = Field(default=0.0, description="Bandwidth in Mbit/s each way; 0 means unlimited.")
    jitter_ms: NonNegative = Field(
        default=0.0, description="Round trips are uniform in rtt_ms ± jitter_ms, in milliseconds, and never below 0."
    )


class SloTargets(StrictModel):
    """Latencies a request should stay within; None sets no target."""

    ttft_us: PositiveMicros | None = Field(default=None, description="Time to the first token.")
    tpot_us: PositiveMicros | None = Field(default=None, description="Mean time per output token after the first.")
    e2e_us: PositiveMicros | None = Field(default=None, description="Time to the last token.")


class ClientSpec(StrictModel):
    """One client.

    Its rate is ``rate_fraction`` of the workload's ``aggregate_rate``, after the fractions of the clients that are
    active together have been normalised; or, where aggregate_rate is 0 or absent, its own ``rate`` in requests/s. The
    rate of a client with a ``session`` counts sessions. A client with ``concurrency`` has no rate: it keeps that many
    requests, or sessions, going, each followed by the next when it has ended.
    ``slo_class`` is a label, kept as written in traces and metrics; schedulers treat realtime as critical and
    interactive as standard.
    """

    id: Name = Field(description="Name of the client, unique in the file; its random streams are derived from it.")
    tenant_id: Text = Field(default="", description="Who the client belongs to; fairness is measured over tenants.")
    slo_class: Literal["critical", "standard", "sheddable", "batch", "background", "realtime", "interactive", ""] = (
        Field(default="", description="Service class; decides priority, and metrics are broken down by it.")
    )
    model: Text = Field(default="", description="Name of the model asked for; empty means the deployment's.")
    rate_fraction: NonNegative | None = Field(
        default=None, description="Share of aggregate_rate; shares are normalised."
    )
    rate: NonNegative | None = Field(default=None, description="Requests/s of its own, used where aggregate_rate is 0.")
    arrival: ArrivalSpec | None = Field(
        default=None, description="How the requests, or starts of sessions, are spaced; required without concurrency."
    )
    session: SessionSpec | None = Field(default=None, description="Conversations of several rounds; none: no sessions.")
    concurrency: PositiveCount | None = Field(
        default=None, description="Requests, or sessions, that are kept going, in place of arrivals at a rate."
    )
    think_time_us: Durations | None = Field(
        default=None, description="With concurrency: time from an end to the next request or session; none: 1 µs."
    )
    ramp_up_us: Micros | None = Field(
        default=None, description="With concurrency: time over which the first ones are spread; none: all at once."
    )
    input_distribution: Distribution = Field(description="Tokens of a request's own part of the prompt, >= 1.")
    output_distribution: Distribution = Field(description="Tokens the model produces, >= 1.")
    reasoning: ReasoningSpec | None = Field(default=None, description="Reasoning in the output; none means none.")
    multimodal: MultimodalSpec | None = Field(default=None, description="Images, audio and video; none: text only.")
    prompt_pool: PromptPoolSpec | None = Field(
        default=None,
        description="Prompts that are sent again and again; none: no two requests have the same.",
    )
    prefix_group: Text = Field(default="", description="Clients of one group start their prompts with the same tokens.")
    prefix_length: Count = Field(
        default=0, description="Tokens of that shared start, on top of the input distribution."
    )
    streaming: Flag = Field(default=True, description="Whether tokens are streamed as they are produced.")
    network: NetworkSpec | None = Field(default=None, description="The way to the server; none means no delay.")
    lifecycle: LifecycleSpec | None = Field(default=None, description="When the client is active; none means always.")
    timeout: PositiveMicros | None = Field(
        default=None,
        description="A request not complete after this long is given up; none means never, but 300 s in sessions.",
    )
    max_output_tokens: PositiveCount | None = Field(
        default=None, description="Longer outputs are cut to this many tokens."
    )
    slo_targets: SloTargets | None = Field(default=None, description="Latency targets.")
    slo_target_us: PositiveMicros | None = Field(default=None, description="Older way to write slo_targets.ttft_us.")

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
