"""What a workload may say but likely doesn't mean: warnings, never errors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from blis.spec.client import ClientSpec
from blis.spec.cohort import CohortSpec
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
    shared = spec.shared
    open_loop = [sender for sender in spec.senders if sender.concurrency is None]
    silent = not shared and open_loop and not any(_sends(sender, shared=False) for sender in open_loop)
    if silent:
        who = "client" if spec.clients or not spec.cohorts else "cohort"
        yield ("aggregate_rate",), f"is 0 and no {who} has a rate of its own: the {who}s will send no requests"
    if spec.aggregate_rate > 0 and spec.senders and not open_loop:
        yield ("aggregate_rate",), "isn't used, since every client has concurrency, which needs no rate"
    total = "each stage has a rate" if spec.stages else "aggregate_rate is above 0"
    if spec.stages and not any(stage.rate for stage in spec.stages):
        yield ("stages",), "have no rate above 0: no requests will be sent"
    places = [(key, index) for key in ("clients", "cohorts") for index in range(len(getattr(spec, key)))]
    for place, sender in zip(places, spec.senders, strict=True):
        who = place[0].removesuffix("s")
        sends = sender.concurrency is not None or _sends(sender, shared=shared)
        if shared and not sends:
            yield (*place, "rate_fraction"), f"is 0: this {who} will send no requests"
        elif not sends and not silent:
            yield place, "has no rate of its own while aggregate_rate is 0: it will send no requests"
        if shared:
            for part in _rates(sender):
                yield (*place, *part, "rate"), f"isn't used, since {total}"
        if sender.prefix_group and sender.prefix_length == 0:
            yield (*place, "prefix_group"), "shares nothing, since prefix_length is 0 or absent"


def _sends(sender: ClientSpec, *, shared: bool) -> bool:
    """Whether a client or cohort has any rate."""
    spiked = isinstance(sender, CohortSpec) and sender.spike is not None and bool(sender.spike.trace_rate)
    return spiked or any(levels(sender, shared=shared))


def _rates(client: ClientSpec) -> Iterator[Path]:
    """Yield where a client or one of its windows has a rate of its own."""
    if client.rate is not None:
        yield ()
    for index, window in enumerate(client.lifecycle.windows if client.lifecycle else ()):
        if window.rate is not None:
            yield "lifecycle", "windows", index
