"""The readers of ServeGen files: every oddity of the real ones, and everything that must be refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blis.errors import BlisError
from blis.spec.servegen_data import Dataset, find_chunks, read_trace
from blis.spec.servegen_pdf import Pdf, _pair_by_pair, parse_servegen_pdf


def refuse(message: str) -> None:
    raise AssertionError(message)


@pytest.mark.parametrize(
    ("text", "values", "weights"),
    [
        ("{}", [], []),
        (" { } ", [], []),
        ("{0: 1.0}", [0], [1]),
        ("{1035: 0.0169, 1036: 5e-05}", [1035, 1036], [0.0169, 5e-05]),
        ("{ 1e3 :5E-4 ,2:1 }", [2, 1000], [1, 5e-4]),
        ("{1: 2, 3: 4,}", [1, 3], [2, 4]),
        ("{1: 2,\n 3: 4 , }\n", [1, 3], [2, 4]),
        ("{1.: .5, +2: 1.}", [1, 2], [0.5, 1]),
        ("{0.0: 0.0, 0.25: 0.5, 0.5: 0.5}", [0.25, 0.5], [0.5, 0.5]),
        ("{3: 1, 1: 2}", [1, 3], [2, 1]),
    ],
)
def test_pdfs(text: str, values: list[float], weights: list[float]) -> None:
    pdf = parse_servegen_pdf(text)
    assert pdf.values.tolist() == values
    assert pdf.weights.tolist() == weights


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "must be a dictionary"),
        ("[1, 2]", "must be a dictionary"),
        ("3{1: 2}", "must be a dictionary"),
        ("None", "must be a dictionary"),
        ("{5}", "can't be read at '5}'"),
        ("{1: 2", "can't be read at '1: 2'"),
        ("{1: 2,", "can't be read at the text's end"),
        ("{1: 2}}", "can't be read at '}'"),
        ("{1: 2} 3", "can't be read at '3'"),
        ("{1: 2, 3}", "can't be read at '3}'"),
        ("{1: 2 3: 4}", "can't be read at '1: 2 3: 4}'"),
        ("{1, 2: 3: 4}", "can't be read at '1, 2: 3: 4}'"),
        ("{1: 2,, 3: 4}", "can't be read at ', 3: 4}'"),
        ("{,}", "can't be read at ',}'"),
        ("{1: {2: 3}}", "can't be read at '1: {2: 3}}'"),
        ("{1: 2, 3: x}", "can't be read at '3: x}'"),
        ("{'1': 2}", "can't be read at"),
        ("{1: nan}", "can't be read at"),
        ("{1: Infinity}", "can't be read at"),
        ("{1: True}", "can't be read at"),
        ("{1: 0.5*2}", "can't be read at"),
        ("{1: __import__('os').getpid()}", "can't be read at"),
        ("{1: e}", "can't be read at"),
        ("{1: 1e999}", "too large"),
        ("{1: 0.5, 2: -0.5}", "negative probability, 2: -0.5"),
        ("{-1: 1}", "negative value, -1"),
        ("{1: 0.0}", "no probability above 0"),
        ("{1: 1, 2: 1, 1: 1}", "the value 1 twice"),
    ],
)
def test_anything_else_is_refused(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=re.escape(fault)):
        parse_servegen_pdf(text)


@given(st.dictionaries(st.integers(0, 10**6), st.floats(1e-12, 1.0), min_size=1, max_size=30))
def test_what_python_writes_is_read_back(table: dict[int, float]) -> None:
    pdf = parse_servegen_pdf(str(table))
    assert dict(zip(pdf.values.tolist(), pdf.weights.tolist(), strict=True)) == table


PIECES = ["1", "20", ".5", "-3", "1e-3", "0", "x", ":", ": ", ",", ", ", "{", "}", " ", "1: 2", ", 3: 4", "5: .5, "]


@given(st.lists(st.sampled_from(PIECES), max_size=8).map("".join))
def test_the_quick_reader_takes_what_the_careful_one_takes(text: str) -> None:
    def outcome(read: Callable[[str], Pdf]) -> list[list[float]] | str:
        try:
            return [column.tolist() for column in read("{" + text + "}")]
        except ValueError as error:
            return str(error)

    assert outcome(parse_servegen_pdf) == outcome(_pair_by_pair)


def trace_file(folder: Path, content: str) -> Path:
    path = folder / "chunk-1-trace.csv"
    path.write_bytes(content.encode())
    return path


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", ["", "end"])
def test_trace(tmp_path: Path, end: str, last: str) -> None:
    rows = ["0,0.595,1.5,Weibull,0.7,1.4e-05", "600,0,0,,0,0", "1200,2.0,1.0,,0,0", "1800,0.3,3,Gamma,0.1,30"]
    windows = read_trace(trace_file(tmp_path, end.join(rows) + (end if last else "")), 600.0, refuse)
    assert windows.starts.tolist() == [0, 1200, 1800]
    assert windows.ends.tolist() == [600, 1800, 2400]
    assert windows.rates.tolist() == [0.595, 2.0, 0.3]
    assert windows.patterns.tolist() == [2, 0, 1]
    assert windows.shapes[[0, 2]].tolist() == [0.7, 0.1]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("600,1,1,Gamma,1", "must have 6 columns (start, rate, cv, pattern, shape, scale), found 5"),
        ("600,1,1,Gamma,1,1,1", "must have 6 columns (start, rate, cv, pattern, shape, scale), found 7"),
        ("600,1,1,Pareto,1,1", "pattern: must be Gamma, Weibull or empty, found 'Pareto'"),
        ("600,1,1,1,1,1", "pattern: must be Gamma, Weibull or empty, found '1'"),
        ("600,fast,1,Gamma,1,1", "rate: must be a number >= 0, found 'fast'"),
        ("600,,1,Gamma,1,1", "rate: must be a number >= 0, found ''"),
        ("600,,0,,0,0", "rate: must be a number >= 0, found ''"),
        ("600,-1,1,Gamma,1,1", "rate: must be a number >= 0, found '-1'"),
        ("600,nan,1,Gamma,1,1", "rate: must be a number >= 0, found 'nan'"),
        ("600,1e999,1,Gamma,1,1", "rate: must be a number >= 0, found '1e999'"),
        (",1,1,Gamma,1,1", "start: must be a number >= 0, found ''"),
        ("600,1,1,Gamma,0,1", "shape: must be above 0 for the pattern Gamma, found '0'"),
        ("600,1,1,Weibull,,1", "shape: must be a number >= 0, found ''"),
        ("600,1,1,Gamma,1,", "scale: must be a number >= 0, found ''"),
    ],
)
def test_bad_rows_are_named_and_left_out(tmp_path: Path, row: str, fault: str) -> None:
    path = trace_file(tmp_path, f"0,1,1,Gamma,1,1\n{row}\n\n1200,1,1,,0,0\n")
    faults: list[str] = []
    windows = read_trace(path, 600.0, faults.append)
    assert faults == [f"{path}:2: {fault}; the row is left out"]
    assert windows.starts.tolist() == [0, 1200]


def test_rows_out_of_order_are_sorted_and_doubles_reported(tmp_path: Path) -> None:
    path = trace_file(tmp_path, "600,2,1,,0,0\n0,1,1,,0,0\n600,3,1,,0,0\n")
    faults: list[str] = []
    windows = read_trace(path, 600.0, faults.append)
    assert faults == [f"{path}: start 600 has two rows; only the first of them is used"]
    assert windows.rates.tolist() == [1, 2]


def test_rows_closer_than_the_time_window_are_cut_and_reported(tmp_path: Path) -> None:
    path = trace_file(tmp_path, "0,1,1,,0,0\n300,0,0,,0,0\n600,1,1,,0,0\n")
    faults: list[str] = []
    windows = read_trace(path, 600.0, faults.append)
    assert windows.ends.tolist() == [300, 1200]
    assert len(faults) == 1
    assert "rows are 300 s apart, less than the time_window of 600 s" in faults[0]


def test_empty_trace(tmp_path: Path) -> None:
    assert len(read_trace(trace_file(tmp_path, ""), 600.0, refuse).starts) == 0
    assert len(read_trace(trace_file(tmp_path, "0,0,0,,0,0\r\n"), 600.0, refuse).starts) == 0


def dataset_file(folder: Path, content: str) -> Path:
    path = folder / "chunk-1-dataset.json"
    path.write_text(content)
    return path


def test_windows_without_data_are_empty(tmp_path: Path) -> None:
    content = """{"0": {"input_tokens": "{}", "output_tokens": "{}"},
        "21600": {"text_tokens": "{0: 1.0}", "output_tokens": "{0: 1.0}"},
        "43200": {"input_tokens": "{5: 1}", "output_tokens": "{0: 1.0}"},
        "64800": {"text_tokens": "{ 0.0:1, }", "output_tokens": "{ }"}}"""
    dataset = Dataset(dataset_file(tmp_path, content), refuse)
    assert dataset.starts == [43200]
    pdfs = dataset.read(43200)
    assert pdfs["input_tokens"].values.tolist() == [5]
    assert pdfs["output_tokens"].values.tolist() == [0]


def test_a_released_dataset_reads_its_file_again(tmp_path: Path) -> None:
    dataset = Dataset(dataset_file(tmp_path, '{"0": {"input_tokens": "{5: 1}"}}'), refuse)
    dataset.release()
    assert dataset.read(0)["input_tokens"].values.tolist() == [5]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ('{"0": {"input_tokens": "{5: 1}",}}', ":1: isn't JSON: "),
        ('["0"]', ": must be a JSON object of windows by their start in seconds"),
    ],
)
def test_files_that_are_no_datasets(tmp_path: Path, content: str, fault: str) -> None:
    path = dataset_file(tmp_path, content)
    with pytest.raises(BlisError) as caught:
        Dataset(path, refuse)
    assert str(caught.value).startswith(f"{path}{fault}")


def test_bad_fields_are_named_with_file_and_window(tmp_path: Path) -> None:
    path = dataset_file(tmp_path, '{"0": {"inputt_tokens": "{5: 1}"}, "60": {"output_tokens": "{5: -1}"}}')
    dataset = Dataset(path, refuse)
    with pytest.raises(BlisError) as caught:
        dataset.read(0)
    assert str(caught.value).startswith(
        f"{path}: window '0': inputt_tokens: unknown field (did you mean 'input_tokens'?); known are input_tokens, "
    )
    with pytest.raises(BlisError) as caught:
        dataset.read(60)
    assert str(caught.value) == f"{path}: window '60': output_tokens: has a negative probability, 5: -1"


def test_windows_of_the_wrong_form_are_reported(tmp_path: Path) -> None:
    path = dataset_file(
        tmp_path, '{"x": {}, "-1": {}, "0": {"input_tokens": {"5": 1}}, "6e2": {"a": "{1: 1}"}, "7": 3}'
    )
    faults: list[str] = []
    assert Dataset(path, faults.append).starts == [600]
    assert [fault.split(": ")[1] for fault in faults] == ["window 'x'", "window '-1'", "window '0'", "window '7'"]


def test_chunks_are_found_by_number(servegen_folder: Path) -> None:
    chunks = find_chunks(servegen_folder / "language", refuse)
    assert [chunk.name for chunk in chunks] == ["chunk-0", "chunk-7", "chunk-12"]


def test_a_folder_without_chunks_names_those_that_have_some(servegen_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BlisError) as caught:
        find_chunks(servegen_folder, refuse)
    assert f"there are some in {servegen_folder / 'faulty'}, {servegen_folder / 'language'}, " in str(caught.value)
    with pytest.raises(BlisError, match=r"no chunk-N-trace\.csv files here: set"):
        find_chunks(tmp_path, refuse)
    with pytest.raises(BlisError, match="no such folder"):
        find_chunks(tmp_path / "nothing", refuse)
