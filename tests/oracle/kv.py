"""The KV cache, block by block."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from blis.request import Request

__all__ = ["Block", "Cache", "Names", "ceil_div", "contents"]

Token = tuple[object, int]


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def contents(request: Request, request_id: int) -> list[Token]:
    """Say of every token of a request, prompt and output, what it is.

    Token j of a segment with key k is (k, j). Tokens under the key None are nobody else's: (request id, position).
    The output continues the last segment.
    """
    tokens: list[Token] = []
    last = len(request.segments) - 1
    for place, (key, length) in enumerate(request.segments):
        size = length + (request.output_tokens if place == last else 0)
        start = len(tokens)
        if key is None:
            tokens += [(request_id, start + j) for j in range(size)]
        else:
            tokens += [(key, j) for j in range(size)]
    return tokens


class Names:
    """Names of block contents: equal exactly where all tokens up to the block's end are equal."""

    def __init__(self) -> None:
        self.known: dict[tuple[int, tuple[Token, ...]], int] = {}

    def of(self, tokens: Sequence[Token], block_size: int) -> list[int]:
        """Name each full block of ``tokens``, chaining its parent's name."""
        names: list[int] = []
        parent = -1
        for start in range(0, len(tokens) - block_size + 1, block_size):
            parent = self.known.setdefault((parent, tuple(tokens[start : start + block_size])), len(self.known))
            names.append(parent)
        return names


@dataclass(eq=False)
class Block:
    """``name`` says what a full block holds; None while it isn't full."""

    number: int
    users: int = 0
    name: int | None = None


class Cache:
    """Blocks, the free list in order, and where each known content can be found."""

    def __init__(self, total: int, block_size: int) -> None:
        self.block_size = block_size
        self.total = total
        self.free: OrderedDict[int, Block] = OrderedDict((number, Block(number)) for number in range(total))
        self.findable: dict[int, Block] = {}
        self.claimed_blocks = 0
        self.allocated_blocks = 0

    def cached_run(self, names: Sequence[int]) -> list[Block]:
        """Find the blocks for the longest leading run of ``names`` that is in the cache."""
        run: list[Block] = []
        for name in names:
            if name not in self.findable:
                break
            run.append(self.findable[name])
        return run

    def claim(self, blocks: list[Block], new_blocks: int) -> bool:
        """Take over cached blocks if they and ``new_blocks`` fresh ones fit; False, and nothing changes, otherwise."""
        from_free = [block for block in blocks if block.users == 0]
        if new_blocks + len(from_free) > len(self.free):
            return False
        for block in from_free:
            del self.free[block.number]
        for block in blocks:
            block.users += 1
        self.claimed_blocks += len(blocks)
        return True

    def allocate(self, blocks: list[Block], names: list[int], have: int, want: int, skipped: int = 0) -> bool:
        """Extend ``blocks`` from ``have`` tokens to ``want``; False, and nothing changes, if too few blocks are free.

        ``names`` are those of the whole sequence, and blocks that become full now get theirs. The list starts with
        the sequence's block number ``skipped``.
        """
        new = ceil_div(want, self.block_size) - skipped - len(blocks)
        if new > len(self.free):
            return False
        for _ in range(new):
            blocks.append(self.take_first_free())
        for place in range(have // self.block_size, want // self.block_size):
            block = blocks[place - skipped]
            block.name = names[place]
            self.findable[block.name] = block
        return True

    def take_first_free(self) -> Block:
        _, block = self.free.popitem(last=False)
        if block.name is not None and self.findable.get(block.name) is block:
            del self.findable[block.name]
        block.name = None
        block.users = 1
        self.allocated_blocks += 1
        return block

    def release(self, blocks: list[Block]) -> None:
        """Give up ``blocks``, last first, and empty the list; those nobody else uses go to the free list's end."""
        while blocks:
            block = blocks.pop()
            block.users -= 1
            if block.users == 0:
                self.free[block.number] = block
