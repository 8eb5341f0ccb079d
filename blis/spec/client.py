"""One client of a workload: who it is, when it sends, what it sends, and what it expects.

Fields of later kinds of traffic (sessions, reasoning, multimodal inputs, closed-loop concurrency) belong on
:class:`ClientSpec`, each with a model of its own like :class:`NetworkSpec`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import Field

from blis.spec.arrival import ArrivalSpec
from blis.spec.distributions import Distribution, length_findings
from blis.spec.fields import Count, Flag, Name, NonNegative, PositiveCount, PositiveMicros, Text, as_us
from blis.spec.lifecycle import LifecycleSpec
from blis.spec.strict import Finding, StrictModel, is_number, lookup, shown

__all__ = ["ClientSpec", "NetworkSpec", "SloTargets"]


class NetworkSpec(StrictModel):
    """The way between a client and the server. It changes what the client sees, never the server's times."""

    rtt_ms: NonNegative = Field(default=0.0, description="Round-trip time in milliseconds.")
    bandwidth_mbps: NonNegative = Field(default=0.0, description="Bandwidth in Mbit/s each way; 0 means unlimited.")


class SloTargets(StrictModel):
    """Latencies a request should stay within; None sets no target."""

    ttft_us: PositiveMicros | None = Field(default=None, description="Time to the first token.")
    tpot_us: PositiveMicros | None = Field(default=None, description="Mean time per output token after the first.")
    e2e_us: PositiveMicros | None = Field(default=None, description="Time to the last token.")


class ClientSpec(StrictModel):
    """One client.

    Its rate is ``rate_fraction`` of the workload's ``aggregate_rate``, after the fractions of the clients that are
    active together have been normalised; or, where aggregate_rate is 0 or absent, its own ``rate`` in requests/s.
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
    arrival: ArrivalSpec = Field(description="How the requests are spaced.")
    input_distribution: Distribution = Field(description="Tokens of a request's own part of the prompt, >= 1.")
    output_distribution: Distribution = Field(description="Tokens the model produces, >= 1.")
    prefix_group: Text = Field(default="", description="Clients of one group start their prompts with the same tokens.")
    prefix_length: Count = Field(
        default=0, description="Tokens of that shared start, on top of the input distribution."
    )
    streaming: Flag = Field(default=True, description="Whether tokens are streamed as they are produced.")
    network: NetworkSpec | None = Field(default=None, description="The way to the server; none means no delay.")
    lifecycle: LifecycleSpec | None = Field(default=None, description="When the client is active; none means always.")
    timeout: PositiveMicros | None = Field(
        default=None, description="A request not complete after this long is given up."
    )
    max_output_tokens: PositiveCount | None = Field(
        default=None, description="Longer outputs are cut to this many tokens."
    )
    slo_targets: SloTargets | None = Field(default=None, description="Latency targets.")
    slo_target_us: PositiveMicros | None = Field(default=None, description="Older way to write slo_targets.ttft_us.")

    @classmethod
    def prepare(cls, raw: dict[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
        """Move slo_target_us, where it is sound, into slo_targets."""
        target = as_us(raw.get("slo_target_us"))
        targets = raw.get("slo_targets")
        if not target or not isinstance(targets, dict | None) or (targets or {}).get("ttft_us") is not None:
            return raw
        return {**raw, "slo_targets": {**(targets or {}), "ttft_us": target}, "slo_target_us": None}

    @classmethod
    def across(cls, raw: Mapping[str, Any]) -> Iterator[Finding]:
        """Lengths are at least 1, a prefix has both group and length, and the TTFT target is given once."""
        for key in ("input_distribution", "output_distribution"):
            yield from (((key, *path), text) for path, text in length_findings(raw.get(key)))
        length = raw.get("prefix_length")
        if is_number(length) and length > 0 and raw.get("prefix_group", "") == "":
            yield ("prefix_length",), f"needs prefix_group, the name of who shares it; found {shown(length)} without"
        if raw.get("slo_target_us") is not None and lookup(raw.get("slo_targets"), "ttft_us") is not None:
            yield ("slo_target_us",), "means slo_targets.ttft_us, which is given too; keep one of them"
