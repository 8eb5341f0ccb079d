from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blis.trace import COLUMNS, STATUSES, Histogram, Trace, TraceHeader

TEXTS = st.text(max_size=6) | st.text(st.sampled_from("=+-@'\t\r\n\", \ufeffx"), max_size=5)
NUMBERS = st.integers(0, 2**63 - 1) | st.sampled_from([0, 1, 2**31, 2**53 + 1, 2**63 - 1])
KINDS = {"flag": st.booleans(), "ratio": st.floats(0, 1), "text": TEXTS, "status": st.sampled_from([*STATUSES, ""])}


@st.composite
def traces(draw):
    rows = draw(st.integers(0, 6))
    columns = {
        "request_id": draw(st.lists(NUMBERS, min_size=rows, max_size=rows, unique=True)),
        "client_id": draw(st.lists(TEXTS, min_size=rows, max_size=rows)),
        "input_tokens": draw(st.lists(NUMBERS, min_size=rows, max_size=rows)),
        "arrival_time_us": draw(st.lists(NUMBERS, min_size=rows, max_size=rows)),
    }
    steps = draw(st.lists(st.none() | st.tuples(NUMBERS, NUMBERS), min_size=rows, max_size=rows))
    columns["first_step"] = [-1 if pair is None else pair[0] for pair in steps]
    columns["last_step"] = [-1 if pair is None else pair[1] for pair in steps]
    for column in COLUMNS:
        if column.kind == "steps" or column.name in columns:
            continue
        cells = KINDS.get(column.kind, NUMBERS | st.just(-1))
        columns[column.name] = draw(
            st.lists(cells, min_size=rows, max_size=rows) | cells.map(lambda cell: [cell] * rows)
        )
    gaps = draw(st.none() | st.dictionaries(NUMBERS, st.integers(1, 2**40), max_size=4))
    itl = None if gaps is None else Histogram(list(gaps), list(gaps.values()))
    header = TraceHeader.with_spec(draw(st.text(max_size=20)), mode=draw(st.sampled_from(["simulated", "real"])))
    return Trace.from_columns(columns, header, itl)


@given(traces())
def test_what_is_read_is_what_was_written(tmp_path_factory, trace):
    path = tmp_path_factory.mktemp("trace") / "run.v1"
    trace.write(path)
    assert Trace.read(path) == trace


@settings(max_examples=30)
@given(traces())
def test_parquet_comes_back_as_it_was(tmp_path_factory, trace):
    pytest.importorskip("pyarrow")
    path = tmp_path_factory.mktemp("trace") / "run.parquet"
    trace.write(path)
    assert Trace.read(path) == trace


def test_a_run_and_its_file_are_the_same(table, tmp_path):
    trace = Trace.from_table(table, TraceHeader(seed=7), Histogram([3000], [24]))
    trace.write(tmp_path / "run")
    assert Trace.read(tmp_path / "run") == trace


def test_equal_traces_give_equal_bytes(table, tmp_path):
    for name in ("one", "two"):
        trace = Trace.from_table(table, TraceHeader(seed=7), Histogram([3000], [24]))
        trace.write(tmp_path / name, {"host": name})
        Trace.read(tmp_path / name).write(tmp_path / f"{name}-again")
    for ending in (".yaml", ".csv", ".itl.csv"):
        assert len({(tmp_path / (name + ending)).read_bytes() for name in ("one", "two", "one-again")}) == 1
    assert b'"host": "two"' in (tmp_path / "two.provenance.json").read_bytes()


def test_text_that_is_no_unicode_is_written_readably(tmp_path):
    Trace.from_columns({"request_id": [0], "error_message": ["bad \ud800 byte"]}).write(tmp_path / "run")
    assert Trace.read(tmp_path / "run").column("error_message").tolist() == ["bad \\ud800 byte"]


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(Exception, match=r"Parquet needs pyarrow.*pip install 'blis-sim\[parquet\]'"):
        Trace.from_columns({"request_id": [0]}).write(tmp_path / "run.parquet")
    assert not list(tmp_path.iterdir())


def test_large_parquet_keeps_words_apart(tmp_path):
    pytest.importorskip("pyarrow")
    rows = 70_000
    trace = Trace.from_columns(
        {
            "request_id": np.arange(rows),
            "client_id": [f"c{i % 7}" for i in range(rows)],
            "session_id": [f"s{i // 3}" for i in range(rows)],
            "input_tokens": np.ones(rows, np.int64),
            "arrival_time_us": np.arange(rows) * 5,
        }
    )
    trace.write(tmp_path / "run.parquet")
    assert Trace.read(tmp_path / "run") == trace
