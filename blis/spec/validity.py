"""Where a fitted latency model was measured, and how sure it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field

from blis.spec.fields import Flag, NonNegative, RealNumber, Text, unit
from blis.spec.strict import Finding, StrictModel, shown

__all__ = ["RANGES", "ValiditySpec"]

RANGES = ("running", "prompt_tokens", "context_tokens", "prefill_tokens", "requests_per_s")
"""The keys that say [least, most] of a quantity."""


class ValiditySpec(StrictModel):
    """Where a fitted model was measured, and how sure its coefficients are.

    ``covariance`` is that of alpha and beta, one after the other, in µs^2: a square list of lists. Of the model
    physics it is that of the coefficients that ``covariance_of`` names. Ranges hold for each instance by itself.
    """

    running: tuple[NonNegative, NonNegative] | None = Field(
        default=None,
        description="Least and most sequences that ran at once in the traces it was fitted to.",
        examples=[[1, 64]],
        json_schema_extra=unit("sequences"),
    )
    prompt_tokens: tuple[NonNegative, NonNegative] | None = Field(
        default=None,
        description="Shortest and longest prompt in those traces.",
        examples=[[20, 4000]],
        json_schema_extra=unit("tokens"),
    )
    context_tokens: tuple[NonNegative, NonNegative] | None = Field(
        default=None,
        description="Least and most context of a step in those traces, all sequences together.",
        examples=[[20, 150_000]],
        json_schema_extra=unit("tokens"),
    )
    prefill_tokens: tuple[NonNegative, NonNegative] | None = Field(
        default=None,
        description="Least and most new prompt tokens of a step in those traces.",
        examples=[[0, 2048]],
        json_schema_extra=unit("tokens"),
    )
    requests_per_s: tuple[NonNegative, NonNegative] | None = Field(
        default=None,
        description="Lowest and highest rate of arrivals in any tenth of those traces' time.",
        examples=[[0.5, 3.2]],
        json_schema_extra=unit("requests/s"),
    )
    async_scheduling: Flag | None = Field(
        default=None,
        description="Whether the server was found to schedule asynchronously; none where unknown.",
        examples=[True],
    )
    covariance: tuple[tuple[RealNumber, ...], ...] | None = Field(
        default=None,
        description="Covariance of the coefficients, alpha before beta, for prediction intervals.",
        examples=[[[4.0, 0.1], [0.1, 0.02]]],
        json_schema_extra=unit("µs²", span="of either sign; as many rows as columns"),
    )
    covariance_of: tuple[Text, ...] | None = Field(
        default=None,
        description="Of the model physics: the coefficients that the covariance is of, in its order.",
        examples=[["request_us", "weights"]],
    )
    drift: NonNegative | None = Field(
        default=None,
        description="Relative standard deviation of another run's pace about the model's; none where unknown.",
        examples=[0.05],
        json_schema_extra=unit("none"),
    )

    @classmethod
    def across(cls, raw: Mapping[str, Any]) -> Iterator[Finding]:
        """Ranges go upwards, and a covariance is square."""
        for key in RANGES:
            pair = raw.get(key)
            if isinstance(pair, list | tuple) and len(pair) == 2 and all(isinstance(v, int | float) for v in pair):
                if pair[0] > pair[1]:
                    yield (key,), f"must be [least, most], found {shown(list(pair))}"
        rows = raw.get("covariance")
        if isinstance(rows, list | tuple) and any(len(row) != len(rows) for row in rows if isinstance(row, list)):
            yield ("covariance",), f"must be square; found {len(rows)} rows of other lengths"
