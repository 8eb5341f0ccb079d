"""What a multimodal request is made of, drawn part by part."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from blis.clients.arrivals import IntArray
from blis.clients.lengths import MAX_LENGTH, counts, item_sums
from blis.rng import Streams
from blis.spec.distributions import Distribution
from blis.spec.multimodal import MEDIA, MultimodalSpec

__all__ = ["MAX_ITEMS", "parts_of"]

MAX_ITEMS = 1000
"""No request has more images, audio clips or videos than this."""

_Sampler = Callable[[int], IntArray]


def parts_of(spec: MultimodalSpec, streams: Streams) -> Callable[[IntArray], IntArray]:
    """Return what adds media to texts: ``sample(texts)`` gives the parts of the next n requests, int64, shape (n, 4).

    ``texts`` are their tokens of text, shape (n,), at least 0. A row has the tokens of text, images, audio and video.
    Each kind's items and counts have streams of their own, so that a sample doesn't depend on the sizes of the blocks
    it is drawn in. A request that would be empty has one token of text.
    """
    media = [_tokens_of(kind, spec, streams) for kind in MEDIA]

    def sample(texts: IntArray) -> IntArray:
        parts = np.zeros((len(texts), 4), dtype=np.int64)
        for at, tokens in enumerate(media, 1):
            if tokens is not None:
                parts[:, at] = tokens(len(texts))
        parts[:, 0] = np.maximum(texts, parts[:, 1:].sum(axis=1) == 0)
        return parts

    return sample


def _tokens_of(kind: str, spec: MultimodalSpec, streams: Streams) -> _Sampler | None:
    """Return a sampler of a request's tokens of one kind, None where there are none."""
    size: Distribution | None = getattr(spec, f"{kind}_distribution")
    number: Distribution | None = getattr(spec, f"{kind}_count_distribution")
    if size is None:
        return None
    item = counts(size, partial(streams, kind))
    if number is None:
        return item
    many = counts(number, partial(streams, f"{kind} count"))
    return lambda n: np.minimum(item_sums(item, np.minimum(many(n), MAX_ITEMS)), MAX_LENGTH)
