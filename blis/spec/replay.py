"""How a trace is replayed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field

from blis.spec.fields import Count, Flag, Micros, Positive
from blis.spec.strict import Finding, StrictModel

__all__ = ["ReplaySpec"]


class ReplaySpec(StrictModel):
    """Options of a replay; see :func:`blis.replay`."""

    speed: Positive = Field(default=1.0, description="Times between requests and thinking times are divided by this.")
    open_loop: Flag = Field(default=False, description="Rounds of sessions come at their recorded times.")
    intended: Flag = Field(default=False, description="Start from when requests of a real trace were to be sent.")
    seed: Count | None = Field(default=None, description="Seed of the router's choices; the trace's by default.")
    horizon: Micros | None = Field(default=None, description="Arrivals stop at this time.")
    num_requests: Count | None = Field(default=None, description="Arrivals stop after this many.")
    cut_at_horizon: Flag = Field(default=False, description="Everything stops at the horizon.")

    @classmethod
    def across(cls, raw: Mapping[str, Any]) -> Iterator[Finding]:
        """There is a horizon to cut at."""
        if raw.get("cut_at_horizon") is True and raw.get("horizon") is None:
            yield ("cut_at_horizon",), "there is no horizon to cut at; give one"
