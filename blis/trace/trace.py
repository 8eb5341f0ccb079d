"""A trace: one row per request, whether simulated or observed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from blis.errors import BlisError
from blis.trace.chunks import ChunkTimes
from blis.trace.columns import COLUMNS, MISSING, STEP_COLUMNS, ArrayColumns, Columns, column_named
from blis.trace.files import TraceFiles
from blis.trace.header import TraceHeader
from blis.trace.histogram import Histogram
from blis.trace.rows import TableColumns
from blis.trace.segments import SegmentTable
from blis.trace.server_metrics import ServerMetrics
from blis.trace.store import read_trace, write_trace
from blis.trace.table import RecordTable

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Trace"]

_TEXT_KINDS = ("text", "status")
_UNREPEATED = ("session_id", "error_message", "token_time_ref")


class Trace:
    """Requests with their times, under the names the columns of trace files have.

    ``header`` says what was run; ``itl`` counts the gaps between tokens, in microseconds, over all requests, where
    they were recorded; ``segments`` holds the prompts of requests whose columns don't express them, if there are any,
    ``chunks`` the times of every chunk, and ``metrics`` what the servers said of themselves, where they were recorded.
    Times are whole microseconds since the run's start; what never came is
    :data:`blis.trace.MISSING` (-1) in arrays and blank in files.

    >>> trace = Trace.from_columns(
    ...     {"request_id": [0, 1], "client_id": ["a", "b"], "arrival_time_us": [0, 2500], "input_tokens": [100, 20]}
    ... )
    >>> len(trace), trace.column("arrival_time_us").tolist(), trace.column("client_id").tolist()
    (2, [0, 2500], ['a', 'b'])
    >>> trace.column("first_chunk_time_us").tolist()
    [-1, -1]
    """

    def __init__(
        self,
        header: TraceHeader,
        columns: Columns,
        itl: Histogram | None = None,
        segments: SegmentTable | None = None,
        chunks: ChunkTimes | None = None,
        metrics: ServerMetrics | None = None,
    ) -> None:
        self.header = header
        self.itl = itl
        self.segments = segments or None
        self.chunks = chunks
        self.metrics = metrics
        self._columns = columns

    @classmethod
    def from_table(
        cls,
        table: RecordTable,
        header: TraceHeader,
        itl: Histogram | None = None,
        ids: npt.NDArray[np.int64] | None = None,
    ) -> Trace:
        """The trace of a finished simulation; the table is read where it lies and mustn't change any more.

        ``ids`` are the numbers that requests go by in the trace, int64, shape (n,), where those aren't the table's.

        Raises:
            InternalError: where a request has no row.
        """
        segments = table.segments if ids is None else table.segments.renumbered(ids)
        return cls(header, TableColumns(table, ids), itl, segments)

    @classmethod
    def from_columns(
        cls,
        columns: Mapping[str, Any],
        header: TraceHeader | None = None,
        itl: Histogram | None = None,
        segments: SegmentTable | None = None,
        chunks: ChunkTimes | None = None,
    ) -> Trace:
        """A trace of arrays or lists by column name, all of one length; the other columns stay neutral.

        Raises:
            BlisError: for an unknown column, unequal lengths, or a value out of its range.
        """
        return cls(header or TraceHeader(), ArrayColumns(columns), itl, segments, chunks)

    @classmethod
    def read(cls, path: str | os.PathLike[str], header: str | os.PathLike[str] | None = None) -> Trace:
        """Read a trace by its prefix, its header or its data; ``header`` is for one that isn't beside the data.

        Raises:
            TraceError: naming file, line and column of what is wrong.
        """
        return cls(*read_trace(path, header))

    def write(self, path: str | os.PathLike[str], provenance: Mapping[str, Any] | None = None) -> TraceFiles:
        """Write header, rows and what is beside them under the prefix ``path``; see :func:`blis.trace.write_trace`."""
        beside = (self.segments, self.chunks, self.metrics)
        return write_trace(path, self.header, [self._columns], self.itl, provenance, *beside)

    def __len__(self) -> int:
        """Number of requests."""
        return len(self._columns)

    @property
    def rows(self) -> Columns:
        """The rows, for reading them a stretch at a time."""
        return self._columns

    def column(self, name: str) -> npt.NDArray[Any]:
        """A column, shape (n,): int64 (-1 for nothing), bool, float64 or, for texts, object. Don't change it.

        ``first_step`` and ``last_step`` give the numbers behind ``token_time_ref``.

        Raises:
            BlisError: for a name that no trace has.
        """
        kind = column_named(name).kind
        if kind in _TEXT_KINDS:
            return self._columns.text(name, 0, len(self)).texts()
        if kind == "steps":
            first, last = (self._columns.numbers(step, 0, len(self)).tolist() for step in STEP_COLUMNS)
            texts = ["" if a == MISSING else f"{a}-{b}" for a, b in zip(first, last, strict=True)]
            return np.array(texts, object)
        return self._columns.numbers(name, 0, len(self))

    def categories(self, name: str) -> tuple[npt.NDArray[np.int32], Sequence[str]]:
        """A column of texts as codes, int32 of shape (n,), into its distinct words (of which some may be unused).

        Raises:
            BlisError: for a column that isn't one of repeated texts.
        """
        if column_named(name).kind not in _TEXT_KINDS:
            raise BlisError(f"column {name!r} doesn't hold texts; read it with column()")
        text = self._columns.text(name, 0, len(self)).normalised()
        return text.codes, text.words

    def to_frame(self) -> pd.DataFrame:
        """All columns as a pandas table; whole numbers with gaps are of type Int64, repeated texts categories."""
        import pandas as pd

        frame: dict[str, Any] = {}
        for column in COLUMNS:
            name = column.name
            if column.kind in _TEXT_KINDS and name not in _UNREPEATED:
                codes, words = self.categories(name)
                used, compact = np.unique(codes, return_inverse=True)
                frame[name] = pd.Categorical.from_codes(compact, pd.Index([words[code] for code in used.tolist()]))
                continue
            values = self.column(name)
            if column.kind == "int" and len(values) and values.min() == MISSING:
                frame[name] = pd.arrays.IntegerArray(values.copy(), values == MISSING)
            else:
                frame[name] = values
        return pd.DataFrame(frame)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Trace):
            return NotImplemented
        return (
            len(self) == len(other)
            and self.header == other.header
            and self.itl == other.itl
            and self.segments == other.segments
            and self.chunks == other.chunks
            and self.metrics == other.metrics
            and all(np.array_equal(self.column(name), other.column(name)) for name in _COMPARED)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Trace of {len(self)} requests, {self.header.mode}>"


_COMPARED = (*(column.name for column in COLUMNS if column.kind != "steps"), *STEP_COLUMNS)
