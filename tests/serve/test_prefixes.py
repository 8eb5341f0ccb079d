"""Prompts share what their tokens share: whole blocks, from the start, answers included."""

from __future__ import annotations

from array import array
from zlib import crc32

from hypothesis import given
from hypothesis import strategies as st

from blis.cluster.kv import KVCache
from blis.request import Segment
from blis.serve.prefixes import Prefixes

SIZE = 4
PROMPTS = st.lists(
    st.tuples(st.lists(st.integers(0, 1), min_size=1, max_size=24), st.integers(0, 9)), min_size=1, max_size=12
)
"""Prompts of two kinds of tokens, many with the same beginning, and how many tokens are answered."""


def place(prefixes: Prefixes, tokens: list[int]) -> tuple[Segment, ...]:
    return prefixes.place(array("I", tokens)).segments


def names(cache: KVCache, segments: tuple[Segment, ...], blocks: int) -> list[tuple[int, int]]:
    """What the cache calls the first blocks of a prompt and its answer."""
    found: list[tuple[int, int]] = []
    chains = cache.path(segments).chains
    for number, (chain, end) in enumerate(chains):
        stop = blocks if number == len(chains) - 1 else end
        found += [(id(chain), block) for block in range(len(found), stop)]
    return found


@given(PROMPTS)
def test_blocks_have_one_name_exactly_where_all_tokens_up_to_their_ends_are_equal(
    said: list[tuple[list[int], int]],
) -> None:
    prefixes = Prefixes(SIZE, 10_000)
    cache = KVCache(1000, SIZE, lambda _: 0)
    content: dict[tuple[int, ...], tuple[int, int]] = {}
    kept = []
    for tokens, count in said:
        # One prompt is always answered alike.
        answer = [(crc32(bytes(tokens)) >> place) & 1 for place in range(count)]
        prompt = prefixes.place(array("I", tokens))
        assert sum(size for _, size in prompt.segments) == len(tokens)
        kept.append(cache.path(prompt.segments))
        prefixes.answered(prompt, answer)
        spoken = tokens + answer
        for number, name in enumerate(names(cache, prompt.segments, len(spoken) // SIZE)):
            known = content.setdefault(tuple(spoken[: (number + 1) * SIZE]), name)
            # Whoever sends an answer before it is given has his own name for it.
            assert known == name or number >= len(tokens) // SIZE
    assert len(set(content.values())) == len(content)


def test_a_conversation_finds_what_was_said() -> None:
    prefixes = Prefixes(SIZE, 100)
    first = prefixes.place(array("I", range(10)))
    prefixes.answered(first, [50, 51, 52, 53, 54, 55, 56])
    (prompt, eight), (answer, two) = first.segments
    assert (eight, two) == (8, 2)
    # Seventeen tokens are known, four blocks; the fifth has something new in it.
    later = place(prefixes, [*range(10), 50, 51, 52, 53, 54, 55, 56, 7, 7, 7, 7])
    assert later[:2] == ((prompt, 8), (answer, 8))
    assert [tokens for _, tokens in later[2:]] == [4, 1]
    other = place(prefixes, [*range(10), 50, 51, 52, 99, 54, 55, 56, 7])
    assert other[:2] == ((prompt, 8), (answer, 4)), "a block of which one token differs is another"


def test_one_prompt_again_is_the_same_with_its_answer() -> None:
    prefixes = Prefixes(SIZE, 100)
    once, again = place(prefixes, [1] * 8), place(prefixes, [1] * 8)
    assert once == again
    assert [tokens for _, tokens in once] == [8, 0], "an answer of its own behind a prompt of whole blocks"
    assert place(prefixes, [1] * 9)[0] == once[0]
    assert place(prefixes, [1] * 9)[1] != once[1]


def test_what_was_used_long_ago_is_forgotten_from_its_end_on() -> None:
    prefixes = Prefixes(SIZE, 10)
    old = place(prefixes, [3] * 24)
    place(prefixes, [4] * 24)
    assert len(prefixes) == 10
    # Four blocks of the old prompt are left, its first ones.
    again = place(prefixes, [3] * 24)
    assert again[0] == (old[0][0], 16)
    assert again[1][1] == 8
    for number in range(5, 300):
        place(prefixes, [number] * 40)
    assert len(prefixes) == 10
