from __future__ import annotations

import os

import pytest

from blis.errors import BlisError, TraceError
from blis.trace import Histogram, Trace, TraceHeader, check_writable
from blis.trace.files import found, named, staged
from blis.trace.store import write_trace


def trace(**facts) -> Trace:
    return Trace.from_columns({"request_id": [0, 1], "input_tokens": [5, 6]}, TraceHeader(**facts), Histogram([9], [1]))


def files(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("ending", ["", ".yaml", ".csv", ".itl.csv", ".provenance.json"])
def test_a_prefix_or_any_file_names_the_trace_to_write(tmp_path, ending):
    written = trace().write(tmp_path / f"run.v1{ending}")
    assert files(tmp_path) == ["run.v1.csv", "run.v1.itl.csv", "run.v1.provenance.json", "run.v1.yaml"]
    assert written.data == tmp_path / "run.v1.csv"


@pytest.mark.parametrize("ending", ["", ".yaml", ".csv"])
def test_a_prefix_the_header_or_the_data_names_the_trace_to_read(tmp_path, ending):
    trace().write(tmp_path / "run")
    assert Trace.read(tmp_path / f"run{ending}") == trace()
    assert Trace.read(str(tmp_path / f"run{ending}")) == trace()


def test_a_header_may_end_in_yml(tmp_path):
    trace().write(tmp_path / "run")
    (tmp_path / "run.yaml").rename(tmp_path / "run.yml")
    assert Trace.read(tmp_path / "run") == trace()
    assert named(tmp_path / "new.yml").header == tmp_path / "new.yml"


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(TraceError, match=r"run: no header of a trace: .*run\.yaml or .*run\.yml not found$"):
        found(tmp_path / "run")
    trace().write(tmp_path / "run")
    (tmp_path / "run.csv").unlink()
    with pytest.raises(TraceError, match=r"run\.yaml: no data of a trace: .*run\.csv or .*run\.parquet not found$"):
        found(tmp_path / "run.yaml")
    with pytest.raises(TraceError, match=r"is a directory: name the trace in it, such as .*/trace\)"):
        found(tmp_path)
    with pytest.raises(TraceError, match="names no trace"):
        found("")
    with pytest.raises(TraceError, match="names no file"):
        named("")


def test_two_kinds_of_data_leave_a_choice(tmp_path):
    trace().write(tmp_path / "run")
    (tmp_path / "run.parquet").write_bytes(b"")
    with pytest.raises(TraceError, match=r"both .*run\.csv and .*run\.parquet are there; name the one you mean"):
        Trace.read(tmp_path / "run")
    assert Trace.read(tmp_path / "run.csv") == trace()


def test_what_belonged_to_an_older_trace_of_the_name_goes(tmp_path):
    pytest.importorskip("pyarrow")
    trace().write(tmp_path / "run.parquet")
    without_gaps = Trace.from_columns({"request_id": [0]})
    without_gaps.write(tmp_path / "run")
    assert files(tmp_path) == ["run.csv", "run.provenance.json", "run.yaml"]
    assert Trace.read(tmp_path / "run").itl is None


def test_rows_that_break_off_leave_everything_as_it_was(tmp_path):
    trace(seed=1).write(tmp_path / "run")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def parts():
        yield trace().rows
        raise BlisError("no more")

    with pytest.raises(BlisError, match="no more"):
        write_trace(tmp_path / "run", TraceHeader(seed=2), parts())
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_rows_may_come_in_parts(tmp_path):
    parts = (Trace.from_columns({"request_id": [i, i + 1]}).rows for i in (0, 2, 4))
    write_trace(tmp_path / "run", TraceHeader(), parts)
    assert Trace.read(tmp_path / "run").column("request_id").tolist() == [0, 1, 2, 3, 4, 5]


def test_a_place_that_can_not_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "none" / "run", tmp_path / "file" / "run"):
        with pytest.raises(TraceError, match=r"can't write .*; check that .* is a directory with room"):
            trace().write(place)
    (tmp_path / "run.yaml").mkdir()
    with pytest.raises(TraceError, match=r"can't write .*run\.yaml: a directory has that name"):
        trace().write(tmp_path / "run")
    assert files(tmp_path) == ["file", "run.yaml"]


def test_a_place_can_be_checked_before_a_long_run(tmp_path):
    assert check_writable(tmp_path / "run.csv").header == tmp_path / "run.yaml"
    assert files(tmp_path) == []
    with pytest.raises(TraceError, match=r"can't write .*none/run\.csv: .*none is no directory; make it first"):
        check_writable(tmp_path / "none" / "run")
    (tmp_path / "run.csv").mkdir()
    with pytest.raises(TraceError, match="a directory has that name"):
        check_writable(tmp_path / "run")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_place_without_permission_is_named(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(TraceError, match="you may not write to"):
            check_writable(tmp_path / "run")
    finally:
        tmp_path.chmod(0o700)


def test_files_are_as_readable_as_any_other(tmp_path):
    trace().write(tmp_path / "run")
    (tmp_path / "other").write_text("")
    assert os.stat(tmp_path / "run.csv").st_mode == os.stat(tmp_path / "other").st_mode


def test_staged_files_appear_together(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    b.write_text("old")
    with staged(a, b) as (first, second):
        first.write_text("1")
        assert files(tmp_path) == sorted([first.name, "b"])
        assert second.parent == tmp_path
    assert files(tmp_path) == ["a"]


def test_parquet_names_row_and_column(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    trace().write(tmp_path / "run.parquet")
    good = pq.read_table(tmp_path / "run.parquet")

    def broken(name, values):
        at = good.column_names.index(name)
        pq.write_table(good.set_column(at, name, values), tmp_path / "run.parquet")
        with pytest.raises(TraceError) as caught:
            Trace.read(tmp_path / "run.parquet")
        return str(caught.value).split("run.parquet: ")[1]

    whole = "allowed is a whole number from 0 to 9223372036854775807"
    assert broken("input_tokens", pa.array([1, -1])) == f"row 2, column input_tokens: found -1; {whole}"
    assert broken("input_tokens", pa.array([None, 1])) == f"row 1, column input_tokens: found nothing; {whole}"
    assert broken("input_tokens", pa.array(["1", "2"])) == f"column input_tokens: found string; {whole}"
    assert broken("preemptions", pa.array([1.5, 2])) == f"column preemptions: found double; {whole}, or nothing"
    assert broken("reason_ratio", pa.array([0, 1.5])).startswith("row 2, column reason_ratio: found 1.5; allowed")
    assert broken("streaming", pa.array([None, True])).startswith("row 1, column streaming: found nothing; allowed")
    assert broken("status", pa.array(["ok", "?"])).startswith("row 2, column status: found '?'; allowed is one of ok")
    assert broken("token_time_ref", pa.array(["", "5"])).startswith("row 2, column token_time_ref: found '5'")
    assert broken("request_id", pa.array([4, 4])).startswith("row 2, column request_id: found 4, which row 1 has")
    (tmp_path / "run.parquet").write_bytes(b"PAR1")
    with pytest.raises(TraceError, match="as Parquet"):
        Trace.read(tmp_path / "run.parquet")
