"""Requests that hold images, audio or video beside their text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field

from blis.spec.distributions import Distribution
from blis.spec.fields import NonNegative, unit
from blis.spec.strict import Finding, StrictModel, lookup

__all__ = ["MEDIA", "MultimodalSpec", "moved_text", "text_findings"]

MEDIA = ("image", "audio", "video")
"""Kinds of items beside the text."""


class MultimodalSpec(StrictModel):
    """What a request holds beside its text, whose tokens are the client's ``input_distribution`` and may be none here.

    A request has as many images as its count says, each with tokens of its own, and their sum is its image tokens;
    audio and video likewise. All counts may be 0; a request without any token gets one of text. The input is the sum
    of the parts. On the wire a token takes 4 bytes, in media as many as is said here.
    """

    text_distribution: Distribution | None = Field(
        default=None,
        description="Another way to write the client's input_distribution.",
        examples=[{"type": "exponential", "params": {"mean": 40}}],
        json_schema_extra=unit("tokens"),
    )
    image_distribution: Distribution | None = Field(
        default=None,
        description="Tokens of one image; none: no images.",
        examples=[{"type": "constant", "params": {"value": 576}}],
        json_schema_extra=unit("tokens"),
    )
    image_count_distribution: Distribution | None = Field(
        default=None,
        description="Images of a request, at most 1000; none means one.",
        examples=[{"type": "uniform", "params": {"min": 0, "max": 3}}],
        json_schema_extra=unit("images"),
    )
    image_bytes_per_token: NonNegative | None = Field(
        default=None,
        description="Bytes to upload for a token of an image; none means 4.",
        examples=[250],
        json_schema_extra=unit("bytes/token"),
    )
    audio_distribution: Distribution | None = Field(
        default=None,
        description="Tokens of one audio clip; none: no audio.",
        examples=[{"type": "constant", "params": {"value": 500}}],
        json_schema_extra=unit("tokens"),
    )
    audio_count_distribution: Distribution | None = Field(
        default=None,
        description="Audio clips of a request, at most 1000; none means one.",
        examples=[{"type": "uniform", "params": {"min": 0, "max": 3}}],
        json_schema_extra=unit("clips"),
    )
    audio_bytes_per_token: NonNegative | None = Field(
        default=None,
        description="Bytes to upload for a token of audio; none means 4.",
        examples=[160],
        json_schema_extra=unit("bytes/token"),
    )
    video_distribution: Distribution | None = Field(
        default=None,
        description="Tokens of one video; none: no video.",
        examples=[{"type": "constant", "params": {"value": 4000}}],
        json_schema_extra=unit("tokens"),
    )
    video_count_distribution: Distribution | None = Field(
        default=None,
        description="Videos of a request, at most 1000; none means one.",
        examples=[{"type": "uniform", "params": {"min": 0, "max": 3}}],
        json_schema_extra=unit("videos"),
    )
    video_bytes_per_token: NonNegative | None = Field(
        default=None,
        description="Bytes to upload for a token of video; none means 4.",
        examples=[60],
        json_schema_extra=unit("bytes/token"),
    )

    @classmethod
    def across(cls, raw: Mapping[str, Any]) -> Iterator[Finding]:
        """Only what there is can be counted or sent."""
        for kind in MEDIA:
            for key in (f"{kind}_count_distribution", f"{kind}_bytes_per_token"):
                if raw.get(key) is not None and raw.get(f"{kind}_distribution") is None:
                    yield (key,), f"needs {kind}_distribution, the tokens of one item"


def moved_text(raw: dict[str, Any]) -> dict[str, Any]:
    """Return a client's raw mapping with multimodal.text_distribution moved to input_distribution, where it belongs."""
    multimodal = raw.get("multimodal")
    text = lookup(multimodal, "text_distribution")
    if text is None or raw.get("input_distribution") is not None or not isinstance(multimodal, Mapping):
        return raw
    rest = {key: value for key, value in multimodal.items() if key != "text_distribution"}
    return {**raw, "input_distribution": text, "multimodal": rest}


def text_findings(raw: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield where a client's text is said twice."""
    if raw.get("input_distribution") is not None and lookup(raw.get("multimodal"), "text_distribution") is not None:
        yield ("multimodal", "text_distribution"), "means input_distribution, which is given too; keep one of them"
