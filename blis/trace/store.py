"""Traces to and from files."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from blis.errors import TraceError
from blis.trace.chunks import ChunkTimes, read_chunks, write_chunks
from blis.trace.columns import ArrayColumns, Columns
from blis.trace.csv_read import read_itl, read_rows
from blis.trace.csv_write import RowWriter, write_itl
from blis.trace.files import TraceFiles, found, named, staged
from blis.trace.header import TraceHeader
from blis.trace.histogram import Histogram
from blis.trace.segments import SegmentTable, read_segments, write_segments
from blis.trace.server_metrics import ServerMetrics, read_metrics, write_metrics

__all__ = ["read_trace", "write_trace"]


def write_trace(
    path: str | os.PathLike[str],
    header: TraceHeader,
    parts: Iterable[Columns],
    itl: Histogram | None = None,
    provenance: Mapping[str, Any] | None = None,
    segments: SegmentTable | None = None,
    chunks: ChunkTimes | None = None,
    metrics: ServerMetrics | None = None,
) -> TraceFiles:
    """Write a trace whose rows are those of ``parts``, one after another; parts may be made while they are written.

    ``path`` is a prefix P, giving P.yaml, P.csv, P.provenance.json, with ``itl`` P.itl.csv, with ``segments``
    P.segments.jsonl, with ``chunks`` P.chunks.csv and with ``metrics`` P.metrics.csv; ending in ``.parquet``, rows,
    chunk times and metrics go to P.parquet, P.chunks.parquet and P.metrics.parquet. All files appear when all are
    complete. Equal traces give equal bytes in all of them but the provenance, which says when and with which versions,
    and what ``provenance`` adds.

    Raises:
        TraceError: where the files can't be written; nothing has changed then.
    """
    files = named(path)
    as_parquet = files.data.suffix == ".parquet"
    either = (files.other_data, files.chunks_csv, files.chunks_parquet, files.metrics_csv, files.metrics_parquet)
    gone = tuple(path for path in either if path not in files.paths)
    *kept, header_file = files.paths
    with staged(*kept, *gone, header_file) as (data, gaps, prompts, times, levels, facts, *_, head):
        if as_parquet:
            from blis.trace.parquet import write_parquet

            write_parquet(data, parts)
        else:
            with open(data, "wb") as file:
                writer = RowWriter(file)
                writer.write_names()
                for part in parts:
                    writer.write(part)
        if itl is not None:
            with open(gaps, "wb") as file:
                write_itl(file, itl)
        if segments:
            with open(prompts, "wb") as lines:
                write_segments(lines, segments)
        if chunks is not None:
            write_chunks(times, chunks, parquet=as_parquet)
        if metrics is not None:
            write_metrics(levels, metrics, parquet=as_parquet)
        facts.write_bytes(orjson.dumps(_provenance(provenance), option=orjson.OPT_INDENT_2) + b"\n")
        head.write_text(header.to_yaml(), encoding="utf-8", newline="\n")
    return files


def read_trace(
    path: str | os.PathLike[str], header_path: str | os.PathLike[str] | None = None
) -> tuple[TraceHeader, ArrayColumns, Histogram | None, SegmentTable | None, ChunkTimes | None, ServerMetrics | None]:
    """Read the trace at ``path`` (its prefix, header or data): header, rows, and what is beside them (None without).

    ``header_path`` is its header where that isn't beside the data.

    Raises:
        TraceError: naming file, line and column of what is wrong.
    """
    files = found(path, header_path)
    header = TraceHeader.from_yaml(_text(files.header), str(files.header))
    if files.data.suffix == ".parquet":
        from blis.trace.parquet import read_parquet

        columns = read_parquet(files.data, header.mode)
    else:
        columns = read_rows(files.data, header.mode)
    itl = read_itl(files.itl) if files.itl.exists() else None
    segments = read_segments(files.segments) if files.segments.exists() else None
    times = _first_there(files.chunks, files.chunks_csv, files.chunks_parquet)
    levels = _first_there(files.metrics, files.metrics_csv, files.metrics_parquet)
    chunks = None if times is None else read_chunks(times)
    return header, columns, itl, segments, chunks, None if levels is None else read_metrics(levels)


def _first_there(*paths: Path) -> Path | None:
    return next((path for path in paths if path.exists()), None)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise TraceError(f"can't read {path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise TraceError(f"{path}: byte {error.start + 1} isn't UTF-8; save the file as UTF-8") from None


def _provenance(more: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "blis": getattr(sys.modules.get("blis"), "__version__", "unknown"),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        **(more or {}),
    }
