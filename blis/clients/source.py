"""Sources: the requests of a client as blocks of numbers, drawn lazily and always the same.

A source knows nothing of SimPy: client processes read it to send requests one by one (:mod:`blis.clients.processes`),
and whoever wants the numbers alone reads its blocks as they are. Kinds of traffic whose requests depend on how earlier
ones ended (sessions, closed loops) are processes of their own and take their draws from the same samplers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from blis.clients.arrivals import FloatArray, IntArray, unit_gaps
from blis.clients.lengths import lengths, ratios
from blis.clients.multimodal import parts_of
from blis.clients.rates import END_OF_TIME_US, RateProfile, whole_microseconds
from blis.request import ClientFacts, Parts
from blis.rng import stream
from blis.spec.client import ClientSpec

__all__ = [
    "Block",
    "ClientSource",
    "Columns",
    "Row",
    "Source",
    "block_sizes",
    "capped_block",
    "columns_drawn",
    "facts_of",
]

MAX_BLOCK = 4096
_MIN_BLOCK = 8

Row = tuple[int, int, int, bool, Parts | None, float]
"""arrival_us, input_tokens, output_tokens, capped, parts, reason_ratio of one request."""


class Columns(NamedTuple):
    """What is drawn for each of n requests besides its arrival.

    ``input_tokens`` and ``output_tokens`` are int64, shape (n,), at least 1; ``parts`` int64, shape (n, 4), the text,
    image, audio and video tokens that make up the input, None unless multimodal; ``reason_ratio`` float64, shape
    (n,), the part of the output that is reasoning, None without.
    """

    input_tokens: IntArray
    output_tokens: IntArray
    parts: IntArray | None = None
    reason_ratio: FloatArray | None = None

    def cut(self, start: int, end: int) -> Columns:
        """Return the requests from ``start`` to before ``end``."""
        return Columns(*(None if column is None else column[start:end] for column in self))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive requests of one client.

    ``arrival_us`` is int64, shape (n,), strictly increasing; ``columns`` hold the lengths, outputs capped already;
    ``capped`` says whose output was, bool, shape (n,), None if there is no cap.
    """

    arrival_us: IntArray
    columns: Columns
    capped: npt.NDArray[np.bool_] | None = None

    def rows(self) -> Iterator[Row]:
        """Iterate over the requests as plain Python values."""
        columns = self.columns
        return zip(
            self.arrival_us.tolist(),
            columns.input_tokens.tolist(),
            columns.output_tokens.tolist(),
            repeat(False) if self.capped is None else self.capped.tolist(),
            repeat(None) if columns.parts is None else map(tuple, columns.parts.tolist()),
            repeat(0.0) if columns.reason_ratio is None else columns.reason_ratio.tolist(),
            strict=False,
        )


class Source(Protocol):
    """The open-loop traffic of one client.

    ``max_output_tokens`` is 0 without a cap, ``timeout_us`` None without a timeout.
    """

    @property
    def facts(self) -> ClientFacts: ...
    @property
    def max_output_tokens(self) -> int: ...
    @property
    def timeout_us(self) -> int | None: ...

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


class ClientSource:
    """The requests of a client that a workload describes by its distributions."""

    def __init__(self, client: ClientSpec, profile: RateProfile, seed: int) -> None:
        self.facts = facts_of(client)
        self.max_output_tokens = client.max_output_tokens or 0
        self.timeout_us = client.timeout
        self._client = client
        self._profile = profile
        self._seed = seed

    def expected(self, end_us: int) -> float:
        """Return the mean number of arrivals in [0, end_us)."""
        return self._profile.expected(end_us)

    def blocks(self, end_us: int = END_OF_TIME_US, likely: float | None = None) -> Iterator[Block]:
        """Iterate over the requests that arrive in [0, end_us)."""
        expected = self.expected(end_us)
        if expected <= 0:
            return
        arrival = self._client.arrival
        assert arrival is not None, "only closed loops have none"
        gaps_of = unit_gaps(arrival.process, arrival.cv)
        rng = stream(self._seed, self._client.id, "arrival")
        columns_of = columns_drawn(self._client, self._seed)
        total, last = 0.0, 0
        for size in block_sizes(expected if likely is None else min(likely, expected)):
            gaps = gaps_of(rng, size)
            gaps[0] += total
            sums = np.cumsum(gaps)
            arrivals = whole_microseconds(self._profile.times(sums), last)
            kept = int(np.searchsorted(arrivals, min(end_us, END_OF_TIME_US)))
            block = capped_block(arrivals[:kept], columns_of(kept), self.max_output_tokens)
            if kept < size:
                # Many clients wait in their last block for long: their streams needn't.
                del rng, columns_of, gaps, sums, arrivals
                if kept:
                    yield block
                return
            total, last = float(sums[-1]), int(arrivals[-1])
            yield block


def columns_drawn(client: ClientSpec, seed: int) -> Callable[[int], Columns]:
    """Return what draws the columns of a client's next n requests, each kind of number from streams of its own."""
    named = partial(stream, seed, client.id)
    outputs = lengths(client.output_distribution, partial(named, "output"))
    reasoning = client.reasoning and client.reasoning.reason_ratio_distribution
    shares = ratios(reasoning, partial(named, "reasoning")) if reasoning else None
    if client.multimodal is None:
        inputs = lengths(client.input_distribution, partial(named, "input"))
        return lambda n: Columns(inputs(n), outputs(n), None, shares and shares(n))
    sample = parts_of(client.input_distribution, client.multimodal, named)

    def multimodal(n: int) -> Columns:
        parts = sample(n)
        return Columns(parts.sum(axis=1), outputs(n), parts, shares and shares(n))

    return multimodal


def capped_block(arrivals: IntArray, columns: Columns, max_output_tokens: int) -> Block:
    """Return the block of these requests with outputs cut to ``max_output_tokens`` (0: no cap)."""
    if not max_output_tokens:
        return Block(arrivals, columns)
    capped = columns.output_tokens > max_output_tokens
    outputs = np.minimum(columns.output_tokens, max_output_tokens)
    return Block(arrivals, columns._replace(output_tokens=outputs), capped)


def block_sizes(expected: float) -> Iterator[int]:
    """Iterate over sizes of blocks for ever: the first likely to hold ``expected`` draws, the next ones growing.

    Sizes lie between 8 and 4096, so that a client with few requests costs little and one with many runs fast.
    """
    size = _MIN_BLOCK
    if expected > _MIN_BLOCK:
        size = MAX_BLOCK if expected >= MAX_BLOCK else min(MAX_BLOCK, int(expected + 2 * math.sqrt(expected)) + 1)
    while True:
        yield size
        size = min(MAX_BLOCK, 2 * size)
