"""A server in the test's own loop, and somebody to ask it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from blis.serve import Server

__all__ = ["PLAIN", "Asker", "deployment", "serving"]

_T = TypeVar("_T")


def deployment(alpha: tuple[float, float, float], beta: tuple[float, float, float], **keys: Any) -> dict[str, Any]:
    """A deployment whose steps take what these coefficients say, in µs."""
    latency = {"model": "alpha-beta", "coefficients": {"alpha": list(alpha), "beta": list(beta)}}
    return {"model": "llama-3.1-8b", "hardware": "H100", "latency": latency, **keys}


PLAIN = deployment((0, 0, 0), (2_000, 0, 0), total_kv_blocks=1000)
"""Steps of 2 ms, nothing else takes any time."""


class Asker:
    """A client of one server."""

    def __init__(self, server: Server, session: aiohttp.ClientSession) -> None:
        self.server = server
        self.session = session

    async def post(self, path: str, **body: Any) -> tuple[int, Any]:
        """POST a body; returns status and document."""
        async with self.session.post(path, json=body) as answer:
            return answer.status, json.loads(await answer.read())

    async def complete(self, prompt: Any, tokens: int, **more: Any) -> dict[str, Any]:
        """Ask for a completion of so many tokens."""
        status, document = await self.post("/v1/completions", prompt=prompt, max_tokens=tokens, ignore_eos=True, **more)
        assert status == 200, document
        return document

    async def stream(self, path: str, **body: Any) -> tuple[list[Any], list[float]]:
        """POST a body; returns the data of the events that come, as far as it is JSON, and when they came."""
        events, times = [], []
        async with self.session.post(path, json={**body, "stream": True}) as answer:
            assert answer.status == 200, await answer.text()
            assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
            async for line in answer.content:
                if line.startswith(b"data: "):
                    data = line[6:].strip()
                    events.append("[DONE]" if data == b"[DONE]" else json.loads(data))
                    times.append(asyncio.get_running_loop().time())
        return events, times

    async def metrics(self) -> dict[str, float]:
        """What /metrics says, by name, with the labels' values that tell series apart where there are several."""
        async with self.session.get("/metrics") as answer:
            families = text_string_to_metric_families(await answer.text())
        found: dict[str, float] = {}
        for family in families:
            for sample in family.samples:
                labels = [value for key, value in sample.labels.items() if key not in ("model_name", "engine")]
                engine = [f"#{sample.labels['engine']}"] if sample.labels["engine"] != "0" else []
                found["|".join([sample.name.removeprefix("vllm:"), *labels, *engine])] = sample.value
        return found


def serving(test: Callable[[Asker], Awaitable[_T]], deployment: Any = PLAIN, **settings: Any) -> _T:
    """Run a test against a server that starts before it and stops after it."""

    async def run() -> _T:
        async with Server(deployment, **settings) as server, aiohttp.ClientSession(server.url) as session:
            return await asyncio.wait_for(test(Asker(server, session)), 30)

    return asyncio.run(run())
