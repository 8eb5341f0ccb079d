from __future__ import annotations

import csv
import io
import time

import numpy as np
import pytest

from blis.request import ClientFacts
from blis.trace import COLUMNS, MISSING, Column, RecordTable, TextColumn, Trace, TraceHeader
from blis.trace.csv_write import HEADER_LINE, RowWriter, guarded

NAMES = HEADER_LINE.strip().split(",")


def written(trace: Trace) -> str:
    file = io.BytesIO()
    RowWriter(file).write(trace.rows)
    return file.getvalue().decode()


def cells(trace: Trace) -> list[dict[str, str]]:
    return [dict(zip(NAMES, row, strict=True)) for row in csv.reader(io.StringIO(written(trace)), strict=True)]


def test_the_columns_and_their_order():
    assert HEADER_LINE == (
        "request_id,client_id,tenant_id,slo_class,session_id,round_index,prefix_group,prefix_length,streaming,"
        "input_tokens,output_tokens,text_tokens,image_tokens,audio_tokens,video_tokens,reason_ratio,model,deadline_us,"
        "server_input_tokens,arrival_time_us,send_time_us,first_chunk_time_us,last_chunk_time_us,num_chunks,status,"
        "error_message,finish_reason,instance,scheduling_delay_us,preemptions,cached_tokens,prompt_tokens,"
        "max_output_tokens,planned_output_tokens,client_seq,token_time_ref\n"
    )


def test_a_run_as_text(table):
    assert written(Trace.from_table(table, TraceHeader())) == (
        "0,a,t1,critical,s-1,3,docs,48,true,100,20,0,0,0,0,0,llama,,148,1000,1000,5000,9000,20,ok,,stop,instance_1,"
        "250,2,48,148,64,20,0,7-26\n"
        "1,a,t1,critical,,0,docs,48,true,100,5,60,40,0,0,0.25,llama,9500,100,2000,2000,5000,9400,5,timeout,,,"
        "instance_0,250,0,0,100,0,20,1,\n"
        "2,b,,,,0,,0,false,100,0,0,0,0,0,0,,,,3000,3000,,,0,rejected,,,,,0,0,100,0,20,0,\n"
        '3,b,,,,0,,0,false,100,0,0,0,0,0,0,,,,4000,4000,,,0,unservable,"prompt of 100 tokens, limit 64",,'
        "instance_0,,0,0,100,0,20,1,\n"
    )


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r", "'"])
def test_no_text_is_a_formula(first):
    assert guarded(first + "1+1") == "'" + first + "1+1"
    trace = Trace.from_columns({"request_id": [0, 1], "client_id": [first + "cmd|' /C calc'!A0", "x" + first]})
    assert [row["client_id"] for row in cells(trace)] == ["'" + first + "cmd|' /C calc'!A0", "x" + first]


def test_texts_with_commas_quotes_and_line_ends_are_quoted():
    texts = ["a,b", 'say "x"', "two\nlines", "cr\rhere", " plain ", ""]
    trace = Trace.from_columns({"request_id": range(6), "error_message": texts})
    assert [row["error_message"] for row in cells(trace)] == texts
    assert ',"say ""x""",' in written(trace)
    assert ", plain ," in written(trace)


def test_whole_numbers_stay_whole():
    trace = Trace.from_columns({"request_id": [0, 1], "deadline_us": [2**63 - 1, -1], "input_tokens": [2**53 + 1, 0]})
    assert [(row["deadline_us"], row["input_tokens"]) for row in cells(trace)] == [
        ("9223372036854775807", "9007199254740993"),
        ("", "0"),
    ]


def test_ratios_are_the_shortest_that_come_back():
    trace = Trace.from_columns({"request_id": range(4), "reason_ratio": [0, 1, 0.1, 1e-7]})
    assert [row["reason_ratio"] for row in cells(trace)] == ["0", "1", "0.1", "1e-07"]


@pytest.mark.parametrize("rows", [1, 2, 16_384, 16_385, 40_000])
def test_stretches_join_without_a_seam(rows):
    ids = np.arange(rows)
    trace = Trace.from_columns({"request_id": ids, "arrival_time_us": ids // 20_000, "client_id": ["a"] * rows})
    lines = written(trace).splitlines()
    assert len(lines) == rows
    for number in (0, rows // 2, rows - 1):
        cell = lines[number].split(",")
        assert (cell[0], cell[1], cell[NAMES.index("arrival_time_us")]) == (str(number), "a", str(number // 20_000))


def plain_cell(column: Column, value) -> str:
    if column.kind == "int":
        return "" if value == MISSING else str(value)
    if column.kind == "flag":
        return str(value).lower()
    if column.kind == "ratio":
        return f"{value:g}" if value in (0, 1) else repr(value)
    text = guarded(value)
    return '"' + text.replace('"', '""') + '"' if any(letter in text for letter in '",\r\n') else text


def plain(trace: Trace) -> str:
    """The same text, cell by cell."""
    columns = [[plain_cell(column, value) for value in trace.column(column.name).tolist()] for column in COLUMNS]
    return "".join(",".join(row) + "\n" for row in zip(*columns, strict=True))


WORDS = ["", "a", "=1", "x,y", 'say "x"', "é" * 40, "z" * 100, "\0", "l\nm", *(f"session-{i}" for i in range(300))]


@pytest.mark.parametrize("rows", [1, 2, 10, 300, 9000])
@pytest.mark.parametrize("seed", range(4))
def test_rows_are_those_of_a_plain_writer(rows, seed):
    rng = np.random.default_rng([rows, seed])
    values = {"request_id": np.arange(rows), "streaming": rng.random(rows) < 0.5}
    for column in COLUMNS:
        if column.kind == "int" and column.name != "request_id":
            # As many digits as there can be, or few; none blank, some or all.
            numbers = (10 ** (rng.random(rows) * rng.choice([0.2, 4, 9, 18.9]))).astype(np.int64) - 1
            blank = rng.random(rows) < rng.choice([0, 0.3, 1]) * column.blank
            values[column.name] = np.where(blank, MISSING, numbers)
        elif column.kind == "text":
            few = int(rng.choice([1, 5, len(WORDS)]))
            values[column.name] = TextColumn(rng.integers(-1, few, rows).astype(np.int32), WORDS[:few])
    values["reason_ratio"] = np.round(rng.random(rows), int(rng.choice([0, 1, 17])))
    values["first_step"] = values["preemptions"]
    values["last_step"] = values["preemptions"] + 10 * (values["preemptions"] >= 0)
    trace = Trace.from_columns(values)
    assert written(trace) == plain(trace)


def test_every_number_of_digits():
    numbers = [0, *(10**digits + more for digits in range(1, 19) for more in (-1, 0, 1)), 2**63 - 1, MISSING]
    trace = Trace.from_columns({"request_id": range(len(numbers)), "deadline_us": numbers})
    assert [row["deadline_us"] for row in cells(trace)] == [*map(str, numbers[:-1]), ""]


def test_nothing_is_written_for_no_rows():
    assert written(Trace.from_columns({})) == ""


def test_more_words_than_are_kept(monkeypatch):
    monkeypatch.setattr("blis.trace.csv_write._MOST_WORDS", 100)
    sessions = [f"s-{i}" for i in range(20_000)]
    trace = Trace.from_columns({"request_id": range(20_000), "session_id": sessions})
    assert [row["session_id"] for row in cells(trace)] == sessions


def test_a_hundred_thousand_rows_take_about_a_second(put):
    table = RecordTable(["instance_0"])
    client = table.client_index(ClientFacts("client-a", "tenant", "batch", "llama"))
    for i in range(20_000):
        put(table, i, client=client, client_seq=i, input_tokens=500 + i % 99, arrival_us=i * 977, first_us=i * 977 + 9)
    trace = Trace.from_table(table, TraceHeader())
    started = time.process_time()
    written(trace)
    # About 0.4 µs per row on a quiet machine.
    assert (time.process_time() - started) / 20_000 < 10e-6
