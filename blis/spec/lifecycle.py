"""When a client is active."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from pydantic import Field

from blis.spec.fields import Micros, as_us
from blis.spec.strict import Finding, StrictModel, lookup, shown

__all__ = ["LifecycleSpec", "WindowSpec"]


class WindowSpec(StrictModel):
    """A stretch of time, [start_us, end_us)."""

    start_us: Micros = Field(description="First microsecond in the window, counted from the run's start.")
    end_us: Micros = Field(description="First microsecond after the window.")

    @classmethod
    def across(cls, raw: Mapping[str, Any]) -> Iterator[Finding]:
        """A window must not be empty."""
        start, end = as_us(raw.get("start_us")), as_us(raw.get("end_us"))
        if start is not None and end is not None and start >= end:
            yield ("start_us",), f"must be before end_us, which is {end}; found {shown(raw['start_us'])}"


class LifecycleSpec(StrictModel):
    """When a client is active: in its windows, which don't overlap."""

    windows: tuple[WindowSpec, ...] = Field(
        description="The windows in which the client sends.", json_schema_extra={"minItems": 1}
    )

    @classmethod
    def across(cls, raw: Mapping[str, Any]) -> Iterator[Finding]:
        """There is a window, and windows don't overlap."""
        windows = raw.get("windows")
        if not isinstance(windows, list | tuple):
            return
        if not windows:
            yield ("windows",), "must have at least one window; leave lifecycle out for a client that is always active"
        spans = [(as_us(lookup(w, "start_us")), as_us(lookup(w, "end_us")), i) for i, w in enumerate(windows)]
        whole = sorted((start, end, i) for start, end, i in spans if start is not None and end is not None)
        for (_, previous_end, previous), (start, _, index) in pairwise(whole):
            if start < previous_end:
                text = f"overlaps windows[{previous}], which ends at {previous_end}; join the two windows"
                yield ("windows", index, "start_us"), text
