"""The requests of many sources in the order in which they arrive, as arrays, a slice of time after another.

Arrivals of one microsecond come in the order of their sources, as they do where each source is a process
(:func:`blis.clients.processes.rank_priority`). Memory is that of a slice and of what every source has drawn ahead;
slices are made as long as it takes to hold about :data:`SLICE_ROWS` requests, which changes nothing about these.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from blis.clients.arrivals import IntArray
from blis.clients.columns import Columns
from blis.clients.rates import END_OF_TIME_US
from blis.clients.rounds import Round, RoundBlock
from blis.clients.source import Block

__all__ = ["SLICE_ROWS", "Slice", "merged"]

SLICE_ROWS = 65536
"""Requests that a slice should hold."""
_ROWS_PER_SOURCE = 4
"""With very many sources a slice holds this many of each, since every source costs some time in every slice."""
_MOST_GROWTH = 8

Cut = tuple[Block, int, int]
"""A block, and from where to where its requests are meant."""


class Slice(NamedTuple):
    """The n requests of a stretch of time, in order of arrival.

    ``arrival_us``, ``source`` (place in the list of sources) and ``number`` (of the request within its source) are
    int64, shape (n,). ``rounds`` is None where there are no sessions; a request outside them has the session -1.
    """

    arrival_us: IntArray
    source: IntArray
    number: IntArray
    columns: Columns
    rounds: Round | None = None

    def cut(self, end: int) -> Slice:
        """Return the first ``end`` requests."""
        rounds = None if self.rounds is None else self.rounds.at(slice(end))
        return Slice(self.arrival_us[:end], self.source[:end], self.number[:end], self.columns.cut(0, end), rounds)


def merged(streams: Sequence[Iterator[Block]], num_requests: int | None = None) -> Iterator[Slice]:
    """Iterate over the requests of all ``streams`` of blocks, at most ``num_requests`` of them; no slice is empty."""
    feeds = [_Feed(stream) for stream in streams]
    firsts = np.array([feed.first for feed in feeds], dtype=np.int64)
    rows = max(SLICE_ROWS, _ROWS_PER_SOURCE * len(feeds))
    left = END_OF_TIME_US if num_requests is None else num_requests
    length = 1
    while left > 0 and feeds and (start := int(firsts.min())) < END_OF_TIME_US:
        end = _drawn_to(feeds, firsts, start, start + length, 2 * rows)
        active = np.flatnonzero(firsts < end)
        found = _joined(feeds, active, end)
        firsts[active] = [feeds[at].first for at in active]
        count = len(found.arrival_us)
        yield found if count <= left else found.cut(left)
        left -= count
        length = max(1, int((end - start) * min(rows / count, _MOST_GROWTH)))


class _Feed:
    """What one source has drawn and nobody has taken.

    ``first`` is the next arrival; ``number`` is how many were taken. What isn't drawn yet arrives after ``known``.
    Both times are :data:`~blis.clients.rates.END_OF_TIME_US` when there is no more.
    """

    __slots__ = ("_blocks", "_held", "_known", "_taken", "first", "number")

    def __init__(self, blocks: Iterator[Block]) -> None:
        self._blocks = blocks
        self._held: deque[Block] = deque()
        self._taken = 0
        self._known = -1
        self.number = 0
        self._draw_if_empty()

    def draw(self, end: int, most: int) -> int:
        """Draw what arrives before ``end``, or until it is more than ``most``; return how much of that is there."""
        count = sum(int(block.arrival_us.searchsorted(end)) for block in self._held) - self._taken
        while self._known < end - 1 and count <= most and self._draw():
            count += int(self._held[-1].arrival_us.searchsorted(end))
        return count

    def take(self, end: int) -> list[Cut]:
        """Hand over what was drawn and arrives before ``end``."""
        cuts: list[Cut] = []
        while self._held:
            block, start = self._held[0], self._taken
            stop = int(block.arrival_us.searchsorted(end))
            cuts.append((block, start, stop))
            self.number += stop - start
            if stop < len(block.arrival_us):
                self._taken, self.first = stop, int(block.arrival_us[stop])
                return cuts
            self._held.popleft()
            self._taken = 0
        self._draw_if_empty()
        return cuts

    def _draw(self) -> bool:
        """Draw a block; return False at the end."""
        for block in self._blocks:
            if len(block.arrival_us):
                self._held.append(block)
                self._known = int(block.arrival_us[-1])
                return True
        self._known = END_OF_TIME_US
        return False

    def _draw_if_empty(self) -> None:
        self.first = int(self._held[0].arrival_us[0]) if self._draw() else END_OF_TIME_US


def _drawn_to(feeds: Sequence[_Feed], firsts: IntArray, start: int, end: int, most: int) -> int:
    """Draw what arrives before ``end``, or before an earlier time if that would be more than ``most``; return which.

    A single microsecond is drawn whole.
    """
    while True:
        count = 0
        most = most if end - start > 1 else END_OF_TIME_US
        for at in np.flatnonzero(firsts < end).tolist():
            count += feeds[at].draw(end, most - count)
            if count > most:
                end = start + (end - start) // 2
                break
        else:
            return end


def _joined(feeds: Sequence[_Feed], active: IntArray, end: int) -> Slice:
    """Take what arrives before ``end`` from the ``active`` feeds."""
    before = np.array([feeds[at].number for at in active], dtype=np.int64)
    cuts = [feeds[at].take(end) for at in active]
    counts = np.array([feeds[at].number for at in active], dtype=np.int64) - before
    firsts = np.cumsum(counts) - counts
    every = [cut for mine in cuts for cut in mine]
    arrivals = np.concatenate([block.arrival_us[start:stop] for block, start, stop in every])
    # Stable, so that the order of sources stays where arrivals are equal; and fast on the sorted runs there are.
    order = np.argsort(arrivals, kind="stable")
    parts = [block.columns.cut(start, stop) for block, start, stop in every]
    inputs, outputs, modalities, ratios, prompts = zip(*parts, strict=True)
    columns = Columns(
        np.concatenate(inputs)[order],
        np.concatenate(outputs)[order],
        _filled(modalities, inputs, order),
        _filled(ratios, inputs, order),
        _filled(prompts, inputs, order),
    )
    numbers = np.arange(len(arrivals)) + np.repeat(before - firsts, counts)
    rounds = _rounds(every, numbers)
    if rounds is not None:
        numbers, rounds = rounds.number, rounds.at(order)
    return Slice(arrivals[order], np.repeat(active, counts)[order], numbers[order], columns, rounds)


def _rounds(cuts: Sequence[Cut], numbers: IntArray) -> Round | None:
    """Join what rounds of sessions have beyond other requests, whose ``numbers`` count what their sources sent."""
    if not any(isinstance(block, RoundBlock) for block, _, _ in cuts):
        return None
    zeros = np.zeros_like(numbers)
    found = Round(zeros - 1, zeros.copy(), numbers.copy(), zeros)
    done = 0
    for block, start, stop in cuts:
        if isinstance(block, RoundBlock):
            for column, own in zip(found, block.rounds, strict=True):
                column[done : done + stop - start] = own[start:stop]
        done += stop - start
    return found


def _filled(pieces: Sequence[Any], inputs: Sequence[IntArray], order: IntArray) -> Any:
    """Join what only some requests have, zeros in place of what the others haven't; None if nobody has it."""
    there = next((piece for piece in pieces if piece is not None), None)
    if there is None:
        return None
    zeros = [np.zeros((len(own), *there.shape[1:]), there.dtype) for own in inputs]
    return np.concatenate([zero if piece is None else piece for piece, zero in zip(pieces, zeros, strict=True)])[order]
