"""Types of single values in specs: each checks strictly, says in words what it takes, and knows its JSON schema.

Nothing is coerced across types: no text to number, no boolean to number. Whole numbers are taken where real ones are
asked for, and a real number without a fraction (``1e6``) where a whole one is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from blis.spec.words import shown

__all__ = [
    "Checked",
    "Count",
    "Flag",
    "Micros",
    "Name",
    "NonNegative",
    "Positive",
    "PositiveCount",
    "PositiveMicros",
    "Probability",
    "RealNumber",
    "Text",
    "as_us",
    "duration",
    "parse_us",
    "real",
    "refusal",
    "unit",
    "whole",
    "words",
    "yes_no",
]

_MAX_INT = 2**63 - 1
_UNITS_US = {"us": 1, "µs": 1, "μs": 1, "ms": 1_000, "s": 1_000_000, "min": 60_000_000, "h": 3_600_000_000}
_DURATION = re.compile(r"\s*([0-9]{1,30}(?:\.[0-9]{1,30})?(?:[eE][+-]?[0-9]{1,3})?)\s*(us|µs|μs|ms|s|min|h)\s*")
_DURATION_JSON = r"^\s*[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?\s*(us|µs|μs|ms|s|min|h)\s*$"


def refusal(text: str) -> PydanticCustomError:
    """Return the exception by which a validator refuses a value; ``text`` is the whole message."""
    return PydanticCustomError("blis", "{text}", {"text": text})


@dataclass(frozen=True)
class Checked:
    """A marker for ``Annotated[type, marker]``.

    ``expected`` says what is taken, as a noun phrase (``a number >= 0``); ``check`` returns the value, converted, or
    raises what :func:`refusal` gives; ``schema`` is the JSON schema of what is taken.
    """

    expected: str
    check: Callable[[Any], Any]
    schema: dict[str, Any] = field(hash=False)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.check)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return dict(self.schema)


def unit(name: str, *, span: str = "") -> dict[str, Any]:
    """Return what a number counts, as annotations for its JSON schema; ``none`` for a bare number.

    ``span`` says the range in words where the schema can't, since it depends on something else or has no end.
    """
    return {"x-unit": name, **({"x-range": span} if span else {})}


def real(low: float | None = None, high: float | None = None, *, above: bool = False) -> Checked:
    """Finite numbers from ``low`` to ``high``, ends included; ``low`` is excluded where ``above`` is set."""
    expected = f"a number{_range_text(low, high, above)}"

    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _refuse(expected, value)
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise _refuse(expected.replace("number", "finite number", 1), value)
        below = low is not None and (number <= low if above else number < low)
        if below or (high is not None and number > high):
            raise _refuse(expected, value)
        return number

    return Checked(expected, check, {"type": "number", **_range_schema(low, high, above)})


def whole(low: int | None = None, high: int | None = None) -> Checked:
    """Whole numbers of at most 63 bits from ``low`` to ``high``, ends included."""
    expected = f"a whole number{_range_text(low, high, False)}"

    def check(value: Any) -> int:
        number = _integer(value)
        if number is None or (low is not None and number < low) or (high is not None and number > high):
            raise _refuse(expected, value)
        if not -_MAX_INT <= number <= _MAX_INT:
            raise refusal(f"must be {expected} below 2^63, found {shown(value)}")
        return number

    return Checked(expected, check, {"type": "integer", **_range_schema(low, high, False)})


def duration(low: int = 0) -> Checked:
    """Microseconds, at least ``low``: a whole number, or text with a unit (``60s``, ``10ms``, ``2min``)."""
    expected = f"a time{_range_text(low, None, False)}: whole microseconds, or text with a unit such as '60s' or '10ms'"

    def check(value: Any) -> int:
        if isinstance(value, str):
            match = _DURATION.fullmatch(value)
            if match is None:
                raise _refuse(expected, value, "; units are us, ms, s, min and h")
            exact = Fraction(match[1]) * _UNITS_US[match[2]]
            number = exact.numerator if exact.denominator == 1 else None
        else:
            number = _integer(value)
        if number is not None and number > _MAX_INT:
            raise refusal(f"must be below 2^63 µs, which is 292,000 years, found {shown(value)}")
        if number is None or number < low:
            raise _refuse(expected, value)
        return number

    integer = {"type": "integer", **_range_schema(low, None, False), **unit("µs")}
    return Checked(expected, check, {"anyOf": [integer, {"type": "string", "pattern": _DURATION_JSON}]})


def words(least: int = 0) -> Checked:
    """Text of at least ``least`` characters."""
    expected = "text that isn't empty" if least else "text"

    def check(value: Any) -> str:
        if not isinstance(value, str):
            quotable = isinstance(value, int | float)
            raise _refuse("text", value, f"; put it in quotes: '{shown(value)}'" if quotable else "")
        if len(value) < least:
            raise _refuse(expected, value)
        if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
            raise refusal(f"must be text that can be written in UTF-8, found {shown(value)}")
        return value

    return Checked(expected, check, {"type": "string", **({"minLength": least} if least else {})})


def yes_no() -> Checked:
    """Booleans, which YAML writes true and false."""
    expected = "true or false"

    def check(value: Any) -> bool:
        if not isinstance(value, bool):
            raise _refuse(expected, value)
        return value

    return Checked(expected, check, {"type": "boolean"})


def _refuse(expected: str, value: Any, hint: str = "") -> PydanticCustomError:
    return refusal(f"must be {expected}, found {shown(value)}{hint}")


def _integer(value: Any) -> int | None:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _range_text(low: float | None, high: float | None, above: bool) -> str:
    if low is not None and high is not None:
        return f" in {'(' if above else '['}{low:g}, {high:g}]"
    if low is not None:
        return f" {'>' if above else '>='} {low:g}"
    return "" if high is None else f" <= {high:g}"


def _range_schema(low: float | None, high: float | None, above: bool) -> dict[str, Any]:
    bounds = {"exclusiveMinimum" if above else "minimum": low, "maximum": high}
    return {name: bound for name, bound in bounds.items() if bound is not None}


RealNumber = Annotated[float, real()]
NonNegative = Annotated[float, real(0)]
Positive = Annotated[float, real(0, above=True)]
Probability = Annotated[float, real(0, 1)]
Count = Annotated[int, whole(0)]
PositiveCount = Annotated[int, whole(1)]
Micros = Annotated[int, duration()]
PositiveMicros = Annotated[int, duration(1)]
Flag = Annotated[bool, yes_no()]
Text = Annotated[str, words()]
Name = Annotated[str, words(1)]


def parse_us(value: int | float | str) -> int:
    """Return microseconds from a whole number or from text with a unit, as specs take them.

    >>> parse_us("1.5s")
    1500000

    Raises:
        ValueError: with the message for the user.
    """
    try:
        return int(duration().check(value))
    except PydanticCustomError as error:
        raise ValueError(error.message()) from None


def as_us(value: Any) -> int | None:
    """Return a raw time in microseconds, None where it isn't one; for checks between values."""
    try:
        return None if value is None else parse_us(value)
    except ValueError:
        return None
