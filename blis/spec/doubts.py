"""What a workload may say but likely doesn't mean: warnings, never errors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from blis.spec.strict import Finding

if TYPE_CHECKING:
    from blis.spec.workload import WorkloadSpec

__all__ = ["doubts"]


def doubts(spec: WorkloadSpec) -> Iterator[Finding]:
    """Yield what is likely not meant, with its place in the spec."""
    for key in ("horizon", "num_requests"):
        if getattr(spec, key) == 0:
            yield (key,), f"is 0: no requests will be sent; leave {key} out for no such limit"
    open_loop = [client for client in spec.clients if client.concurrency is None]
    silent = spec.aggregate_rate == 0 and open_loop and not any(client.rate for client in open_loop)
    if silent:
        yield ("aggregate_rate",), "is 0 and no client has a rate of its own: the clients will send no requests"
    if spec.aggregate_rate > 0 and spec.clients and not open_loop:
        yield ("aggregate_rate",), "isn't used, since every client has concurrency, which needs no rate"
    for index, client in enumerate(spec.clients):
        if client.concurrency is not None:
            pass
        elif spec.aggregate_rate > 0 and client.rate_fraction == 0:
            yield ("clients", index, "rate_fraction"), "is 0: this client will send no requests"
        elif spec.aggregate_rate == 0 and not client.rate and not silent:
            yield ("clients", index), "has no rate of its own while aggregate_rate is 0: it will send no requests"
        if spec.aggregate_rate > 0 and client.rate is not None:
            yield ("clients", index, "rate"), "isn't used, since aggregate_rate is above 0"
        if client.prefix_group and client.prefix_length == 0:
            yield ("clients", index, "prefix_group"), "shares nothing, since prefix_length is 0 or absent"
