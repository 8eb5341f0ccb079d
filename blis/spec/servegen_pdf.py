"""The probability distributions of ServeGen files: Python dictionaries as text, parsed fast and never evaluated."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

__all__ = ["NUMBER", "Pdf", "parse_servegen_pdf"]

FloatArray = npt.NDArray[np.float64]

NUMBER = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
"""A regular expression of decimal and scientific numbers."""

_TO_JSON = bytes.maketrans(b"{}:", b"[],")
_NUMBER_BYTES = b"0123456789.eE+- \t\r\n"
_PAIR = re.compile(rf"\s*({NUMBER})\s*:\s*({NUMBER})\s*([,}}])")


class Pdf(NamedTuple):
    """Values, increasing, and their positive weights, which need not add up to 1: float64, shape (n,) each."""

    values: FloatArray
    weights: FloatArray


def parse_servegen_pdf(text: str) -> Pdf:
    """Parse ``{value: weight, ...}``: decimal or scientific numbers, blanks anywhere between, a trailing comma or not.

    Entries of weight 0 are dropped and values sorted. ``{}`` gives arrays of length 0. Raises :class:`ValueError`
    (message only, the caller knows the file) for anything else: text that isn't such numbers, a negative or infinite
    one, a value given twice, weights that are all 0. Well-formed text is turned into one JSON array, which is an
    order of magnitude faster than reading pair by pair.

    >>> parse_servegen_pdf("{1035: 0.25, 1036: 7.5e-1, }")
    Pdf(values=array([1035., 1036.]), weights=array([0.25, 0.75]))
    """
    if text == "{0: 1.0}":
        # How multimodal data say "none of it", in most of their fields.
        return Pdf(np.zeros(1), np.ones(1))
    raw = text.encode()
    # What is left of a well-formed dictionary without its numbers is "{:,:,:}".
    marks = raw.translate(None, _NUMBER_BYTES)
    pairs = marks.count(b":")
    body = b":," * pairs
    if pairs == 0 or marks not in (b"{" + body + b"}", b"{" + body[:-1] + b"}"):
        return _pair_by_pair(text)
    flat = raw.translate(_TO_JSON).rstrip()[:-1].rstrip()
    try:
        numbers = np.array(orjson.loads(flat.removesuffix(b",") + b"]"), dtype=np.float64)
    except (orjson.JSONDecodeError, ValueError, TypeError):
        return _pair_by_pair(text)
    if len(numbers) != 2 * pairs:
        return _pair_by_pair(text)
    return _checked(numbers[0::2], numbers[1::2])


def _pair_by_pair(text: str) -> Pdf:
    """Read slowly: numbers that Python writes and JSON doesn't (``1.``, ``.5``), and the place of the first fault."""
    body = text.strip()
    if not body.startswith("{"):
        raise ValueError(f"must be a dictionary {{value: probability, ...}}, found {body[:40]!r}")
    numbers: list[float] = []
    position = 1
    closed = False
    while not closed and (match := _PAIR.match(body, position)):
        numbers += [float(match[1]), float(match[2])]
        position = match.end()
        closed = match[3] == "}"
    rest = body[position:].strip()
    if rest != ("" if closed else "}"):
        found = f"{rest[:40]!r}" if rest else "the text's end"
        raise ValueError(f"can't be read at {found}: must be pairs 'value: probability' of numbers up to a '}}'")
    if not numbers:
        return Pdf(np.empty(0), np.empty(0))
    return _checked(np.array(numbers[0::2]), np.array(numbers[1::2]))


def _checked(values: FloatArray, weights: FloatArray) -> Pdf:
    sound = values[0] >= 0 and values[-1] < np.inf and weights.min() > 0 and weights.max() < np.inf
    if not sound or not (values[1:] > values[:-1]).all():
        values, weights = _repaired(values, weights)
    # Copies, so that the two don't keep all of the interleaved numbers alive.
    return Pdf(values.copy(), weights.copy())


def _repaired(values: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Sort values and drop those of weight 0; refuse what can't be a distribution."""
    if not np.isfinite(values).all() or not np.isfinite(weights).all():
        raise ValueError("has a number too large for a float")
    if (weights < 0).any():
        at = int(np.argmax(weights < 0))
        raise ValueError(f"has a negative probability, {values[at]:g}: {weights[at]:g}")
    if (values < 0).any():
        raise ValueError(f"has a negative value, {values[int(np.argmax(values < 0))]:g}")
    order = np.argsort(values, kind="stable")
    values, weights = values[order], weights[order]
    same = values[1:] == values[:-1]
    if same.any():
        raise ValueError(f"has the value {values[int(np.argmax(same))]:g} twice")
    kept = weights > 0
    if not kept.any():
        raise ValueError("has no probability above 0")
    return values[kept], weights[kept]
