"""Rows of a trace as requests: lengths, prompts and everything else that isn't about when they are sent."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from blis.clients.links import NOBODY, Links, contexts, growing, lean
from blis.errors import BlisError
from blis.request import ANSWER, ClientFacts, Parts, Request, Segment
from blis.trace import MISSING, FinishReason, Status, TextColumn, Trace
from blis.trace.reuse import answers_come_back

__all__ = ["UNKNOWN_PREFIX_TOKENS", "RecordedRequests", "is_status", "output_lengths", "sessions"]

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

UNKNOWN_PREFIX_TOKENS = 50
"""Length of shared prefixes in traces without ``prefix_length``: what the programs that wrote those prepended."""
_PARTS = ("text_tokens", "image_tokens", "audio_tokens", "video_tokens")


class RecordedRequests:
    """The requests of a trace's rows, without their times.

    Args:
        trace: Where the rows are.
        outputs: Output tokens of each row, as :func:`output_lengths` gives them.
        patience_us: Time from sending to deadline, -1 without a deadline.
        links: The sessions' rounds, for the rows ``order``, in that order.
        order: The rows that will be asked for.
        warn: Called with a sentence for whatever had to be guessed.

    All arrays are int64, shape (n,).

    Raises:
        BlisError: The tokens of a row contradict each other.
    """

    def __init__(
        self,
        trace: Trace,
        outputs: IntArray,
        patience_us: IntArray,
        links: Links,
        order: IntArray,
        warn: Callable[[str], None],
    ) -> None:
        texts = [trace.categories(name) for name in ("client_id", "tenant_id", "slo_class", "model", "prefix_group")]
        self._words = [words for _, words in texts]
        self._prefix = _prefixes(trace, warn)
        self._fact_cells = (*(codes for codes, _ in texts), trace.column("streaming"), self._prefix)
        self._facts: dict[tuple[int, ...], ClientFacts] = {}
        self._session = sessions(trace)
        self._session_words = trace.categories("session_id")[1]
        self._input = _known(trace, "input_tokens")
        self._outputs = outputs
        self._patience = lean(patience_us)
        self._limit = _known(trace, "max_output_tokens")
        self._round = _known(trace, "round_index")
        self._ratio = trace.column("reason_ratio")
        self._sequence = _sequence(trace, order)
        self._capped = _capped(trace, outputs)
        parts = [_known(trace, name) for name in _PARTS]
        self._parts = parts if any(part.any() for part in parts) else None
        self._table = trace.segments
        self._places = None if trace.segments is None else trace.segments.places(trace.column("request_id"))
        self._end = () if answers_come_back(trace) else (ANSWER,)
        self._prompt, self._grows = self._prompts(trace, links, order, warn)

    def request(self, row: int, now: int, grown: int = 0) -> Request:
        """The request of a row, sent at ``now``; its session's context has ``grown`` tokens more than recorded."""
        prompt = self._prompt.item(row)
        place = NOBODY if self._places is None else self._places.item(row)
        if place != NOBODY:
            assert self._table is not None
            segments = self._table.at(place)
        else:
            grows = self._grows.item(row)
            if grown and grows:
                prompt = max(prompt + grown, self._prefix.item(row) + self._input.item(row))
            segments = self._segments(row, prompt, grows)
        session = self._session.item(row)
        patience = self._patience.item(row)
        return Request(
            self._client(row),
            self._sequence.item(row),
            now,
            self._input.item(row),
            prompt,
            segments,
            self._outputs.item(row),
            self._limit.item(row),
            self._capped.item(row),
            None if patience < 0 else now + patience,
            "" if session == NOBODY else self._session_words[session],
            self._round.item(row),
            self._multimodal(row),
            self._ratio.item(row),
        )

    def _client(self, row: int) -> ClientFacts:
        key = tuple(cells.item(row) for cells in self._fact_cells)
        facts = self._facts.get(key)
        if facts is None:
            *codes, streaming, prefix = key
            client, tenant, slo_class, model, group = (
                words[code] for words, code in zip(self._words, codes, strict=True)
            )
            facts = ClientFacts(client, tenant, slo_class, model, bool(streaming), group, prefix)
            self._facts[key] = facts
        return facts

    def _segments(self, row: int, prompt: int, grows: bool) -> tuple[Segment, ...]:
        """A prompt as the columns tell it, the counterpart of :func:`blis.request.plain`."""
        prefix = self._prefix.item(row)
        rest = (self._session_words[self._session.item(row)] if grows else None, prompt - prefix)
        end = self._end if grows else ()
        return ((self._client(row).prefix_group, prefix), rest, *end) if prefix else (rest, *end)

    def _multimodal(self, row: int) -> Parts | None:
        if self._parts is None:
            return None
        text, image, audio, video = (part.item(row) for part in self._parts)
        return (text, image, audio, video) if text + image + audio + video else None

    def _prompts(
        self, trace: Trace, links: Links, order: IntArray, warn: Callable[[str], None]
    ) -> tuple[IntArray, BoolArray]:
        """Tokens of each row's prompt, and whether it continues its session's."""
        prompt = trace.column("prompt_tokens")
        unknown = prompt == MISSING
        if unknown.any():
            prompt = np.where(unknown, self._prefix + self._input, prompt)
        context = (prompt - self._prefix - self._input)[order]
        guessed = unknown[order] & (links.session != NOBODY)
        if guessed.any():
            context = np.where(guessed, contexts(links, self._input[order], self._outputs[order]), context)
            warn(_guessed_sessions(links, guessed, context))
        grows = np.zeros(len(prompt), np.bool_)
        grows[order] = growing(links, context)
        grows = lean(grows)
        if trace.header.mode == "real":
            counted = trace.column("server_input_tokens")
            prompt = np.where(counted > self._prefix, counted, prompt)
        if self._places is not None and self._table is not None:
            known = self._places != NOBODY
            prompt = np.where(known, self._table.sums()[self._places], prompt)
        _check(trace, prompt, self._prefix)
        return prompt, grows


def output_lengths(trace: Trace) -> tuple[IntArray, BoolArray]:
    """Output tokens to serve for each row, int64, and whether they are known, both of shape (n,).

    What a model was going to produce, which a timeout cuts: ``planned_output_tokens``. But a real server that completed
    a request has shown how much it produces.
    """
    planned, produced = trace.column("planned_output_tokens"), trace.column("output_tokens")
    shown = produced > 0
    first = shown & is_status(trace, Status.OK) if trace.header.mode == "real" else np.zeros(len(trace), np.bool_)
    known = (planned != MISSING) | shown
    return np.where(first | (planned == MISSING), np.maximum(produced, 0), planned), known


def is_status(trace: Trace, status: Status) -> BoolArray:
    """Which rows ended in ``status``, shape (n,)."""
    codes, words = trace.categories("status")
    return np.array([word == status for word in words], np.bool_)[codes]


def sessions(trace: Trace) -> IntArray:
    """Number of each row's session, int64, shape (n,), -1 for none."""
    codes, words = trace.categories("session_id")
    return lean(np.array([number if word else NOBODY for number, word in enumerate(words)], np.int64)[codes])


def _known(trace: Trace, name: str) -> IntArray:
    """A column with 0 where it has nothing."""
    column = trace.column(name)
    return lean(np.maximum(column, 0) if (column < 0).any() else column)


def _prefixes(trace: Trace, warn: Callable[[str], None]) -> IntArray:
    """Tokens of each row's shared prefix, 0 without a group."""
    codes, words = trace.categories("prefix_group")
    grouped = np.array([bool(word) for word in words], np.bool_)[codes]
    length = trace.column("prefix_length")
    unknown = grouped & (length == MISSING)
    if unknown.any():
        warn(
            f"the prefix_length of {np.count_nonzero(unknown):,} of {len(trace):,} requests isn't known: their shared"
            f" prefixes are taken to have {UNKNOWN_PREFIX_TOKENS} tokens"
        )
    return lean(np.where(unknown, UNKNOWN_PREFIX_TOKENS, np.where(grouped, length, 0)))


def _sequence(trace: Trace, order: IntArray) -> IntArray:
    """Each row's number within its client; by time where the trace has none."""
    known = trace.column("client_seq")
    if (known != MISSING).all():
        return known
    codes, words = trace.categories("client_id")
    counted = np.zeros(len(known), np.int64)
    counted[order] = TextColumn(codes[order], words).repetitions()
    return np.where(known == MISSING, counted, known)


def _capped(trace: Trace, outputs: IntArray) -> BoolArray:
    """Whether ``max_output_tokens`` cut the output; where none was completed, whether the output is as long as that."""
    codes, words = trace.categories("finish_reason")
    cut = np.array([word == FinishReason.LENGTH for word in words], np.bool_)[codes]
    limit = trace.column("max_output_tokens")
    return np.where(is_status(trace, Status.OK), cut, (limit > 0) & (outputs >= limit))


def _guessed_sessions(links: Links, guessed: BoolArray, context: IntArray) -> str:
    count = len(np.unique(links.session[guessed]))
    growing_ones = len(np.unique(links.session[guessed & (context > 0)]))
    return (
        f"sessions without prompt_tokens: {count:,}; the inputs of {growing_ones:,} of them grow as if they began with"
        " the rounds before, and are taken to; those of the others are taken to be new in every round"
    )


def _check(trace: Trace, prompt: IntArray, prefix: IntArray) -> None:
    wrong = np.flatnonzero(prompt < prefix)
    if wrong.size:
        row = int(wrong[0])
        raise BlisError(
            f"request {trace.column('request_id')[row]} has a prompt of {prompt[row]} tokens (prompt_tokens), but a"
            f" shared prefix of {prefix[row]} (prefix_length); a prompt includes its prefix"
        )
