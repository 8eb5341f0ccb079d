from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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


def test_a_row_takes_little_memory(put):
    assert ROW.itemsize == 154
    tracemalloc.start()
    try:
        table = RecordTable()
        for request_id in range(4 * CHUNK_ROWS):
            put(table, request_id, arrival_us=12345 * request_id, last_us=12345 * request_id + 9000)
        held, _ = tracemalloc.get_traced_memory()
        table.pack()
        packed, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        column = table.column("last_us")
        peak = tracemalloc.get_traced_memory()[1] - packed
    finally:
        tracemalloc.stop()
    # Only the chunk that was filled last has whole rows still, and then none.
    assert held < (154 + 3 * 20) * CHUNK_ROWS
    assert packed < 4 * 20 * CHUNK_ROWS
    # Reading a column costs that column, and what a chunk of it needs on the way.
    assert peak < 2 * column.nbytes
    assert np.array_equal(column, 12345 * np.arange(4 * CHUNK_ROWS) + 9000)


_BOUNDS = {name: np.iinfo(ROW[name]) for name in ROW.names or () if ROW[name].kind in "iu"}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.fixed_dictionaries(
        {
            name: st.lists(st.integers(int(bounds.min), int(bounds.max)) | st.integers(0, 300), min_size=1, max_size=4)
            for name, bounds in _BOUNDS.items()
            if name not in ("status", "finish")
        }
        | {"reason_ratio": st.lists(st.floats(0, 1), min_size=1, max_size=4)}
    ),
    late=st.integers(0, CHUNK_ROWS - 1),
)
def test_packed_rows_are_the_same(put, values, late):
    table = RecordTable()
    ids = [*range(late), *range(late + 1, CHUNK_ROWS + 2), late]
    for request_id in ids:
        put(table, request_id, **{name: some[request_id % len(some)] for name, some in values.items()})
    expected = {
        name: np.array([some[at % len(some)] for at in range(CHUNK_ROWS + 2)], ROW[name])
        for name, some in values.items()
    }
    for _ in range(2):
        for name, column in expected.items():
            assert np.array_equal(table.column(name), column), name
        assert np.array_equal(table.column("last_us", 7, CHUNK_ROWS + 1), expected["last_us"][7 : CHUNK_ROWS + 1])
        assert table.extent == len(table) == CHUNK_ROWS + 2
        assert not table.missing().size
        table.pack()
    with pytest.raises(InternalError, match="request 3 ended twice"):
        put(table, 3)
