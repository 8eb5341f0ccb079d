"""What holds for all who send in a workload together: ids are unique, and everyone has a rate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from blis.spec.client import ClientSpec
from blis.spec.names import cohort_of
from blis.spec.strict import Finding, is_number, lookup, shown

__all__ = ["levels", "population_findings"]

_NO_CLIENTS = "at least one client or servegen_data path required"
_NO_SHARES = "must be 0 where there are both clients and servegen_data, so that each keeps rates of its own"


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


def population_findings(raw: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what is wrong between the clients and cohorts of a raw workload, and its rates."""
    senders = {key: _items(raw.get(key)) for key in ("clients", "cohorts")}
    aggregate = raw.get("aggregate_rate")
    if not any(senders.values()):
        if not lookup(raw.get("servegen_data"), "path"):
            yield ("clients",), _NO_CLIENTS
    elif raw.get("servegen_data") is not None and is_number(aggregate) and aggregate > 0:
        yield ("aggregate_rate",), f"{_NO_SHARES}; found {shown(aggregate)}"
    first: dict[str, str] = {}
    cohorts = {identity for cohort in senders["cohorts"] if isinstance(identity := lookup(cohort, "id"), str)}
    for key, index, sender in [(key, index, one) for key, items in senders.items() for index, one in enumerate(items)]:
        identity, place = lookup(sender, "id"), f"{key}[{index}]"
        if isinstance(identity, str):
            if first.setdefault(identity, place) != place:
                text = f"{shown(identity)} is the id of {first[identity]} too; ids must be unique"
                yield (key, index, "id"), text
            cohort = cohort_of(identity)
            if cohort in cohorts:
                text = f"{shown(identity)} is kept for a member of the cohort {shown(cohort)}; choose another id"
                yield (key, index, "id"), text
        if (missing := _missing_rate(sender, aggregate, staged=bool(raw.get("stages")))) is not None:
            yield (key, index, "rate_fraction"), missing
        for part in _unfit_conditions(sender, key, staged=bool(raw.get("stages"))):
            yield (key, index, *part[0]), part[1]


def _items(value: Any) -> Sequence[Any]:
    """Return a raw list's items; where something else is given, one that can't be read."""
    return value if isinstance(value, list | tuple) else [None] if value else []


def _unfit_conditions(sender: Any, key: str, *, staged: bool) -> Iterator[Finding]:
    """Yield where a client's arrivals are conditioned on a count that nothing gives."""
    windows = lookup(lookup(sender, "lifecycle"), "windows")
    windows = windows if isinstance(windows, list | tuple) else ()
    own = lookup(lookup(sender, "arrival"), "conditioned") is True
    others = [lookup(window, "arrival") for window in windows]
    if own and key == "cohorts":
        yield ("arrival", "conditioned"), "isn't for cohorts: each member would have a count of its own; use a client"
    elif own and not windows and not staged:
        yield ("arrival", "conditioned"), "needs stages, or windows of the client, whose rates and lengths give counts"
    for index, other in enumerate(others):
        if other is not None and (lookup(other, "conditioned") is True) != own:
            place = ("lifecycle", "windows", index, "arrival", "conditioned")
            yield place, f"must be as in the client's arrival, which is {'' if own else 'not '}conditioned"


def _missing_rate(sender: Any, aggregate: Any, *, staged: bool) -> str | None:
    """Say what is wrong where a client or cohort doesn't tell how much it sends."""
    if not isinstance(sender, Mapping | ClientSpec) or _gives(sender, "rate_fraction"):
        return None
    if lookup(sender, "concurrency") is not None:
        return None
    shared = is_number(aggregate) and aggregate > 0
    if staged:
        return "missing; give the client's share of the stages' rates"
    if not _gives(sender, "rate"):
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
