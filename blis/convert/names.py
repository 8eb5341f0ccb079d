"""What clients and prefix groups of several workloads are called when these become one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from itertools import count

from blis.spec.client import ClientSpec
from blis.spec.cohort import CohortSpec
from blis.spec.names import cohort_of
from blis.spec.workload import WorkloadSpec

__all__ = ["Names"]

_CHUNKS = "chunk"
"""Chunks of ServeGen data are called chunk-0, chunk-1, ..., as the members of a cohort of this name would be."""


class Names:
    """New names for who sends in ``workloads``, and for their prefix groups.

    A name stays as it is unless another workload has it too, be it for a cohort's member or a chunk of ServeGen data.
    Otherwise its workload's name comes before it, and a number in between where that is somebody's name already.
    """

    def __init__(self, workloads: Mapping[str, WorkloadSpec]) -> None:
        self._ids = {name: {sender.id for sender in spec.senders} for name, spec in workloads.items()}
        self._cohorts = {name: set(_cohorts(spec)) for name, spec in workloads.items()}
        self._groups = {name: {sender.prefix_group for sender in spec.senders} for name, spec in workloads.items()}
        self._taken = set().union(*self._ids.values())
        self._taken_by_cohorts = set().union(*self._cohorts.values())
        self._taken_by_groups = set().union(*self._groups.values())
        self._new_groups: dict[tuple[str, str], str] = {}

    def of(self, workload: str, sender: ClientSpec) -> dict[str, str]:
        """Return those fields of a client or cohort that change: ``id``, ``prefix_group``, both or none."""
        fields: dict[str, str] = {}
        if self._clashes(workload, sender):
            fields["id"] = self._new_id(workload, sender)
        group = sender.prefix_group
        if group and group in _others(self._groups, workload):
            if (workload, group) not in self._new_groups:
                new = _first(workload, group, lambda name: name not in self._taken_by_groups)
                self._taken_by_groups.add(new)
                self._new_groups[workload, group] = new
            fields["prefix_group"] = self._new_groups[workload, group]
        return fields

    def _clashes(self, workload: str, sender: ClientSpec) -> bool:
        cohorts = _others(self._cohorts, workload)
        return (
            sender.id in _others(self._ids, workload)
            or cohort_of(sender.id) in cohorts
            or (isinstance(sender, CohortSpec) and sender.id in cohorts)
        )

    def _new_id(self, workload: str, sender: ClientSpec) -> str:
        whole = isinstance(sender, CohortSpec)
        members = {cohort_of(name) for name in self._taken} if whole else set()

        def is_free(name: str) -> bool:
            return name not in self._taken | members and cohort_of(name) not in self._taken_by_cohorts

        new = _first(workload, sender.id, is_free)
        self._taken.add(new)
        if whole:
            self._taken_by_cohorts.add(new)
        return new


def _cohorts(spec: WorkloadSpec) -> Collection[str]:
    own = [sender.id for sender in spec.senders if isinstance(sender, CohortSpec)]
    return own if spec.servegen_data is None else [*own, _CHUNKS]


def _others(names: Mapping[str, set[str]], workload: str) -> set[str]:
    """Return the names that workloads other than this one have."""
    return set().union(*(own for name, own in names.items() if name != workload))


def _first(workload: str, name: str, is_free: Callable[[str], bool]) -> str:
    """Return ``name`` after its workload's, with the least number that makes it free."""
    numbered = (f"{workload}-{name}" if number == 1 else f"{workload}-{number}-{name}" for number in count(1))
    return next(filter(is_free, numbered))
