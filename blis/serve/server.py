"""A server to start and stop."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from math import gcd
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from blis.errors import BlisError
from blis.serve.app import Front
from blis.serve.asked import Limits
from blis.serve.faults import Fault, Faults
from blis.serve.live import LiveCluster
from blis.serve.prefixes import Prefixes
from blis.serve.tokens import Tokenizer
from blis.server.wall_clock import WallClockEnvironment
from blis.spec.deployment import DeploymentSpec, deployment_of

__all__ = ["Server"]

_TIMES_THE_CACHE = 4
_PATIENCE_S = 1.0


class Server:
    """A simulated deployment behind the OpenAI API, as vLLM has it.

    An asynchronous context manager: it serves on the running loop from its beginning to its end.

        async with Server("cluster.yaml") as server:
            ...  # send requests to server.url

    Args:
        deployment: The cluster, as :func:`blis.simulate` takes it.
        host: Address to listen at.
        port: Port to listen at; 0 for any that is free.
        speed: How many times as fast as in reality simulated time passes.
        faults: Probabilities of failures on purpose.
        seed: Seed of the draws of failures.
        key: What clients must send as a bearer token; empty for nothing.
        model: The name of the model; by default the names of the models deployed.
        answer_tokens: Mean length of answers that end by themselves.

    Raises:
        SpecError: The deployment is wrong; names every problem.
        BlisError: It can't listen there, or an argument is out of its range.
    """

    def __init__(
        self,
        deployment: DeploymentSpec | Mapping[str, Any] | str | Path | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        speed: float = 1.0,
        faults: Mapping[Fault, float] | None = None,
        seed: int = 0,
        key: str = "",
        model: str = "",
        answer_tokens: float = 256.0,
    ) -> None:
        if not (0 < speed < float("inf")):
            raise BlisError(f"--speed: must be a number > 0, found {speed:g}")
        if not 0 <= port < 1 << 16:
            raise BlisError(f"--port: must be from 0 to 65535, found {port}")
        if not (1 <= answer_tokens < float("inf")):
            raise BlisError(f"--answer-tokens: must be 1 or more, found {answer_tokens:g}")
        self._env = WallClockEnvironment(speed=speed, waking_us=0)
        cluster = LiveCluster(self._env, deployment_of(deployment), model=model, speed=speed)
        self.configs = cluster.configs
        self.models = (model,) if model else tuple(dict.fromkeys(config.model.name for config in self.configs))
        blocks = sum(config.total_kv_blocks * config.block_size for config in self.configs)
        size = gcd(*(config.block_size for config in self.configs))
        self._front = Front(
            cluster,
            Limits(self.models, cluster.longest, answer_tokens),
            Tokenizer(min(config.model.vocab for config in self.configs)),
            Prefixes(size, _TIMES_THE_CACHE * blocks // size),
            Faults(faults or {}, seed),
            key,
        )
        self._place = (host, port)
        self._runner: web.AppRunner | None = None
        self._simulation: asyncio.Task[Any] | None = None
        self.url = ""

    @property
    def answered(self) -> int:
        """How many requests have been let in."""
        return self._front.answered

    async def __aenter__(self) -> Self:
        """Begin to serve."""
        self._simulation = asyncio.create_task(self._env.run_async())
        runner = web.AppRunner(
            self._front.application(), access_log=None, handler_cancellation=True, shutdown_timeout=_PATIENCE_S
        )
        await runner.setup()
        host, port = self._place
        try:
            await web.TCPSite(runner, host, port, backlog=4096).start()
        except OSError as error:
            self._simulation.cancel()
            await runner.cleanup()
            raise BlisError(f"can't listen at {host}:{port}: {getattr(error, 'strerror', None) or error}") from None
        self._runner = runner
        name = f"[{host}]" if ":" in host else host
        self.url = f"http://{name}:{runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, see :meth:`stop`."""
        await self.stop()

    async def stop(self) -> int:
        """Accept no more requests, end the answers under way, and return how many those were."""
        if self._runner is None or self._simulation is None:
            return 0
        runner, self._runner = self._runner, None
        for site in list(runner.sites):
            await site.stop()
        cut = self._front.cut()
        await runner.cleanup()
        self._simulation.cancel()
        await asyncio.wait((self._simulation,))
        return cut

    async def until(self, over: asyncio.Event) -> None:
        """Serve until ``over`` is set.

        Raises:
            BlisError: The simulation can't go on.
        """
        assert self._simulation is not None
        waiting = asyncio.create_task(over.wait())
        await asyncio.wait((waiting, self._simulation), return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if self._simulation.done():
            self._simulation.result()
