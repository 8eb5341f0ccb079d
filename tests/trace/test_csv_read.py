from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from blis.errors import TraceError
from blis.trace import MISSING, Trace, TraceHeader
from blis.trace.csv_read import read_itl, read_rows
from blis.trace.csv_write import HEADER_LINE

DATA = Path(__file__).resolve().parent.parent / "data" / "traces"
NAMES = HEADER_LINE.strip().split(",")
GOOD = {
    **dict.fromkeys(NAMES, ""),
    "client_id": "a",
    "streaming": "true",
    "input_tokens": "10",
    "arrival_time_us": "5",
    "status": "ok",
}


def line(number: int, **cells: str) -> str:
    return ",".join({**GOOD, "request_id": str(number), **cells}.values()) + "\n"


@pytest.fixture
def rows(tmp_path):
    """Reads rows from the text of a CSV file."""

    def read(text: str | bytes, mode: str = "simulated"):
        path = tmp_path / "t.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return Trace(TraceHeader(), read_rows(path, mode))

    return read


def problems(rows, text: str | bytes) -> list[str]:
    with pytest.raises(TraceError) as caught:
        rows(text)
    return [problem.split("t.csv", 1)[-1] for problem in str(caught.value).splitlines()]


def test_the_form_with_22_columns():
    trace = Trace.read(DATA / "older22.csv")
    assert trace.column("client_id").tolist() == ["c0", "c0"]
    assert trace.column("slo_class").tolist() == ["realtime", "batch"]
    assert trace.column("input_tokens").tolist() == [107, 75]
    assert trace.column("streaming").tolist() == [False, True]
    assert trace.column("reason_ratio").tolist() == [0.0, 0.5]
    assert trace.column("arrival_time_us").tolist() == [0, 118948]
    # Nothing was sent yet, and 0 is how this form says so.
    for name in ("send_time_us", "first_chunk_time_us", "last_chunk_time_us", "deadline_us", "prompt_tokens"):
        assert trace.column(name).tolist() == [MISSING, MISSING], name
    # The length of a prefix wasn't written in this form; without a group it is 0.
    assert trace.column("prefix_length").tolist() == [0, MISSING]
    # Other tools put no apostrophe before texts, so none is taken off.
    assert trace.column("error_message").tolist() == ["", "'quoted'"]


def test_the_form_with_27_columns():
    trace = Trace.read(DATA / "older27")
    assert trace.header.mode == "real"
    assert trace.header.run["created_at"] == "2025-03-01T12:00:00Z"
    # The first request was sent at the run's very start; the second one never was.
    assert trace.column("send_time_us").tolist() == [0, MISSING]
    assert trace.column("first_chunk_time_us").tolist() == [50000, MISSING]
    assert trace.column("deadline_us").tolist() == [MISSING, 300000000]
    assert trace.column("server_input_tokens").tolist() == [12, MISSING]
    assert trace.column("prefix_length").tolist() == [0, 200]
    assert trace.column("status").tolist() == ["ok", "error"]
    assert trace.column("error_message").tolist() == ["", 'HTTP 500, "oops"']


def test_columns_come_in_any_order(rows):
    names = [*reversed(NAMES)]
    text = ",".join(names) + "\n" + ",".join({**GOOD, "request_id": "3"}[name] for name in names) + "\n"
    trace = rows(text)
    assert trace.column("request_id").tolist() == [3]
    assert trace.column("client_id").tolist() == ["a"]


def test_zero_is_a_time_in_our_own_form(rows):
    trace = rows(HEADER_LINE + line(0, send_time_us="0", first_chunk_time_us="0", deadline_us=""))
    assert trace.column("first_chunk_time_us").tolist() == [0]
    assert trace.column("send_time_us").tolist() == [0]
    assert trace.column("deadline_us").tolist() == [MISSING]


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_line_ends_byte_order_mark_and_empty_lines(rows, ending):
    text = "\ufeff" + HEADER_LINE + line(0) + "\n" + line(1, error_message='"a\nb"') + "\n"
    trace = rows(text.replace("a\nb", "a\x00b").replace("\n", ending).replace("\x00", "\n"))
    assert trace.column("error_message").tolist() == ["", "a\nb"]


@pytest.mark.parametrize(
    ("column", "cell", "message"),
    [
        ("input_tokens", "abc", "found 'abc'; allowed is a whole number from 0 to 9223372036854775807"),
        ("input_tokens", "", "found ''; allowed is a whole number from 0 to 9223372036854775807"),
        ("input_tokens", "-5", "found '-5'"),
        ("output_tokens", "-1", "found '-1'; allowed is a whole number from 0 to 9223372036854775807, or nothing"),
        ("output_tokens", "12.0", "or nothing; leave out the decimal point"),
        ("output_tokens", "1e3", "found '1e3'"),
        ("output_tokens", " 7", "found ' 7'"),
        ("output_tokens", "+7", "found '+7'"),
        ("output_tokens", "1_000", "found '1_000'"),
        ("output_tokens", "٣", "found '٣'"),
        ("output_tokens", "9223372036854775808", "found '9223372036854775808'"),
        ("output_tokens", "9" * 5000, "found '9999"),
        ("arrival_time_us", "", "found ''"),
        ("request_id", "", "found ''"),
        ("streaming", "yes", "found 'yes'; allowed is true or false"),
        ("streaming", "", "found ''; allowed is true or false"),
        ("reason_ratio", "1.5", "found '1.5'; allowed is a number from 0 to 1, or nothing"),
        ("reason_ratio", "nan", "found 'nan'"),
        ("reason_ratio", "-0.5", "found '-0.5'"),
        ("status", "fine", "found 'fine'; allowed is one of ok, timeout, rejected"),
        ("token_time_ref", "5", "found '5'; allowed is two step numbers such as 120-375, or nothing"),
        ("token_time_ref", "5-99999999999999999999", "found '5-99999999999999999999'"),
    ],
)
def test_a_bad_cell_is_named_with_line_and_column(rows, column, cell, message):
    text = HEADER_LINE + "".join(line(i) for i in range(700)) + line(700, **{column: cell}) + line(701)
    (problem,) = problems(rows, text)
    assert problem.startswith(f":702: column {NAMES.index(column) + 1} ({column}): ")
    assert message in problem


def test_lines_are_counted_through_line_ends_in_cells(rows):
    text = HEADER_LINE + line(0, error_message='"one\ntwo\nthree"') + "\n" + line(1, input_tokens="x")
    assert problems(rows, text)[0].startswith(":6: column 10 (input_tokens)")


def test_several_bad_cells_come_together_but_not_without_end(rows):
    text = HEADER_LINE + line(0, input_tokens="x", status="?") + "".join(line(i, streaming="?") for i in range(1, 50))
    found = problems(rows, text)
    assert len(found) == 10
    assert [problem.split(":")[1] for problem in found] == ["2", "2", "3", "4", "5", "6", "7", "8", "9", "10"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER_LINE + line(0) + "1,a\n", ":3: found 2 cells; the first line names 36 columns"),
        (HEADER_LINE + line(0).strip() + ",,\n", ":2: found 38 cells; the first line names 36 columns"),
        (HEADER_LINE + line(0, client_id='"open'), ":2: not valid CSV: unexpected end of data"),
        (HEADER_LINE + line(0) + line(1, client_id='"a"b'), ":3: not valid CSV: ',' expected after '\"'"),
        ((HEADER_LINE + line(0)).encode() + b"1,\xff\n", ":3: byte 3 of the line isn't UTF-8"),
        (
            HEADER_LINE + line(9) + "\n" + line(7) + line(3, error_message='"a\nb"') + line(7),
            ":7: column 1 (request_id): found 7, which line 4 has already; give every request its own number",
        ),
        ("", ":1: missing columns request_id, client_id"),
        (HEADER_LINE.replace("status,", ""), ":1: missing column status"),
        (HEADER_LINE.replace("input_tokens", "input_token"), "unknown column 'input_token' (did you mean 'input_tok"),
        (HEADER_LINE.replace("model", "status"), ":1: column status comes twice"),
    ],
)
def test_what_is_wrong_with_the_file_is_said(rows, text, message):
    assert message in "\n".join(problems(rows, text))


def test_a_file_without_rows(rows):
    trace = rows(HEADER_LINE)
    assert len(trace) == 0
    assert trace.column("input_tokens").tolist() == []
    assert trace.column("client_id").tolist() == []
    assert trace.column("token_time_ref").tolist() == []


def test_cells_of_any_length(rows):
    text = "x" * 300_000
    assert rows(HEADER_LINE + line(0, error_message=text)).column("error_message").tolist() == [text]


def test_columns_that_stop_being_constant(rows):
    text = HEADER_LINE + "".join(line(i, deadline_us="" if i < 3000 else str(i)) for i in range(70_000))
    deadlines = rows(text).column("deadline_us")
    assert deadlines[:3000].tolist() == [MISSING] * 3000
    assert deadlines[3000:].tolist() == list(range(3000, 70_000))


def test_reading_needs_little_more_than_the_columns(rows, tmp_path):
    lines = (line(i, output_tokens=str(i % 77), first_chunk_time_us=str(i * 9)) for i in range(60_000))
    (tmp_path / "t.csv").write_text(HEADER_LINE + "".join(lines))
    tracemalloc.start()
    try:
        trace = Trace(TraceHeader(), read_rows(tmp_path / "t.csv", "simulated"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(trace) == 60_000
    # Three columns vary, of 8 bytes a row; the file has 6 MB.
    assert peak < 60_000 * 60 + 3_000_000


def test_a_missing_or_unreadable_file_is_named(tmp_path):
    with pytest.raises(TraceError, match=r"can't read .*none\.csv: No such file"):
        read_rows(tmp_path / "none.csv", "real")


def test_token_gaps(tmp_path):
    path = tmp_path / "t.itl.csv"
    path.write_text("itl_us,count\n3000,5\n3100,1\n")
    assert read_itl(path).counts.tolist() == [5, 1]
    path.write_text("itl_us,count\n3000,5\n31OO,1\n")
    with pytest.raises(TraceError, match=r"t\.itl\.csv:3: column 1 \(itl_us\): found '31OO'"):
        read_itl(path)
    path.write_text("gap,count\n")
    with pytest.raises(TraceError, match=r"t\.itl\.csv:1: expected the columns itl_us,count"):
        read_itl(path)
    path.write_text("itl_us,count\n")
    assert read_itl(path).count == 0


@pytest.mark.real
def test_every_golden_trace_loads(blis_data):
    found = sorted((blis_data / "golden").glob("*/*/trace.csv"))
    assert len(found) == 20
    for path in found:
        trace = Trace.read(path.with_name("trace"))
        lines = path.read_text().splitlines()
        assert len(trace) == len(lines) - 1
        names = lines[0].split(",")
        for number in (0, len(trace) // 2, len(trace) - 1):
            cells = dict(zip(names, lines[number + 1].split(","), strict=True))
            for name in ("request_id", "input_tokens", "output_tokens", "arrival_time_us"):
                assert trace.column(name)[number] == int(cells[name])
            assert trace.column("prefix_group")[number] == cells["prefix_group"]
        assert np.all(trace.column("first_chunk_time_us") == MISSING)
