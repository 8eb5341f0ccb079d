"""Stages of a workload: one total rate after another, as load-testing tools have them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field

from blis.spec.fields import Flag, Micros, NonNegative, PositiveMicros, unit
from blis.spec.strict import Finding, StrictModel, is_number, lookup, shown

__all__ = ["StageSpec", "stage_findings"]


class StageSpec(StrictModel):
    """A stretch of a run in which the clients together send ``rate`` requests/s, shared by their rate fractions.

    Stages follow each other. The next one begins when this one's duration is over; with ``drain``, when in addition all
    that is in flight, sessions included, has ended; and a ``pause`` later. Windows and patterns are counted on the
    stages' clock, which shows the durations and pauses so far and stands still while a stage drains.
    """

    rate: NonNegative = Field(
        description="Requests/s of all clients, or sessions/s of those that have sessions.",
        examples=[5],
        json_schema_extra=unit("requests/s"),
    )
    duration: PositiveMicros = Field(description="How long requests arrive.", examples=["60s"])
    drain: Flag = Field(
        default=False, description="Whether the next stage waits until nothing is in flight any more.", examples=[True]
    )
    pause: Micros = Field(
        default=0, description="Time without arrivals between this stage and the next.", examples=["1s"]
    )


def stage_findings(raw: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what is wrong between a raw workload's stages and what else it says."""
    if not raw.get("stages"):
        return
    aggregate = raw.get("aggregate_rate")
    if is_number(aggregate) and aggregate > 0:
        text = "isn't for a workload with stages, each of which has a rate; remove it"
        yield ("aggregate_rate",), f"{text}, found {shown(aggregate)}"
    if raw.get("servegen_data") is not None:
        yield ("servegen_data",), "has rates of its own, which stages can't change; remove it, or the stages"
    for key in ("clients", "cohorts"):
        senders = raw.get(key)
        for index, sender in enumerate(senders if isinstance(senders, list | tuple) else ()):
            if lookup(sender, "concurrency") is not None:
                text = "isn't for a workload with stages: a closed loop has no rate that they could set"
                yield (key, index, "concurrency"), f"{text}; remove it, or the stages"
