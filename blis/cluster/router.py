"""Routing policies: which instance serves a request (docs/explanation/engine.md)."""

from __future__ import annotations

from collections.abc import Sequence as Series
from typing import Protocol

import numpy as np

from blis.cluster.instance import Instance
from blis.cluster.scorers import PrefixAffinity, scorer
from blis.cluster.snapshot import View, Views
from blis.request import Request
from blis.spec.gateway import RoutingSpec

__all__ = ["Router", "build_router"]


class Router(Protocol):
    """Chooses an instance for each request."""

    def choose(self, request: Request, now: int) -> int:
        """Return the index of the instance that gets ``request`` at time ``now`` (µs)."""
        ...


class _Ties:
    """Random choices among equals, from one named stream, drawn in blocks."""

    def __init__(self, stream: np.random.Generator) -> None:
        self._stream = stream
        self._draws: list[float] = []

    def choose(self, indices: list[int]) -> int:
        if len(indices) == 1:
            return indices[0]
        if not self._draws:
            self._draws = self._stream.random(1024).tolist()
            self._draws.reverse()
        return indices[int(self._draws.pop() * len(indices))]

    def least(self, loads: list[int]) -> int:
        """Return the index of the smallest load."""
        least = min(loads)
        if loads.count(least) == 1:
            return loads.index(least)
        return self.choose([index for index, load in enumerate(loads) if load == least])


class _RoundRobin:
    def __init__(self, instances: int) -> None:
        self._instances = instances
        self._next = 0

    def choose(self, request: Request, now: int) -> int:
        index = self._next
        self._next = (index + 1) % self._instances
        return index


class _LeastLoaded:
    def __init__(self, views: Views, ties: _Ties) -> None:
        self._views = views
        self._ties = ties

    def choose(self, request: Request, now: int) -> int:
        return self._ties.least([view.load for view in self._views.refresh(now)])


class _LeastLoadedNow:
    """Least-loaded without snapshots in between: the instances keep their loads themselves."""

    def __init__(self, instances: Series[Instance], ties: _Ties) -> None:
        self._instances = instances
        self._ties = ties

    def choose(self, request: Request, now: int) -> int:
        instances = self._instances
        for instance in instances:
            if instance.next_join_us < now:
                instance.sync()
        return self._ties.least([instance.load for instance in instances])


class _AlwaysBusiest:
    def __init__(self, views: Views) -> None:
        self._views = views

    def choose(self, request: Request, now: int) -> int:
        loads = [view.load for view in self._views.refresh(now)]
        return loads.index(max(loads))


class _Weighted:
    def __init__(self, views: Views, ties: _Ties, weights: dict[str, float], block_sizes: list[int]) -> None:
        self._views = views
        self._ties = ties
        total = sum(weights.values())
        self._scorers = [(weight / total, scorer(name, block_sizes)) for name, weight in weights.items() if weight]

    def choose(self, request: Request, now: int) -> int:
        views: list[View] = self._views.refresh(now)
        scores = [0.0] * len(views)
        for weight, score in self._scorers:
            scores = [sum_ + weight * value for sum_, value in zip(scores, score(request, views), strict=True)]
        best = max(scores)
        index = self._ties.choose([index for index, value in enumerate(scores) if value == best])
        for _, score in self._scorers:
            if isinstance(score, PrefixAffinity):
                score.routed(request, index)
        return index


def build_router(spec: RoutingSpec, instances: Series[Instance], stream: np.random.Generator) -> Router:
    """Return the policy a deployment asks for; ``stream`` decides ties."""
    if spec.policy == "round-robin":
        return _RoundRobin(len(instances))
    if spec.policy == "least-loaded" and not spec.snapshot_interval_us:
        return _LeastLoadedNow(instances, _Ties(stream))
    views = Views(instances, spec.snapshot_interval_us, blocks=spec.policy == "weighted")
    match spec.policy:
        case "least-loaded":
            return _LeastLoaded(views, _Ties(stream))
        case "always-busiest":
            return _AlwaysBusiest(views)
        case _:
            return _Weighted(views, _Ties(stream), spec.weights, [i.config.block_size for i in instances])
