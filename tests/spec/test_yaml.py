"""YAML reading: what the values are, which line they are on, and what is refused."""

from __future__ import annotations

import math

import pytest

from blis.errors import Problem, SpecError
from blis.spec.strict import load_yaml


def messages(text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        load_yaml(text, "f.yaml")
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e6", 1e6),
        ("1.5E-3", 0.0015),
        ("-7", -7),
        ("017", 17),
        ("1_000_000", 1_000_000),
        ("0x1F", 31),
        ("0o17", 15),
        (".5", 0.5),
        ("3.", 3.0),
        (".inf", math.inf),
        ("-.Inf", -math.inf),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("yes", "yes"),
        ("off", "off"),
        ("12:30", "12:30"),
        ("2024-01-31", "2024-01-31"),
        ('"5"', "5"),
        ("'true'", "true"),
        ("60s", "60s"),
        ("9223372036854775807", 9223372036854775807),
        ("!!str 5", "5"),
        ("!!float 5", 5.0),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    data, _ = load_yaml(f"key: {text}\n", "f.yaml")
    assert data["key"] == value
    assert type(data["key"]) is type(value)


def test_nan_is_read_as_a_number() -> None:
    data, _ = load_yaml("key: .NaN", "f.yaml")
    assert math.isnan(data["key"])


def test_lines_are_found_per_path() -> None:
    text = (
        "# comment\nseed: 1\nclients:\n"
        "  - id: a\n    arrival:\n      process: gamma\n"
        "  - {id: b,\n     arrival: {cv: 3}}\n"
    )
    _, locate = load_yaml(text, "f.yaml")
    assert locate(()) == 2
    assert locate(("seed",)) == 2
    assert locate(("clients",)) == 3
    assert locate(("clients", 0)) == 4
    assert locate(("clients", 0, "arrival", "process")) == 6
    assert locate(("clients", 1)) == 7
    assert locate(("clients", 1, "arrival", "cv")) == 8


def test_a_path_that_was_not_written_has_its_parents_line() -> None:
    _, locate = load_yaml("seed: 1\nclients:\n  - id: a\n    arrival:\n      process: gamma\n", "f.yaml")
    assert locate(("clients", 0, "arrival", "cv")) == 4
    assert locate(("clients", 7, "id")) == 2
    assert locate(("horizon",)) == 1


def test_numbers_as_keys_are_found() -> None:
    _, locate = load_yaml("pdf:\n  100: 1\n  '200': 2\n  0.5: 3\n", "f.yaml")
    assert [locate(("pdf", key)) for key in (100, "200", "0.5")] == [2, 3, 4]


def test_anchors_and_merge_keys_work_and_keep_their_lines() -> None:
    text = "base: &base\n  a: 1\n  b: 2\nfirst:\n  <<: *base\n  b: 3\nsecond: *base\nthird:\n  <<: [{c: 9}, *base]\n"
    data, locate = load_yaml(text, "f.yaml")
    assert data["first"] == {"b": 3, "a": 1}
    assert data["second"] == {"a": 1, "b": 2}
    assert data["third"] == {"c": 9, "a": 1, "b": 2}
    assert locate(("first", "a")) == 2
    assert locate(("first", "b")) == 6


def test_an_empty_document_is_none() -> None:
    assert load_yaml("# nothing\n", "f.yaml")[0] is None


def test_all_duplicate_keys_are_reported() -> None:
    assert messages("a: 1\nb: {c: 1, c: 2}\na: 3\n") == [
        "f.yaml:2: b.c: duplicate key 'c', first given on line 2",
        "f.yaml:3: a: duplicate key 'a', first given on line 1",
    ]


def test_duplicate_keys_can_be_collected_instead() -> None:
    problems: list[Problem] = []
    data, _ = load_yaml("a: 1\na: 3\n", "f.yaml", problems)
    assert data == {"a": 1}
    assert [str(problem) for problem in problems] == ["f.yaml:2: a: duplicate key 'a', first given on line 1"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a: !!python/object/apply:os.system [x]",
            "f.yaml:1: a: the tag python/object/apply:os.system is not supported",
        ),
        ("a: !secret 5", "f.yaml:1: a: the tag !secret is not supported"),
        ("a: !!int five", "f.yaml:1: a: cannot be read as int: 'five'"),
        ("a: !!bool 1", "f.yaml:1: a: cannot be read as bool: '1'"),
        ("a: " + "9" * 5000, "f.yaml:1: a: a number of 5000 digits is too long"),
        ("? [1, 2]\n: 3", "f.yaml:1: a key must be text or a number, found a list of 2 items"),
        ("? {x: 1}\n: 3", "f.yaml:1: a key must be text or a number, found a mapping with the keys x"),
        ("a: &a [*a]", "f.yaml:1: a[0]: an alias to a value that contains it"),
        ("a:\n  <<: 5", "f.yaml:2: a: << takes a mapping or a list of mappings, found 5"),
        ("a: [1, 2", "f.yaml:2: not valid YAML"),
        ("a: 1\n\tb: 2", "f.yaml:2: not valid YAML"),
        ("a: *b", "f.yaml:1: not valid YAML: found undefined alias"),
        ("a: 1\n---\nb: 2", "f.yaml:2: not valid YAML: expected a single document"),
        ("a: \x07", "f.yaml: not readable as text"),
        ("[" * 5000 + "]" * 5000, "f.yaml:1: nested more than 100 levels deep"),
        ("- " * 5000 + "x", "f.yaml:1: nested more than 100 levels deep"),
        ("a: \ud800", "f.yaml: not readable as text"),
    ],
)
def test_refusals(text: str, message: str) -> None:
    found = messages(text)
    assert len(found) == 1
    assert found[0].startswith(message)


def test_a_tab_that_indents_gets_a_hint() -> None:
    assert messages("clients:\n\t- a")[0].endswith("indent with blanks, not with tabs")


def test_aliases_do_not_multiply_the_data() -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 60)]
    data, _ = load_yaml("\n".join(lines), "f.yaml")
    assert data["a59"][0] is data["a59"][1]
