"""What a summary holds. Times are microseconds (``_us``) or seconds (``_s``); None means that there is no figure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from blis.metrics.distribution import Distribution

__all__ = ["Cache", "Conservation", "GroupSummary", "Slo", "Summary", "Throughput", "plain"]


@dataclass(frozen=True, slots=True)
class Throughput:
    """Completed work per second of the span.

    ``input_tokens_per_s`` counts the requests' own parts; ``prompt_tokens_per_s`` whole prompts, with prefixes and
    session context.
    """

    requests_per_s: float | None
    input_tokens_per_s: float | None
    prompt_tokens_per_s: float | None
    output_tokens_per_s: float | None


@dataclass(frozen=True, slots=True)
class Slo:
    """How many completed requests met every target of their client; a request without targets met them.

    ``attainment`` is a share of the completed requests. Goodput is the throughput of those that met their targets.
    """

    with_targets: int
    attainment: float | None
    goodput_requests_per_s: float | None
    goodput_tokens_per_s: float | None


@dataclass(frozen=True, slots=True)
class GroupSummary:
    """Figures of one group of requests. Latencies are those of completed requests, warm-up left out.

    ``tpot_us`` is a request's mean gap between tokens, (E2E - TTFT)/(output tokens - 1), of requests with two tokens
    or more. ``statuses`` counts requests by how they ended, those that occur.
    """

    requests: int
    completed: int
    statuses: dict[str, int]
    ttft_us: Distribution
    tpot_us: Distribution
    e2e_us: Distribution
    scheduling_delay_us: Distribution
    throughput: Throughput
    slo: Slo
    preemptions: int


@dataclass(frozen=True, slots=True)
class Conservation:
    """Where every request went: ``injected`` equals the sum of the rest."""

    injected: int
    completed: int
    running: int
    queued: int
    rejected: int
    dropped: int
    timed_out: int
    failed: int

    @property
    def balanced(self) -> bool:
        """Whether no request was lost or counted twice."""
        ended = self.completed + self.rejected + self.dropped + self.timed_out + self.failed
        return self.injected == ended + self.running + self.queued


@dataclass(frozen=True, slots=True)
class Cache:
    """Prefix caching: ``hit_rate`` is blocks claimed over blocks claimed or allocated; None where not recorded."""

    hit_rate: float | None
    cached_tokens: int


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything blis says about a trace.

    ``itl_us`` has the gaps between tokens, one by one; it is None where the trace doesn't record them.
    ``jain_fairness`` compares the tenants' output tokens per second (1: equal). Breakdowns go by label; they are
    empty where no request has one, and ``too_many`` names those left out for having too many labels, with how many.
    """

    mode: str
    span_us: int
    warm_up_requests: int
    overall: GroupSummary
    itl_us: Distribution | None
    conservation: Conservation
    cache: Cache
    preempted_requests: int
    jain_fairness: float | None
    slo_classes: dict[str, GroupSummary]
    tenants: dict[str, GroupSummary]
    instances: dict[str, GroupSummary]
    pools: dict[str, GroupSummary]
    clients: dict[str, GroupSummary]
    too_many: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The summary as plain data for JSON; what isn't a finite number is None."""
        data: dict[str, Any] = plain(self)
        return data


def plain(value: Any) -> Any:
    """Return results as data for JSON: dataclasses and mappings as dictionaries, what isn't a finite number as None."""
    if is_dataclass(value):
        return {item.name: plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
