"""What is drawn for each request of a client besides its arrival."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from blis.clients.arrivals import FloatArray, IntArray
from blis.clients.lengths import counts, lengths, ratios
from blis.clients.multimodal import parts_of
from blis.clients.pool import PromptPool, PromptSampler
from blis.rng import Streams
from blis.spec.client import ClientSpec
from blis.spec.distributions import Distribution

__all__ = ["ColumnSampler", "Columns"]


class Columns(NamedTuple):
    """What is drawn for each of n requests besides its arrival.

    ``input_tokens`` and ``output_tokens`` are int64, shape (n,), at least 1; ``parts`` int64, shape (n, 4), the text,
    image, audio and video tokens that make up the input, None unless multimodal; ``reason_ratio`` float64, shape
    (n,), the part of the output that is reasoning, None without; ``prompt`` int64, shape (n,), which prompt of its
    client's pool a request has, None without a pool.
    """

    input_tokens: IntArray
    output_tokens: IntArray
    parts: IntArray | None = None
    reason_ratio: FloatArray | None = None
    prompt: IntArray | None = None

    def cut(self, start: int, end: int) -> Columns:
        """Return the requests from ``start`` to before ``end``."""
        return Columns(*(None if column is None else column[start:end] for column in self))  # type: ignore[arg-type]


class ColumnSampler:
    """Draws the columns of a client's requests, each kind of number from streams of its own.

    ``named(purpose, ...)`` gives the client's stream for a purpose. A window with a distribution of its own draws from
    a stream named after its start, so that what one window draws doesn't depend on the others. Inputs are taken from
    the ``pool``, if there is one; a member of a cohort begins ``anywhere`` in it.
    """

    __slots__ = ("_client", "_media", "_named", "_pool", "_prompts", "_ratios", "_samplers", "_windows")

    def __init__(
        self, client: ClientSpec, named: Streams, pool: PromptPool | None = None, *, anywhere: bool = False
    ) -> None:
        windows = () if client.lifecycle is None else client.lifecycle.ordered
        special = any(window.input_distribution or window.output_distribution for window in windows)
        reasoning = client.reasoning and client.reasoning.reason_ratio_distribution
        self._client = client
        self._named = named
        self._windows = windows if special else ()
        self._samplers: dict[tuple[str, int], Callable[[int], IntArray]] = {}
        self._ratios = ratios(reasoning, partial(named, "reasoning")) if reasoning else None
        self._pool = pool
        self._prompts = None if pool is None else PromptSampler(pool, named, anywhere=anywhere)
        self._media = None if client.multimodal is None else parts_of(client.multimodal, named)

    def columns(self, arrivals: IntArray) -> Columns:
        """Return the columns of the next requests, which arrive (or belong to sessions that start) then."""
        if not self._windows:
            return self._draw(len(arrivals), None)
        places = np.searchsorted([window.start_us for window in self._windows], arrivals, side="right") - 1
        cuts = [0, *(np.flatnonzero(np.diff(places)) + 1).tolist(), len(arrivals)]
        drawn = [self._draw(end - start, int(places[start])) for start, end in pairwise(cuts) if start < end]
        return _joined(drawn) if drawn else self._draw(0, None)

    def _draw(self, n: int, place: int | None) -> Columns:
        """Return the columns of the next n requests in the window at ``place`` in order of time."""
        outputs = self._sampler("output", place)(n)
        shares = None if self._ratios is None else self._ratios(n)
        if self._pool is not None and self._prompts is not None:
            prompts = self._prompts.draw(n)
            return Columns(self._pool.tokens[prompts], outputs, None, shares, prompts)
        inputs = self._sampler("input", place)(n)
        if self._media is None:
            return Columns(inputs, outputs, None, shares)
        parts = self._media(inputs)
        return Columns(parts.sum(axis=1), outputs, parts, shares)

    def _sampler(self, kind: str, place: int | None) -> Callable[[int], IntArray]:
        window = None if place is None else self._windows[place]
        own: Distribution | None = getattr(window, f"{kind}_distribution", None)
        key = kind, -1 if own is None or place is None else place
        sampler = self._samplers.get(key)
        if sampler is None:
            # Beside images there may be no text at all.
            make = counts if kind == "input" and self._media is not None else lengths
            names = (kind,) if own is None or window is None else (kind, str(window.start_us))
            distribution = own or getattr(self._client, f"{kind}_distribution")
            sampler = self._samplers[key] = make(distribution, partial(self._named, *names))
        return sampler


def _joined(parts: list[Columns]) -> Columns:
    if len(parts) == 1:
        return parts[0]
    columns = (None if column[0] is None else np.concatenate(column) for column in zip(*parts, strict=True))
    return Columns(*columns)  # type: ignore[arg-type]
