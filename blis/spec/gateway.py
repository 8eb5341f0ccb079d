"""What stands before the instances of a deployment: who is admitted, and who goes where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import Field

from blis.spec.fields import Micros, NonNegative, Positive, unit
from blis.spec.strict import Finding, StrictModel
from blis.spec.words import did_you_mean, listed, shown

__all__ = ["DEFAULT_SCORERS", "SCORERS", "AdmissionSpec", "RoutingSpec"]

SCORERS = (
    "queue-depth",
    "kv-utilization",
    "load-balance",
    "precise-prefix-cache",
    "prefix-affinity",
    "active-requests",
    "running-requests",
    "load-aware",
)
"""What the weighted router can score an instance by."""

DEFAULT_SCORERS = {"precise-prefix-cache": 2.0, "queue-depth": 1.0, "kv-utilization": 1.0}
"""Scorers and weights of the weighted router where none are given."""


class AdmissionSpec(StrictModel):
    """Which requests are let in at all.

    A token bucket starts full with ``capacity`` prompt tokens and refills by ``refill_rate`` of them per second.
    """

    policy: Literal["always", "reject-all", "token-bucket"] = Field(
        default="always", description="Who is admitted.", examples=["token-bucket"]
    )
    capacity: Positive | None = Field(
        default=None,
        description="Token bucket: most prompt tokens it holds.",
        examples=[100_000],
        json_schema_extra=unit("tokens"),
    )
    refill_rate: Positive | None = Field(
        default=None,
        description="Token bucket: prompt tokens per second that flow in.",
        examples=[20_000],
        json_schema_extra=unit("tokens/s"),
    )
    latency_us: Micros = Field(default=0, description="Time an admission decision takes.", examples=[50])

    @classmethod
    def across(cls, raw: Mapping[str, Any]) -> Iterator[Finding]:
        """A token bucket has capacity and refill rate; nothing else does."""
        policy = raw.get("policy", "always")
        for key in ("capacity", "refill_rate"):
            if policy == "token-bucket" and raw.get(key) is None:
                yield (key,), "missing; the policy token-bucket needs it, a number > 0"
            elif policy in ("always", "reject-all") and raw.get(key) is not None:
                yield (key,), f"only the policy token-bucket uses it, but the policy is {policy}; remove one of them"


class RoutingSpec(StrictModel):
    """Which instance an admitted request goes to."""

    policy: Literal["round-robin", "least-loaded", "weighted", "always-busiest"] = Field(
        default="round-robin", description="How an instance is chosen.", examples=["least-loaded", "weighted"]
    )
    scorers: dict[str, NonNegative] | None = Field(
        default=None,
        description="Weighted routing: scorers and their weights, normalised to a sum of 1.",
        json_schema_extra={"propertyNames": {"enum": [*SCORERS]}} | unit("none"),
        examples=[{"precise-prefix-cache": 2, "queue-depth": 1}],
    )
    latency_us: Micros = Field(default=0, description="Time a routing decision takes.", examples=[50])
    snapshot_interval_us: Micros = Field(
        default=0, description="Age at which the router re-reads an instance; 0: always.", examples=["100ms"]
    )

    @property
    def weights(self) -> dict[str, float]:
        """Scorers and weights of the weighted policy, as given, or the default ones."""
        return dict(DEFAULT_SCORERS if self.scorers is None else self.scorers)

    @classmethod
    def across(cls, raw: Mapping[str, Any]) -> Iterator[Finding]:
        """Scorers are known, weigh something together, and belong to the weighted policy."""
        scorers = raw.get("scorers")
        if not isinstance(scorers, Mapping):
            return
        for name in scorers:
            if name not in SCORERS:
                text = f"unknown scorer {shown(name)}{did_you_mean(name, SCORERS)}; allowed: {listed(SCORERS)}"
                yield ("scorers", str(name)), text
        if all(weight == 0 for weight in scorers.values()):
            yield ("scorers",), "at least one scorer with a weight > 0 is needed; remove scorers for the default ones"
        policy = raw.get("policy", "round-robin")
        if policy != "weighted" and isinstance(policy, str):
            yield ("scorers",), f"only the policy weighted uses scorers, but the policy is {policy}; remove one of them"
