"""The tokenizer, and answers that are made of its tokens."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blis.serve.tokens import Tokenizer, Words

TOKENIZER = Tokenizer(32_000)
WORDS = Words(TOKENIZER)


@settings(max_examples=30)
@given(st.integers(0, 2**64 - 1), st.integers(0, 500), st.integers(0, 500), st.text())
def test_an_answer_sent_back_has_the_tokens_it_had(start: int, first: int, more: int, before: str) -> None:
    text, ids = WORDS.text(start, first, first + more), WORDS.ids(start, first, first + more)
    assert len(ids) == more
    assert TOKENIZER.encode(text) == ids
    assert TOKENIZER.encode(text.strip()) == ids
    assert TOKENIZER.encode(before + text) == TOKENIZER.encode(before) + ids


def test_answers_go_on_where_they_were() -> None:
    assert WORDS.text(5, 0, 400) == "".join(WORDS.text(5, i, i + 1) for i in range(400))
    assert WORDS.text(5, 3, 9) == WORDS.text(8, 0, 6)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        (" \n\t", 0),
        ("word", 1),
        ("words", 2),
        ("a b", 2),
        ("12345", 2),
        ("x=1;", 4),
        ("naïve", 3),
        ("日本", 2),
    ],
)
def test_pieces(text: str, tokens: int) -> None:
    assert len(TOKENIZER.encode(text)) == tokens


@pytest.mark.parametrize("vocabulary", [1, 9, 50, 128_256])
def test_ids_are_in_the_vocabulary(vocabulary: int) -> None:
    tokenizer = Tokenizer(vocabulary)
    ids = tokenizer.encode_chat([("system", "Be brief."), ("wizard", "Abracadabra, 42!")])
    assert min(ids) >= 0
    assert max(ids) < tokenizer.vocabulary
