"""What a summary holds. Times are microseconds (``_us``) or seconds (``_s``); None means that there is no figure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal

from blis.metrics.distribution import Distribution

__all__ = [
    "Anomalies",
    "Cache",
    "ClientFigures",
    "Conservation",
    "GroupSummary",
    "Intended",
    "Latencies",
    "Sessions",
    "Slo",
    "Summary",
    "Throughput",
    "Unservable",
    "plain",
]


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
class Anomalies:
    """How many requests waited in a queue for other reasons than load, of ``judged`` that queued.

    ``priority_inversions``: passed by a later one of their class that is no shorter; ``head_of_line_blocked``: stood
    behind a much longer prompt that had no room (None where the header doesn't say how many may run at once);
    ``starved``: passed by many, and waited many times longer than in their turn.
    """

    judged: int
    priority_inversions: int
    head_of_line_blocked: int | None
    starved: int


@dataclass(frozen=True, slots=True)
class GroupSummary:
    """Figures of one group of requests. Latencies are those of completed requests, warm-up left out.

    ``tpot_us`` is a request's mean gap between tokens, (E2E - TTFT)/(output tokens - 1), of requests with two tokens
    or more; ``first_answer_us`` the time to the first token after the reasoning, of requests that have both.
    ``statuses`` counts requests by how they ended, those that occur. ``anomalies`` is None where the trace doesn't say
    when requests were admitted.
    """

    requests: int
    completed: int
    statuses: dict[str, int]
    ttft_us: Distribution
    first_answer_us: Distribution
    tpot_us: Distribution
    e2e_us: Distribution
    scheduling_delay_us: Distribution
    throughput: Throughput
    slo: Slo
    preemptions: int
    anomalies: Anomalies | None


@dataclass(frozen=True, slots=True)
class Latencies:
    """What of :class:`GroupSummary` depends on whose view is taken."""

    ttft_us: Distribution
    first_answer_us: Distribution
    tpot_us: Distribution
    e2e_us: Distribution
    slo: Slo


@dataclass(frozen=True, slots=True)
class Sessions:
    """Conversations of several rounds; those with a warm-up request left out.

    ``completed`` counts sessions of which every round was, and ``ended`` all by the status of their last round.
    ``ttft_us`` is that of a session's first round, ``mean_ttft_us`` the mean over its rounds. ``duration_us`` goes from
    the arrival of the first round to the end of the last, of sessions that completed.
    """

    sessions: int
    completed: int
    ended: dict[str, int]
    rounds: Distribution
    ttft_us: Distribution
    mean_ttft_us: Distribution
    duration_us: Distribution


@dataclass(frozen=True, slots=True)
class ClientFigures:
    """What the clients of a simulated cluster see through their networks; everything else is the server's view."""

    overall: Latencies
    slo_classes: dict[str, Latencies]
    sessions: Sessions | None


@dataclass(frozen=True, slots=True)
class Intended:
    """Latencies of an observed run counted from when each request was due, not from when it was sent.

    ``schedule_delay_us`` is the time between the two, of all requests that were sent.
    """

    schedule_delay_us: Distribution
    ttft_us: Distribution
    e2e_us: Distribution


@dataclass(frozen=True, slots=True)
class Unservable:
    """Why requests fit no instance: beyond the longest sequence of the model, or beyond the whole KV cache."""

    model_length: int
    kv_cache: int


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

    ``view`` says whose latencies these are: a server's or its clients'. ``client_view`` has the clients' where they
    are the server's and a network lies between; ``intended`` those from the intended send, of an observed run.
    ``sessions`` is None where there are none, ``unservable`` where there was none or the deployment isn't known.
    ``itl_us`` has the gaps between tokens, one by one; it is None where the trace doesn't record them.
    ``jain_fairness`` compares the tenants' output tokens per second (1: equal). Breakdowns go by label; they are
    empty where no request has one, and ``too_many`` names those left out for having too many labels, with how many.
    """

    mode: str
    view: Literal["server", "client"]
    span_us: int
    warm_up_requests: int
    overall: GroupSummary
    itl_us: Distribution | None
    client_view: ClientFigures | None
    intended: Intended | None
    sessions: Sessions | None
    conservation: Conservation
    unservable: Unservable | None
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
