"""When a client is active, and what is different about it then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from pydantic import Field

from blis.spec.arrival import ArrivalSpec
from blis.spec.distributions import Distribution, length_findings
from blis.spec.fields import Micros, NonNegative, as_us, unit
from blis.spec.strict import Finding, StrictModel, lookup, shown

__all__ = ["LifecycleSpec", "WindowSpec", "window_findings"]

_OWN = ("rate_fraction", "rate", "arrival", "input_distribution", "output_distribution")
"""What a window may have of its own."""


class WindowSpec(StrictModel):
    """A stretch of time, [start_us, end_us), in which a client is active.

    What a window gives (rate, arrivals, lengths) holds in it instead of what the client gives. The arrivals of a
    client are one process through all its windows: the time between windows is skipped, and of a gap that a window
    cuts short the rest follows in the next. Where that names another arrival process, the part of the gap that is
    left is taken of a gap of its own process.
    """

    start_us: Micros = Field(
        description="First microsecond in the window, counted from the run's start.", examples=["30s"]
    )
    end_us: Micros = Field(description="First microsecond after the window.", examples=["60s"])
    rate_fraction: NonNegative | None = Field(
        default=None,
        description="Share of aggregate_rate in this window; none means the client's.",
        examples=[2],
        json_schema_extra=unit("none"),
    )
    rate: NonNegative | None = Field(
        default=None,
        description="Requests/s in this window, used where aggregate_rate is 0; none means the client's.",
        examples=[20],
        json_schema_extra=unit("requests/s"),
    )
    arrival: ArrivalSpec | None = Field(
        default=None,
        description="How the requests are spaced in this window; none means as the client says.",
        examples=[{"process": "poisson"}],
    )
    input_distribution: Distribution | None = Field(
        default=None,
        description="Input tokens in this window; none means the client's.",
        examples=[{"type": "constant", "params": {"value": 2000}}],
        json_schema_extra=unit("tokens"),
    )
    output_distribution: Distribution | None = Field(
        default=None,
        description="Output tokens in this window; none means the client's.",
        examples=[{"type": "constant", "params": {"value": 20}}],
        json_schema_extra=unit("tokens"),
    )

    @classmethod
    def across(cls, raw: Mapping[str, Any]) -> Iterator[Finding]:
        """A window must not be empty."""
        start, end = as_us(raw.get("start_us")), as_us(raw.get("end_us"))
        if start is not None and end is not None and start >= end:
            yield ("start_us",), f"must be before end_us, which is {end}; found {shown(raw['start_us'])}"


class LifecycleSpec(StrictModel):
    """When a client is active: in its windows, which don't overlap."""

    windows: tuple[WindowSpec, ...] = Field(
        description="The windows in which the client sends.",
        json_schema_extra={"minItems": 1},
        examples=[[{"start_us": "30s", "end_us": "60s"}]],
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

    @property
    def ordered(self) -> tuple[WindowSpec, ...]:
        """The windows in order of time, however they were written."""
        return tuple(sorted(self.windows, key=lambda window: window.start_us))


def window_findings(client: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what is wrong between a raw client and its windows."""
    windows = lookup(client.get("lifecycle"), "windows")
    for index, window in enumerate(windows if isinstance(windows, list | tuple) else ()):
        place = ("lifecycle", "windows", index)
        for key in _OWN if client.get("concurrency") is not None else ():
            if lookup(window, key) is not None:
                text = "isn't for a client with concurrency, which sends alike in all its windows"
                yield (*place, key), f"{text}; make each window a client"
        # Beside images there may be no text at all.
        least_one = ("input_distribution",) if client.get("multimodal") is None else ()
        for key in (*least_one, "output_distribution"):
            yield from (((*place, key, *path), text) for path, text in length_findings(lookup(window, key)))
