"""Older versions of the workload spec, brought to the current one before it is checked.

Version "1" let gamma and weibull arrivals go without a cv, and allowed any cv for gamma; both meant Poisson. An upgrade
from another version is one more function here and one more case in :func:`upgrade`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from blis.spec.fields import Checked, refusal
from blis.spec.strict import Path, did_you_mean, is_number, shown

__all__ = ["CURRENT_VERSION", "VERSIONS", "Version", "upgrade"]

CURRENT_VERSION = "2"
VERSIONS = ("1", "2")
_MOST_GAMMA_CV = 10


def _check_version(value: Any) -> str:
    if value in (CURRENT_VERSION, int(CURRENT_VERSION)) and not isinstance(value, bool | float):
        return CURRENT_VERSION
    raise refusal(f"unknown version {shown(value)}{did_you_mean(value, VERSIONS)}; allowed: {', '.join(VERSIONS)}")


Version = Annotated[
    str, Checked(f"one of {', '.join(VERSIONS)}", _check_version, {"enum": [*VERSIONS, *map(int, VERSIONS)]})
]
"""A version of the workload spec, brought to the current one."""


def upgrade(raw: Mapping[str, Any]) -> tuple[dict[str, Any], list[tuple[Path, str]]]:
    """Return the raw workload in the current version, and a warning with its place for each change of meaning.

    A mapping of the current version, or of none that is known, comes back as it is. The argument isn't changed.
    """
    version = raw.get("version")
    if version == 1 and not isinstance(version, bool | float):
        version = "1"
    if version != "1":
        return dict(raw), []
    clients = raw.get("clients")
    upgraded = {**raw, "version": CURRENT_VERSION}
    warnings: list[tuple[Path, str]] = []
    if isinstance(clients, list | tuple):
        replaced = list(clients)
        for index, reason in _fallbacks(clients):
            replaced[index] = {**clients[index], "arrival": {**clients[index]["arrival"], "process": "poisson"}}
            replaced[index]["arrival"].pop("cv", None)
            warnings.append((("clients", index, "arrival"), f"{reason}: treated as poisson, as version 1 did"))
        upgraded["clients"] = replaced
    return upgraded, warnings


def _fallbacks(clients: list[Any] | tuple[Any, ...]) -> Iterator[tuple[int, str]]:
    """Yield which clients fall back to Poisson, and why."""
    for index, client in enumerate(clients):
        arrival = client.get("arrival") if isinstance(client, Mapping) else None
        if not isinstance(arrival, Mapping):
            continue
        process, cv = arrival.get("process"), arrival.get("cv")
        if process in ("gamma", "weibull") and cv is None:
            yield index, f"a {process} process without cv"
        elif process == "gamma" and is_number(cv) and _MOST_GAMMA_CV < cv < float("inf"):
            yield index, f"a gamma process with the cv {shown(cv)}, above {_MOST_GAMMA_CV}"
