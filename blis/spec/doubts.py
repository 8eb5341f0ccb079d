"""What a workload may say but likely doesn't mean: warnings, never errors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from blis.spec.client import ClientSpec
from blis.spec.population import levels
from blis.spec.strict import Finding, Path

if TYPE_CHECKING:
    from blis.spec.workload import WorkloadSpec

__all__ = ["doubts"]


def doubts(spec: WorkloadSpec) -> Iterator[Finding]:
    """Yield what is likely not meant, with its place in the spec."""
    for key in ("horizon", "num_requests"):
        if getattr(spec, key) == 0:
            yield (key,), f"is 0: no requests will be sent; leave {key} out for no such limit"
    shared = spec.aggregate_rate > 0
    open_loop = [client for client in spec.clients if client.concurrency is None]
    silent = not shared and open_loop and not any(any(levels(client, shared=False)) for client in open_loop)
    if silent:
        yield ("aggregate_rate",), "is 0 and no client has a rate of its own: the clients will send no requests"
    if shared and spec.clients and not open_loop:
        yield ("aggregate_rate",), "isn't used, since every client has concurrency, which needs no rate"
    for index, client in enumerate(spec.clients):
        sends = client.concurrency is not None or any(levels(client, shared=shared))
        if shared and not sends:
            yield ("clients", index, "rate_fraction"), "is 0: this client will send no requests"
        elif not sends and not silent:
            yield ("clients", index), "has no rate of its own while aggregate_rate is 0: it will send no requests"
        if shared:
            for place in _rates(client):
                yield ("clients", index, *place, "rate"), "isn't used, since aggregate_rate is above 0"
        if client.prefix_group and client.prefix_length == 0:
            yield ("clients", index, "prefix_group"), "shares nothing, since prefix_length is 0 or absent"


def _rates(client: ClientSpec) -> Iterator[Path]:
    """Yield where a client or one of its windows has a rate of its own."""
    if client.rate is not None:
        yield ()
    for index, window in enumerate(client.lifecycle.windows if client.lifecycle else ()):
        if window.rate is not None:
            yield "lifecycle", "windows", index
