"""Chunk times to and from files."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blis.errors import TraceError
from blis.trace import ChunkTimes, Trace
from blis.trace.chunks import read_chunks, write_chunks

times = st.lists(st.integers(0, 2**40), max_size=6).map(sorted)


@settings(max_examples=25)
@given(st.dictionaries(st.integers(0, 2**40), times, max_size=5))
def test_files_give_back_what_was_written(tmp_path_factory: pytest.TempPathFactory, rows: dict[int, list[int]]) -> None:
    chunks = ChunkTimes.of(list(rows), rows.values())
    for ending in ("csv", "parquet"):
        path = tmp_path_factory.mktemp("chunks") / f"t.{ending}"
        if ending == "parquet":
            pytest.importorskip("pyarrow")
        write_chunks(path, chunks, parquet=ending == "parquet")
        assert read_chunks(path) == chunks


def test_times_of_one_request_and_of_some() -> None:
    chunks = ChunkTimes.of([4, 2, 9], [[5, 6], [], [7]])
    assert chunks.of_request(4).tolist() == [5, 6]
    assert chunks.of_request(3).tolist() == []
    assert chunks.select(chunks.counts > 0) == ChunkTimes.of([4, 9], [[5, 6], [7]])


def test_a_trace_keeps_its_chunk_times(tmp_path: Path) -> None:
    columns = {"request_id": [0, 1], "arrival_time_us": [0, 1], "input_tokens": [1, 1]}
    trace = Trace.from_columns(columns, chunks=ChunkTimes.of([0], [[3, 4]]))
    files = trace.write(tmp_path / "t")
    assert files.chunks.read_text() == "request_id,chunk_times_us\n0,3 1\n"
    assert Trace.read(tmp_path / "t") == trace
    Trace.from_columns(columns).write(tmp_path / "t")
    assert not files.chunks.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "t.csv:1: found ''; allowed is request_id,chunk_times_us"),
        ("request_id,chunk_times_us\nx,1\n", "t.csv:2: found 'x,1"),
        ("request_id,chunk_times_us\n1,5 -2\n", "t.csv:2: found '1,5 -2"),
        ("request_id,chunk_times_us\n1,5\n1,6\n", "t.csv: a request_id comes twice"),
    ],
)
def test_broken_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(TraceError) as caught:
        read_chunks(path)
    assert message in str(caught.value)
