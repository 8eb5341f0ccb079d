"""Reasoning and multimodal requests: what a request is made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blis.request import Request

Record = Callable[..., list[Request]]
Client = Callable[..., dict[str, Any]]


def constant(value: float) -> dict[str, Any]:
    return {"type": "constant", "params": {"value": value}}


def sent(record: Record, client: Client, number: int = 1, **changes: Any) -> list[Request]:
    return record({"num_requests": number, "clients": [client("a", rate=1.0, **changes)]})


def test_input_is_the_sum_of_the_parts(record: Record, client: Client) -> None:
    """100 text, 200 image and 50 audio tokens are 350 input tokens."""
    multimodal = {"image_distribution": constant(200), "audio_distribution": constant(50)}
    (request,) = sent(record, client, multimodal=multimodal, prefix_group="g", prefix_length=10)
    assert (request.input_tokens, request.prompt_tokens) == (350, 360)
    assert request.parts == (100, 200, 50, 0)


def test_items_are_counted(record: Record, client: Client) -> None:
    multimodal = {
        "text_distribution": constant(3),
        "image_distribution": constant(10),
        "image_count_distribution": constant(4),
        "video_distribution": constant(1000),
        "video_count_distribution": constant(0),
    }
    (request,) = sent(record, client, multimodal=multimodal, input_distribution=None)
    assert request.parts == (3, 40, 0, 0)


@pytest.mark.parametrize("multimodal", [{}, {"image_distribution": constant(0)}])
def test_a_request_of_nothing_has_one_token_of_text(record: Record, client: Client, multimodal: Any) -> None:
    (request,) = sent(record, client, multimodal=multimodal, input_distribution=constant(0))
    assert (request.input_tokens, request.parts) == (1, (1, 0, 0, 0))


def test_more_than_a_thousand_items_are_a_thousand(record: Record, client: Client) -> None:
    multimodal = {"image_distribution": constant(2), "image_count_distribution": constant(1e9)}
    (request,) = sent(record, client, multimodal=multimodal)
    assert request.parts == (100, 2000, 0, 0)


def test_items_of_a_request_differ(record: Record, client: Client) -> None:
    """The variance of a sum of 16 independent items is 16 times that of one, not 256 times."""
    items = {"type": "exponential", "params": {"mean": 100}}
    multimodal = {"image_distribution": items, "image_count_distribution": constant(16)}
    images = np.array([r.parts[1] for r in sent(record, client, 4000, multimodal=multimodal) if r.parts])
    assert images.mean() == pytest.approx(1600, rel=0.02)
    assert images.std() == pytest.approx(400, rel=0.05)


def test_reasoning_is_a_share_of_the_output(record: Record, client: Client) -> None:
    ratio = {"type": "gaussian", "params": {"mean": 0.6, "std_dev": 0.2, "min": 0, "max": 1}}
    plain = sent(record, client, 500)
    reasoning = sent(record, client, 500, reasoning={"reason_ratio_distribution": ratio})
    shares = [r.reason_ratio for r in reasoning]
    assert np.mean(shares) == pytest.approx(0.6, abs=0.04)
    assert min(shares) >= 0
    assert max(shares) <= 1
    # Nothing else changes.
    assert [(r.arrival_us, r.input_tokens, r.output_tokens) for r in plain] == [
        (r.arrival_us, r.input_tokens, r.output_tokens) for r in reasoning
    ]


COUNTS = st.sampled_from([constant(0), constant(3), {"type": "empirical", "params": {"0": 1, "1": 2, "5": 1}}])
SIZES = st.sampled_from([constant(0), {"type": "gaussian", "params": {"mean": 20, "std_dev": 30, "min": 0, "max": 99}}])


@given(SIZES, st.lists(st.tuples(st.booleans(), SIZES, st.none() | COUNTS), min_size=3, max_size=3))
@settings(max_examples=25)
def test_any_mixture_adds_up_and_kinds_do_not_disturb_each_other(
    record: Record, client: Client, text: Any, media: list[tuple[bool, Any, Any]]
) -> None:
    multimodal: dict[str, Any] = {}
    for kind, (there, size, count) in zip(("image", "audio", "video"), media, strict=True):
        if there:
            multimodal |= {f"{kind}_distribution": size, f"{kind}_count_distribution": count}
    requests = sent(record, client, 40, input_distribution=text, multimodal=multimodal)
    for request in requests:
        assert request.parts is not None
        assert sum(request.parts) == request.input_tokens >= 1
        assert all(type(part) is int and part >= 0 for part in request.parts)
    others = {key: value for key, value in multimodal.items() if not key.startswith("image")}
    without = sent(record, client, 40, input_distribution=text, multimodal=others)
    assert [r.parts[2:] for r in requests if r.parts] == [r.parts[2:] for r in without if r.parts]
