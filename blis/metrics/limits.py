"""What the instances behind a trace were able to hold, from its header."""

from __future__ import annotations

from collections.abc import Mapping

from blis.errors import BlisError
from blis.spec.deployment import deployment_from_dict
from blis.spec.instance import InstanceConfig
from blis.trace import TraceHeader

__all__ = ["instance_limits"]


def instance_limits(header: TraceHeader) -> Mapping[str, InstanceConfig]:
    """The instances of the header's deployment by name; none where it has none, or one that can't be resolved here."""
    if not header.deployment:
        return {}
    try:
        return {config.name: config for config in deployment_from_dict(header.deployment).resolve()}
    except BlisError:
        return {}
