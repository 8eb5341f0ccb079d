"""The rows of an observed run, as they come in."""

from __future__ import annotations

from array import array
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from blis.request import ClientFacts, Parts
from blis.trace.chunks import ChunkTimes
from blis.trace.columns import MISSING, ArrayColumns, TextColumn
from blis.trace.histogram import Histogram

__all__ = ["NO_USAGE", "ObservedRow", "ObservedRows"]

NO_USAGE = "no usage in the answer: output_tokens is an estimate"
"""Ends the error message of a completed request whose tokens the server didn't count."""


class ObservedRow(NamedTuple):
    """One request of an observed run, as its row in a trace will be.

    Times are microseconds since the run's start; :data:`blis.trace.MISSING` stands for what never came or nobody said.
    ``setup_us`` is how long the opening of a connection held up its send; no column of a trace has it.
    """

    request_id: int
    client: ClientFacts
    client_seq: int
    session_id: str
    round_index: int
    input_tokens: int
    prompt_tokens: int
    planned_output_tokens: int
    max_output_tokens: int
    parts: Parts | None
    reason_ratio: float
    deadline_us: int
    arrival_time_us: int
    send_time_us: int
    setup_us: int
    first_chunk_time_us: int
    last_chunk_time_us: int
    num_chunks: int
    output_tokens: int
    server_input_tokens: int
    cached_tokens: int
    status: str
    finish_reason: str
    error_message: str


_WHOLE = (
    "request_id client_seq round_index input_tokens prompt_tokens planned_output_tokens max_output_tokens deadline_us"
    " arrival_time_us send_time_us first_chunk_time_us last_chunk_time_us num_chunks output_tokens server_input_tokens"
    " cached_tokens"
).split()
_WORDS = ("session_id", "status", "finish_reason", "error_message")
_FACTS = ("client_id", "tenant_id", "slo_class", "model", "prefix_group")
_PARTS = ("text_tokens", "image_tokens", "audio_tokens", "video_tokens")
_AT = {name: ObservedRow._fields.index(name) for name in (*_WHOLE, *_WORDS)}


class ObservedRows:
    """Gathers rows in any order, about 200 bytes each, and the gaps between the chunks of all streams.

    ``with_chunks`` keeps the times of all chunks, too, for 8 bytes each. ``own_delays_us`` has, for each request that
    was sent, how late that was, the opening of a connection for it not counted: the sender's own share of the delay.
    """

    def __init__(self, *, with_chunks: bool = False) -> None:
        self.gaps_us = Histogram()
        self.own_delays_us = array("q")
        self._chunks: dict[int, npt.NDArray[np.int64]] | None = {} if with_chunks else None
        self._numbers = [(array("q"), _AT[name]) for name in _WHOLE]
        self._words: list[tuple[array[int], dict[str, int], int]] = [(array("i"), {}, _AT[name]) for name in _WORDS]
        self._clients: dict[ClientFacts, int] = {}
        self._client = array("i")
        self._ratios = array("d")
        self._parts: dict[int, Parts] = {}

    def __len__(self) -> int:
        return len(self._client)

    def record(self, row: ObservedRow, chunk_us: npt.NDArray[np.int64]) -> None:
        """Add a row, and the times of its chunks."""
        cells: tuple[Any, ...] = row
        for numbers, place in self._numbers:
            numbers.append(cells[place])
        for codes, words, place in self._words:
            codes.append(words.setdefault(cells[place], len(words)))
        self._client.append(self._clients.setdefault(row.client, len(self._clients)))
        self._ratios.append(row.reason_ratio)
        if row.parts is not None:
            self._parts[len(self) - 1] = row.parts
        if row.send_time_us != MISSING:
            self.own_delays_us.append(row.send_time_us - row.arrival_time_us - row.setup_us)
        if len(chunk_us) > 1:
            self.gaps_us.add(np.diff(chunk_us))
        if self._chunks is not None and row.first_chunk_time_us != MISSING:
            self._chunks[row.request_id] = chunk_us

    def chunks(self) -> ChunkTimes | None:
        """The times of the chunks of all streams so far; None where they aren't kept."""
        return None if self._chunks is None else ChunkTimes.of(list(self._chunks), self._chunks.values())

    def columns(self) -> ArrayColumns:
        """The rows so far in order of their ids, as a trace has them."""
        ids = np.array(self._numbers[0][0], np.int64)
        order = np.argsort(ids, kind="stable")
        values: dict[str, Any] = {
            name: np.array(numbers, np.int64)[order] for name, (numbers, _) in zip(_WHOLE, self._numbers, strict=True)
        }
        for name, (codes, words, _) in zip(_WORDS, self._words, strict=True):
            values[name] = TextColumn(np.array(codes, np.int32)[order], tuple(words))
        client = np.array(self._client, np.int32)[order]
        facts = tuple(self._clients)
        for name in _FACTS:
            values[name] = TextColumn(client, [getattr(one, name) for one in facts])
        values["streaming"] = np.array([one.streaming for one in facts], np.bool_)[client]
        values["prefix_length"] = np.array([one.prefix_length for one in facts], np.int64)[client]
        values["reason_ratio"] = np.array(self._ratios)[order]
        parts = np.zeros((len(order), len(_PARTS)), np.int64)
        for place, counts in self._parts.items():
            parts[place] = counts
        for index, name in enumerate(_PARTS):
            values[name] = parts[order, index]
        return ArrayColumns(values)
