"""Validation: every problem at once, in plain words, with place and line."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field, ValidationError

from blis.errors import Problem, SpecError
from blis.spec.fields import (
    Count,
    Flag,
    Micros,
    Name,
    NonNegative,
    Positive,
    PositiveMicros,
    Probability,
    Text,
    parse_us,
)
from blis.spec.strict import StrictModel, did_you_mean, load_yaml, validate
from blis.spec.workload import workload_from_dict


class Circle(StrictModel):
    type: Literal["circle"]
    radius: Positive


class Square(StrictModel):
    type: Literal["square"]
    side: Positive


class Drawing(StrictModel):
    name: Name
    count: Count = 0
    shapes: tuple[Annotated[Circle | Square, Field(discriminator="type")], ...] = ()
    colour: Literal["red", "green"] = "red"
    share: Probability | None = None

    @classmethod
    def across(cls, raw):  # type: ignore[no-untyped-def]
        if "count" in raw and raw["count"] == raw.get("share"):
            yield ("share",), "must differ from count"


def messages(model: type[BaseModel], text: str) -> list[str]:
    data, locate = load_yaml(text, "d.yaml")
    with pytest.raises(SpecError) as caught:
        validate(model, data, locate, "d.yaml")
    return [str(problem) for problem in caught.value.problems]


def test_a_sound_mapping_becomes_a_frozen_model() -> None:
    drawing = validate(Drawing, {"name": "x", "shapes": [{"type": "circle", "radius": 2}], "count": 3.0})
    assert drawing.shapes == (Circle(type="circle", radius=2.0),)
    assert drawing.count == 3
    with pytest.raises(ValidationError):
        drawing.name = "y"  # type: ignore[misc]


def test_every_problem_comes_at_once_and_in_the_order_of_lines() -> None:
    text = (
        "shapes:\n  - {type: circel, radius: 1}\n  - {type: square}\n  - 3\ncolour: gren\ncout: 3\nshare: 0\ncount: 0\n"
    )
    assert messages(Drawing, text) == [
        "d.yaml:1: name: missing; expected text that isn't empty",
        "d.yaml:2: shapes[0].type: unknown type 'circel' (did you mean 'circle'?); allowed: circle, square",
        "d.yaml:3: shapes[1].side: missing; expected a number > 0",
        "d.yaml:4: shapes[2]: must be a mapping, found 3",
        "d.yaml:5: colour: unknown colour 'gren' (did you mean 'green'?); allowed: red, green",
        "d.yaml:6: cout: unknown key 'cout' (did you mean 'count'?); allowed: name, count, shapes, colour, share",
        "d.yaml:7: share: must differ from count",
    ]


def test_rules_between_values_hold_in_nested_models_that_have_other_problems() -> None:
    class Album(StrictModel):
        drawings: tuple[Drawing, ...]
        year: Count

    text = "year: old\ndrawings:\n  - {name: 3, count: 1,\n     share: 1}\n"
    assert messages(Album, text) == [
        "d.yaml:1: year: must be a whole number >= 0, found 'old'",
        "d.yaml:3: drawings[0].name: must be text, found 3; put it in quotes: '3'",
        "d.yaml:4: drawings[0].share: must differ from count",
    ]


def test_keys_that_are_not_text_are_unknown_keys() -> None:
    allowed = "allowed: name, count, shapes, colour, share"
    assert messages(Drawing, f"name: x\n5: a\ntrue: b\n~: c\n{10**30}: d\n") == [
        f"d.yaml:2: [5]: unknown key 5; {allowed}",
        f"d.yaml:3: true: unknown key true; {allowed}",
        f"d.yaml:4: nothing: unknown key nothing; {allowed}",
        f"d.yaml:5: ['{10**30}']: unknown key {10**30}; {allowed}",
    ]


def test_a_key_named_like_a_union_tag_does_not_confuse_the_path() -> None:
    assert messages(Drawing, "name: x\nshapes:\n  - type: circle\n    radius: 0\n    circle: 4\n") == [
        "d.yaml:4: shapes[0].radius: must be a number > 0, found 0",
        "d.yaml:5: shapes[0].circle: unknown key 'circle'; allowed: type, radius",
    ]


def test_problems_of_reading_come_together_with_those_of_validation() -> None:
    problems: list[Problem] = []
    data, locate = load_yaml("name: x\nname: y\ncount: -1\n", "d.yaml", problems)
    with pytest.raises(SpecError) as caught:
        validate(Drawing, data, locate, "d.yaml", problems=problems)
    assert [str(problem) for problem in caught.value.problems] == [
        "d.yaml:2: name: duplicate key 'name', first given on line 1",
        "d.yaml:3: count: must be a whole number >= 0, found -1",
    ]


def test_data_without_lines() -> None:
    with pytest.raises(SpecError) as caught:
        validate(Drawing, {"name": ""}, file="flags")
    assert str(caught.value) == "flags: name: must be text that isn't empty, found ''"


def test_an_empty_file_says_what_belongs_there() -> None:
    assert messages(Circle, "") == ["d.yaml: the file is empty; expected a mapping with the keys type, radius"]


def test_models_of_plain_pydantic_are_worded_too() -> None:
    class Plain(BaseModel):
        size: Annotated[int, Field(gt=0)]
        label: str

    assert messages(Plain, "size: -1\nlabel: [a]\n") == [
        "d.yaml:1: size: must be greater than 0, found -1",
        "d.yaml:2: label: must be a valid string, found a list of 1 item",
    ]


def test_a_model_made_in_python_is_checked_alike() -> None:
    with pytest.raises(ValidationError, match="must be a number > 0, found -1"):
        Circle(type="circle", radius=-1)


class Fields(StrictModel):
    real: NonNegative = 0.0
    whole: Count = 0
    time: Micros = 0
    positive_time: PositiveMicros = 1
    flag: Flag = False
    text: Text = ""


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("real", True),
        ("real", "1"),
        ("real", float("nan")),
        ("real", float("inf")),
        ("real", 10**400),
        ("real", -1e-300),
        ("real", None),
        ("whole", 1.5),
        ("whole", False),
        ("whole", "3"),
        ("whole", 2**63),
        ("whole", float("nan")),
        ("whole", float("inf")),
        ("time", "5"),
        ("time", "5 parsecs"),
        ("time", "-5s"),
        ("time", "0.0000001s"),
        ("time", "1.00000000000000000000000000001s"),
        ("time", "1e999s"),
        ("time", 2**63),
        ("time", True),
        ("time", 0.5),
        ("positive_time", "0ms"),
        ("flag", 1),
        ("flag", "true"),
        ("text", 5),
        ("text", None),
    ],
)
def test_values_are_never_coerced_across_types(field: str, value: object) -> None:
    with pytest.raises(SpecError) as caught:
        validate(Fields, {field: value})
    assert [problem.path for problem in caught.value.problems] == [field]


@pytest.mark.parametrize(
    ("field", "value", "result"),
    [
        ("real", 3, 3.0),
        ("whole", 1e6, 1_000_000),
        ("whole", 2**63 - 1, 2**63 - 1),
        ("time", 6e7, 60_000_000),
        ("time", "60s", 60_000_000),
        ("time", "1.5 ms", 1_500),
        ("time", " 2min ", 120_000_000),
        ("time", "1h", 3_600_000_000),
        ("time", "7us", 7),
        ("time", "7µs", 7),
        ("time", "1e-3s", 1_000),
    ],
)
def test_values_that_mean_the_same_are_taken(field: str, value: object, result: object) -> None:
    found = getattr(validate(Fields, {field: value}), field)
    assert found == result
    assert type(found) is type(result)


def test_parse_us_is_for_flags() -> None:
    assert parse_us("250ms") == 250_000
    with pytest.raises(ValueError, match="found 'soon'; units are us, ms, s, min and h"):
        parse_us("soon")


def test_long_values_are_cut() -> None:
    with pytest.raises(SpecError) as caught:
        validate(Fields, {"real": "x" * 10_000})
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("word", "suggestion"),
    [
        ("agregate_rate", " (did you mean 'aggregate_rate'?)"),
        ("aggregate-rate", " (did you mean 'aggregate_rate'?)"),
        ("AGGREGATE_RATE", " (did you mean 'aggregate_rate'?)"),
        ("xyz", ""),
        (5, ""),
    ],
)
def test_did_you_mean(word: object, suggestion: str) -> None:
    assert did_you_mean(word, ["aggregate_rate", "seed"]) == suggestion


def test_a_slip_in_hundreds_of_places_is_not_all_read_out() -> None:
    clients = [{"id": f"client-{number}", "rat": 1.0} for number in range(300)]
    with pytest.raises(SpecError) as found:
        workload_from_dict({"version": "2", "num_requests": 1, "clients": clients})
    lines = str(found.value).splitlines()
    assert len(lines) == 41
    assert lines[-1] == f"and {len(found.value.problems) - 40:,} problems more; mend these first"
    assert len(found.value.problems) >= 300
