"""What holds for all who send in a workload together: ids are unique, and everyone has a rate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from blis.spec.client import ClientSpec
from blis.spec.names import cohort_of
from blis.spec.strict import Finding, is_number, lookup, shown

__all__ = ["levels", "population_findings"]


def levels(client: ClientSpec, *, shared: bool) -> tuple[float, ...]:
    """Return how much a client sends in each of its windows, in order of time; without windows, its one level.

    That is its rate_fraction where an aggregate rate is ``shared``, otherwise its rate in requests/s; 0 where neither
    window nor client gives one.
    """
    own = (client.rate_fraction if shared else client.rate) or 0.0
    if client.lifecycle is None:
        return (own,)
    given = [window.rate_fraction if shared else window.rate for window in client.lifecycle.ordered]
    return tuple(own if level is None else level for level in given)


def population_findings(senders: Mapping[str, Sequence[Any]], aggregate: Any) -> Iterator[Finding]:
    """Yield what is wrong between raw ``senders``, clients and cohorts by key, under a raw ``aggregate`` rate."""
    places = [(key, index, sender) for key, items in senders.items() for index, sender in enumerate(items)]
    first: dict[str, str] = {}
    cohorts = {identity for cohort in senders.get("cohorts", ()) if isinstance(identity := lookup(cohort, "id"), str)}
    for key, index, sender in places:
        identity, place = lookup(sender, "id"), f"{key}[{index}]"
        if isinstance(identity, str):
            if first.setdefault(identity, place) != place:
                text = f"{shown(identity)} is the id of {first[identity]} too; ids must be unique"
                yield (key, index, "id"), text
            cohort = cohort_of(identity)
            if cohort in cohorts:
                text = f"{shown(identity)} is kept for a member of the cohort {shown(cohort)}; choose another id"
                yield (key, index, "id"), text
        if (missing := _missing_rate(sender, aggregate)) is not None:
            yield (key, index, "rate_fraction"), missing


def _missing_rate(client: Any, aggregate: Any) -> str | None:
    """Say what is wrong where a client or cohort doesn't tell how much it sends."""
    if not isinstance(client, Mapping | ClientSpec) or _gives(client, "rate_fraction"):
        return None
    if lookup(client, "concurrency") is not None:
        return None
    shared = is_number(aggregate) and aggregate > 0
    if not _gives(client, "rate"):
        return "missing; give the client's share of aggregate_rate" + ("" if shared else ", or its rate in requests/s")
    if not shared:
        return None
    hint = "give the client a share of it, or leave aggregate_rate out to use the clients' own rates"
    return f"missing; aggregate_rate is {shown(aggregate)}: {hint}"


def _gives(client: Any, key: str) -> bool:
    """Whether a raw client has ``key``, or all its windows do."""
    if lookup(client, key) is not None:
        return True
    windows = lookup(lookup(client, "lifecycle"), "windows")
    return isinstance(windows, list | tuple) and bool(windows) and all(lookup(w, key) is not None for w in windows)
