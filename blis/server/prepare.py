"""Everything that is done before the first request of a run."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from blis.request import ClientFacts, Request
from blis.server.discovery import SetUp, discover
from blis.server.pool import ConnectError, Pool
from blis.server.prompting import prompts_for
from blis.server.requests import RequestWriter
from blis.spec.server import ServerSpec

__all__ = ["Ready", "prepare"]

_SMALL = Request(ClientFacts("prewarm", streaming=False), 0, 0, 16, 16, ((None, 16),), 4)


class Ready(NamedTuple):
    """A server that can be sent requests: what writes them, and what the header says of the server."""

    writer: RequestWriter
    facts: dict[str, Any]


async def prepare(
    spec: ServerSpec, pool: Pool, headers: Mapping[str, str], seed: int, warn: Callable[[str], None]
) -> Ready:
    """Discover what the server is, decide how it is spoken to, open connections and warm it up, as ``spec`` says.

    ``headers`` are sent with every request.

    Raises:
        BlisError: the server serves nothing that could be asked for, or a file isn't there.
    """
    setup = SetUp(pool, headers)
    found = await discover(spec, setup, warn)
    prompts, how = await prompts_for(spec, found, setup, seed, warn)
    writer = RequestWriter(
        pool.address,
        spec.api,
        found.dialect,
        prompts,
        model=found.model,
        headers=headers,
        extra=spec.extra_body,
        run=f"blis-{secrets.token_hex(4)}",
    )
    if found.reached:
        if spec.prewarm:
            await _prewarm(pool, writer, spec.prewarm, warn)
        if (failure := await pool.prepare(spec.connections)) is not None:
            warn(f"not all of {spec.connections} connections could be opened: {failure}")
    forced = found.dialect.ignore_eos or bool(spec.extra_body.get("ignore_eos"))
    facts = {**found.facts, **how, "output_length": "forced" if forced else "at most as asked"}
    if spec.extra_body:
        facts["extra_body"] = spec.extra_body
    return Ready(writer, facts)


async def _prewarm(pool: Pool, writer: RequestWriter, duration_us: int, warn: Callable[[str], None]) -> None:
    """Send small requests one after the other for ``duration_us``, so that the server has done everything once."""
    end_ns = time.monotonic_ns() + duration_us * 1000
    number = 0
    while time.monotonic_ns() < end_ns:
        number += 1
        request = Request(*(getattr(_SMALL, name) for name in _SMALL.__slots__))
        # Below 0, where no request of the run has its id.
        request.client_seq, request.request_id = number, -number
        data, _ = writer.write(request)
        try:
            response = await pool.fetch(data)
        except ConnectError as error:
            warn(f"prewarm: request {number} failed, the run starts now: {error}")
            return
        if response.status != 200:
            warn(f"prewarm: request {number} got HTTP {response.status}, the run starts now")
            return
