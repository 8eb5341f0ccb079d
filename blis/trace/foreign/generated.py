"""Arrivals and lengths as a trace of what is to be served."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from blis.trace.columns import MISSING, TextColumn
from blis.trace.foreign.prefixes import PrefixTree
from blis.trace.header import TraceHeader
from blis.trace.trace import Trace

__all__ = ["generated_trace"]

IntArray = npt.NDArray[np.int64]


def generated_trace(
    source: str,
    arrival_us: IntArray,
    input_tokens: IntArray,
    output_tokens: IntArray,
    *,
    clients: TextColumn | None = None,
    epoch_us: int | None = None,
    prompts: PrefixTree | None = None,
) -> Trace:
    """The trace of these requests, numbered in order of arrival; arrays are int64, shape (n,).

    ``source`` names the format, and the client unless ``clients`` do. An output of 0 tokens means that the request
    failed and nobody knows how long its answer would have been. ``prompts`` has a sequence for each request.
    """
    count = len(arrival_us)
    order = np.argsort(arrival_us, kind="stable")
    output = output_tokens[order]
    if clients is None:
        clients = TextColumn(np.zeros(count, np.int32), (source,))
    client_id = TextColumn(clients.codes[order], clients.words)
    columns: dict[str, Any] = {
        "request_id": np.arange(count),
        "client_id": client_id,
        "client_seq": client_id.repetitions(),
        "streaming": np.ones(count, np.bool_),
        "input_tokens": input_tokens[order],
        "prompt_tokens": input_tokens[order],
        "output_tokens": output,
        "planned_output_tokens": np.where(output > 0, output, MISSING),
        "arrival_time_us": arrival_us[order],
    }
    segments = None
    if prompts is not None:
        ids = np.empty(count, np.int64)
        ids[order] = np.arange(count)
        segments = prompts.segments(ids)
    header = TraceHeader(mode="generated", epoch_us=epoch_us, run={"source": source})
    return Trace.from_columns(columns, header, segments=segments)
