"""Distributions in specs: parameters, PDFs in all their forms, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from blis.errors import SpecError
from blis.spec.distributions import Distribution
from blis.spec.pdf import parse_pdf, read_pdf
from blis.spec.strict import StrictModel, validate


class Holder(StrictModel):
    lengths: Distribution


def read(kind: str, params: Any, base_dir: Path | str = ".") -> Any:
    return validate(
        Holder, {"lengths": {"type": kind, "params": params}}, context={"base_dir": base_dir}
    ).lengths.params


def problems(kind: str, params: Any, base_dir: Path | str = ".") -> list[str]:
    with pytest.raises(SpecError) as caught:
        read(kind, params, base_dir)
    return [f"{p.path.removeprefix('lengths.params').removeprefix('.')}: {p.message}" for p in caught.value.problems]


NO_ENDS = {"min": None, "max": None}


@pytest.mark.parametrize(
    ("kind", "params"),
    [
        ("gaussian", {"mean": 0.0, "std_dev": 0.0, "min": 0.0, "max": 0.0}),
        ("exponential", {"mean": 3.0, "min": None, "max": None}),
        ("exponential", {"mean": 3.0, "min": 3.0, "max": 3.0}),
        ("lognormal", {"mu": -2.5, "sigma": 0.0, "min": None, "max": None}),
        ("lognormal", {"mu": -2.5, "sigma": 0.0, "min": 0.0, "max": 0.0}),
        ("pareto_lognormal", {"alpha": 1e-9, "xm": 1e-9, "mu": 0.0, "sigma": 0.0, "mix_weight": 0.0, **NO_ENDS}),
        ("pareto_lognormal", {"alpha": 2.0, "xm": 50.0, "mu": 5.0, "sigma": 1.0, "mix_weight": 1.0, **NO_ENDS}),
        ("uniform", {"min": 0.0, "max": 0.0}),
        ("constant", {"value": 0.0}),
    ],
)
def test_parameters_at_the_ends_of_their_ranges_are_taken(kind: str, params: dict[str, float]) -> None:
    assert read(kind, params).model_dump() == params


@pytest.mark.parametrize(
    ("kind", "good", "name", "bad"),
    [
        *(
            ("gaussian", {"mean": 1, "std_dev": 1, "min": 1, "max": 2}, name, -1e-9)
            for name in ("mean", "std_dev", "min")
        ),
        ("gaussian", {"mean": 1, "std_dev": 1, "min": 0, "max": 2}, "max", float("inf")),
        ("exponential", {"mean": 1}, "mean", -1),
        ("lognormal", {"mu": 1, "sigma": 1}, "mu", float("nan")),
        ("lognormal", {"mu": 1, "sigma": 1}, "sigma", -0.1),
        *(
            ("pareto_lognormal", {"alpha": 1, "xm": 1, "mu": 1, "sigma": 1, "mix_weight": 0.5}, name, bad)
            for name, bad in [("alpha", 0), ("xm", -1), ("sigma", -1), ("mix_weight", 1.01), ("mix_weight", -0.01)]
        ),
        ("constant", {"value": 1}, "value", -1),
        ("uniform", {"min": 1, "max": 2}, "min", -1),
        ("uniform", {"min": 1, "max": 2}, "max", float("inf")),
    ],
)
def test_a_bad_parameter_is_named_with_its_value(kind: str, good: dict[str, Any], name: str, bad: float) -> None:
    read(kind, good)
    (text,) = problems(kind, {**good, name: bad})
    assert text.startswith(f"{name}: must be a ")
    assert text.endswith(f"found {bad}")


@pytest.mark.parametrize(
    ("kind", "others"),
    [
        ("gaussian", {"mean": 1, "std_dev": 1}),
        ("exponential", {"mean": 1}),
        ("lognormal", {"mu": 1, "sigma": 1}),
        ("pareto_lognormal", {"alpha": 1, "xm": 1, "mu": 1, "sigma": 1, "mix_weight": 0.5}),
        ("uniform", {}),
    ],
)
def test_min_above_max_is_refused(kind: str, others: dict[str, float]) -> None:
    params = {**others, "min": 3, "max": 2}
    assert problems(kind, params) == ["min: must be at most max, which is 2; found 3"]


@pytest.mark.parametrize(
    "params",
    [
        {100: 0.25, 200: 0.75},
        {"100": 0.25, "200": 0.75},
        {"pdf": {100: 0.25, "200": 0.75}},
        {" 1e2 ": 0.25, "200.0": 0.75},
    ],
)
def test_a_pdf_is_the_same_however_it_is_written(params: dict[Any, Any]) -> None:
    assert read("empirical", params).pdf == {100.0: 0.25, 200.0: 0.75}


def test_a_pdf_may_have_a_single_bin_a_thousand_or_weights() -> None:
    assert read("empirical", {7: 1e-300}).pdf == {7.0: 1e-300}
    assert read("empirical", {0: 5, 0.5: 15}).pdf == {0.0: 5.0, 0.5: 15.0}
    assert len(read("empirical", dict.fromkeys(range(1000), 0.001)).pdf) == 1000


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, ": a PDF must have at least one entry {value: probability}, found none"),
        ({"pdf": {}}, "pdf: a PDF must have at least one entry {value: probability}, found none"),
        ({"pdf": {5: 0, 6: 0.0}}, "pdf: all probabilities are zero; at least one must be > 0"),
        ({"pdf": None}, "pdf: must be a PDF, a mapping {value: probability, ...}, found nothing"),
        (
            {"pdf": {1: 1e308, 2: 1e308}},
            "pdf: the probabilities add up to more than a number can hold; scale them down",
        ),
        ({5: -0.1}, "[5]: a probability must be a finite number >= 0, found -0.1"),
        ({5: True}, "[5]: a probability must be a finite number >= 0, found true"),
        ({5: "0.5"}, "[5]: a probability must be a finite number >= 0, found '0.5'"),
        ({5: 10**400}, "[5]: a probability must be a finite number >= 0, found a number of very many digits"),
        ({-1: 1}, "[-1]: a value of a PDF must be a number >= 0, found -1"),
        ({True: 1}, "true: a value of a PDF must be a number >= 0, found true"),
        ({5: 1, "5": 1}, "['5']: the value 5 is given twice"),
        (
            {"pfd": {5: 1}},
            "pfd: unknown key 'pfd' (did you mean 'pdf'?); allowed: pdf, file, or a PDF {value: probability, ...}",
        ),
        ({"pdf": {5: 1}, "name": "x"}, "name: unknown key 'name'; allowed: pdf, file"),
        ({"file": 5}, "file: must be text, found 5; put it in quotes: '5'"),
        ({"file": "x.csv", "pdf": {5: 1}}, "file: give pdf or file, not both"),
        ({"file": "nowhere.csv"}, "file: cannot read 'nowhere.csv': No such file or directory"),
        ({"file": "a\0b"}, "file: 'a\\x00b': embedded null byte"),
        (5, ": must be a mapping with the keys pdf, file, found 5"),
    ],
)
def test_unusable_pdfs(params: Any, message: str) -> None:
    assert message in problems("empirical", params)


def test_all_wrong_entries_are_reported_up_to_a_readable_number() -> None:
    found = problems("empirical", dict.fromkeys(range(100), -1))
    assert len(found) == 11
    assert found[-1].endswith("90 more entries of this PDF are wrong")


@pytest.mark.parametrize(
    "text",
    [
        "100,0.25\n200,0.75\n",
        "value,probability\r\n100,0.25\r\n200,0.75\r\n",
        "\n 100 , 2.5e-1\n\n200,.75",
        '{"100": 0.25, "200": 0.75}',
        "{100: 0.25, 200: 0.75}",
        "{'100': 0.25, '200': 0.75,}",
        " {\n 1e2 : 2.5E-01 ,\n\t200.:7.5e-1 , }\n",
    ],
)
def test_files_hold_csv_json_or_python_text(tmp_path: Path, text: str) -> None:
    (tmp_path / "lengths").write_text(text, newline="")
    assert read("empirical", {"file": "lengths"}, tmp_path).pdf == {100.0: 0.25, 200.0: 0.75}
    assert read("empirical", {"file": str(tmp_path / "lengths")}).pdf == {100.0: 0.25, 200.0: 0.75}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("100,0.5\nabc,0.5\n", "line 2: expected value,probability, found 'abc,0.5'"),
        ("100\n", "line 1: expected value,probability, found '100'"),
        ("100,0.5,7\n", "line 1: expected value,probability, found '100,0.5,7'"),
        ("100,0.5\n100,0.5\n", "line 2: the value 100 is given twice"),
        ("{100: 0.5\n 200: 0.5}", "line 1: expected value: probability, found '100: 0.5"),
        ("{100: 0.5,\n abc: 0.5}", "line 2: expected value: probability, found 'abc: 0.5}'"),
        ("{100: 0.5} extra", "line 1: expected value: probability, found '} extra'"),
        ("{'100: 0.5}", 'line 1: expected value: probability, found "\'100: 0.5}"'),
        ("{100: __import__('os')}", "line 1: expected value: probability, found \"100: __import__('os')}\""),
    ],
)
def test_unreadable_tables_name_the_line(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        parse_pdf(text)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a PDF must have at least one entry"),
        (b"{}", "a PDF must have at least one entry"),
        (b"{0: 0.0}", "all probabilities are zero"),
        (b"5,-1\n", "value 5.0: a probability must be a finite number >= 0, found -1.0"),
        (b"\xff\xfe", "it isn't text in UTF-8"),
        (b"5;1\n", "line 1: expected value,probability, found '5;1'"),
    ],
)
def test_unusable_files(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "f").write_bytes(content)
    (text,) = problems("empirical", {"file": "f"}, tmp_path)
    assert text.startswith("file: ")
    assert message in text


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot read .*: Is a directory"):
        read_pdf(tmp_path)


@given(st.dictionaries(st.integers(0, 10**6), st.floats(1e-9, 1e9), min_size=1))
def test_any_table_survives_being_written_as_text(table: dict[int, float]) -> None:
    assert parse_pdf(str(table)) == table
    assert parse_pdf("\n".join(f"{value},{probability}" for value, probability in table.items())) == table


@given(st.text(alphabet="{}[]0123456789.eE+-,:'\" \nabc\x00", max_size=60))
def test_any_text_is_a_table_or_a_plain_error(text: str) -> None:
    table: dict[float, float] = {}
    refusal = ""
    try:
        table = parse_pdf(text)
    except ValueError as error:
        refusal = str(error)
    assert not refusal or refusal.startswith("line ")
    if table:
        assert all(isinstance(number, float) for pair in table.items() for number in pair)


def test_distributions_can_be_made_and_written_in_python() -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(Distribution)
    made = adapter.validate_python({"type": "empirical", "params": {5: 1, 6: 3}})
    assert adapter.dump_python(made) == {"type": "empirical", "params": {"pdf": {5.0: 1.0, 6.0: 3.0}}}
