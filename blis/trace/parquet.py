"""Rows to and from Parquet, for those who have pyarrow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from blis.errors import TraceError
from blis.spec.words import shown
from blis.trace.cells import Collector, complaint
from blis.trace.columns import COLUMNS, MISSING, OURS, STEP_COLUMNS, ArrayColumns, Column, Columns, TextColumn
from blis.trace.csv_read import check_names, first_repeated, from_arrays

__all__ = ["read_parquet", "write_parquet"]

_STRETCH = 65536


def write_parquet(path: Path, parts: Iterable[Columns]) -> None:
    """Write the rows of all ``parts`` to one file, a row group per stretch; blanks are nulls.

    Raises:
        TraceError: without pyarrow.
    """
    pa, pq = _pyarrow()
    types = {"int": pa.int64(), "flag": pa.bool_(), "ratio": pa.float64(), "steps": pa.string()}
    text = pa.dictionary(pa.int32(), pa.string())
    schema = pa.schema([(column.name, types.get(column.kind, text)) for column in COLUMNS])
    with pq.ParquetWriter(path, schema) as writer:
        for part in parts:
            for start in range(0, len(part), _STRETCH):
                stop = min(start + _STRETCH, len(part))
                arrays = [_arrow(pa, part, column, start, stop) for column in COLUMNS]
                writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def read_parquet(path: Path, mode: str) -> ArrayColumns:
    """Read the rows of a trace, as :func:`blis.trace.csv_read.read_rows` does for CSV.

    Raises:
        TraceError: naming file, row and column; without pyarrow, too.
    """
    pa, pq = _pyarrow()
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise TraceError(f"can't read {path} as Parquet: {error}") from None
    columns = check_names(table.column_names, str(path))
    arrays: dict[str, Any] = {}
    for column in columns:
        arrays.update(_from_arrow(pa, table.column(column.name), column, path))
    twice = first_repeated(arrays["request_id"])
    if twice is not None:
        first, second = twice
        raise TraceError(
            f"{path}: row {second + 1}, column request_id: found {arrays['request_id'][first]}, which row {first + 1}"
            " has already; give every request its own number"
        )
    return from_arrays(arrays, OURS.isdisjoint(table.column_names), mode)


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise TraceError(
            "Parquet needs pyarrow, which isn't installed: pip install 'blis-sim[parquet]', or use a .csv file"
        ) from None
    return pyarrow, pyarrow.parquet


def _arrow(pa: Any, part: Columns, column: Column, start: int, stop: int) -> Any:
    if column.kind in ("flag", "ratio"):
        return pa.array(part.numbers(column.name, start, stop))
    if column.kind == "int":
        values = part.numbers(column.name, start, stop)
        return pa.array(values, mask=values == MISSING)
    if column.kind == "steps":
        first, last = (part.numbers(name, start, stop).tolist() for name in STEP_COLUMNS)
        texts = [None if a == MISSING else f"{a}-{b}" for a, b in zip(first, last, strict=True)]
        return pa.array(texts, pa.string())
    text = TextColumn(*_codes_and_words(part.text(column.name, start, stop)))
    return pa.DictionaryArray.from_arrays(pa.array(text.codes), pa.array(list(text.words), pa.string()))


def _codes_and_words(text: TextColumn) -> tuple[npt.NDArray[np.int32], Sequence[str]]:
    """Only the words that are used, so that a stretch of a column of many words stays small."""
    used, codes = np.unique(text.codes, return_inverse=True)
    words = ["" if code < 0 else text.words[code] for code in used.tolist()]
    safe = [word.encode("utf-8", "backslashreplace").decode() for word in words]
    unique = {word: index for index, word in enumerate(dict.fromkeys(safe))}
    return np.array([unique[word] for word in safe], np.int32)[codes], tuple(unique)


def _from_arrow(pa: Any, chunked: Any, column: Column, path: Path) -> dict[str, Any]:
    kinds = {
        "int": pa.types.is_integer,
        "flag": pa.types.is_boolean,
        "ratio": lambda found: pa.types.is_floating(found) or pa.types.is_integer(found),
    }
    fits = kinds.get(column.kind, lambda found: pa.types.is_dictionary(found) or pa.types.is_string(found))
    if pa.types.is_null(chunked.type):
        chunked = chunked.cast(pa.int64() if column.kind == "int" else pa.string())
    elif not fits(chunked.type):
        raise TraceError(f"{path}: column {column.name}: found {chunked.type}; allowed is {column.allowed}")
    if column.kind in ("flag", "ratio", "int"):
        return {column.name: _numbers(chunked, column, path)}
    texts = ["" if cell is None else cell for cell in chunked.to_pylist()]
    if column.kind == "text":
        return {column.name: TextColumn.of(texts)}
    collector = Collector(column, False)
    try:
        if texts:
            collector.add(tuple(texts))
    except (ValueError, OverflowError):
        row, cell = next((row, cell) for row, cell in enumerate(texts, 1) if complaint(column, cell))
        raise TraceError(_bad(path, row, column, cell)) from None
    return collector.result()


def _numbers(chunked: Any, column: Column, path: Path) -> npt.NDArray[Any]:
    missing = np.asarray(chunked.is_null().combine_chunks())
    blank = {"int": MISSING, "ratio": 0}.get(column.kind)
    if not column.blank or blank is None:
        wrong = missing
    else:
        wrong = np.zeros(len(missing), np.bool_)
    if blank is not None:
        chunked = chunked.fill_null(blank)
    values = np.asarray(chunked.combine_chunks()) if len(chunked) else np.empty(0, np.int64)
    if column.kind == "int" and values.size:
        wrong = wrong | (~missing & ((values < 0) | (values > np.iinfo(np.int64).max)))
    elif column.kind == "ratio" and values.size:
        wrong = wrong | ~((values >= 0) & (values <= 1))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise TraceError(_bad(path, row + 1, column, None if missing[row] else values[row].item()))
    return values


def _bad(path: Path, row: int, column: Column, found: Any) -> str:
    return f"{path}: row {row}, column {column.name}: found {shown(found)}; allowed is {column.allowed}"
