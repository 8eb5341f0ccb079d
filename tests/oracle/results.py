"""What a run of the oracle gives back."""

from __future__ import annotations

from dataclasses import dataclass, field

from blis.latency.base import BatchSums

__all__ = ["InstanceResult", "RequestResult", "Result", "StepRecord"]


@dataclass
class StepRecord:
    """One step of an instance, numbered from 0 in order of its start; it runs from ``start_us`` to ``end_us``."""

    index: int
    start_us: int
    end_us: int
    sums: BatchSums


@dataclass
class RequestResult:
    """How one request fared; -1 stands for what never came.

    ``ttft_us`` and ``e2e_us`` count from the client's arrival; for a request that timed out they cover the tokens it
    got. ``itls`` holds one entry per token after the first. ``cached_tokens`` belongs to the last admission.
    ``first_step`` and ``last_step`` are the steps that gave its first and its last token; ``left_us`` is the
    simulated time at which it left the cluster.
    """

    request_id: int
    arrival_us: int
    status: str = ""
    instance: int = -1
    ttft_us: int = -1
    e2e_us: int = -1
    itls: list[int] = field(default_factory=list)
    scheduling_delay_us: int = -1
    preemptions: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    first_step: int = -1
    last_step: int = -1
    left_us: int = -1

    @property
    def itl_sum_us(self) -> int:
        return sum(self.itls)

    @property
    def first_token_us(self) -> int:
        return -1 if self.ttft_us < 0 else self.arrival_us + self.ttft_us

    @property
    def last_token_us(self) -> int:
        return -1 if self.e2e_us < 0 else self.arrival_us + self.e2e_us


@dataclass
class InstanceResult:
    """Totals of one instance at the end: blocks taken over from the cache and blocks taken fresh from the free list."""

    steps: list[StepRecord]
    claimed_blocks: int
    allocated_blocks: int
    free_blocks: int
    preemptions: int

    @property
    def cache_hit_rate(self) -> float:
        return hit_rate(self.claimed_blocks, self.allocated_blocks)


@dataclass
class Result:
    """Requests in order of their ids, instances in order of their configurations."""

    requests: list[RequestResult]
    instances: list[InstanceResult]

    @property
    def claimed_blocks(self) -> int:
        return sum(instance.claimed_blocks for instance in self.instances)

    @property
    def allocated_blocks(self) -> int:
        return sum(instance.allocated_blocks for instance in self.instances)

    @property
    def cache_hit_rate(self) -> float:
        return hit_rate(self.claimed_blocks, self.allocated_blocks)


def hit_rate(claimed: int, allocated: int) -> float:
    return claimed / (claimed + allocated) if claimed + allocated else 0.0
