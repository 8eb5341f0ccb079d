"""Prompts: the same segments give the same tokens, and only they do; lengths are what was asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blis.request import ClientFacts, Request, Segment
from blis.server.answer import Answer
from blis.server.prompts import ChatPrompts, Scale, TextPrompts, TokenPrompts
from blis.server.streams import WORDS, Streams

VOCABULARY = np.arange(1000, 1700)


def request(
    *segments: Segment, number: int = 0, client: str = "a", own: int | None = None, round_index: int = 0
) -> Request:
    tokens = sum(length for _, length in segments)
    own = segments[-1][1] if own is None else own
    session = segments[-1][0] or ""
    return Request(
        ClientFacts(client), number, 0, own, tokens, segments, 4, session_id=session, round_index=round_index
    )


def answer(text: str = "", ids: tuple[int, ...] = (), prompt: int = -1, output: int = -1) -> Answer:
    found = Answer(keep=True)
    found.texts, found.token_ids = [text], list(ids)
    found.prompt_tokens, found.output_tokens = prompt, output
    return found


def ids(prompts: TokenPrompts, *segments: Segment, **more: Any) -> list[int]:
    found: list[int] = prompts.make(request(*segments, **more)).fields["prompt"].tolist()
    return found


segments = st.lists(st.tuples(st.sampled_from([None, "x", "y"]), st.integers(1, 60)), min_size=1, max_size=4)


@given(segments)
def test_lengths_and_vocabulary_are_exact(parts: list[Segment]) -> None:
    found = ids(TokenPrompts(7, VOCABULARY), *parts)
    assert len(found) == sum(length for _, length in parts)
    assert set(found) <= set(VOCABULARY.tolist())


def test_a_key_has_the_same_tokens_at_the_same_positions() -> None:
    prompts = TokenPrompts(7, VOCABULARY)
    short, long = ids(prompts, ("docs", 30), (None, 5)), ids(prompts, ("docs", 100), (None, 5), client="b")
    assert short[:30] == long[:30]
    assert ids(TokenPrompts(7, VOCABULARY), ("docs", 100))[:100] == long[:100]
    assert ids(TokenPrompts(8, VOCABULARY), ("docs", 100)) != long[:100]
    assert ids(prompts, ("other", 30), (None, 5))[:4] != short[:4]


def test_unkeyed_tokens_are_nobody_elses_from_the_start() -> None:
    """Not even a first block of 16 tokens is shared, between clients, requests or parts of one request."""
    prompts = TokenPrompts(7, VOCABULARY)
    starts = {tuple(ids(prompts, (None, 16), client=c, number=n)) for c in ("a", "b") for n in range(500)}
    assert len(starts) == 1000
    both = ids(prompts, (None, 16), (None, 16))
    assert both[:16] != both[16:]


def test_streams_of_any_length_and_of_tiny_vocabularies() -> None:
    streams = Streams(1, 2)
    long = streams.of_key("k", 0, 600_000)
    assert long.shape == (600_000,)
    assert set(long.tolist()) == {0, 1}
    assert np.array_equal(streams.of_key("k", 1_000, 400_000), long[1_000:400_000])
    assert len({tuple(streams.unique("c", n, 0, 80).tolist()) for n in range(300)}) == 300


def test_a_session_goes_on_with_the_tokens_that_were_produced() -> None:
    prompts = TokenPrompts(7, VOCABULARY)
    first = request(("s/0", 10))
    start = prompts.make(first)
    prompts.answered(first, start, answer(ids=(5, 6, 7), output=3))
    second = ids(prompts, ("s/0", 20), own=7, round_index=1)
    assert second[:10] == start.fields["prompt"].tolist()
    assert second[10:13] == [5, 6, 7]
    assert ids(prompts, ("s/1", 20)) != second
    assert ids(prompts, ("s/0", 12))[:10] == second[:10], "what is cut off from a context isn't in it"


def test_texts_have_as_many_words_as_the_scale_says() -> None:
    prompts = TextPrompts(7, Scale(1.5, 3))
    made = prompts.make(request(("docs", 30), (None, 33)))
    words = made.fields["prompt"].split()
    assert len(words) == made.words == 20 + 20
    assert set(words) <= set(WORDS)
    again = prompts.make(request(("docs", 30), (None, 33), number=1)).fields["prompt"].split()
    assert again[:20] == words[:20]
    assert again[20:24] != words[20:24]
    assert prompts.make(request((None, 1))).words == 1


def test_shared_texts_stay_while_the_scale_is_refined() -> None:
    prompts = TextPrompts(7, Scale(1.0, 0))
    before = prompts.make(request(("docs", 100), (None, 100)))
    for number in range(50):
        told = request((None, 100), number=number)
        prompts.answered(told, prompts.make(told), answer(prompt=140))
    after = prompts.make(request(("docs", 100), (None, 100), number=99))
    assert prompts.scale.tokens_per_word > 1.2
    first, second = (made.fields["prompt"].split()[:100] for made in (before, after))
    assert first == second
    assert after.words < before.words


def test_counts_out_of_all_reason_are_not_learnt_from() -> None:
    """A server that counts every prompt as 5 tokens mustn't get longer and longer ones."""
    scale = Scale(1.3, 0)
    for _ in range(1000):
        scale.learn(200, 5)
        scale.learn(200, 5000)
        scale.learn(0, 10)
    assert scale.tokens_per_word == pytest.approx(1.3)


def test_chat_is_system_then_turns_then_the_own_part() -> None:
    prompts = ChatPrompts(7, Scale(1.0, 4))
    first = request(("docs", 10), ("s/0", 20), own=20)
    made = prompts.make(first)
    system, user = made.fields["messages"]
    assert (system["role"], len(system["content"].split())) == ("system", 10)
    assert (user["role"], len(user["content"].split())) == ("user", 16)
    assert made.words == 26
    prompts.answered(first, made, answer("the real answer", prompt=34, output=5))
    second = request(("docs", 10), ("s/0", 35), own=10, round_index=1)
    turns = prompts.make(second)
    assert turns.fields["messages"][:2] == [system, user]
    assert turns.fields["messages"][2] == {"role": "assistant", "content": "the real answer"}
    assert len(turns.fields["messages"][3]["content"].split()) == 10
    assert turns.words == 0, "the server's own words are no measure"
    text = TextPrompts(7, Scale(1.0, 4))
    text.answered(first, text.make(first), answer("the real answer", prompt=34, output=5))
    assert "the real answer" in text.make(second).fields["prompt"]


def test_a_session_without_known_answers_gets_others_in_their_place() -> None:
    prompts = ChatPrompts(7, Scale(1.0, 0))
    made = prompts.make(request(("s/0", 50), own=10, round_index=3))
    assert [message["role"] for message in made.fields["messages"]] == ["user"]
    assert len(made.own.split()) == 50


def test_only_sessions_under_way_are_remembered() -> None:
    prompts = TokenPrompts(7, VOCABULARY)
    for number in range(5000):
        told = request((f"s/{number}", 4))
        prompts.answered(told, prompts.make(told), answer(ids=(1,), output=1))
    assert ids(prompts, ("s/4999", 5))[4] == 1
    assert ids(prompts, ("s/0", 5))[4] != 1
