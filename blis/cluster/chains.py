"""Identities of KV blocks without tokens: chains of keyed segments and the fragments of them that are in memory.

Two prompts share a block exactly where their segment chains agree up to the block's end. A :class:`Chain` stands for
"the tokens of key K, begun after A tokens of parent chain P"; its blocks are numbered by their position in the
prompt, so (chain, number) is a block's identity. Contiguous blocks that are held or free together are one
:class:`Fragment`, so that claiming or releasing a long shared prefix costs the same as a short one.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["UNSHARED", "Chain", "Fragment", "Holding", "Path"]


class Chain:
    """The blocks of one keyed segment at one place in a prompt.

    ``start`` is the number of its first block: the one that holds token ``attach``. ``fragments`` are the findable
    ones, sorted and disjoint. ``active`` counts running sequences whose path has this chain; ``open`` says that some
    sequence's output continues it. ``writers`` are the decoding sequences that extend it (mostly one or none).
    """

    __slots__ = ("__weakref__", "active", "attach", "fragments", "open", "parent", "start", "writers")

    def __init__(self, parent: Chain | None, attach: int, start: int) -> None:
        self.parent = parent
        self.attach = attach
        self.start = start
        self.fragments: list[Fragment] = []
        self.active = 0
        self.open = False
        self.writers: list[Holding] = []


class Fragment:
    """Physical blocks ``lo`` (included) to ``hi`` (excluded) of a chain, alike in reference count and place.

    ``rest`` is the part split off at ``hi``: whoever held this fragment before the split holds that too. A fragment
    that isn't ``findable`` was superseded by a newer block of the same identity.
    """

    __slots__ = ("chain", "findable", "hi", "lo", "refs", "rest")

    def __init__(self, chain: Chain, lo: int, hi: int, refs: int) -> None:
        self.chain = chain
        self.lo = lo
        self.hi = hi
        self.refs = refs
        self.findable = True
        self.rest: Fragment | None = None

    def split(self, at: int) -> Fragment:
        """Keep ``lo`` to ``at``; return the new fragment of ``at`` to ``hi``."""
        tail = Fragment(self.chain, at, self.hi, self.refs)
        tail.findable = self.findable
        tail.rest = self.rest
        self.hi = at
        self.rest = tail
        if self.findable:
            fragments = self.chain.fragments
            fragments.insert(fragments.index(self) + 1, tail)
        return tail


@dataclass(frozen=True, slots=True)
class Path:
    """Where a prompt's blocks belong.

    ``chains`` pairs each chain with the block number at which this prompt leaves it; ``keyed_blocks`` is how many
    leading full blocks of the prompt have an identity others can find. With ``open_tail`` the output continues the
    last chain, so that a later prompt may find it too.
    """

    chains: tuple[tuple[Chain, int], ...] = ()
    keyed_blocks: int = 0
    keyed_tokens: int = 0
    open_tail: bool = False


UNSHARED = Path()
"""The path of a prompt that shares nothing."""


class Holding:
    """The KV blocks one sequence holds: ``blocks`` in all, the first ``keyed`` of them through ``pieces``.

    A piece is (first fragment, end block): the fragment and what was split off it since, up to the end.
    """

    __slots__ = ("blocks", "keyed", "path", "pieces")

    def __init__(self) -> None:
        self.path = UNSHARED
        self.blocks = 0
        self.keyed = 0
        self.pieces: tuple[tuple[Fragment, int], ...] = ()
