"""What servers say of themselves: their pages of Prometheus metrics, read every second while a run goes on."""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Self

from prometheus_client.parser import text_string_to_metric_families

from blis.server.address import Address
from blis.server.pool import ConnectError, Pool
from blis.server.requests import head
from blis.trace.server_metrics import RATIOS, Sample, ServerMetrics

__all__ = ["Page", "Scraper", "metrics_page", "page_facts"]

_SOURCES: dict[str, tuple[tuple[str, ...], ...]] = {
    "running": (("vllm:num_requests_running",), ("sglang:num_running_reqs",), ("llamacpp:requests_processing",)),
    "waiting": (("vllm:num_requests_waiting",), ("sglang:num_queue_reqs",), ("llamacpp:requests_deferred",)),
    "kv_usage": (
        ("vllm:kv_cache_usage_perc",),
        ("vllm:gpu_cache_usage_perc",),
        ("sglang:token_usage",),
        ("llamacpp:kv_cache_usage_ratio",),
    ),
    "prefix_hit_rate": (("vllm:gpu_prefix_cache_hit_rate",), ("sglang:cache_hit_rate",)),
    "prefix_queries_total": (
        ("vllm:prefix_cache_queries_total",),
        ("vllm:gpu_prefix_cache_queries_total",),
        ("sglang:prompt_tokens_total",),
        ("llamacpp:prompt_tokens_total", "llamacpp:prompt_tokens_cached_total"),
    ),
    "prefix_hits_total": (
        ("vllm:prefix_cache_hits_total",),
        ("vllm:gpu_prefix_cache_hits_total",),
        ("sglang:cached_tokens_total",),
        ("llamacpp:prompt_tokens_cached_total",),
    ),
    "preemptions_total": (("vllm:num_preemptions_total",), ("sglang:num_retracted_requests_total",)),
    "prompt_tokens_total": (
        ("vllm:prompt_tokens_total",),
        ("sglang:prompt_tokens_total",),
        ("llamacpp:prompt_tokens_total", "llamacpp:prompt_tokens_cached_total"),
    ),
    "generation_tokens_total": (
        ("vllm:generation_tokens_total",),
        ("sglang:generation_tokens_total",),
        ("llamacpp:tokens_predicted_total",),
    ),
    "requests_total": (("vllm:request_success_total",), ("sglang:num_requests_total",)),
    "steps_total": (("vllm:iteration_tokens_total_count",), ("llamacpp:n_decode_total",)),
}
"""Where each column comes from: the first source whose first name is on the page; its samples are added up."""

_CACHE_CONFIG = "vllm:cache_config_info"
_FACTS = {"sglang:page_size": "block_size", "sglang:num_pages": "num_gpu_blocks", "sglang:context_len": "max_model_len"}
"""Facts that are the value of a sample; vLLM's are labels of the one above."""

_EVERY_S = 1.0
_TIMEOUT_S = 5.0
_LAST_TIMEOUT_S = 1.0


def _wanted() -> re.Pattern[bytes]:
    """Match the lines of samples that are of use: a page may have thousands of others, and takes long to parse."""
    sources = {name for choices in _SOURCES.values() for source in choices for name in source}
    # Collectors on the way to here may have replaced the colon.
    names = "|".join(re.escape(name).replace(":", "[:_]") for name in sorted({*sources, *_FACTS, _CACHE_CONFIG}))
    return re.compile(rf"^(?:{names})(?:\{{.*\}})?[ \t].*$".encode(), re.MULTILINE)


_WANTED = _wanted()


class Page(NamedTuple):
    """What a page of metrics says: ``values`` by the names of a trace's metrics, and ``facts`` that don't change."""

    values: dict[str, float]
    facts: dict[str, int]


def metrics_page(content: bytes) -> Page:
    """Read a page of metrics of vLLM, SGLang or llama.cpp, of whichever version.

    Counts of several engines behind one page are added up, ratios averaged; ``priority`` splits a count that is there
    as a whole, too. A negative value says that there is none.

    Raises:
        ValueError: a sample isn't written as it should be.
    """
    text = b"\n".join(_WANTED.findall(content)).decode("utf-8", "replace") + "\n"
    found: dict[str, list[float]] = {}
    facts: dict[str, int] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if not math.isfinite(sample.value) or sample.value < 0 or sample.labels.get("priority"):
                continue
            name = sample.name if ":" in sample.name else sample.name.replace("_", ":", 1)
            if name == _CACHE_CONFIG:
                labels = ((fact, sample.labels.get(fact, "")) for fact in ("block_size", "num_gpu_blocks"))
                facts |= {fact: int(label) for fact, label in labels if label.isdecimal()}
            elif name in _FACTS:
                facts[_FACTS[name]] = int(sample.value)
            else:
                found.setdefault(name, []).append(sample.value)
    values = {}
    for column, choices in _SOURCES.items():
        for source in choices:
            if source[0] in found:
                samples = [value for name in source for value in found.get(name, ())]
                values[column] = sum(samples) / (len(samples) if column in RATIOS else 1)
                break
    return Page(values, facts)


async def page_facts(url: str) -> dict[str, int]:
    """Return the facts on a page of metrics: KV blocks, their size, the longest context, by their names in a header.

    Raises:
        BlisError: for a URL that isn't one.
        ConnectError: the page can't be read.
    """
    page = _MetricsPage(url)
    try:
        return (await page.fetch(_TIMEOUT_S)).facts
    finally:
        await page.pool.close()


class Scraper:
    """Reads pages of metrics once a second, on connections of its own, and never lets a failure out.

    ``now_us`` tells the time since the run's start. ``urls`` are the pages, one for each replica; without a path,
    ``/metrics`` is meant. Scrapes don't queue up: one that takes longer than a second makes the next one later. Each
    sample is given to ``record`` as it comes.

    Raises:
        BlisError: for a URL that isn't one.
    """

    def __init__(
        self,
        urls: Sequence[str],
        now_us: Callable[[], int],
        record: Callable[[int, int, dict[str, float]], None] | None = None,
    ) -> None:
        self._pages = [_MetricsPage(url) for url in urls]
        self._now_us = now_us
        self._record = record
        self._samples: list[Sample] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        """Begin to scrape."""
        self._tasks = [asyncio.ensure_future(self._watch(replica)) for replica in range(len(self._pages))]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Scrape once more, which mustn't take long, and close the connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(self._scrape(replica, _LAST_TIMEOUT_S) for replica in range(len(self._pages))))
        await asyncio.gather(*(page.pool.close() for page in self._pages))

    def metrics(self) -> ServerMetrics:
        """Everything scraped so far."""
        return ServerMetrics.of(self._samples)

    def tally(self) -> list[dict[str, Any]]:
        """What the header of a trace says of each replica, what its metrics show apart."""
        return [page.tally() for page in self._pages]

    async def _watch(self, replica: int) -> None:
        began = time.monotonic()
        while True:
            await self._scrape(replica, _TIMEOUT_S)
            await asyncio.sleep(_EVERY_S - (time.monotonic() - began) % _EVERY_S)

    async def _scrape(self, replica: int, timeout_s: float) -> None:
        page = self._pages[replica]
        try:
            values = (await page.fetch(timeout_s)).values
        except ConnectError as error:
            page.failures += 1
            page.last_failure = str(error)
            return
        sample = (max(self._now_us(), 0), replica, values)
        self._samples.append(sample)
        if self._record is not None:
            self._record(*sample)


class _MetricsPage:
    """A page of metrics, and how reading it went."""

    def __init__(self, url: str) -> None:
        address = Address.parse(url)
        self.pool = Pool(address, _TIMEOUT_S)
        self._path = "" if address.prefix else "/metrics"
        self.failures = 0
        self.last_failure = ""

    def tally(self) -> dict[str, Any]:
        """Return where it is, and how often it couldn't be read, with the last reason."""
        failed = {"failed_scrapes": self.failures, "last_failure": self.last_failure} if self.failures else {}
        return {"url": f"{self.pool.address}{self._path}", **failed}

    async def fetch(self, timeout_s: float) -> Page:
        """Read the page.

        Raises:
            ConnectError: where that doesn't succeed, with the reason.
        """
        try:
            async with asyncio.timeout(timeout_s):
                response = await self.pool.fetch(head(self.pool.address, "GET", self._path, {"User-Agent": "blis"}))
            if response.status != 200:
                raise ConnectError(f"HTTP {response.status}")
            page = metrics_page(response.content)
        except TimeoutError:
            raise ConnectError(f"no answer within {timeout_s:g} s") from None
        except ValueError as error:
            raise ConnectError(f"the page can't be understood: {error}") from None
        if not page.values:
            raise ConnectError("the page has no metrics of vLLM, SGLang or llama.cpp")
        return page
