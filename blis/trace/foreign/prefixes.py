"""Which prompts begin alike: sequences of ids to segments that share keys as far as the sequences agree."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from blis.request import Segment
from blis.trace.segments import SegmentTable

__all__ = ["PrefixTree"]

_ROOT = -1


class PrefixTree:
    """A radix tree of the sequences added so far.

    Its edges are chains of ids: a sequence follows the chain of an earlier one as long as both agree and then begins a
    chain of its own. Each id stands for ``size`` tokens. Fewer than ``least`` ids in common are taken for chance. With
    ``outputs``, a sequence may go on behind its prompt with what was produced, for later prompts to share.

    >>> tree = PrefixTree(size=16, least=1)
    >>> for ids in ([1, 2, 3], [1, 2, 9], [7]):
    ...     tree.add(array("q", ids), 16 * len(ids))
    >>> table = tree.segments([0, 1, 2])
    >>> list(table.items())
    [(0, (('p0', 48), (None, 0))), (1, (('p0', 32), (None, 16)))]
    """

    def __init__(self, size: int, least: int, *, outputs: bool = False) -> None:
        self._size = size
        self._least = least
        self._outputs = outputs
        self._chains: list[array[int]] = []
        self._users = array("q")
        self._branches: dict[tuple[int, int, bytes | int], int] = {}
        # Per sequence: its chains, with the ids taken from each, up to an end; its prompt's tokens.
        self._taken = array("q")
        self._numbers = array("q")
        self._ends = array("q")
        self._tokens = array("q")

    def add(self, ids: array[int], prompt_tokens: int) -> None:
        """Add the ids of a sequence whose prompt has ``prompt_tokens``; the array is the tree's from then on."""
        if len(ids) >= self._least:
            self._follow(ids)
        self._ends.append(len(self._numbers))
        self._tokens.append(prompt_tokens)

    def segments(self, request_ids: Sequence[int] | npt.NDArray[np.int64]) -> SegmentTable:
        """The prompts that share something, under the ids of their requests in the order in which they were added."""
        table = SegmentTable()
        for place, request_id in enumerate(request_ids):
            segments = self._prompt(place)
            if segments[0][0] is not None:
                table.put(int(request_id), segments)
        return table

    def _follow(self, ids: array[int]) -> None:
        at = 0
        branch: tuple[int, int, bytes | int] = (_ROOT, 0, ids[: self._least].tobytes())
        while at < len(ids):
            number = self._branches.setdefault(branch, len(self._chains))
            if number == len(self._chains):
                self._chains.append(ids[at:])
                self._users.append(0)
            chain = self._chains[number]
            same = _agreement(chain, ids, at)
            if same == len(chain):
                chain.extend(ids[at + same :])
                same = len(ids) - at
            self._users[number] += 1
            self._numbers.append(number)
            self._taken.append(same)
            at += same
            if at < len(ids):
                branch = (number, same, ids[at])

    def _prompt(self, place: int) -> tuple[Segment, ...]:
        """The segments of a sequence's prompt; the last one has a key only where all of its output continues that."""
        left = self._tokens[place]
        segments: list[Segment] = []
        end = self._ends[place]
        for i in range(self._ends[place - 1] if place else 0, end):
            number, stretch = self._numbers[i], self._taken[i] * self._size
            continued = self._outputs and stretch > left and i == end - 1
            if self._users[number] < 2 or not (left or continued):
                break
            segments.append((f"p{number}", min(stretch, left)))
            if continued:
                return tuple(segments)
            left -= min(stretch, left)
        return (*segments, (None, left))


def _agreement(chain: array[int], ids: array[int], at: int) -> int:
    """How many ids from the chain's start equal those from ``at`` on."""
    most = min(len(chain), len(ids) - at)
    if chain[:most] == ids[at : at + most]:
        return most
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        if chain[low:middle] == ids[at + low : at + middle]:
            low = middle
        else:
            high = middle
    return low
