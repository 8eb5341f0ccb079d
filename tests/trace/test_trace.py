from __future__ import annotations

import numpy as np
import pytest

from blis.errors import BlisError
from blis.trace import COLUMNS, MISSING, Histogram, TextColumn, Trace, TraceHeader

EXPECTED = {
    "request_id": [0, 1, 2, 3],
    "client_id": ["a", "a", "b", "b"],
    "tenant_id": ["t1", "t1", "", ""],
    "slo_class": ["critical", "critical", "", ""],
    "session_id": ["s-1", "", "", ""],
    "round_index": [3, 0, 0, 0],
    "prefix_group": ["docs", "docs", "", ""],
    "prefix_length": [48, 48, 0, 0],
    "streaming": [True, True, False, False],
    "input_tokens": [100, 100, 100, 100],
    "output_tokens": [20, 5, 0, 0],
    "text_tokens": [0, 60, 0, 0],
    "image_tokens": [0, 40, 0, 0],
    "audio_tokens": [0, 0, 0, 0],
    "video_tokens": [0, 0, 0, 0],
    "reason_ratio": [0.0, 0.25, 0.0, 0.0],
    "model": ["llama", "llama", "", ""],
    "deadline_us": [-1, 9500, -1, -1],
    # Neither the rejected request nor the one that doesn't fit was computed.
    "server_input_tokens": [148, 100, -1, -1],
    "arrival_time_us": [1000, 2000, 3000, 4000],
    "send_time_us": [1000, 2000, 3000, 4000],
    "first_chunk_time_us": [5000, 5000, -1, -1],
    "last_chunk_time_us": [9000, 9400, -1, -1],
    "num_chunks": [20, 5, 0, 0],
    "status": ["ok", "timeout", "rejected", "unservable"],
    "error_message": ["", "", "", "prompt of 100 tokens, limit 64"],
    "finish_reason": ["stop", "", "", ""],
    "instance": ["instance_1", "instance_0", "", "instance_0"],
    "scheduling_delay_us": [250, 250, -1, -1],
    "preemptions": [2, 0, 0, 0],
    "cached_tokens": [48, 0, 0, 0],
    "prompt_tokens": [148, 100, 100, 100],
    "max_output_tokens": [64, 0, 0, 0],
    "planned_output_tokens": [20, 20, 20, 20],
    "client_seq": [0, 1, 0, 1],
    "token_time_ref": ["7-26", "", "", ""],
}


def test_a_simulated_run_under_the_names_of_the_file(table):
    trace = Trace.from_table(table, TraceHeader())
    assert list(EXPECTED) == [column.name for column in COLUMNS]
    assert {name: trace.column(name).tolist() for name in EXPECTED} == EXPECTED
    assert trace.column("first_step").tolist() == [7, -1, -1, -1]


def test_types_of_columns(table):
    trace = Trace.from_table(table, TraceHeader())
    kinds = {"int": np.int64, "flag": np.bool_, "ratio": np.float64, "text": object, "status": object, "steps": object}
    for column in COLUMNS:
        assert trace.column(column.name).dtype == kinds[column.kind], column.name


def test_categories_have_each_word_once(table):
    codes, words = Trace.from_table(table, TraceHeader()).categories("tenant_id")
    assert codes.dtype == np.int32
    assert [words[code] for code in codes] == ["t1", "t1", "", ""]
    trace = Trace.from_columns({"tenant_id": TextColumn(np.array([2, 0, -1, 1], np.int32), ("x", "y", "x"))})
    codes, words = trace.categories("tenant_id")
    assert list(words) == ["x", "y", ""]
    assert codes.tolist() == [0, 0, 2, 1]


def test_a_frame_marks_what_is_missing(table):
    frame = Trace.from_table(table, TraceHeader()).to_frame()
    assert list(frame.columns) == list(EXPECTED)
    assert frame["first_chunk_time_us"].isna().tolist() == [False, False, True, True]
    assert frame["first_chunk_time_us"].sum() == 10_000
    assert str(frame["arrival_time_us"].dtype) == "int64"
    assert frame.groupby("client_id", observed=True)["output_tokens"].sum().to_dict() == {"a": 25, "b": 0}


def test_columns_that_were_not_given_are_neutral():
    trace = Trace.from_columns({"request_id": [0, 1], "prefix_group": ["docs", ""]})
    assert trace.column("deadline_us").tolist() == [MISSING, MISSING]
    assert trace.column("streaming").tolist() == [False, False]
    assert trace.column("reason_ratio").tolist() == [0.0, 0.0]
    assert trace.column("model").tolist() == ["", ""]
    # Without a prefix there's nothing to know about its length.
    assert trace.column("prefix_length").tolist() == [MISSING, 0]
    assert len(Trace.from_columns({})) == 0


def test_arrays_of_a_trace_are_not_for_writing():
    with pytest.raises(ValueError, match="read-only"):
        Trace.from_columns({"request_id": [0, 1]}).column("request_id")[0] = 5


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"request_ids": [1]}, "no column 'request_ids'; its columns are request_id, client_id"),
        ({"request_id": [1, 2], "input_tokens": [1]}, "same length"),
        ({"arrival_time_us": [-1]}, "arrival_time_us: allowed is a whole number from 0"),
        ({"deadline_us": [-2]}, "deadline_us"),
        ({"input_tokens": [1.5]}, "input_tokens"),
        ({"input_tokens": np.array([2**63], np.uint64)}, "input_tokens"),
        ({"reason_ratio": [1.5]}, "reason_ratio: allowed is a number from 0 to 1"),
        ({"reason_ratio": [float("nan")]}, "reason_ratio"),
        ({"streaming": ["yes"]}, "streaming: allowed is true or false"),
        ({"status": ["fine"]}, "status: found 'fine'; allowed is one of ok, timeout"),
        ({"token_time_ref": ["1-2"]}, "give first_step and last_step instead"),
    ],
)
def test_columns_out_of_their_range_are_refused(columns, message):
    with pytest.raises(BlisError, match=message):
        Trace.from_columns(columns)


def test_only_texts_have_categories(table):
    with pytest.raises(BlisError, match="doesn't hold texts"):
        Trace.from_table(table, TraceHeader()).categories("input_tokens")


def test_equality_looks_at_rows_header_and_gaps(table):
    trace = Trace.from_table(table, TraceHeader())
    same = Trace.from_columns(
        {name: trace.column(name) for name in (*EXPECTED, "first_step", "last_step") if name != "token_time_ref"}
    )
    assert trace == same
    assert trace != Trace.from_columns({"request_id": [0, 1, 2, 3]})
    assert trace != Trace(TraceHeader(seed=1), trace.rows)
    assert trace != Trace(TraceHeader(), trace.rows, Histogram())
    assert trace != "a trace"
