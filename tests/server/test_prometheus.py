from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from blis.errors import BlisError
from blis.server.prometheus import Scraper, metrics_page

PAGES = Path(__file__).parents[1] / "data" / "server_metrics"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.mark.parametrize(
    ("name", "values", "facts"),
    [
        (
            "vllm-0.32",
            {
                "running": 0,
                "waiting": 0,
                "kv_usage": 0,
                "prefix_queries_total": 203493,
                "prefix_hits_total": 11392,
                "preemptions_total": 0,
                "prompt_tokens_total": 203493,
                "generation_tokens_total": 38838,
                "requests_total": 647,
                "steps_total": 6362,
            },
            {"block_size": 32, "num_gpu_blocks": 4096},
        ),
        (
            "vllm-0.8",
            {
                "running": 16,
                "waiting": 1,
                "kv_usage": 0.375,
                "prefix_queries_total": 6000,
                "prefix_hits_total": 2400,
            },
            {},
        ),
        (
            "vllm-0.6",
            {
                "running": 37,
                "waiting": 4,
                "kv_usage": 0.7281,
                "prefix_hit_rate": 0.314,
                "preemptions_total": 12,
                "prompt_tokens_total": 804211,
                "generation_tokens_total": 311067,
                "requests_total": 1750,
            },
            {"block_size": 16, "num_gpu_blocks": 27915},
        ),
        (
            "sglang-0.5",
            {
                "running": 9,
                "waiting": 2,
                "kv_usage": 0.41,
                "prefix_hit_rate": 0.5,
                "prefix_queries_total": 10000,
                "prefix_hits_total": 2000,
                "preemptions_total": 3,
                "prompt_tokens_total": 10000,
                "generation_tokens_total": 5000,
                "requests_total": 40,
            },
            {"block_size": 64, "num_gpu_blocks": 7021, "max_model_len": 32768},
        ),
        (
            "llama.cpp",
            {
                "running": 0,
                "waiting": 0,
                "prefix_queries_total": 29,
                "prefix_hits_total": 0,
                "prompt_tokens_total": 29,
                "generation_tokens_total": 15,
                "steps_total": 15,
            },
            {},
        ),
    ],
)
def test_pages_of_every_kind_and_version_are_read(name, values, facts):
    content = (PAGES / f"{name}.txt").read_bytes()
    assert metrics_page(content) == (values, facts)
    # A collector in between may have replaced the colons.
    renamed = content.replace(b"vllm:", b"vllm_").replace(b"sglang:", b"sglang_").replace(b"llamacpp:", b"llamacpp_")
    assert metrics_page(renamed) == (values, facts)


def test_what_is_no_level_counts_as_not_told():
    page = b"vllm:num_requests_running 3\nvllm:gpu_prefix_cache_hit_rate -1\nvllm:kv_cache_usage_perc NaN\n"
    assert metrics_page(page) == ({"running": 3}, {})
    assert metrics_page(b"sglang:page_size +Inf\n") == ({}, {})
    assert metrics_page(b"<html>vllm:num_requests_running</html>") == ({}, {})


def test_a_page_that_breaks_off_is_an_error():
    with pytest.raises(ValueError, match="could not convert"):
        metrics_page(b'vllm:num_requests_running{engine="0} 3\n')


TICK_S = 0.05


def scrape(handlers: dict[str, Handler], urls: list[str], enough: Callable[[], bool], monkeypatch) -> Scraper:
    """Scrape pages of a server here, ``{}`` in a URL being its address, until ``enough``, and once more at the end."""
    monkeypatch.setattr("blis.server.prometheus._EVERY_S", TICK_S)
    monkeypatch.setattr("blis.server.prometheus._LAST_TIMEOUT_S", 0.1)

    async def run() -> Scraper:
        app = web.Application()
        app.add_routes([web.get(path, handler) for path, handler in handlers.items()])
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0]
        began = time.monotonic()
        scraper = Scraper(
            [url.format(f"http://{host}:{port}") for url in urls], lambda: int(1e6 * (time.monotonic() - began))
        )
        async with scraper, asyncio.timeout(20):
            while not enough():
                await asyncio.sleep(0.005)
        left = [task.get_coro().__qualname__ for task in asyncio.all_tasks()]
        assert not [name for name in left if name.startswith(("Scraper", "Pool", "Connection"))]
        await runner.cleanup()
        return scraper

    return asyncio.run(run())


def page(running: int) -> web.Response:
    return web.Response(text=f"vllm:num_requests_running {running}\nvllm:generation_tokens_total {1000 * running}\n")


def test_replicas_are_scraped_tick_by_tick_and_at_the_end(monkeypatch):
    counts = {"/metrics": 0, "/b/metrics": 100}

    async def count(request: web.Request) -> web.Response:
        counts[request.path] += 1
        return page(counts[request.path])

    def enough() -> bool:
        return counts["/metrics"] >= 4 and counts["/b/metrics"] >= 104

    scraper = scrape(dict.fromkeys(counts, count), ["{}", "{}/b/metrics"], enough, monkeypatch)
    metrics, (first, second) = scraper.metrics(), scraper.tally()
    running = [metrics.of_replica(replica).values["running"].tolist() for replica in (0, 1)]
    assert running == [list(range(1, counts["/metrics"] + 1)), list(range(101, counts["/b/metrics"] + 1))]
    # All but the last came on their ticks, none on that of another.
    ticks = (metrics.of_replica(0).time_us[:-1] / 1e6 // TICK_S).tolist()
    assert ticks == sorted(set(ticks))
    assert [each["url"].removeprefix("http://127.0.0.1:").partition("/")[2] for each in (first, second)] == [
        "metrics",
        "b/metrics",
    ]
    assert "failed_scrapes" not in first


def test_failures_are_counted_and_nothing_more(monkeypatch):
    calls = 0

    async def moody(request: web.Request) -> web.StreamResponse:
        nonlocal calls
        calls += 1
        match calls:
            case 1:
                return page(1)
            case 2:
                return web.Response(status=503, text="not yet")
            case 3:
                assert request.transport is not None
                request.transport.close()
            case 4:
                return web.Response(text="<html>vllm</html>")
            case 5:
                await asyncio.sleep(0.3)
        return page(calls)

    monkeypatch.setattr("blis.server.prometheus._TIMEOUT_S", 0.12)
    unused = "http://127.0.0.1:9"
    scraper = scrape({"/metrics": moody}, ["{}", unused], lambda: calls >= 7, monkeypatch)
    answering, dead = scraper.tally()
    assert answering["failed_scrapes"] == 4
    assert len(scraper.metrics()) == calls - 4
    assert answering["last_failure"] == "no answer within 0.12 s"
    assert dead["failed_scrapes"] >= 5
    assert "127.0.0.1:9" in dead["last_failure"]


def test_a_url_with_a_password_is_refused():
    with pytest.raises(BlisError, match="user name or password"):
        Scraper(["http://me:secret@localhost/metrics"], lambda: 0)
