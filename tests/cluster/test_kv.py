"""The KV cache of counts and fragments against a list of blocks, operation by operation."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from oracle.kv import Block, Cache, Names, ceil_div, contents
from small_cases import Segment, request

from blis.cluster.chains import UNSHARED, Holding
from blis.cluster.kv import KVCache
from blis.request import Request

KINDS: tuple[tuple[str | None, ...], ...] = (
    (None,),
    ("a", None),
    ("a", None),
    ("b", None),
    ("a", "b", None),
    ("a", "c"),
    ("a",),
    ("s",),
    ("s",),
    ("s",),
)
SIZES = st.one_of(st.integers(1, 14), st.sampled_from((4, 8, 12)))
PROMPTS = st.tuples(st.sampled_from(KINDS), st.tuples(SIZES, SIZES, SIZES)).map(
    lambda drawn: tuple(zip(*drawn, strict=False))
)


@dataclass(eq=False)
class Tenant:
    """A sequence in both caches; ``progress`` counts its tokens there, ``prompt`` those of its prompt."""

    request: Request
    names: list[int]
    holding: Holding = field(default_factory=Holding)
    blocks: list[Block] = field(default_factory=list)
    progress: int = 0

    @property
    def prompt(self) -> int:
        return self.request.prompt_tokens

    @property
    def most(self) -> int:
        """Its tokens before the last one, which needs no computing."""
        return self.prompt + max(self.request.output_tokens, 1) - 1


class Both(RuleBasedStateMachine):
    """Does to a :class:`KVCache` what a scheduler does, and to a naive cache what the rules say."""

    @initialize(size=st.sampled_from((1, 2, 3, 4)), total=st.integers(3, 24))
    def start(self, size: int, total: int) -> None:
        self.size = size
        self.tenants: dict[Holding, Tenant] = {}
        self.real = KVCache(total, size, lambda holding: self.tenants[holding].progress // size)
        self.naive = Cache(total, size)
        self.names = Names()
        self.number = 0
        self.running: list[Tenant] = []
        self.preempted: list[Tenant] = []
        self.seen: list[tuple[Segment, ...]] = []

    # ---- what a scheduler does ----

    @rule(prompt=PROMPTS, output=st.integers(0, 12), chunk=st.integers(1, 20))
    def admit(self, prompt: tuple[Segment, ...], output: int, chunk: int) -> None:
        made = request(0, prompt, output)
        names = self.names.of(contents(made, self.number), self.size)
        self.number += 1
        tenant = Tenant(made, names)
        if ceil_div(made.prompt_tokens + output, self.size) <= self.naive.total:
            self.seen.append(prompt)
            tenant.holding.path = self.real.path(prompt)
            self.tenants[tenant.holding] = tenant
            self.try_to_admit(tenant, chunk)

    @precondition(lambda self: self.preempted)
    @rule(data=st.data(), chunk=st.integers(1, 20))
    def admit_again(self, data: st.DataObject, chunk: int) -> None:
        tenant = data.draw(st.sampled_from(self.preempted))
        if self.try_to_admit(tenant, chunk):
            self.preempted.remove(tenant)

    def try_to_admit(self, tenant: Tenant, chunk: int) -> bool:
        size, holding = self.size, tenant.holding
        cached = self.naive.cached_run(tenant.names[: tenant.prompt // size])
        assert self.real.match(holding.path) == len(cached)
        if len(cached) * size == tenant.prompt:
            cached.pop()
        known = len(cached) * size
        tokens = min(chunk, tenant.prompt - known)
        fresh = ceil_div(tokens, size)
        fits = self.naive.claim(cached, fresh)
        assert fits == (fresh + self.real.free_among(holding.path, len(cached)) <= self.real.free)
        if not fits:
            return False
        tenant.blocks = cached
        assert self.naive.allocate(tenant.blocks, tenant.names, known, known + tokens)
        if holding.path is not UNSHARED:
            self.real.claim(holding, known // size)
            self.real.enter(holding)
        self.real.take(fresh)
        self.running.append(tenant)
        self.computed(tenant, known + tokens)
        return True

    @precondition(lambda self: self.running)
    @rule(data=st.data(), tokens=st.integers(1, 20))
    def compute(self, data: st.DataObject, tokens: int) -> None:
        """Compute the next chunk of a prompt, or decode, token by token."""
        tenant = data.draw(st.sampled_from(self.running))
        if tenant.progress < tenant.prompt:
            self.extend(tenant, min(tenant.progress + tokens, tenant.prompt))
            return
        for _ in range(min(tokens, tenant.most - tenant.progress)):
            self.extend(tenant, tenant.progress + 1)

    def extend(self, tenant: Tenant, want: int) -> None:
        have = tenant.progress
        need = ceil_div(want, self.size) - ceil_div(have, self.size)
        fits = self.naive.allocate(tenant.blocks, tenant.names, have, want)
        assert fits == (need <= self.real.free)
        if fits:
            self.real.take(need)
            self.computed(tenant, want)

    def computed(self, tenant: Tenant, want: int) -> None:
        holding, before, tenant.progress = tenant.holding, tenant.progress, want
        holding.blocks = ceil_div(want, self.size)
        if holding.path is UNSHARED:
            return
        if want <= tenant.prompt:
            self.real.identify(holding, want // self.size)
        elif holding.path.open_tail and self.real.crowded:
            # Elsewhere it is put off until somebody looks.
            self.real.identify(holding, want // self.size)
        if want == tenant.prompt > before and tenant.most > want and holding.path.open_tail:
            holding.path.chains[-1][0].writers.append(holding)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def preempt(self, data: st.DataObject) -> None:
        tenant = data.draw(st.sampled_from(self.running))
        self.running.remove(tenant)
        self.naive.release(tenant.blocks)
        self.real.privatise(tenant.holding, tenant.prompt)
        self.real.identify(tenant.holding, tenant.progress // self.size)
        self.real.release(tenant.holding)
        tenant.progress = 0
        self.preempted.append(tenant)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        """End a sequence where it is: with a slot for the last token if it has all others."""
        self.end(data.draw(st.sampled_from(self.running)))

    def end(self, tenant: Tenant) -> None:
        holding, tokens = tenant.holding, tenant.progress
        if tokens == tenant.most and tenant.request.output_tokens:
            if self.naive.allocate(tenant.blocks, tenant.names, tokens, tokens + 1):
                if tokens % self.size == 0:
                    self.real.take(1)
                    holding.blocks += 1
                tokens += 1
            else:
                assert (tokens % self.size, self.real.free) == (0, 0)
        self.naive.release(tenant.blocks)
        if holding.path.open_tail:
            self.real.identify(holding, tokens // self.size)
        self.real.release(holding)
        self.running.remove(tenant)
        del self.tenants[holding]

    @rule(blocks=st.integers(1, 6))
    def use_up(self, blocks: int) -> None:
        """Take blocks from the head of the free list and give them back at its end."""
        blocks = min(blocks, self.real.free)
        taken = [self.naive.take_first_free() for _ in range(blocks)]
        self.naive.release(taken)
        self.real.take(blocks)
        holding = Holding()
        holding.blocks = blocks
        self.real.release(holding)

    # ---- what must hold ----

    @precondition(lambda self: self.seen)
    @rule(data=st.data(), more=st.integers(0, 12))
    def look(self, data: st.DataObject, more: int) -> None:
        """Look for a prompt seen before, or for one that goes on from it."""
        *front, (key, tokens) = data.draw(st.sampled_from(self.seen))
        self.compare((*front, (key, tokens + more)))

    def compare(self, prompt: tuple[Segment, ...]) -> None:
        made = request(0, prompt, 0)
        names = self.names.of(contents(made, -1), self.size)
        assert self.real.match(self.real.path(prompt)) == len(self.naive.cached_run(names))

    @invariant()
    def counts_agree(self) -> None:
        if hasattr(self, "naive"):
            assert self.real.free == len(self.naive.free)
            assert self.real.claimed == self.naive.claimed_blocks
            assert self.real.allocated == self.naive.allocated_blocks

    def teardown(self) -> None:
        """Reuse the blocks one by one: contents must be forgotten in the same order."""
        if not hasattr(self, "naive"):
            return
        for tenant in list(self.running):
            self.end(tenant)
        assert self.real.free == self.real.total
        assert self.real.crowded == 0
        prompts = [tuple((key, tokens + 12) for key, tokens in prompt) for prompt in dict.fromkeys(self.seen)]
        for _ in range(self.real.total):
            for prompt in prompts:
                self.compare(prompt)
            self.real.take(1)
            self.naive.take_first_free()
        assert self.real.free == 0
        for prompt in prompts:
            assert self.real.match(self.real.path(prompt)) == 0


TestBoth = Both.TestCase
TestBoth.settings = settings(max_examples=150, stateful_step_count=40)


class Longer(Both):
    """The same in longer courses, as many as the profile says."""


TestLonger = pytest.mark.statistical(Longer.TestCase)
TestLonger.settings = settings(stateful_step_count=80)


# ---- single rules, with the values that follow from them ----


def cache(total: int = 10, size: int = 4) -> KVCache:
    return KVCache(total, size, lambda _: pytest.fail("nobody is decoding"))


def hold(kv: KVCache, *segments: Segment) -> Holding:
    """Admit and compute a whole prompt."""
    holding = Holding()
    holding.path = kv.path(segments)
    tokens = sum(length for _, length in segments)
    known = min(kv.match(holding.path), (tokens - 1) // kv.block_size)
    if holding.path is not UNSHARED:
        kv.claim(holding, known)
        kv.enter(holding)
    holding.blocks = ceil_div(tokens, kv.block_size)
    kv.take(holding.blocks - known)
    kv.identify(holding, tokens // kv.block_size)
    return holding


def cached(kv: KVCache, *segments: Segment) -> int:
    return kv.match(kv.path(segments))


def test_only_leading_full_blocks_with_equal_tokens_before_them_are_found() -> None:
    kv = cache()
    hold(kv, ("a", 10), ("b", 6), (None, 5))
    assert cached(kv, ("a", 10), ("b", 6)) == 4
    assert cached(kv, ("a", 10), ("b", 100)) == 4
    assert cached(kv, ("a", 10), ("b", 5)) == 3
    assert cached(kv, ("a", 10), ("c", 6)) == 2
    assert cached(kv, ("a", 9), ("b", 7)) == 2
    assert cached(kv, ("a", 3), (None, 20)) == 0
    assert cached(kv, ("b", 6)) == 0
    assert cached(kv, (None, 30)) == 0
    assert (kv.free, kv.claimed, kv.allocated) == (4, 0, 6)


def test_contents_outlive_their_owner_until_their_blocks_are_reused_deepest_first() -> None:
    kv = cache(total=6)
    kv.release(hold(kv, ("a", 12), (None, 1)))
    assert (kv.free, cached(kv, ("a", 12))) == (6, 3)
    # Two blocks were never used, the tail's comes next, then the deepest of the shared ones.
    for taken, left in ((3, 3), (1, 2), (1, 1), (1, 0)):
        kv.take(taken)
        assert cached(kv, ("a", 12)) == left
    assert kv.free == 0


def test_claimed_blocks_leave_the_free_list_once() -> None:
    kv = cache(total=6)
    kv.release(hold(kv, ("a", 12), (None, 1)))
    path = kv.path((("a", 12), (None, 1)))
    assert kv.free_among(path, 3) == 3
    first = hold(kv, ("a", 12), (None, 1))
    assert (kv.free, kv.claimed, kv.free_among(path, 3)) == (2, 3, 0)
    second = hold(kv, ("a", 8), (None, 1))
    assert (kv.free, kv.claimed) == (1, 5)
    kv.release(first)
    assert (kv.free, kv.free_among(path, 3)) == (3, 1)
    kv.release(second)
    assert (kv.free, kv.free_among(path, 3)) == (6, 3)


def test_the_newer_of_two_equal_blocks_is_the_one_that_is_found() -> None:
    # Both compute the one block they share, since each has to compute at least one token.
    kv = cache(total=4)
    older, newer = hold(kv, ("a", 4)), hold(kv, ("a", 4))
    assert (kv.claimed, kv.allocated, cached(kv, ("a", 4))) == (0, 2, 1)
    kv.release(older)
    kv.take(3)
    # The older one has been reused.
    assert cached(kv, ("a", 4)) == 1
    kv.release(newer)
    kv.take(1)
    assert cached(kv, ("a", 4)) == 0


@pytest.mark.parametrize("blocks", [1, 1000, 10**9])
def test_long_prompts_cost_no_more_than_short_ones(blocks: int) -> None:
    """A billion blocks are a count, a fragment and its boundaries."""
    kv = cache(total=3 * blocks)
    one = hold(kv, ("a", 4 * blocks), (None, 4 * blocks))
    other = hold(kv, ("a", 4 * blocks), (None, 4 * blocks))
    assert (kv.free, kv.claimed, kv.allocated) == (0, blocks, 3 * blocks)
    kv.release(one)
    kv.release(other)
    assert kv.free == kv.total
    assert cached(kv, ("a", 4 * blocks)) == blocks
