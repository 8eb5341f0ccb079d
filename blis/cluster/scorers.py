"""Scorers of the weighted router: how well each instance suits a request, in [0, 1] (docs/explanation/engine.md)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from collections.abc import Sequence as Series

from blis.cluster.snapshot import View
from blis.request import Request

__all__ = ["AFFINITY_BLOCKS", "PrefixAffinity", "Scorer", "scorer"]

AFFINITY_BLOCKS = 10_000
"""Blocks per instance that the prefix-affinity scorer remembers."""

_DEEPEST_QUEUE = 128

Scorer = Callable[[Request, list[View]], list[float]]
"""Gives each view's score for a request."""


def _falling(values: list[int]) -> list[float]:
    """Scale so that the smallest scores 1 and the largest 0; all 1 where they are equal."""
    low, high = min(values), max(values)
    return [1.0] * len(values) if low == high else [(high - value) / (high - low) for value in values]


def _queue_depth(_: Request, views: list[View]) -> list[float]:
    return _falling([view.waiting for view in views])


def _kv_utilization(_: Request, views: list[View]) -> list[float]:
    return [1 - view.utilization for view in views]


def _load_balance(_: Request, views: list[View]) -> list[float]:
    return [1 / (1 + view.load) for view in views]


def _precise_prefix_cache(request: Request, views: list[View]) -> list[float]:
    hits = [view.cached_blocks(request) for view in views]
    low, high = min(hits), max(hits)
    return [1.0] * len(hits) if low == high else [(hit - low) / (high - low) for hit in hits]


def _active_requests(_: Request, views: list[View]) -> list[float]:
    active = [view.in_flight for view in views]
    most = max(active)
    return [1.0] * len(active) if not most else [(most - count) / most for count in active]


def _running_requests(_: Request, views: list[View]) -> list[float]:
    return _falling([view.running for view in views])


def _load_aware(_: Request, views: list[View]) -> list[float]:
    return [0.5 * (1 - min(view.waiting, _DEEPEST_QUEUE) / _DEEPEST_QUEUE) for view in views]


class PrefixAffinity:
    """Remembers which prompt blocks were sent to which instance, the latest 10,000 of each, and prefers the best match.

    Needs no word from the instances. A prompt's unshared tail takes its room too, though nothing will match it.
    """

    def __init__(self, block_sizes: Series[int]) -> None:
        self._block_sizes = block_sizes
        self._sent: list[OrderedDict[object, int]] = [OrderedDict() for _ in block_sizes]
        self._sizes = [0] * len(block_sizes)

    def _blocks(self, request: Request, block_size: int) -> tuple[list[object], int]:
        """Return the identities of the keyed full blocks, and the number of full blocks in all."""
        keys: list[object] = []
        before: tuple[object, ...] = ()
        end = 0
        for key, tokens in request.segments:
            if key is None:
                break
            end += tokens
            keys += [(before, key, number) for number in range(len(keys), end // block_size)]
            before = (before, key, tokens)
        return keys, request.prompt_tokens // block_size

    def __call__(self, request: Request, views: list[View]) -> list[float]:
        """Score by the share of the prompt's full blocks, from its start, that the instance was sent before."""
        scores = []
        for sent, block_size in zip(self._sent, self._block_sizes, strict=True):
            keys, total = self._blocks(request, block_size)
            matched = 0
            while matched < len(keys) and keys[matched] in sent:
                matched += 1
            scores.append(matched / total if total else 0.0)
        return scores

    def routed(self, request: Request, index: int) -> None:
        """Remember the prompt's blocks at the instance that got the request."""
        keys, total = self._blocks(request, self._block_sizes[index])
        sent = self._sent[index]
        for key in keys:
            self._sizes[index] += key not in sent
            sent[key] = 1
            sent.move_to_end(key)
        if total > len(keys):
            sent[request.request_id] = total - len(keys)
            self._sizes[index] += total - len(keys)
        while self._sizes[index] > AFFINITY_BLOCKS:
            oldest, size = next(iter(sent.items()))
            surplus = min(size, self._sizes[index] - AFFINITY_BLOCKS)
            self._sizes[index] -= surplus
            if surplus == size:
                del sent[oldest]
            else:
                sent[oldest] = size - surplus


_STATELESS: dict[str, Scorer] = {
    "queue-depth": _queue_depth,
    "kv-utilization": _kv_utilization,
    "load-balance": _load_balance,
    "precise-prefix-cache": _precise_prefix_cache,
    "active-requests": _active_requests,
    "running-requests": _running_requests,
    "load-aware": _load_aware,
}


def scorer(name: str, block_sizes: Series[int]) -> Scorer:
    """Return the scorer of that name for instances with these block sizes; the spec has checked that there is one."""
    return PrefixAffinity(block_sizes) if name == "prefix-affinity" else _STATELESS[name]
