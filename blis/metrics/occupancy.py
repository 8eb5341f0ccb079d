"""How many sequences decoded at once, and with how much context, from when each request's answer began and ended."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["occupancy"]

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


def occupancy(
    prompt_tokens: IntArray, output_tokens: IntArray, first_us: IntArray, last_us: IntArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the times at which somebody begins or ends to decode, shape (k + 1,), and what was there between them.

    That is, for each of the k stretches, the sequences that decode and the context tokens they have in its middle, all
    together, shape (k,) each. All arguments are of shape (n,); ``prompt_tokens`` are whole prompts. Context is taken
    to grow evenly from the prompt's length, at the first token, to that of prompt and answer, at the last.
    """
    edges = np.unique(np.concatenate((first_us, last_us)))
    size = len(edges)
    begins, ends = np.searchsorted(edges, first_us), np.searchsorted(edges, last_us)
    decodes = np.cumsum(np.bincount(begins, minlength=size) - np.bincount(ends, minlength=size))[:-1]
    rate = output_tokens / np.maximum(last_us - first_us, 1)
    level = prompt_tokens - rate * first_us
    levels = np.cumsum(np.bincount(begins, level, size) - np.bincount(ends, level, size))[:-1]
    rates = np.cumsum(np.bincount(begins, rate, size) - np.bincount(ends, rate, size))[:-1]
    middle = (edges[1:] + edges[:-1]) / 2
    return edges.astype(np.float64), decodes.astype(np.float64), np.maximum(levels + rates * middle, 0.0)
