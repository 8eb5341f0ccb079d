"""Where a workload takes ServeGen's measured data from, and which part of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import Field

from blis.spec.fields import Flag, Name, NonNegative, Positive, unit
from blis.spec.strict import Finding, StrictModel, is_number, shown

__all__ = ["ServeGenSpec"]


class ServeGenSpec(StrictModel):
    """A folder of ServeGen files (chunk-N-trace.csv and chunk-N-dataset.json); each chunk becomes a client.

    The span is counted in seconds on the data's own clock, [span_start, span_end), and becomes the run from 0 on.
    ``normalize: window`` is ServeGen's rule: as many gaps as the window's rate asks for, rescaled to fill the window;
    ``none`` is the plain renewal process. ``length_correlation: comonotonic`` draws a request's lengths from one
    uniform number, as ServeGen does, ``independent`` from one each.
    """

    path: Name = Field(description="The folder, relative to the spec's.", examples=["servegen-data"])
    span_start: NonNegative = Field(
        default=0.0, description="Start of the part used, in seconds.", examples=[600], json_schema_extra=unit("s")
    )
    span_end: NonNegative | None = Field(
        default=None,
        description="End of the part used, in seconds; none means all.",
        examples=[3600],
        json_schema_extra=unit("s"),
    )
    time_window: Positive = Field(
        default=600.0,
        description="Length of a window of rates in the data, in seconds.",
        examples=[300],
        json_schema_extra=unit("s"),
    )
    normalize: Literal["window", "none"] = Field(
        default="window", description="How arrivals meet a window's rate.", examples=["none"]
    )
    length_correlation: Literal["independent", "comonotonic"] = Field(
        default="independent", description="How the lengths of one request hang together.", examples=["comonotonic"]
    )
    strict: Flag = Field(
        default=False, description="Whether a broken file stops the run instead of being left out.", examples=[True]
    )

    @classmethod
    def across(cls, raw: Mapping[str, Any]) -> Iterator[Finding]:
        """The span must not be empty."""
        start, end = raw.get("span_start", 0), raw.get("span_end")
        if is_number(start) and is_number(end) and start >= end:
            place = "span_start" if "span_start" in raw else "span_end"
            yield (place,), f"span_start must be before span_end, found {shown(start)} and {shown(end)}"
