"""Cohorts: many clients that are alike, and how their traffic rises and falls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from blis.spec.client import ClientSpec
from blis.spec.fields import Micros, Name, NonNegative, PositiveMicros, real, unit, whole
from blis.spec.strict import Finding, StrictModel

__all__ = ["MAX_POPULATION", "CohortSpec", "DiurnalSpec", "DrainSpec", "SpikeSpec"]

MAX_POPULATION = 100_000

_DAY_US = 24 * 3_600_000_000
_PATTERNS = ("diurnal", "spike", "drain")


class DiurnalSpec(StrictModel):
    """A daily rhythm: at hour h of the day, the rate is multiplied by 1 + a cos(2 pi (h - peak_hour) / 24).

    With r the ratio of peak to trough, a = (r - 1)/(r + 1), so that the trough is the peak divided by r and the mean
    over a day is 1. The run starts at midnight.
    """

    peak_hour: Annotated[float, real(0, 24)] = Field(
        description="Hour of the day at which the rate is highest.", examples=[14], json_schema_extra=unit("h")
    )
    peak_to_trough_ratio: Annotated[float, real(1, 1000)] = Field(
        description="Highest rate over lowest rate.", examples=[4], json_schema_extra=unit("none")
    )
    day_us: PositiveMicros = Field(
        default=_DAY_US,
        description="Length of a day, whose 24th part is an hour; shorter for days in fast motion.",
        examples=["1h"],
    )


class SpikeSpec(StrictModel):
    """More traffic, or less, in [start_time_us, start_time_us + duration_us): multiplied, or of a given rate."""

    start_time_us: Micros = Field(description="When the spike starts, counted from the run's start.", examples=["30s"])
    duration_us: PositiveMicros = Field(description="How long it lasts.", examples=["5s"])
    trace_rate: NonNegative | None = Field(
        default=None,
        description="Requests/s of the whole cohort in the spike, in place of its rate or share.",
        examples=[200],
        json_schema_extra=unit("requests/s"),
    )
    multiplier: NonNegative | None = Field(
        default=None,
        description="What the cohort's rate is multiplied by instead.",
        examples=[3],
        json_schema_extra=unit("none"),
    )

    @classmethod
    def across(cls, raw: Mapping[str, Any]) -> Iterator[Finding]:
        """One of rate and multiplier says how high the spike is."""
        if raw.get("trace_rate") is None and raw.get("multiplier") is None:
            yield ("trace_rate",), "missing; give the cohort's requests/s in the spike, or a multiplier of its rate"
        if raw.get("trace_rate") is not None and raw.get("multiplier") is not None:
            yield ("multiplier",), "beside trace_rate: keep one of them"


class DrainSpec(StrictModel):
    """Traffic that ends: from start_time_us on, the rate falls evenly to 0 over ramp_duration_us, and stays there."""

    start_time_us: Micros = Field(
        description="When the rate begins to fall, counted from the run's start.", examples=["50s"]
    )
    ramp_duration_us: Micros = Field(description="How long it takes to reach 0; 0 means at once.", examples=["10s"])


class CohortSpec(ClientSpec):
    """Clients that are alike: ``population`` of them, named {id}-0, {id}-1 and so on.

    A cohort has all that a client has, and each member is a client of its own with draws of its own. Rates are those
    of the whole cohort, of which each member has an equal part. The members have been sending for long when the run
    starts, so they don't begin in step.

    The rate over time is that of the cohort's windows, or its share of the aggregate rate, multiplied by its patterns:
    ``diurnal``, ``spike`` and ``drain``. Patterns come after the fractions have been normalised. They would be
    invisible before: if everybody has the same daily rhythm, the shares don't change at all.
    """

    id: Name = Field(
        description="Name of the cohort, unique in the file; its members are called {id}-0, {id}-1, ...",
        examples=["people"],
    )
    population: Annotated[int, whole(1, MAX_POPULATION)] = Field(
        description="Number of members.", examples=[500], json_schema_extra=unit("clients")
    )
    rate_fraction: NonNegative | None = Field(
        default=None,
        description="Share of aggregate_rate of the whole cohort; shares are normalised.",
        examples=[0.7],
        json_schema_extra=unit("none"),
    )
    rate: NonNegative | None = Field(
        default=None,
        description="Requests/s of the whole cohort, used where aggregate_rate is 0.",
        examples=[50],
        json_schema_extra=unit("requests/s"),
    )
    prefix_sharing: Literal["shared", "per_member"] = Field(
        default="shared",
        description="Whether all members have one prefix_group and prompt_pool, or each its own.",
        examples=["per_member"],
    )
    diurnal: DiurnalSpec | None = Field(
        default=None, description="Daily rhythm of the rate.", examples=[{"peak_hour": 14, "peak_to_trough_ratio": 4}]
    )
    spike: SpikeSpec | None = Field(
        default=None,
        description="A stretch of time with more traffic, or less.",
        examples=[{"start_time_us": "30s", "duration_us": "5s", "multiplier": 3}],
    )
    drain: DrainSpec | None = Field(
        default=None,
        description="The end of the traffic.",
        examples=[{"start_time_us": "50s", "ramp_duration_us": "10s"}],
    )

    @classmethod
    def across(cls, raw: Mapping[str, Any]) -> Iterator[Finding]:
        """As for a client; patterns need a rate, and prefixes of members' own need a prefix."""
        yield from super().across(raw)
        for key in _PATTERNS if raw.get("concurrency") is not None else ():
            if raw.get(key) is not None:
                yield (key,), "changes a rate, and a cohort with concurrency has none; remove it, or concurrency"
        alone = not raw.get("prefix_group") and raw.get("prompt_pool") is None
        if raw.get("prefix_sharing") == "per_member" and alone:
            yield ("prefix_sharing",), "per_member needs something to share: a prefix_group, or a prompt_pool"
