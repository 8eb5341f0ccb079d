from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from blis.errors import BlisError, InternalError
from blis.request import ClientFacts
from blis.trace import RecordTable, Trace, TraceHeader
from blis.trace.table import CHUNK_ROWS, ROW


def test_rows_come_back_by_request_id(table):
    assert len(table) == table.extent == 4
    assert table.column("arrival_us").tolist() == [1000, 2000, 3000, 4000]
    assert table.column("preemptions").tolist() == [2, 0, 0, 0]
    assert table.column("reason_ratio").tolist() == [0, 0.25, 0, 0]
    assert table.column("first_us", 1, 3).tolist() == [5000, -1]
    assert not table.missing().size


def test_rows_that_were_never_put_are_found(put):
    table = RecordTable()
    for request_id in (5, 1, 2 * CHUNK_ROWS + 3):
        put(table, request_id)
    assert len(table) == 3
    assert table.extent == 2 * CHUNK_ROWS + 4
    missing = table.missing()
    assert len(missing) == 2 * CHUNK_ROWS + 1
    assert missing[:5].tolist() == [0, 2, 3, 4, 6]
    table.client_index(ClientFacts("a"))
    with pytest.raises(InternalError, match=f"^{2 * CHUNK_ROWS + 1} requests ended without a record, the first is 0"):
        Trace.from_table(table, TraceHeader())


def test_a_request_ends_once(put):
    table = RecordTable()
    put(table, 0)
    with pytest.raises(InternalError, match="request 0 ended twice"):
        put(table, 0)
    with pytest.raises(InternalError, match="request -1 "):
        put(table, -1)
    assert len(table) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [("input_tokens", 2**63), ("image", 2**32), ("preemptions", 2**31), ("arrival_us", 1.5), ("first_us", None)],
)
def test_numbers_that_do_not_fit_are_named(put, field, value):
    table = RecordTable()
    with pytest.raises(BlisError, match=f"request 7: {field} is {value}"):
        put(table, 7, **{field: value})
    assert len(table) == table.extent == 0
    put(table, 7)
    assert len(table) == 1


def test_the_largest_numbers_fit(put):
    table = RecordTable()
    put(table, 0, input_tokens=2**63 - 1, text=2**32 - 1, last_us=2**63 - 1)
    assert table.column("input_tokens").tolist() == [2**63 - 1]
    assert table.column("text").tolist() == [2**32 - 1]


def test_equal_facts_and_sessions_share_a_number():
    table = RecordTable()
    assert table.client_index(ClientFacts("a")) == 0
    assert table.client_index(ClientFacts("b")) == 1
    assert table.client_index(ClientFacts("a", "tenant")) == 2
    assert table.client_index(ClientFacts("a")) == 0
    assert table.session_index("x") == 0
    assert table.session_index("") == -1
    assert table.session_index("y") == 1
    assert table.session_index("x") == 0
    assert table.sessions == ["x", "y"]


def test_columns_span_chunks(put):
    table = RecordTable()
    for request_id in range(CHUNK_ROWS - 2, CHUNK_ROWS + 3):
        put(table, request_id, arrival_us=request_id)
    assert table.column("arrival_us", CHUNK_ROWS - 2, CHUNK_ROWS + 3).tolist() == [
        *range(CHUNK_ROWS - 2, CHUNK_ROWS + 3)
    ]


def test_a_row_takes_about_150_bytes(put):
    assert ROW.itemsize == 154
    tracemalloc.start()
    try:
        table = RecordTable()
        for request_id in range(2 * CHUNK_ROWS):
            put(table, request_id)
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        column = table.column("last_us")
        peak = tracemalloc.get_traced_memory()[1] - held
    finally:
        tracemalloc.stop()
    assert held < 160 * 2 * CHUNK_ROWS
    # Reading a column costs that column, and its mask of absent rows, not another table.
    assert peak < 2 * column.nbytes
    assert np.all(column == 9000)
