"""The KV cache of one instance: block counts, prefix sharing and the free list's order (docs/explanation/engine.md).

The free list is a head of blocks nobody can find again, a mere count, and behind it a queue of runs: findable blocks as
:class:`~blis.cluster.chains.Fragment`, others as counts again. Blocks are allocated from the head and released to the
tail in reverse order, so a fragment on the list always loses its deepest block first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from weakref import WeakValueDictionary

from blis.cluster.chains import UNSHARED, Chain, Fragment, Holding, Path
from blis.request import Segment

__all__ = ["KVCache"]

_UNLIMITED = 1 << 62


class _Gap:
    """A count of free blocks without identity that stands behind a fragment in the free list."""

    __slots__ = ("size",)

    def __init__(self, size: int) -> None:
        self.size = size


class KVCache:
    """Blocks of ``block_size`` tokens, ``total`` in number.

    ``free`` counts free blocks, cached ones included; ``claimed`` and ``allocated`` count blocks taken from the cache
    and freshly, over the whole run. ``crowded`` counts chains that grow by decoding while another running sequence uses
    them: as long as there is one, the order of single blocks matters and steps have to be formed one by one.

    ``filled(holding)`` tells how many blocks of a decoding sequence are full; it is asked only when somebody looks at
    a chain that grows.
    """

    def __init__(self, total: int, block_size: int, filled: Callable[[Holding], int]) -> None:
        self.total = total
        self.block_size = block_size
        self.free = total
        self.claimed = 0
        self.allocated = 0
        self.crowded = 0
        self._filled = filled
        self._behind = 0
        self._runs: OrderedDict[Fragment | _Gap, None] = OrderedDict()
        self._chains: WeakValueDictionary[tuple[Chain | None, int, str], Chain] = WeakValueDictionary()

    def path(self, segments: Sequence[Segment]) -> Path:
        """Return the path of a prompt; whatever follows a segment without key is unshared.

        A last segment may have no tokens: the output alone goes on with its key.
        """
        if segments[0][0] is None:
            return UNSHARED
        chains: list[tuple[Chain, int]] = []
        parent: Chain | None = None
        start = 0
        open_tail = True
        last = segments[-1]
        for segment in segments:
            key, tokens = segment
            if key is None:
                open_tail = False
                break
            if tokens or segment is last:
                parent = self._chain(parent, start, key)
                start += tokens
                chains.append((parent, start // self.block_size))
        if parent is None:
            return UNSHARED
        if open_tail and not parent.open:
            parent.open = True
            self.crowded += parent.active > 1
        return Path(tuple(chains), _UNLIMITED if open_tail else start // self.block_size, start, open_tail)

    def _chain(self, parent: Chain | None, attach: int, key: str) -> Chain:
        identity = (parent, attach, key)
        chain = self._chains.get(identity)
        if chain is None:
            chain = self._chains[identity] = Chain(parent, attach, attach // self.block_size)
        return chain

    def privatise(self, holding: Holding, prompt_tokens: int) -> None:
        """Give the unshared rest of a prompt a chain of its own, so that a preempted sequence finds it again."""
        path = holding.path
        if path.keyed_tokens >= prompt_tokens:
            return
        parent = path.chains[-1][0] if path.chains else None
        end = prompt_tokens // self.block_size
        own = Chain(parent, path.keyed_tokens, path.keyed_tokens // self.block_size)
        own.active = 1
        holding.path = Path((*path.chains, (own, end)), end, prompt_tokens, open_tail=False)

    def match(self, path: Path) -> int:
        """Return the number of leading blocks of ``path`` that are in the cache."""
        found = 0
        for chain, end in path.chains:
            for writer in chain.writers:
                self.identify(writer, self._filled(writer))
            for fragment in chain.fragments:
                if fragment.lo > found or found >= end:
                    break
                if fragment.hi > found:
                    found = min(fragment.hi, end)
            if found < end:
                break
        return found

    def free_among(self, path: Path, blocks: int) -> int:
        """Return how many of the first ``blocks`` cached blocks are on the free list now."""
        count = 0
        for chain, end in path.chains:
            stop = min(end, blocks)
            for fragment in chain.fragments:
                if not fragment.refs and fragment.lo < stop:
                    count += min(fragment.hi, stop) - fragment.lo
        return count

    def claim(self, holding: Holding, blocks: int) -> None:
        """Hold the first ``blocks`` blocks of the holding's path, all of them cached."""
        for chain, end in holding.path.chains:
            for fragment in list(chain.fragments):
                stop = min(fragment.hi, end, blocks)
                if fragment.lo >= stop:
                    break
                held = self._carve(fragment, stop)
                held.refs += 1
                holding.pieces += ((held, stop),)
        holding.blocks = holding.keyed = blocks
        self.claimed += blocks

    def _carve(self, fragment: Fragment, stop: int) -> Fragment:
        """Return the part of ``fragment`` up to ``stop``, off the free list if it was on it."""
        if fragment.refs:
            if stop < fragment.hi:
                fragment.split(stop)
            return fragment
        self.free -= stop - fragment.lo
        self._behind -= stop - fragment.lo
        if stop == fragment.hi:
            del self._runs[fragment]
            return fragment
        front = Fragment(fragment.chain, fragment.lo, stop, 0)
        fragment.lo = stop
        known = fragment.chain.fragments
        known.insert(known.index(fragment), front)
        return front

    def take(self, blocks: int) -> None:
        """Allocate ``blocks`` from the free list's head; the caller has checked that they are there."""
        self.allocated += blocks
        self.free -= blocks
        if self.free < self._behind:
            self._take_behind(self._behind - self.free)

    def _take_behind(self, blocks: int) -> None:
        """Take blocks from behind the free list's head, which is used up."""
        runs = self._runs
        while blocks:
            run = next(iter(runs))
            if isinstance(run, Fragment):
                wanted, blocks = blocks, self._evict(run, blocks)
                self._behind -= wanted - blocks
            else:
                # A gap that comes to the front is head again.
                del runs[run]
                self._behind -= run.size
                blocks = max(0, blocks - run.size)

    def _evict(self, fragment: Fragment, blocks: int) -> int:
        """Drop up to ``blocks`` of the deepest blocks of a free fragment; return how many are still wanted."""
        size = fragment.hi - fragment.lo
        if size > blocks:
            fragment.hi -= blocks
            return 0
        del self._runs[fragment]
        if fragment.findable:
            fragment.chain.fragments.remove(fragment)
        return blocks - size

    def enter(self, holding: Holding) -> None:
        """Note that the sequence runs from now on."""
        for chain, _ in holding.path.chains:
            chain.active += 1
            if chain.active == 2 and chain.open:
                self.crowded += 1

    def identify(self, holding: Holding, full: int) -> None:
        """Make blocks findable that became full: those from ``holding.keyed`` on, up to ``full``."""
        path = holding.path
        full = min(full, path.keyed_blocks)
        lo = holding.keyed
        last = len(path.chains) - 1
        for position, (chain, end) in enumerate(path.chains):
            hi = full if path.open_tail and position == last else min(full, end)
            if lo < hi:
                self._write(holding, chain, lo, hi)
                lo = hi
        holding.keyed = lo

    def _write(self, holding: Holding, chain: Chain, lo: int, hi: int) -> None:
        known = chain.fragments
        if known and known[-1].hi > lo:
            self._supersede(chain, lo, hi)
        pieces = holding.pieces
        if pieces:
            own, end = pieces[-1]
            if own.chain is chain and own.hi == end == lo and own.refs == 1 and own.findable:
                own.hi = hi
                holding.pieces = (*pieces[:-1], (own, hi))
                return
        fragment = Fragment(chain, lo, hi, 1)
        index = len(known)
        while index and known[index - 1].lo > lo:
            index -= 1
        known.insert(index, fragment)
        holding.pieces = (*pieces, (fragment, hi))

    def _supersede(self, chain: Chain, lo: int, hi: int) -> None:
        """Make older blocks of the same identities unfindable: the newer block is the one that counts."""
        for fragment in list(chain.fragments):
            if fragment.hi <= lo or fragment.lo >= hi:
                continue
            old = self._split(fragment, lo) if fragment.lo < lo else fragment
            if old.hi > hi:
                self._split(old, hi)
            old.findable = False
            chain.fragments.remove(old)

    def _split(self, fragment: Fragment, at: int) -> Fragment:
        """Split ``fragment`` at block ``at``; on the free list the tail stays in front of the rest."""
        tail = fragment.split(at)
        if not fragment.refs:
            self._insert_before(fragment, tail)
        return tail

    def _insert_before(self, fragment: Fragment, tail: Fragment) -> None:
        runs = self._runs
        later = list(runs)
        later = later[later.index(fragment) :]
        runs[tail] = None
        for run in later:
            runs.move_to_end(run)

    def release(self, holding: Holding) -> None:
        """Give all blocks back in reverse order; the sequence no longer runs."""
        if holding.path is UNSHARED:
            self._append_gap(holding.blocks)
            return
        self._append_gap(holding.blocks - holding.keyed)
        for first, end in reversed(holding.pieces):
            fragments = [first]
            while fragments[-1].hi < end:
                rest = fragments[-1].rest
                assert rest is not None, "a held fragment reaches its holder's end"
                fragments.append(rest)
            for fragment in reversed(fragments):
                fragment.refs -= 1
                if not fragment.refs:
                    self._append(fragment)
        for chain, _ in holding.path.chains:
            chain.active -= 1
            if chain.active == 1 and chain.open:
                self.crowded -= 1
        if holding.path.open_tail:
            writers = holding.path.chains[-1][0].writers
            if holding in writers:
                writers.remove(holding)
        holding.blocks = holding.keyed = 0
        holding.pieces = ()

    def _append_gap(self, blocks: int) -> None:
        self.free += blocks
        runs = self._runs
        if runs and blocks:
            self._behind += blocks
            last = next(reversed(runs))
            if isinstance(last, _Gap):
                last.size += blocks
            else:
                runs[_Gap(blocks)] = None

    def _append(self, fragment: Fragment) -> None:
        if not fragment.findable:
            self._append_gap(fragment.hi - fragment.lo)
            return
        self.free += fragment.hi - fragment.lo
        self._behind += fragment.hi - fragment.lo
        last = next(reversed(self._runs)) if self._runs else None
        if isinstance(last, Fragment) and last.chain is fragment.chain and last.lo == fragment.hi and last.findable:
            last.lo = fragment.lo
            last.chain.fragments.remove(fragment)
        else:
            self._runs[fragment] = None
