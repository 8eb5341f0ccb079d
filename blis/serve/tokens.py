"""Tokens where there is no model: a tokenizer for any text, and the words of the answers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from zlib import crc32

from blis.rng import stream
from blis.server.streams import WORDS

__all__ = ["Tokenizer", "Words"]

_PIECE = re.compile(rb"[A-Za-z]{1,4}|[0-9]{1,3}|[\xc0-\xff][\x80-\xbf]*|[^\sA-Za-z0-9]")
_ROLES = {"system": 1, "user": 2, "assistant": 3, "tool": 4, "developer": 5}
_OTHER_ROLE, _END_OF_TURN, _SPECIALS = 6, 7, 8


class Tokenizer:
    """Cuts text into up to four letters, up to three digits, or one other character that isn't white space.

    That makes about as many tokens of English as the vocabularies of real models do. White space makes no difference,
    and a text's tokens are those of its words one after the other, so that an answer that is sent back as a part of a
    prompt has the tokens it had. A piece's id, of ``vocabulary`` ids, is a hash of it.

    >>> tokenizer = Tokenizer(32000)
    >>> len(tokenizer.encode("Predict the latencies of 1,000 requests."))
    13
    """

    def __init__(self, vocabulary: int) -> None:
        self.vocabulary = max(vocabulary, _SPECIALS + 1)
        self._ordinary = self.vocabulary - _SPECIALS

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text's tokens."""
        ordinary = self._ordinary
        return [_SPECIALS + crc32(piece) % ordinary for piece in _PIECE.findall(text.encode("utf-8", "replace"))]

    def encode_chat(self, messages: Iterable[tuple[str, str]]) -> list[int]:
        """Return the ids of a conversation of (role, text), up to the place where the assistant is to answer.

        Each turn has a token for its role before it, and one for its end behind it.
        """
        ids: list[int] = []
        for role, text in messages:
            ids += (_ROLES.get(role, _OTHER_ROLE), *self.encode(text), _END_OF_TURN)
        ids.append(_ROLES["assistant"])
        return ids


class Words:
    """What is said in answers: short common words in a fixed order, from a place that depends on the prompt.

    Each is a token by itself, with the blank before it. Token ``i`` of an answer that begins at ``start`` is word
    ``start + i``, counted round.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        short = [word for word in WORDS if len(word) <= 4]
        self._texts = [f" {short[index]}" for index in stream(0, "serve", "words").permutation(len(short))]
        self._ids = [tokenizer.encode(text)[0] for text in self._texts]

    def text(self, start: int, first: int, last: int) -> str:
        """Return the text of an answer's tokens ``first`` to ``last``, the last excluded."""
        texts, size = self._texts, len(self._texts)
        if last - first == 1:
            return texts[(start + first) % size]
        return "".join([texts[index % size] for index in range(start + first, start + last)])

    def ids(self, start: int, first: int, last: int) -> list[int]:
        """Return the ids of an answer's tokens ``first`` to ``last``, the last excluded."""
        ids, size = self._ids, len(self._ids)
        return [ids[index % size] for index in range(start + first, start + last)]
