"""Prompts from a pool as a server gets them: the same each time, whatever was answered."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from small_cases import request

from blis.request import ANSWER, Request
from blis.server.prompts import ChatPrompts, Scale, TextPrompts, TokenPrompts


def pooled(number: int, tokens: int, *, prefix: int = 0) -> Request:
    head = (("docs", prefix),) if prefix else ()
    return request(prompt=(*head, (f"a prompt {number}", tokens), ANSWER))


@pytest.mark.parametrize("kind", [TextPrompts, ChatPrompts])
@pytest.mark.parametrize("prefix", [0, 30])
def test_a_pooled_prompt_is_the_same_text_each_time(kind: Any, prefix: int) -> None:
    prompts = kind(1, Scale(1.0, 4))
    first, other, again = (prompts.make(pooled(number, 100, prefix=prefix)) for number in (0, 1, 0))
    assert first.fields == again.fields != other.fields
    assert first.words == 96 + prefix
    prompts.scale.learn(1000, 1200)
    assert prompts.make(pooled(0, 100, prefix=prefix)).fields == first.fields
    # Another prompt is made by what has been learnt.
    assert prompts.make(pooled(2, 104)).words == pytest.approx(100 / prompts.scale.tokens_per_word, abs=1)


def test_a_pooled_prompt_has_the_same_tokens_each_time() -> None:
    prompts = TokenPrompts(1, np.arange(100, 1000))
    first, other, again = (prompts.make(pooled(number, 100, prefix=7)).fields["prompt"] for number in (0, 1, 0))
    assert len(first) == 107
    assert first.tolist() == again.tolist()
    assert first[:7].tolist() == other[:7].tolist()
    assert first[7:].tolist() != other[7:].tolist()
