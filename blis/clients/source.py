"""Sources: the requests of a client as blocks of numbers, drawn lazily and always the same.

A source knows nothing of SimPy: client processes read it to send requests one by one (:mod:`blis.clients.processes`),
and whoever wants the numbers alone reads its blocks as they are. Kinds of traffic whose requests depend on how earlier
ones ended (sessions, closed loops) are processes of their own and take their draws from the same samplers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from blis.clients.arrivals import FloatArray, IntArray
from blis.clients.columns import Columns, ColumnSampler
from blis.clients.conditioned import conditioned_sums
from blis.clients.pool import PromptPool
from blis.clients.rates import END_OF_TIME_US, Profile, Stage, whole_microseconds
from blis.clients.renewal import unit_sums
from blis.request import ClientFacts, Parts
from blis.rng import stream
from blis.spec.client import ClientSpec

__all__ = ["Block", "ClientSource", "Member", "Row", "Source", "capped_block", "facts_of", "pool_of"]

Row = tuple[int, int, int, bool, Parts | None, float, str | None]
"""arrival_us, input_tokens, output_tokens, capped, parts, reason_ratio, key of the pooled prompt of one request."""

_SMALL_BLOCK = 64
"""A first block of fewer requests is drawn again if another is needed, so that meanwhile no streams are kept."""

# Without a count they never change, so that all blocks can share them.
_NOT_CAPPED, _NO_PARTS, _NO_REASONING, _NO_PROMPT = repeat(False), repeat(None), repeat(0.0), repeat(None)


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive requests of one client.

    ``arrival_us`` is int64, shape (n,), strictly increasing; ``columns`` hold the lengths, outputs capped already;
    ``capped`` says whose output was, bool, shape (n,), None if there is no cap. ``prompt_keys`` are those of the
    client's pool of prompts, None without one.
    """

    arrival_us: IntArray
    columns: Columns
    capped: npt.NDArray[np.bool_] | None = None
    prompt_keys: Sequence[str] | None = None

    def shifted(self, delay_us: int, end_us: int) -> Block:
        """Return those requests that arrive before ``end_us`` when all arrive ``delay_us`` later."""
        arrivals = self.arrival_us + delay_us
        kept = int(np.searchsorted(arrivals, end_us))
        capped = None if self.capped is None else self.capped[:kept]
        return Block(arrivals[:kept], self.columns.cut(0, kept), capped, self.prompt_keys)

    def rows(self) -> Iterator[Row]:
        """Iterate over the requests as plain Python values."""
        columns, keys = self.columns, self.prompt_keys
        prompts = None if columns.prompt is None or keys is None else columns.prompt.tolist()
        return zip(
            self.arrival_us.tolist(),
            columns.input_tokens.tolist(),
            columns.output_tokens.tolist(),
            _NOT_CAPPED if self.capped is None else self.capped.tolist(),
            _NO_PARTS if columns.parts is None else map(tuple, columns.parts.tolist()),
            _NO_REASONING if columns.reason_ratio is None else columns.reason_ratio.tolist(),
            _NO_PROMPT if prompts is None or keys is None else map(keys.__getitem__, prompts),
            strict=False,
        )


class Source(Protocol):
    """The open-loop traffic of one client.

    ``max_output_tokens`` is 0 without a cap, ``timeout_us`` None without a timeout. Nothing arrives before
    ``not_before_us``, until when the client needs no process.
    """

    @property
    def facts(self) -> ClientFacts: ...
    @property
    def max_output_tokens(self) -> int: ...
    @property
    def timeout_us(self) -> int | None: ...
    @property
    def not_before_us(self) -> int: ...

    def expected(self, end_us: int) -> float:
        """Return the mean number of arrivals in [0, end_us)."""
        ...

    def blocks(self, end_us: int = END_OF_TIME_US, likely: float | None = None) -> Iterator[Block]:
        """Iterate over the requests that arrive in [0, end_us), from the first on at every call.

        ``likely`` is about how many will be used, if that is fewer than expected by then; it decides how far ahead
        is drawn and changes nothing else.
        """
        ...


def facts_of(client: ClientSpec) -> ClientFacts:
    """Return what all requests of a client have in common."""
    return ClientFacts(
        client_id=client.id,
        tenant_id=client.tenant_id,
        slo_class=client.slo_class,
        model=client.model,
        streaming=client.streaming,
        prefix_group=client.prefix_group,
        prefix_length=client.prefix_length if client.prefix_group else 0,
    )


class Member(NamedTuple):
    """One of a cohort: its facts, its first gap, of unit rate, a time before which it sends nothing, and its pool."""

    facts: ClientFacts
    first_gap: float
    not_before_us: int
    pool: PromptPool | None


class ClientSource:
    """The requests of a client that a workload describes by its distributions, or of a ``member`` of a cohort.

    Where the workload has ``stages``, no block reaches over the start of one.
    """

    __slots__ = (
        "_client",
        "_first_gap",
        "_member",
        "_profile",
        "_seed",
        "_stages",
        "facts",
        "max_output_tokens",
        "not_before_us",
        "pool",
        "timeout_us",
    )

    def __init__(
        self,
        client: ClientSpec,
        profile: Profile,
        seed: int,
        member: Member | None = None,
        stages: Sequence[Stage] = (),
    ) -> None:
        self.facts = facts_of(client) if member is None else member.facts
        self.max_output_tokens = client.max_output_tokens or 0
        self.timeout_us = client.timeout
        self.not_before_us = 0 if member is None else member.not_before_us
        self._first_gap = None if member is None else member.first_gap
        self._client = client
        self._member = member is not None
        self.pool = pool_of(client, member, seed)
        self._profile = profile
        self._seed = seed
        self._stages = stages

    def expected(self, end_us: int) -> float:
        """Return the mean number of arrivals in [0, end_us)."""
        return self._profile.expected(end_us)

    def blocks(self, end_us: int = END_OF_TIME_US, likely: float | None = None) -> Iterator[Block]:
        """Iterate over the requests that arrive in [0, end_us)."""
        columns, chunks = self._columns(), self._chunks(end_us, likely)
        first = more = True
        while more:
            arrivals, more = next(chunks)
            made = [capped_block(arrivals, columns.columns(arrivals), self.max_output_tokens, self.pool)]
            count = len(arrivals)
            # Many clients wait in their only block for long: nothing is kept that they may never need again.
            again = first and more and count < _SMALL_BLOCK
            del arrivals
            if again or not more:
                del columns, chunks
            if count:
                yield made.pop()
            if again:
                columns, chunks = self._columns(), self._chunks(end_us, likely)
                columns.columns(next(chunks)[0])
            first = False

    def _columns(self) -> ColumnSampler:
        return ColumnSampler(self._client, self.named, self.pool, anywhere=self._member)

    def arrivals(self, end_us: int = END_OF_TIME_US, likely: float | None = None) -> Iterator[IntArray]:
        """Iterate over the arrivals in [0, end_us) alone, in blocks: int64 microseconds, strictly increasing."""
        return (arrivals for arrivals, _ in self._chunks(end_us, likely) if len(arrivals))

    def _chunks(self, end_us: int, likely: float | None) -> Iterator[tuple[IntArray, bool]]:
        """Iterate over blocks of arrivals, perhaps empty, and whether there is another; there is at least one."""
        expected = self.expected(end_us)
        last = 0
        if expected > 0:
            end_us = min(end_us, END_OF_TIME_US)
            likely = expected if likely is None else min(likely, expected)
            for sums in self._sums(likely):
                arrivals = whole_microseconds(self._profile.times(sums), last)
                kept = int(np.searchsorted(arrivals, end_us))
                more = kept == len(sums)
                *earlier, final = self._by_stage(arrivals[:kept])
                for part in earlier:
                    yield part, True
                yield final, more
                if not more:
                    return
                last = int(arrivals[-1])
        yield np.empty(0, dtype=np.int64), False

    def _sums(self, likely: float) -> Iterator[FloatArray]:
        arrival = self._client.arrival
        if arrival is not None and arrival.conditioned:
            return conditioned_sums(self._client, self._profile, self.named, self._stages)
        return unit_sums(self._client, self._profile, self.named, likely, self._first_gap)

    def _by_stage(self, arrivals: IntArray) -> list[IntArray]:
        if not self._stages:
            return [arrivals]
        return np.split(arrivals, np.searchsorted(arrivals, [stage.start_us for stage in self._stages[1:]]))

    def named(self, *names: str) -> np.random.Generator:
        """Return the client's random stream for a purpose."""
        return stream(self._seed, self.facts.client_id, *names)


def pool_of(client: ClientSpec, member: Member | None, seed: int) -> PromptPool | None:
    """Return the pool that the prompts of a client, or of a cohort's member, come from; None without one."""
    if client.prompt_pool is None or member is not None:
        return None if member is None else member.pool
    return PromptPool(client, client.id, seed)


def capped_block(arrivals: IntArray, columns: Columns, max_output_tokens: int, pool: PromptPool | None = None) -> Block:
    """Return the block of these requests with outputs cut to ``max_output_tokens`` (0: no cap)."""
    keys = None if pool is None else pool.keys
    if not max_output_tokens:
        return Block(arrivals, columns, None, keys)
    capped = columns.output_tokens > max_output_tokens
    outputs = np.minimum(columns.output_tokens, max_output_tokens)
    return Block(arrivals, columns._replace(output_tokens=outputs), capped, keys)
