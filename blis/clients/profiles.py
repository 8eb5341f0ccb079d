"""From a workload spec to the rate of each client over time."""

from __future__ import annotations

from blis.clients.rates import ALWAYS, RateProfile, shared_profiles
from blis.spec.client import ClientSpec
from blis.spec.population import levels
from blis.spec.workload import WorkloadSpec

__all__ = ["profiles"]


def profiles(spec: WorkloadSpec) -> list[RateProfile]:
    """Return the profile of each of the spec's clients, in their order.

    With an aggregate rate, the rate fractions are normalised among the clients active at every moment; without, each
    client has the rates it gives.
    """
    shared = spec.aggregate_rate > 0
    given = [levels(client, shared=shared) for client in spec.clients]
    windows = [_windows(client) for client in spec.clients]
    if shared:
        return shared_profiles(given, windows, spec.aggregate_rate)
    return [
        RateProfile(1.0, own or ALWAYS, weights=level) if len(set(level)) > 1 else RateProfile(level[0], own or ALWAYS)
        for level, own in zip(given, windows, strict=True)
    ]


def _windows(client: ClientSpec) -> tuple[tuple[int, int], ...]:
    if client.lifecycle is None:
        return ()
    return tuple((window.start_us, window.end_us) for window in client.lifecycle.ordered)
