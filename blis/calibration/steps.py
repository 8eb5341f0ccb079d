"""A server's steps, seen from outside: reconstructed from when chunks arrived at the client.

All running sequences emit their token at the end of a step, so that the chunk times of all requests, taken together,
come in clusters, one per step. A cluster begins at a gap, or where a request comes a second time; the end of the step
is its first chunk. Between the first and the last of its chunks a request decodes in every step, one token each, so
that the number of sequences and their context follow even where chunks came late or several tokens in one. What a
step prefilled follows from the scheduler's rules (docs/explanation/engine.md): first come first served, with what the
decodes leave of the token budget.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from blis.errors import BlisError
from blis.trace.chunks import ChunkTimes

__all__ = ["Requests", "Steps", "reconstruct"]

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

_GAP_SHARE = 0.3


@dataclass(frozen=True)
class Requests:
    """The requests whose chunks were seen, in the order of the chunk times; all int64, shape (n,).

    ``send_us`` when they were sent, ``prompt_tokens`` whole prompts, ``cached_tokens`` those that were in the prefix
    cache, ``output_tokens`` what was produced.
    """

    send_us: IntArray
    prompt_tokens: IntArray
    cached_tokens: IntArray
    output_tokens: IntArray

    def select(self, wanted: npt.NDArray[Any]) -> Requests:
        """The requests where ``wanted``, bool of shape (n,), is true, or those with these numbers, in that order."""
        return Requests(
            self.send_us[wanted], self.prompt_tokens[wanted], self.cached_tokens[wanted], self.output_tokens[wanted]
        )


@dataclass(frozen=True)
class Steps:
    """What was seen of m steps and n requests.

    Of each step, shape (m,): ``end_us`` its end; ``duration_us`` since the end of the one before; ``decodes`` sequences
    that decode and ``context`` the tokens they have before it; ``prefill`` new prompt tokens, ``attention`` the sum of
    t*(p + t/2) over prefill chunks of t tokens after p, ``stored`` that of p, ``chunks`` their number. ``usable`` says
    that its duration is that of one busy step: somebody decoded in it and in the one before, or was waiting for it.
    Of each request, shape (n,): ``first`` and ``last``, the steps of its first and last token.
    ``on_time`` is the share of requests whose steps are as many as their tokens.
    """

    end_us: IntArray
    duration_us: IntArray
    decodes: IntArray
    context: IntArray
    prefill: IntArray
    attention: FloatArray
    stored: IntArray
    chunks: IntArray
    usable: BoolArray
    first: IntArray
    last: IntArray
    on_time: float

    def features(self) -> FloatArray:
        """What durations may depend on, shape (m, 6), in the order of :data:`blis.latency.fitted.BETA`."""
        columns = (np.ones(len(self.end_us)), self.decodes, self.context, self.prefill, self.attention, self.chunks > 0)
        return np.column_stack([np.asarray(column, np.float64) for column in columns])


def reconstruct(chunks: ChunkTimes, requests: Requests, budget: int, gap_us: int | None = None) -> Steps:
    """Find the steps behind the chunk times of completed requests.

    ``budget`` is the most new tokens of a step (max_num_batched_tokens); ``gap_us`` the shortest time between the
    chunks of two steps, by default 0.3 times the median gap between a request's chunks.

    Raises:
        BlisError: where there are no gaps to see steps by.
    """
    owner = np.repeat(np.arange(len(chunks)), chunks.counts)
    if not len(owner) or chunks.counts.max() < 2:
        raise BlisError(
            "no request has two chunks, so that no steps can be seen: stream answers, and record chunk times"
        )
    step_of, end_us = _clusters(chunks, owner, _typical_gap(chunks) if gap_us is None else gap_us)
    first = step_of[chunks.starts[:-1]]
    last = step_of[chunks.starts[1:] - 1]
    decodes, context = _decoding(first, last, requests.prompt_tokens, len(end_us))
    prefill, attention, stored, parts, whole = _prefills(first, decodes, requests, budget)
    duration = np.diff(end_us, prepend=end_us[0])
    # A sequence that decodes in a step was running when the step before ended.
    usable = (decodes > 0) & whole
    usable[0] = False
    return Steps(
        end_us,
        duration,
        decodes,
        context,
        prefill,
        attention,
        stored,
        parts,
        usable,
        first,
        last,
        float(np.mean(last - first + 1 == requests.output_tokens)),
    )


def _typical_gap(chunks: ChunkTimes) -> float:
    gaps = np.diff(chunks.times_us)
    inside = np.ones(len(gaps), np.bool_)
    inside[chunks.starts[1:-1] - 1] = False
    return _GAP_SHARE * float(np.median(gaps[inside]))


def _clusters(chunks: ChunkTimes, owner: IntArray, gap_us: float) -> tuple[IntArray, IntArray]:
    """Return the step of each chunk, in the order of ``chunks``, and the end of each step."""
    order = np.argsort(chunks.times_us, kind="stable")
    times = chunks.times_us[order]
    begins = np.diff(times, prepend=times[0] - 2 * gap_us - 1) > gap_us
    # Where in time order the chunk before it of the same request is, -1 for a first one.
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    previous = np.full(len(order), -1)
    follows = np.flatnonzero(owner[1:] == owner[:-1]) + 1
    previous[place[follows]] = place[follows - 1]
    while True:
        starts = np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))
        again = np.flatnonzero(previous >= starts)
        if not len(again):
            break
        # The first repetition in each cluster begins another step; what follows is looked at anew.
        begins[again[np.unique(starts[again], return_index=True)[1]]] = True
    step_in_time = np.cumsum(begins) - 1
    step_of = np.empty(len(order), np.int64)
    step_of[order] = step_in_time
    return step_of, times[begins]


def _decoding(first: IntArray, last: IntArray, prompts: IntArray, steps: int) -> tuple[IntArray, IntArray]:
    """Count the sequences that decode in each step, and their context before it."""
    # Request i decodes in the steps first + 1 to last, with prompt + (step - first - 1) tokens of context before each.
    decodes = np.bincount(first + 1, minlength=steps + 2) - np.bincount(last + 1, minlength=steps + 2)
    offset = (prompts - first - 1).astype(np.float64)
    base = np.bincount(first + 1, offset, steps + 2) - np.bincount(last + 1, offset, steps + 2)
    number: IntArray = np.cumsum(decodes)[:steps]
    context: IntArray = np.rint(np.cumsum(base)[:steps]).astype(np.int64) + number * np.arange(steps)
    return number, context


def _prefills(
    first: IntArray, decodes: IntArray, requests: Requests, budget: int
) -> tuple[IntArray, FloatArray, IntArray, IntArray, BoolArray]:
    """Assign the prompts to steps: new tokens, attention, tokens before and chunks of each; whether it's complete."""
    steps = len(decodes)
    left = np.maximum(budget - decodes, 0).tolist()
    decoding = decodes.tolist()
    tokens = [0] * steps
    attention = [0.0] * steps
    stored = [0] * steps
    parts = [0] * steps
    whole = np.ones(steps, np.bool_)
    fresh = np.maximum(requests.prompt_tokens - requests.cached_tokens, 1).tolist()
    cached = requests.cached_tokens.tolist()
    for at in np.lexsort((requests.send_us, first)).tolist():
        end = begin = int(first[at])
        rest, known = fresh[at], cached[at]
        room = left[end]
        # Steps without a decode and without a first token can't be seen: a prefill isn't followed back across them.
        while room < rest and begin > 0 and decoding[begin] and left[begin - 1]:
            begin -= 1
            room += left[begin]
        if room < rest:
            whole[begin : end + 1] = False
        for step in range(begin, end + 1):
            part = min(rest, left[step])
            if part:
                tokens[step] += part
                attention[step] += part * (known + part / 2)
                stored[step] += known
                parts[step] += 1
                left[step] -= part
                rest -= part
                known += part
    return (
        np.array(tokens, np.int64),
        np.array(attention),
        np.array(stored, np.int64),
        np.array(parts, np.int64),
        whole,
    )
