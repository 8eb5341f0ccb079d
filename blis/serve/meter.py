"""What vLLM counts, counted by the simulation, and given out under vLLM's names."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from blis.cluster.instance import Instance
from blis.cluster.sequence import Sequence
from blis.trace.status import Status

__all__ = ["Meter", "Metrics"]

_SHORT = [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75]
_TTFT = [*_SHORT, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560]
_GAP = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80]
_WHOLE = [0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680]
_LENGTH: list[float] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000]

_HISTOGRAMS: dict[str, tuple[str, list[float]]] = {
    "time_to_first_token_seconds": ("Time to first token in seconds.", _TTFT),
    "inter_token_latency_seconds": ("Inter-token latency in seconds.", _GAP),
    "request_time_per_output_token_seconds": ("Time per output token in seconds, per request.", _GAP),
    "e2e_request_latency_seconds": ("End-to-end request latency in seconds.", _WHOLE),
    "request_queue_time_seconds": ("Time spent waiting, in seconds, per request.", _WHOLE),
    "request_prompt_tokens": ("Prompt tokens, per request.", _LENGTH),
    "request_generation_tokens": ("Tokens generated, per request.", _LENGTH),
}
_COUNTERS = {
    "prefix_cache_queries": "Prompt tokens looked up in the prefix cache.",
    "prefix_cache_hits": "Prompt tokens found in the prefix cache.",
    "num_preemptions": "Preemptions.",
    "prompt_tokens": "Prompt tokens of requests that have their first token.",
    "generation_tokens": "Tokens generated.",
}
_GAUGES = {
    "num_requests_running": "Requests in execution batches.",
    "num_requests_waiting": "Requests waiting to be processed.",
    "kv_cache_usage_perc": "KV cache usage, from 0 to 1.",
}


class _Histogram:
    """Counts of values up to each edge, the edge included, and above the last."""

    def __init__(self, edges: list[float]) -> None:
        self._edges = edges
        self._counts = [0] * (len(edges) + 1)
        self._sum = 0.0

    def add(self, value: float, count: int = 1) -> None:
        self._counts[bisect_left(self._edges, value)] += count
        self._sum += value * count

    def into(self, family: HistogramMetricFamily, labels: list[str]) -> None:
        edges = [*(str(float(edge)) for edge in self._edges), "+Inf"]
        family.add_metric(labels, [*zip(edges, accumulate(self._counts), strict=True)], self._sum)


class Meter:
    """Counts what happens on one instance. Times come in simulated µs, ``second_us`` of which are a second."""

    def __init__(self, instance: Instance, model: str, second_us: float) -> None:
        self.instance = instance
        self.labels = [model, str(instance.index)]
        self.counters = dict.fromkeys(_COUNTERS, 0)
        self.finished = {"stop": 0, "length": 0, "abort": 0}
        self.histograms = {name: _Histogram(edges) for name, (_, edges) in _HISTOGRAMS.items()}
        self._second_us = second_us
        self._live: dict[Sequence, None] = {}

    def began(self, sequence: Sequence) -> None:
        """Take note of a request that is on its way into the queue."""
        self._live[sequence] = None

    def first_token(self, sequence: Sequence, first_us: int) -> None:
        """Take note of a request's first token, at this reported time."""
        arrival = sequence.arrival_us
        self.counters["prompt_tokens"] += sequence.prompt
        self.counters["prefix_cache_queries"] += sequence.prompt
        self.counters["prefix_cache_hits"] += sequence.cached_tokens
        self._add("time_to_first_token_seconds", first_us - arrival)
        self._add("request_queue_time_seconds", sequence.scheduling_delay_us)

    def tokens(self, count: int, gap_us: float) -> None:
        """Take note of tokens, each so long after the one before it; of a request's first one the gap is 0."""
        self.counters["generation_tokens"] += count
        if gap_us:
            self.histograms["inter_token_latency_seconds"].add(gap_us / self._second_us, count)

    def ended(self, sequence: Sequence, status: Status, first_us: int, last_us: int) -> None:
        """Take note of a request's end."""
        del self._live[sequence]
        self.counters["num_preemptions"] += sequence.epoch
        if status is not Status.OK:
            self.finished["abort"] += 1
            return
        request = sequence.request
        self.finished["length" if request.capped else "stop"] += 1
        self._add("e2e_request_latency_seconds", last_us - sequence.arrival_us)
        self.histograms["request_prompt_tokens"].add(sequence.prompt)
        self.histograms["request_generation_tokens"].add(sequence.output)
        if sequence.output > 1:
            self._add("request_time_per_output_token_seconds", (last_us - first_us) / (sequence.output - 1))

    def gauges(self) -> dict[str, float]:
        """Return what is to be seen now, by the environment's clock."""
        self.instance.sync()
        scheduler = self.instance.scheduler
        kv = scheduler.kv
        values = (len(scheduler.running), scheduler.waiting, 1 - kv.free / kv.total)
        return dict(zip(_GAUGES, values, strict=True))

    def totals(self) -> dict[str, int]:
        """Return the counters, with the preemptions of requests that haven't ended."""
        live = sum(sequence.epoch for sequence in self._live)
        return self.counters | {"num_preemptions": self.counters["num_preemptions"] + live}

    def _add(self, name: str, us: float) -> None:
        self.histograms[name].add(us / self._second_us)


class Metrics(Collector):
    """All meters of a server as Prometheus reads them; an instance is an ``engine``."""

    def __init__(self, meters: list[Meter]) -> None:
        self._meters = meters
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def text(self) -> bytes:
        """Return the exposition, in Prometheus' text format, as of the environment's time now."""
        return generate_latest(self._registry)

    def describe(self) -> list[Metric]:
        """Return nothing: the names are no secret, but asking for values has its moment."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, see :class:`prometheus_client.registry.Collector`."""
        names = ["model_name", "engine"]
        gauges = {name: GaugeMetricFamily(f"vllm:{name}", text, labels=names) for name, text in _GAUGES.items()}
        counters = {name: CounterMetricFamily(f"vllm:{name}", text, labels=names) for name, text in _COUNTERS.items()}
        success = CounterMetricFamily(
            "vllm:request_success", "Requests that have ended.", labels=[*names, "finished_reason"]
        )
        cache = GaugeMetricFamily(
            "vllm:cache_config_info", "The KV cache.", labels=[*names, "block_size", "num_gpu_blocks"]
        )
        for meter in self._meters:
            labels = meter.labels
            for name, value in meter.gauges().items():
                gauges[name].add_metric(labels, value)
            for name, count in meter.totals().items():
                counters[name].add_metric(labels, count)
            for reason, count in meter.finished.items():
                success.add_metric([*labels, reason], count)
            config = meter.instance.config
            cache.add_metric([*labels, str(config.block_size), str(config.total_kv_blocks)], 1)
        yield from (*gauges.values(), *counters.values(), success, cache)
        for name, (text, _) in _HISTOGRAMS.items():
            family = HistogramMetricFamily(f"vllm:{name}", text, labels=names)
            for meter in self._meters:
                meter.histograms[name].into(family, meter.labels)
            yield family
