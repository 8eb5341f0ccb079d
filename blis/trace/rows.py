"""A simulation's table seen as the columns of a trace."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from blis.errors import InternalError
from blis.trace.columns import MISSING, TextColumn
from blis.trace.status import FINISH_REASONS, STATUS_CODES, STATUSES, Status
from blis.trace.table import RecordTable

__all__ = ["TableColumns"]

_STATUS_WORDS = tuple(status.value for status in STATUSES)
_FINISH_WORDS = tuple(reason.value for reason in FINISH_REASONS)
_FIELDS = {
    "round_index": "round_index",
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "text_tokens": "text",
    "image_tokens": "image",
    "audio_tokens": "audio",
    "video_tokens": "video",
    "reason_ratio": "reason_ratio",
    "deadline_us": "deadline_us",
    "arrival_time_us": "arrival_us",
    # A simulated request is sent when it arrives, and streams one chunk per token.
    "send_time_us": "arrival_us",
    "num_chunks": "output_tokens",
    "first_chunk_time_us": "first_us",
    "last_chunk_time_us": "last_us",
    "scheduling_delay_us": "scheduling_delay_us",
    "preemptions": "preemptions",
    "cached_tokens": "cached_tokens",
    "prompt_tokens": "prompt_tokens",
    "max_output_tokens": "max_output_tokens",
    "planned_output_tokens": "planned_output_tokens",
    "client_seq": "client_seq",
    "first_step": "first_step",
    "last_step": "last_step",
}
_FACTS = ("client_id", "tenant_id", "slo_class", "prefix_group", "model")


class TableColumns:
    """The columns of a finished run; reads the table where it lies, a stretch at a time.

    ``ids`` are the request ids of the rows, int64, shape (n,), where those aren't the table's own.

    Raises:
        InternalError: where a request has no row.
    """

    def __init__(self, table: RecordTable, ids: npt.NDArray[np.int64] | None = None) -> None:
        table.pack()
        missing = table.missing()
        if missing.size:
            raise InternalError(
                f"{missing.size} requests ended without a record, the first is {missing[0]}; please report this with"
                " the run's seed"
            )
        self._table = table
        self._ids = ids
        self._length = len(table)
        self._message_ids = np.array(sorted(table.messages), np.int64)
        self._messages = tuple(table.messages[int(i)] for i in self._message_ids)
        self._facts = {name: [getattr(client, name) for client in table.clients] for name in _FACTS}
        self._client_numbers = {
            "streaming": np.array([client.streaming for client in table.clients], np.bool_),
            "prefix_length": np.array([client.prefix_length for client in table.clients], np.int64),
        }

    def __len__(self) -> int:
        return self._length

    def numbers(self, name: str, start: int, stop: int) -> npt.NDArray[Any]:
        table = self._table
        stop = min(stop, self._length)
        if name == "request_id":
            return np.arange(start, stop) if self._ids is None else self._ids[start:stop]
        by_client = self._client_numbers.get(name)
        if by_client is not None:
            numbers: npt.NDArray[Any] = by_client[table.column("client", start, stop)]
            return numbers
        if name == "server_input_tokens":
            prompt = table.column("prompt_tokens", start, stop)
            reached = table.column("instance", start, stop) >= 0
            reached &= table.column("status", start, stop) != STATUS_CODES[Status.UNSERVABLE]
            return np.where(reached, prompt, MISSING)
        values = table.column(_FIELDS[name], start, stop)
        return values if name == "reason_ratio" else values.astype(np.int64, copy=False)

    def text(self, name: str, start: int, stop: int) -> TextColumn:
        table = self._table
        stop = min(stop, self._length)
        if name in _FACTS:
            return TextColumn(table.column("client", start, stop), self._facts[name])
        if name == "session_id":
            return TextColumn(table.column("session", start, stop), table.sessions)
        if name == "instance":
            return TextColumn(table.column("instance", start, stop), table.instances)
        if name == "status":
            return TextColumn(table.column("status", start, stop).astype(np.int32), _STATUS_WORDS)
        if name == "finish_reason":
            return TextColumn(table.column("finish", start, stop).astype(np.int32), _FINISH_WORDS)
        codes = np.full(stop - start, -1, np.int32)
        low, high = np.searchsorted(self._message_ids, (start, stop))
        codes[self._message_ids[low:high] - start] = np.arange(low, high)
        return TextColumn(codes, self._messages)
