"""Public traces and those of other simulators that are CSV files of arrivals and token counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from blis.trace.columns import TextColumn
from blis.trace.foreign.generated import generated_trace
from blis.trace.foreign.tables import Field, read_table
from blis.trace.trace import Trace

__all__ = ["FORMATS", "Format", "read_format"]


@dataclass(frozen=True, slots=True)
class Format:
    """A CSV format: what it is called, and the columns of arrivals, lengths and clients.

    Requests belong to a client named ``source``, or to one for every combination of what ``clients`` hold. The format
    is recognised by all these columns and those in ``also``.
    """

    name: str
    source: str
    arrival: Field
    input_tokens: Field
    output_tokens: Field
    clients: tuple[Field, ...] = ()
    also: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns by which the format is recognised."""
        fields = (self.arrival, self.input_tokens, self.output_tokens, *self.clients)
        return (*(field.name for field in fields), *self.also)


FORMATS = (
    Format(
        "Azure LLM inference trace",
        "azure",
        Field("TIMESTAMP", "date"),
        Field("ContextTokens", "tokens"),
        Field("GeneratedTokens", "tokens"),
    ),
    Format(
        "Splitwise/Vidur CSV",
        "vidur",
        Field("arrived_at", "seconds"),
        Field("num_prefill_tokens", "tokens"),
        Field("num_decode_tokens", "tokens"),
    ),
    Format(
        "BurstGPT CSV",
        "burstgpt",
        Field("Timestamp", "seconds"),
        Field("Request tokens", "tokens"),
        Field("Response tokens", "tokens"),
        (Field("Model", "text"), Field("Log Type", "text")),
        ("Total tokens",),
    ),
)


def read_format(path: Path, form: Format) -> Trace:
    """Read a CSV file of a known format.

    Raises:
        TraceError: naming line and column of what is wrong.
    """
    columns: Mapping[str, Any] = read_table(path, (form.arrival, form.input_tokens, form.output_tokens, *form.clients))
    arrival, epoch_us = columns[form.arrival.name], None
    if form.arrival.kind == "date" and len(arrival):
        epoch_us = int(arrival.min())
        arrival = arrival - epoch_us
    return generated_trace(
        form.source,
        arrival,
        columns[form.input_tokens.name],
        columns[form.output_tokens.name],
        clients=_joined([columns[field.name] for field in form.clients]),
        epoch_us=epoch_us,
    )


def _joined(texts: Sequence[TextColumn]) -> TextColumn | None:
    """The texts of each row with a blank between them."""
    if not texts:
        return None
    pairs, codes = np.unique(np.column_stack([text.codes for text in texts]), axis=0, return_inverse=True)
    words = [" ".join(text.words[code] for text, code in zip(texts, pair, strict=True)) for pair in pairs.tolist()]
    return TextColumn(codes.reshape(-1).astype(np.int32), words)
