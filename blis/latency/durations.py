"""From float durations to whole microseconds, for one step and for runs of decode steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from blis.errors import BlisError
from blis.latency.base import BatchSums
from blis.spec.words import shown

__all__ = ["LONGEST_US", "coefficients", "decode_run_us", "few_decodes_us", "refuse_duration", "whole_us"]

LONGEST_US = float(2**63)
"""Durations from here on don't fit the clock."""

_FLOAT = np.dtype(np.float64)
_INT = np.dtype(np.int64)


def coefficients(values: Sequence[float], names: Sequence[str], model: str, what: str) -> tuple[float, ...]:
    """Return a model's coefficients as floats.

    Raises:
        BlisError: not as many as ``names``, or one that is negative or not finite.
    """
    if len(values) != len(names):
        raise BlisError(f"{model}: {what} takes {len(names)} coefficients ({', '.join(names)}), found {len(values)}")
    for name, value in zip(names, values, strict=True):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise BlisError(f"{model}: {what} coefficient {name} is {shown(value)}; a finite number >= 0 is needed")
    return tuple(float(value) for value in values)


def whole_us(value: float, model: str, batch: BatchSums) -> int:
    """Truncate a duration toward zero, to at least 1.

    Raises:
        BlisError: NaN, infinite or beyond the clock's range.
    """
    if 1.0 <= value < LONGEST_US:
        return int(value)
    if value < 1.0:
        return 1
    refuse_duration(value, model, batch)


def refuse_duration(value: float, model: str, batch: BatchSums) -> NoReturn:
    """Raise the error of a duration that no clock can hold."""
    raise BlisError(
        f"latency model {model}: a step's duration comes out as {value} us, for a batch of {batch.prefill_tokens} "
        f"prefill tokens and {batch.decodes} decoding sequences with {batch.decode_context} tokens of context; check "
        "the model's coefficients"
    )


def decode_run_us(
    base: float, slope: float, decodes: int, context: int, steps: int, model: str
) -> npt.NDArray[np.int64]:
    """Durations of a run of decode steps that are affine in the context, int64, shape (steps,).

    Element j is trunc(base + slope * (context + j * decodes)), at least 1; ``slope`` isn't negative.

    Raises:
        BlisError: one is NaN, infinite or beyond the clock's range.
    """
    last = context + (steps - 1) * decodes
    longest = base + slope * last
    if not longest < LONGEST_US:
        refuse_duration(longest, model, BatchSums(decodes=decodes, decode_context=last))
    if not decodes:
        return np.full(steps, max(1, int(longest)), _INT)
    durations: npt.NDArray[np.float64] = np.arange(context, last + decodes, decodes, dtype=_FLOAT)
    np.multiply(durations, slope, durations)
    np.add(durations, base, durations)
    if base + slope * context < 1.0:
        np.maximum(durations, 1.0, out=durations)
    return durations.astype(_INT)


def few_decodes_us(base: float, slope: float, decodes: int, context: int, steps: int, model: str) -> list[int]:
    """The durations of :func:`decode_run_us` as a list, for few steps."""
    last = context + steps * decodes
    if decodes and base + slope * context >= 1.0 and base + slope * last < LONGEST_US:
        return [int(base + slope * tokens) for tokens in range(context, last, decodes)]
    durations: list[int] = decode_run_us(base, slope, decodes, context, steps, model).tolist()
    return durations
