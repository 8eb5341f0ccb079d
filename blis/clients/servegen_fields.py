"""What a ServeGen dataset window says about one request, as a sampler of columns.

Language and reasoning data give input_tokens, output_tokens and perhaps reason_ratio. Multimodal data give
text_tokens, output_tokens and, for image, audio and video, how many items a request has (image_count) and how many
tokens one item has (image_tokens); so a request with c images has as many image tokens as c items drawn one by one.
Without a count field a request has one item. ``{}`` and ``{0: 1.0}`` both mean none of a modality. The input is the
sum of the parts; one that would be empty gets one text token, since a prompt has at least one.

By default all fields of a request are drawn independently. With length_correlation comonotonic one uniform number u
serves all of them, as in ServeGen's own generator: each field is its distribution's quantile at u, and the items of a
modality are equal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from blis.clients.arrivals import FloatArray, IntArray
from blis.clients.columns import Columns
from blis.clients.lengths import InverseCdf, item_sums, whole
from blis.errors import BlisError
from blis.rng import Streams
from blis.spec.servegen_pdf import Pdf

__all__ = ["WindowFields", "check_fields"]

_MODALITIES = ("image", "audio", "video")
_MODALITY_FIELDS = {"text_tokens", *(f"{name}_{what}" for name in _MODALITIES for what in ("tokens", "count"))}
_NONE = Pdf(np.zeros(1), np.ones(1))
_ONE = Pdf(np.ones(1), np.ones(1))


class WindowFields:
    """The distributions of one dataset window that :func:`check_fields` has passed, normalised and rounded."""

    __slots__ = ("_counts", "_input", "_items", "_multimodal", "_output", "_ratio")

    def __init__(self, pdfs: Mapping[str, Pdf]) -> None:
        self._multimodal = _is_multimodal(pdfs)
        self._output = _table(pdfs["output_tokens"], 1)
        if self._multimodal:
            self._input = _table(pdfs.get("text_tokens"), 0)
            self._items = [_table(pdfs.get(f"{name}_tokens"), 0) for name in _MODALITIES]
            self._counts = [_table(pdfs.get(f"{name}_count", _ONE), 0) for name in _MODALITIES]
        else:
            self._input = _table(pdfs["input_tokens"], 1)
        self._ratio: InverseCdf | None = None
        if len(pdfs.get("reason_ratio", _NONE).values) and "reason_ratio" in pdfs:
            self._ratio = InverseCdf(*pdfs["reason_ratio"])

    def sampler(self, streams: Streams, *, comonotonic: bool) -> Callable[[int], Columns]:
        """Return what draws the columns of the next n requests.

        A request takes a fixed number of uniforms from ``streams()``, and one per item from the stream of its
        modality, so that a sample doesn't depend on the sizes of the blocks it is drawn in.
        """
        rng = streams()
        if comonotonic:

            def alike(n: int) -> Columns:
                common = rng.random(n)
                return self._columns([common] * 6, lambda at, counts: counts * self._items[at].at(common))

            return alike
        draw = [self._items_drawn(at, streams(name)) for at, name in enumerate(_MODALITIES)] if self._multimodal else []

        def apart(n: int) -> Columns:
            uniforms = rng.random((n, 6)).T
            return self._columns(list(uniforms), lambda at, counts: item_sums(draw[at], counts))

        return apart

    def _items_drawn(self, at: int, rng: np.random.Generator) -> Callable[[int], IntArray]:
        return lambda n: self._items[at].at(rng.random(n))

    def _columns(self, uniforms: list[FloatArray], tokens: Callable[[int, IntArray], IntArray]) -> Columns:
        """Fill columns from uniforms for input, output, ratio and the three counts; ``tokens`` sums up items."""
        inputs, outputs = self._input.at(uniforms[0]), self._output.at(uniforms[1])
        ratio = None if self._ratio is None else self._ratio.at(uniforms[2])
        if not self._multimodal:
            return Columns(inputs, outputs, None, ratio)
        parts = np.empty((len(inputs), 4), dtype=np.int64)
        for at in range(3):
            parts[:, at + 1] = tokens(at, self._counts[at].at(uniforms[3 + at]))
        rest = parts[:, 1:].sum(axis=1)
        parts[:, 0] = np.maximum(inputs, rest == 0)
        return Columns(parts[:, 0] + rest, outputs, parts, ratio)


def check_fields(pdfs: Mapping[str, Pdf], place: str) -> None:
    """Check that a dataset window has what a request needs; ``place`` names its file and start.

    Raises :class:`BlisError` if a field that is needed is missing or ``{}``, input_tokens stand beside fields of
    modalities, or a ratio exceeds 1.
    """
    needed = ["output_tokens"]
    if not _is_multimodal(pdfs):
        needed += ["input_tokens", *(["reason_ratio"] if "reason_ratio" in pdfs else [])]
    elif "input_tokens" in pdfs:
        raise BlisError(f"{place}: has both input_tokens and fields of modalities: keep one of them")
    for field in needed:
        if field not in pdfs or len(pdfs[field].values) == 0:
            found = "is {}" if field in pdfs else "is missing"
            raise BlisError(f"{place}: {field} {found}, though the window isn't empty: give its probabilities")
    ratio = pdfs.get("reason_ratio", _NONE).values
    if len(ratio) and ratio[-1] > 1:
        raise BlisError(f"{place}: reason_ratio: a ratio lies in [0, 1], found {ratio[-1]:g}")


def _is_multimodal(pdfs: Mapping[str, Pdf]) -> bool:
    return not _MODALITY_FIELDS.isdisjoint(pdfs)


def _table(pdf: Pdf | None, least: int) -> InverseCdf:
    values, weights = pdf if pdf is not None and len(pdf.values) else _NONE
    return InverseCdf(whole(values, least), weights)
