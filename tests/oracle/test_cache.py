"""The oracle's KV cache, block by block."""

from __future__ import annotations

from blis.request import ClientFacts, Request, Segment
from oracle import Block, Cache, Names
from oracle.kv import contents


def free(cache: Cache) -> list[int]:
    return list(cache.free)


def numbers(blocks: list[Block]) -> list[int]:
    return [block.number for block in blocks]


def taken(cache: Cache, names: list[int], tokens: int) -> list[Block]:
    blocks: list[Block] = []
    assert cache.allocate(blocks, names, 0, tokens)
    return blocks


def test_released_blocks_go_to_the_end_in_reverse() -> None:
    cache = Cache(6, 2)
    first, second = taken(cache, [1, 2], 4), taken(cache, [3], 3)
    assert (numbers(first), numbers(second), free(cache)) == ([0, 1], [2, 3], [4, 5])
    cache.release(second)
    cache.release(first)
    assert free(cache) == [4, 5, 3, 2, 1, 0]
    assert cache.allocated_blocks == 4


def test_released_contents_stay_findable_until_reused() -> None:
    cache = Cache(3, 2)
    cache.release(taken(cache, [1, 2], 4))
    assert free(cache) == [2, 1, 0]
    assert numbers(cache.cached_run([1, 2, 3])) == [0, 1]
    taken(cache, [7, 8], 3)
    # Blocks 2 and 1 are in use again: the name 2 is gone, and a run ends where a name is missing.
    assert numbers(cache.cached_run([1, 2])) == [0]
    assert cache.cached_run([2]) == []


def test_claimed_blocks_leave_the_free_list_from_where_they_are() -> None:
    cache = Cache(5, 2)
    cache.release(taken(cache, [1, 2], 4))
    blocks = cache.cached_run([1])
    assert not cache.claim(blocks, 5)
    assert free(cache) == [2, 3, 4, 1, 0]
    assert cache.claim(blocks, 4)
    assert free(cache) == [2, 3, 4, 1]
    assert cache.claim(blocks, 4)
    cache.release(blocks[:])
    assert free(cache) == [2, 3, 4, 1]
    cache.release(blocks)
    assert free(cache) == [2, 3, 4, 1, 0]
    assert cache.claimed_blocks == 2


def test_newest_copy_is_found_and_only_its_own_reuse_forgets_it() -> None:
    cache = Cache(3, 2)
    old, new = taken(cache, [1], 2), taken(cache, [1], 2)
    assert numbers(cache.cached_run([1])) == [1]
    cache.release(old)
    taken(cache, [5], 2)
    assert free(cache) == [0]
    taken(cache, [6], 2)
    # The old copy was overwritten; the new one is still known.
    assert numbers(cache.cached_run([1])) == [1]
    cache.release(new)
    taken(cache, [7], 2)
    assert cache.cached_run([1]) == []


def test_a_block_gets_its_name_when_it_is_full() -> None:
    cache = Cache(3, 4)
    blocks = taken(cache, [1, 2], 3)
    assert cache.cached_run([1]) == []
    assert cache.allocate(blocks, [1, 2], 3, 4)
    assert numbers(cache.cached_run([1])) == [0]
    assert numbers(blocks) == [0]


def test_what_does_not_fit_changes_nothing() -> None:
    cache = Cache(2, 2)
    blocks = taken(cache, [1, 2, 3], 2)
    assert not cache.allocate(blocks, [1, 2, 3], 2, 6)
    assert (numbers(blocks), free(cache), cache.allocated_blocks) == ([0], [1], 1)


def names(table: Names, request_id: int, output: int, *segments: Segment) -> list[int]:
    prompt = sum(tokens for _, tokens in segments)
    request = Request(ClientFacts("client"), 0, 0, prompt, prompt, segments, output)
    return table.of(contents(request, request_id), 4)


def test_names_are_equal_where_everything_before_is() -> None:
    table = Names()
    long = names(table, 0, 0, ("p", 8), ("s", 8))
    assert names(table, 1, 0, ("p", 8), ("s", 7)) == long[:3]
    assert names(table, 2, 0, ("p", 8), (None, 8))[:2] == long[:2]
    assert not set(names(table, 3, 0, ("p", 6), ("s", 10))[1:]) & set(long)
    assert not set(names(table, 4, 0, ("s", 8))) & set(long)


def test_tokens_without_a_key_are_nobody_elses() -> None:
    table = Names()
    assert not set(names(table, 0, 4, (None, 8))) & set(names(table, 1, 4, (None, 8)))
    assert names(table, 0, 4, (None, 8)) == names(table, 0, 9, (None, 8))[:3]


def test_output_goes_on_with_the_last_key() -> None:
    table = Names()
    assert names(table, 0, 8, ("p", 4), ("s", 4)) == names(table, 1, 0, ("p", 4), ("s", 12))
    assert names(table, 0, 8, ("s", 4), (None, 4))[2:] != names(table, 1, 8, ("s", 4), (None, 4))[2:]
