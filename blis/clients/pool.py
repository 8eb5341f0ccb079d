"""Pools of prompts: which prompt a request has, and what tells it from others."""

from __future__ import annotations

from functools import cached_property, partial

import numpy as np

from blis.clients.arrivals import IntArray
from blis.clients.lengths import lengths
from blis.clients.quantiles import quantile_lengths
from blis.rng import Streams, stream
from blis.spec.client import ClientSpec
from blis.spec.pool import PromptPoolSpec

__all__ = ["PromptPool", "PromptSampler"]


class PromptPool:
    """The prompts of a client, or those that the members of a cohort share; ``owner`` is its name.

    Prompt i has ``tokens[i]`` tokens and the key ``keys[i]``.
    """

    def __init__(self, client: ClientSpec, owner: str, seed: int) -> None:
        assert client.prompt_pool is not None
        self.spec: PromptPoolSpec = client.prompt_pool
        self._distribution = client.input_distribution
        self._owner = owner
        self._seed = seed

    @cached_property
    def tokens(self) -> IntArray:
        """Their lengths, int64, shape (size,)."""
        named = partial(stream, self._seed, self._owner, "pool")
        if self.spec.lengths == "random":
            return lengths(self._distribution, named)(self.spec.size)
        ordered: IntArray = quantile_lengths(self._distribution, self.spec.size)
        return named("shuffle").permutation(ordered)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """What tells them apart in the segments of requests."""
        return tuple(f"{self._owner} prompt {number}" for number in range(self.spec.size))


class PromptSampler:
    """Says which prompts of a pool a client's next requests have.

    ``named`` gives the client's streams. With ``anywhere`` the first one of a round robin is drawn.
    """

    def __init__(self, pool: PromptPool, named: Streams, *, anywhere: bool) -> None:
        self._size = pool.spec.size
        self._rng = named("pool", "order") if anywhere or pool.spec.order == "random" else None
        self._in_turn = pool.spec.order == "round_robin"
        self._next = int(self._rng.integers(self._size)) if self._rng is not None and self._in_turn else 0

    def draw(self, n: int) -> IntArray:
        """Return the numbers of the next n prompts, int64, shape (n,)."""
        if self._rng is not None and not self._in_turn:
            return self._rng.integers(self._size, size=n)
        first, self._next = self._next, (self._next + n) % self._size
        numbers: IntArray = (first + np.arange(n)) % self._size
        return numbers
