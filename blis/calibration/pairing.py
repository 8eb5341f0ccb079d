"""Which simulated request is which real one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from blis.errors import BlisError
from blis.trace import MISSING, Trace

__all__ = ["By", "Matching", "match"]

Ints = npt.NDArray[np.int64]
By = Literal["request_id", "key", "order"]

_KEY = ("client_id", "session_id", "round_index", "client_seq")


@dataclass(frozen=True, slots=True)
class Matching:
    """Rows of two traces that are the same request.

    ``counterpart``, int64 of shape (n,), has the simulated row of each real row, or :data:`blis.trace.MISSING`.
    ``by`` says how they were found: by ``request_id``, by the ``key`` that runs of one workload share, or by the key
    with the ``order`` of arrival in place of a client sequence that isn't recorded. ``unmatched_simulated`` counts the
    simulated rows that are nobody's counterpart.
    """

    by: By
    counterpart: Ints
    unmatched_simulated: int


def match(real: Trace, simulated: Trace) -> Matching:
    """Find the simulated row of each real row, whatever order the rows come in.

    A replay has the request ids of the trace it replays. Any other two runs of one workload share client, session and
    round and, outside sessions, the number of the request within its client. Where a trace doesn't record that number,
    the order of arrival among the requests of equal client, session and round takes its place, on both sides.

    Raises:
        BlisError: two rows of a trace have the same key, or ``simulated`` is a replay of another trace.
    """
    by = _by(real, simulated)
    if by == "request_id":
        codes = np.concatenate([trace.column("request_id") for trace in (real, simulated)])
    else:
        codes = _keys(real, simulated, by)
    _, numbers = np.unique(codes, return_inverse=True)
    first, second = numbers[: len(real)], numbers[len(real) :]
    for trace, own, side in ((real, first, "real"), (simulated, second, "simulated")):
        _refuse_repeated(trace, own, side)
    rows = np.full(numbers.max(initial=-1) + 1, MISSING, np.int64)
    rows[second] = np.arange(second.size)
    counterpart = rows[first]
    if by == "request_id":
        _refuse_other(real, simulated, counterpart)
    return Matching(by, counterpart, second.size - int(np.count_nonzero(counterpart != MISSING)))


def _by(real: Trace, simulated: Trace) -> By:
    if simulated.header.mode == "replayed":
        return "request_id"
    recorded = all((trace.column("client_seq") != MISSING).all() for trace in (real, simulated))
    return "key" if recorded else "order"


def _keys(real: Trace, simulated: Trace, by: By) -> Ints:
    """A number for the key of each row, real rows first; equal numbers for equal keys."""
    traces = (real, simulated)

    def both(name: str) -> Ints:
        return np.concatenate([trace.column(name) for trace in traces])

    clients, _ = _coded(traces, "client_id")
    sessions, without = _coded(traces, "session_id")
    # A blank round is the first.
    keys = _joined(_joined(clients, sessions), np.maximum(both("round_index"), 0))
    if by == "order":
        sides = np.repeat((0, 1), [len(trace) for trace in traces])
        return _joined(keys, _ranks(_joined(sides, keys), both("arrival_time_us"), both("request_id")))
    # When a session sends its next round depends on the answers, and with it the client's count at that time.
    return _joined(keys, np.where(sessions == without, both("client_seq"), 0))


def _coded(traces: tuple[Trace, ...], name: str) -> tuple[Ints, int]:
    """Numbers for the texts of a column, one trace after another, and the number of the empty text."""
    index = {"": 0}
    parts = []
    for trace in traces:
        codes, words = trace.categories(name)
        parts.append(np.array([index.setdefault(word, len(index)) for word in words], np.int64)[codes])
    return np.concatenate(parts), index[""]


def _joined(first: Ints, second: Ints) -> Ints:
    """Numbers from 0 for pairs of whole numbers >= 0, shape (n,)."""
    _, codes = np.unique(second, return_inverse=True)
    _, joined = np.unique(first * (codes.max(initial=0) + 1) + codes, return_inverse=True)
    return joined.astype(np.int64)


def _ranks(keys: Ints, arrivals: Ints, ids: Ints) -> Ints:
    """Place of each row among the rows of its key (>= 0), from 0, by arrival and then by request id."""
    order = np.lexsort((ids, arrivals, keys))
    ordered = keys[order]
    begins = np.flatnonzero(np.diff(ordered, prepend=-1))
    ranks = np.empty(keys.size, np.int64)
    ranks[order] = np.arange(keys.size) - np.repeat(begins, np.diff(np.append(begins, keys.size)))
    return ranks


def _refuse_repeated(trace: Trace, numbers: Ints, side: str) -> None:
    repeated = np.flatnonzero(np.bincount(numbers, minlength=1) > 1)
    if not repeated.size:
        return
    rows = np.flatnonzero(numbers == repeated[0])[:2]
    first, second = trace.column("request_id")[rows].tolist()
    key = ", ".join(f"{name} {trace.column(name)[rows[0]]!r}" for name in _KEY)
    raise BlisError(
        f"the {side} trace has two requests of one key, {first} and {second} ({key}), so that they can't be told apart;"
        " give each request of a session its own round_index, and others of a client their own client_seq"
    )


def _refuse_other(real: Trace, simulated: Trace, counterpart: Ints) -> None:
    """Refuse a replay whose requests belong to other clients."""
    pairs = np.flatnonzero(counterpart != MISSING)
    codes, _ = _coded((real, simulated), "client_id")
    different = np.flatnonzero(codes[pairs] != codes[len(real) + counterpart[pairs]])
    if different.size:
        row = pairs[different[0]]
        names = [real.column("client_id")[row], simulated.column("client_id")[counterpart[row]]]
        raise BlisError(
            f"the simulated trace is a replay, but not of this real one: request {real.column('request_id')[row]} is of"
            f" client {names[0]!r} here and of {names[1]!r} there; give the trace that was replayed"
        )
