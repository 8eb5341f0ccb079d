"""Prompts: from a request's segments to what a server is sent."""

from __future__ import annotations

from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from blis.request import Request, Segment
from blis.server.answer import Answer
from blis.server.streams import WORDS, Streams

__all__ = ["ChatPrompts", "Prompt", "Prompts", "Scale", "TextPrompts", "TokenPrompts"]

_MOST_KEPT = 4096
_PROBED_WORDS = 500.0
"""How many words of a run weigh as much as the probe did."""
_MOST_OFF = 2


_K = TypeVar("_K")
_V = TypeVar("_V")


class _Recent(Generic[_K, _V]):
    """Keeps what was used last: a run may have any number of sessions, few of which are under way."""

    def __init__(self) -> None:
        self._kept: dict[_K, _V] = {}

    def find(self, key: _K) -> _V | None:
        """What was put under ``key``, None where nothing was or it is long ago."""
        return self._kept.get(key)

    def put(self, key: _K, value: _V) -> None:
        """Keep ``value``, the newest now, in the place of what was there."""
        self._kept.pop(key, None)
        self._kept[key] = value
        if len(self._kept) > _MOST_KEPT:
            del self._kept[next(iter(self._kept))]


class Prompt(NamedTuple):
    """What goes into a request's body, as JSON takes it (numpy's arrays too), and what is remembered of it.

    ``own`` is the text of the request's own part; ``words`` how many words of the list the whole prompt has, 0 where
    it holds other text too.
    """

    fields: dict[str, Any]
    own: str = ""
    words: int = 0


class Prompts(Protocol):
    """Makes prompts for requests."""

    def make(self, request: Request) -> Prompt:
        """Return the prompt for ``request``."""
        ...

    def answered(self, request: Request, prompt: Prompt, answer: Answer) -> None:
        """Learn from a complete answer: its text or tokens belong to its session from now on."""
        ...


class TokenPrompts:
    """Prompts as arrays of token ids: lengths, and what two prompts share, are exact.

    ``vocabulary`` are the ids to choose from, int64, shape (v,). A session's later rounds hold the tokens that the
    server produced where it tells them, and others in their place, which its cache can't know, where it doesn't.
    """

    def __init__(self, seed: int, vocabulary: npt.NDArray[np.int64]) -> None:
        self._vocabulary = vocabulary
        self._streams = Streams(seed, len(vocabulary))
        self._produced: _Recent[str, list[tuple[int, list[int]]]] = _Recent()

    def make(self, request: Request) -> Prompt:
        """See :class:`Prompts`."""
        parts = [self._part(request, number, segment) for number, segment in enumerate(request.segments)]
        return Prompt({"prompt": parts[0] if len(parts) == 1 else np.concatenate(parts)})

    def answered(self, request: Request, prompt: Prompt, answer: Answer) -> None:
        """See :class:`Prompts`."""
        key, tokens = request.segments[-1]
        if key is not None and answer.token_ids:
            self._produced.put(key, [*(self._produced.find(key) or ()), (tokens, answer.token_ids)])

    def _part(self, request: Request, number: int, segment: Segment) -> npt.NDArray[np.int64]:
        key, tokens = segment
        if key is None:
            return self._vocabulary[self._streams.unique(request.client.client_id, request.client_seq, number, tokens)]
        part = self._vocabulary[self._streams.of_key(key, 0, tokens)]
        for start, ids in self._produced.find(key) or ():
            if start + len(ids) <= tokens:
                part[start : start + len(ids)] = ids
        return part


class Scale:
    """How many words make a number of tokens, by what the server counted so far.

    ``overhead`` tokens come with every prompt: a chat template, or a token that begins the text.
    """

    def __init__(self, tokens_per_word: float, overhead: int) -> None:
        self.overhead = overhead
        self._words = _PROBED_WORDS
        self._tokens = _PROBED_WORDS * tokens_per_word

    @property
    def tokens_per_word(self) -> float:
        """The present estimate."""
        return self._tokens / self._words

    def words(self, tokens: int) -> int:
        """The number of words for ``tokens``."""
        return round(tokens * self._words / self._tokens)

    def learn(self, words: int, tokens: int) -> None:
        """Take note that a prompt of ``words`` had ``tokens`` by the server's count, unless that is out of all reason.

        A server that always counts the same, or in other units, would otherwise be sent longer and longer prompts.
        """
        own, expected = tokens - self.overhead, words * self.tokens_per_word
        if expected / _MOST_OFF <= own <= expected * _MOST_OFF:
            self._words += words
            self._tokens += own


class TextPrompts:
    """Prompts as texts of common words, their lengths as near as the ``scale`` of tokens per word allows.

    Texts that prompts share stay as they were first sent while the scale is refined, and a session's later rounds hold
    what was really said: its own earlier texts and the server's answers.
    """

    def __init__(self, seed: int, scale: Scale, words: tuple[str, ...] = WORDS) -> None:
        self.scale = scale
        self._list = np.array(words, object)
        self._streams = Streams(seed, len(words))
        self._shared: _Recent[tuple[str, int], str] = _Recent()
        self._said: _Recent[str, list[tuple[int, str, str]]] = _Recent()

    def make(self, request: Request) -> Prompt:
        """See :class:`Prompts`."""
        shared, history, own, words = self._texts(request)
        said = [text for turn in history for text in turn]
        return Prompt({"prompt": " ".join(filter(None, (shared, *said, own)))}, own, words)

    def answered(self, request: Request, prompt: Prompt, answer: Answer) -> None:
        """See :class:`Prompts`."""
        self.scale.learn(prompt.words, answer.prompt_tokens)
        key, tokens = request.segments[-1]
        if key is not None:
            turn = (tokens + max(answer.output_tokens, 0), prompt.own, answer.text)
            self._said.put(key, [*(self._said.find(key) or ()), turn])

    def _texts(self, request: Request) -> tuple[str, list[tuple[str, str]], str, int]:
        """Return the shared start, what was said before as (question, answer), the own part, and the words in all."""
        *leading, (key, tokens) = request.segments
        pooled = bool(leading) and not tokens
        if pooled:
            # A segment without tokens only says that the answer isn't part of what comes before it.
            *leading, (key, tokens) = leading
        shared = " ".join(self._shared_text(request, number, segment) for number, segment in enumerate(leading))
        shared_words = shared.count(" ") + bool(shared)
        if key is None:
            length = self._length(tokens - self.scale.overhead)
            own = self._text(self._streams.unique(request.client.client_id, request.client_seq, len(leading), length))
            return shared, [], own, shared_words + length
        if pooled:
            own = self._shared_text(request, len(leading), (key, max(tokens - self.scale.overhead, 0)))
            return shared, [], own, shared_words + own.count(" ") + 1
        history, covered = self._history(key, tokens - request.input_tokens)
        # What comes on top of every prompt is taken off its first part; a later round has that behind it.
        length = self._length(tokens - covered - (0 if history else self.scale.overhead))
        start = self.scale.words(covered)
        own = self._text(self._streams.of_key(key, start, start + length))
        return shared, history, own, 0 if history else shared_words + length

    def _length(self, tokens: int) -> int:
        return max(self.scale.words(tokens), 1)

    def _history(self, key: str, context: int) -> tuple[list[tuple[str, str]], int]:
        """Return the turns within the first ``context`` tokens of a key, and how many tokens they cover."""
        turns = [turn for turn in self._said.find(key) or () if turn[0] <= context]
        return [(question, answer) for _, question, answer in turns], turns[-1][0] if turns else 0

    def _shared_text(self, request: Request, number: int, segment: Segment) -> str:
        key, tokens = segment
        length = self._length(tokens)
        if key is None:
            return self._text(self._streams.unique(request.client.client_id, request.client_seq, number, length))
        text = self._shared.find((key, tokens))
        if text is None:
            text = self._text(self._streams.of_key(key, 0, length))
            self._shared.put((key, tokens), text)
        return text

    def _text(self, indices: npt.NDArray[np.int32]) -> str:
        return " ".join(self._list[indices])


class ChatPrompts(TextPrompts):
    """Prompts as messages: what is shared by the system, what was said before in turns, then the own part."""

    def make(self, request: Request) -> Prompt:
        """See :class:`Prompts`."""
        shared, history, own, words = self._texts(request)
        messages = [{"role": "system", "content": shared}] if shared else []
        for question, answer in history:
            messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        messages.append({"role": "user", "content": own})
        return Prompt({"messages": messages}, own, words)
