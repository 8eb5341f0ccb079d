"""Admission, routing, and the loop of events."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from blis.request import Request
from blis.rng import stream
from oracle.engine import ARRIVAL, Instance, Switches
from oracle.engine import Sequence as Running
from oracle.kv import Names, contents
from oracle.latency import FromSums, Model
from oracle.results import RequestResult, Result

__all__ = ["DEFAULT_SCORERS", "Cluster", "Snapshot", "run"]

DEFAULT_SCORERS = {"precise-prefix-cache": 2.0, "queue-depth": 1.0, "kv-utilization": 1.0}
ROUTER_CACHE_BLOCKS = 10_000

Choose = Callable[[list[int]], int]


def run(
    configs: Sequence[Any],
    requests: Sequence[Request],
    *,
    latency: Callable[[Any], Model] | None = None,
    admission: str = "always",
    bucket_capacity: float = 0.0,
    bucket_refill_rate: float = 0.0,
    admission_latency_us: int = 0,
    routing: str = "round-robin",
    scorers: Mapping[str, float] | None = None,
    routing_latency_us: int = 0,
    snapshot_interval_us: int = 0,
    forced: Mapping[int, int] | None = None,
    choose: Choose | None = None,
    seed: int = 0,
    switches: Switches | None = None,
    max_events: int = 5_000_000,
) -> Result:
    """Serve ``requests`` on one instance per configuration until the last has left.

    ``latency`` makes a model of each configuration (default: blis.latency.build). ``forced`` maps request ids to
    instances and overrides ``routing``. ``choose`` picks one of several equally good instances; it is asked only when
    there are at least two, and draws from a stream of ``seed`` by default. Requests without an id are numbered by
    arrival. A run of more than ``max_events`` events is taken for an endless one.
    """
    cluster = Cluster(configs, latency or build_from_blis, switches or Switches())
    cluster.admission = admission
    cluster.capacity = cluster.level = bucket_capacity
    cluster.refill_rate = bucket_refill_rate
    cluster.admission_latency_us = admission_latency_us
    cluster.routing = routing
    cluster.scorers = dict(DEFAULT_SCORERS if scorers is None else scorers)
    cluster.routing_latency_us = routing_latency_us
    cluster.snapshot_interval_us = snapshot_interval_us
    cluster.forced = forced
    if choose is None:
        generator = stream(seed, "oracle", "ties")
        cluster.choose = lambda candidates: candidates[int(generator.integers(len(candidates)))]
    else:
        cluster.choose = choose
    return cluster.serve(requests, max_events)


def build_from_blis(config: Any) -> Model:
    from blis.latency import build

    return FromSums(build(config))


@dataclass
class Snapshot:
    """What a router knows of an instance; all zero until first read."""

    read_us: int = 0
    waiting: int = 0
    running: int = 0
    utilization: float = 0.0


class Cluster:
    """Gateway, router and instances around one heap of events."""

    admission: str
    capacity: float
    level: float
    refill_rate: float
    admission_latency_us: int
    routing: str
    scorers: dict[str, float]
    routing_latency_us: int
    snapshot_interval_us: int
    forced: Mapping[int, int] | None
    choose: Choose

    def __init__(self, configs: Sequence[Any], build: Callable[[Any], Model], switches: Switches) -> None:
        self.events: list[tuple[int, int, int, Callable[[int], None]]] = []
        self.scheduled = 0
        self.names = Names()
        self.instances = [
            Instance(config, build(config), self.names, self.schedule, self.left, switches) for config in configs
        ]
        self.snapshots = [Snapshot() for _ in configs]
        self.in_flight = [0] * len(configs)
        self.router_caches: list[OrderedDict[int, None]] = [OrderedDict() for _ in configs]
        self.refilled_us = 0
        self.turn = 0

    def schedule(self, time: int, kind: int, action: Callable[[int], None]) -> None:
        heapq.heappush(self.events, (time, kind, self.scheduled, action))
        self.scheduled += 1

    def serve(self, requests: Sequence[Request], max_events: int) -> Result:
        results = []
        for position, request in enumerate(sorted(requests, key=lambda request: request.arrival_us)):
            request_id = request.request_id if request.request_id >= 0 else position
            result = RequestResult(request_id, request.arrival_us)
            results.append(result)
            self.schedule_arrival(request, result)
        handled = 0
        while self.events:
            time, _, _, action = heapq.heappop(self.events)
            action(time)
            handled += 1
            if handled > max_events:
                raise RuntimeError(f"no end after {max_events} events, at {time} us")
        self.check(results)
        results.sort(key=lambda result: result.request_id)
        return Result(results, [instance.result() for instance in self.instances])

    def check(self, results: list[RequestResult]) -> None:
        """Nothing may be left over."""
        assert all(result.status for result in results)
        assert self.in_flight == [0] * len(self.instances)
        for instance in self.instances:
            assert not instance.waiting
            assert not instance.running
            assert len(instance.cache.free) == instance.cache.total

    # ---- arrival, admission, routing ----

    def schedule_arrival(self, request: Request, result: RequestResult) -> None:
        def decide_route(now: int) -> None:
            self.route(request, result, now)

        def decide_admission(now: int) -> None:
            if self.admits(request, now):
                self.schedule(now + self.routing_latency_us, ARRIVAL, decide_route)
            else:
                result.status = "rejected"
                result.left_us = now

        def arrive(now: int) -> None:
            self.schedule(now + self.admission_latency_us, ARRIVAL, decide_admission)

        self.schedule(request.arrival_us, ARRIVAL, arrive)

    def admits(self, request: Request, now: int) -> bool:
        match self.admission:
            case "always":
                return True
            case "reject-all":
                return False
            case "token-bucket":
                elapsed = now - self.refilled_us
                self.level = min(self.capacity, self.level + elapsed * self.refill_rate / 1e6)
                self.refilled_us = now
                if self.level < request.prompt_tokens:
                    return False
                self.level -= request.prompt_tokens
                return True
            case other:
                raise ValueError(f"unknown admission policy {other!r}")

    def route(self, request: Request, result: RequestResult, now: int) -> None:
        self.refresh_snapshots(now)
        index = self.pick(request, result.request_id) if self.forced is None else self.forced[result.request_id]
        result.instance = index
        self.in_flight[index] += 1
        self.remember(request, result.request_id, index)
        self.instances[index].accept(request, result, now)

    def left(self, sequence: Running) -> None:
        self.in_flight[sequence.result.instance] -= 1

    def refresh_snapshots(self, now: int) -> None:
        for snapshot, instance in zip(self.snapshots, self.instances, strict=True):
            if now - snapshot.read_us >= self.snapshot_interval_us:
                snapshot.read_us = now
                snapshot.waiting = len(instance.waiting)
                snapshot.running = len(instance.running)
                snapshot.utilization = 1 - len(instance.cache.free) / instance.cache.total

    def load(self, index: int) -> int:
        return self.snapshots[index].waiting + self.snapshots[index].running + self.in_flight[index]

    def pick(self, request: Request, request_id: int) -> int:
        everyone = range(len(self.instances))
        match self.routing:
            case "round-robin":
                self.turn += 1
                return (self.turn - 1) % len(self.instances)
            case "always-busiest":
                return max(everyone, key=lambda index: (self.load(index), -index))
            case "least-loaded":
                scores = [float(-self.load(index)) for index in everyone]
            case "weighted":
                scores = self.weighted_scores(request, request_id)
            case other:
                raise ValueError(f"unknown routing policy {other!r}")
        best = [index for index in everyone if scores[index] == max(scores)]
        return best[0] if len(best) == 1 else self.choose(best)

    # ---- scores ----

    def weighted_scores(self, request: Request, request_id: int) -> list[float]:
        total_weight = sum(self.scorers.values())
        totals = [0.0] * len(self.instances)
        for name, weight in self.scorers.items():
            for index, score in enumerate(self.scores(name, request, request_id)):
                totals[index] += weight / total_weight * score
        return totals

    def scores(self, name: str, request: Request, request_id: int) -> list[float]:
        snapshots = self.snapshots
        match name:
            case "queue-depth":
                return fewest_is_best([snapshot.waiting for snapshot in snapshots])
            case "running-requests":
                return fewest_is_best([snapshot.running for snapshot in snapshots])
            case "kv-utilization":
                return [1 - snapshot.utilization for snapshot in snapshots]
            case "load-balance":
                return [1 / (1 + self.load(index)) for index in range(len(snapshots))]
            case "active-requests":
                most = max(self.in_flight)
                return [(most - x) / most if most else 1.0 for x in self.in_flight]
            case "load-aware":
                return [0.5 * (1 - min(snapshot.waiting, 128) / 128) for snapshot in snapshots]
            case "precise-prefix-cache":
                hits = [self.cached_blocks(request, request_id, index) for index in range(len(snapshots))]
                if max(hits) == min(hits):
                    return [1.0] * len(hits)
                return [(hit - min(hits)) / (max(hits) - min(hits)) for hit in hits]
            case "prefix-affinity":
                return [self.affinity(request, request_id, index) for index in range(len(snapshots))]
            case other:
                raise ValueError(f"unknown scorer {other!r}")

    def prompt_names(self, request: Request, request_id: int, index: int) -> list[int]:
        prompt = contents(request, request_id)[: request.prompt_tokens]
        return self.names.of(prompt, self.instances[index].config.block_size)

    def cached_blocks(self, request: Request, request_id: int, index: int) -> int:
        return len(self.instances[index].cache.cached_run(self.prompt_names(request, request_id, index)))

    def affinity(self, request: Request, request_id: int, index: int) -> float:
        names = self.prompt_names(request, request_id, index)
        matched = 0
        while matched < len(names) and names[matched] in self.router_caches[index]:
            matched += 1
        return matched / len(names) if names else 0.0

    def remember(self, request: Request, request_id: int, index: int) -> None:
        """Note the prompt's blocks in the router's own cache of the instance, the newest at the end."""
        if self.routing != "weighted" or "prefix-affinity" not in self.scorers:
            return
        cache = self.router_caches[index]
        for name in self.prompt_names(request, request_id, index):
            cache[name] = None
            cache.move_to_end(name)
        while len(cache) > ROUTER_CACHE_BLOCKS:
            cache.popitem(last=False)


def fewest_is_best(counts: list[int]) -> list[float]:
    most, fewest = max(counts), min(counts)
    return [(most - x) / (most - fewest) if most > fewest else 1.0 for x in counts]
