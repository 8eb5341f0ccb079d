"""What prompts share, by their content."""

from __future__ import annotations

from array import array
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import blake2b

from blis.request import Segment

__all__ = ["Prefixes", "Prompt"]

_NONE = b""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt as the simulation sees it.

    ``segments`` are equal to another prompt's exactly as far as the tokens are, in whole blocks. The last segment is
    of the tokens behind the last whole block, which may be none, and of the answer. ``digest`` is a hash of the whole
    prompt; ``blocks`` are hashes of the prompt up to the end of each whole block, ``rest`` the tokens behind them.
    """

    segments: tuple[Segment, ...]
    digest: int
    blocks: tuple[bytes, ...]
    rest: array[int]


class Prefixes:
    """Knows the last ``capacity`` blocks of prompts and answers, each with all that comes before it.

    Blocks that were first seen together have one key, so that a prompt is a few segments however long it is. A block
    is of ``size`` tokens.
    """

    def __init__(self, size: int, capacity: int) -> None:
        self._size = size
        self._capacity = capacity
        self._keys: OrderedDict[bytes, str] = OrderedDict()

    def __len__(self) -> int:
        """Return the number of blocks known."""
        return len(self._keys)

    def place(self, tokens: array[int]) -> Prompt:
        """Find what is known of a prompt, and get to know the rest."""
        blocks, rest = self._blocks(_NONE, tokens)
        runs: list[tuple[str, int]] = []
        for block in blocks:
            key = self._keys.get(block)
            if key is None:
                break
            if runs and runs[-1][0] == key:
                runs[-1] = key, runs[-1][1] + self._size
            else:
                runs.append((key, self._size))
        known = sum(tokens for _, tokens in runs) // self._size
        if known < len(blocks):
            # The place where it begins is a part of the key, since a segment's tokens are counted from there.
            key = f"{blocks[-1].hex()}-{known}"
            runs.append((key, (len(blocks) - known) * self._size))
            for block in blocks[known:]:
                self._keys[block] = key
        self._touch(blocks)
        whole = blake2b((blocks[-1] if blocks else _NONE) + rest.tobytes(), digest_size=8)
        return Prompt((*runs, (whole.hexdigest(), len(rest))), int.from_bytes(whole.digest()), tuple(blocks), rest)

    def answered(self, prompt: Prompt, answer: list[int]) -> None:
        """Get to know the blocks of an answer, as a part of prompts to come."""
        before = prompt.blocks[-1] if prompt.blocks else _NONE
        blocks, _ = self._blocks(before, prompt.rest + array(prompt.rest.typecode, answer))
        for block in blocks:
            self._keys.setdefault(block, str(prompt.segments[-1][0]))
        self._touch([*prompt.blocks, *blocks])

    def _blocks(self, before: bytes, tokens: array[int]) -> tuple[list[bytes], array[int]]:
        """Return the hashes of whole blocks, each with all that comes before it, and the tokens behind them."""
        whole = len(tokens) // self._size * self._size
        data = tokens[:whole].tobytes()
        width = self._size * tokens.itemsize
        blocks = []
        for start in range(0, len(data), width):
            before = blake2b(before + data[start : start + width], digest_size=8).digest()
            blocks.append(before)
        return blocks, tokens[whole:]

    def _touch(self, blocks: list[bytes]) -> None:
        """Make these the ones used last, the first of them after all others: without it they can't be found."""
        keys = self._keys
        for block in reversed(blocks):
            if block in keys:
                keys.move_to_end(block)
        while len(keys) > self._capacity:
            keys.popitem(last=False)
