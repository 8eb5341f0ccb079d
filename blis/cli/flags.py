"""Flags in groups: dataclasses whose fields are flags, shared by the commands that take them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from typing import Annotated, Any, get_args, get_type_hints

from typer.models import OptionInfo

from blis.errors import Problem, SpecError
from blis.spec.overrides import COMMAND_LINE, flag
from blis.spec.words import shown

__all__ = ["micros", "takes_flags"]

_KEYWORD = inspect.Parameter.KEYWORD_ONLY
_NUMBERS: dict[type, str] = {int: "a whole number", float: "a number"}


def micros(text: str) -> int | str:
    """Return a time from the command line as specs take it: plain digits are microseconds."""
    return int(text) if text.isascii() and text.isdigit() else text


def takes_flags(function: Callable[..., None]) -> Callable[..., None]:
    """Let typer see each field of the dataclasses that ``function`` takes as a flag of its own.

    A field is annotated ``Annotated[T | None, typer.Option(...)]``, T being str, int, float or bool; one without a
    default is required. Typer is told that numbers are texts: they are converted here, so that a wrong one is reported
    in the same words as every other mistake. Other parameters of the function stay as they are.
    """
    hints = get_type_hints(function, include_extras=True)
    groups: dict[str, type] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(function).parameters.values():
        hint = hints[parameter.name]
        if isinstance(hint, type) and is_dataclass(hint):
            groups[parameter.name] = hint
            parameters += _expanded(hint)
        else:
            parameters.append(parameter.replace(annotation=hint, kind=_KEYWORD))

    @functools.wraps(function)
    def command(**values: Any) -> None:
        problems: list[Problem] = []
        arguments = {name: _filled(group, values, problems) for name, group in groups.items()}
        if problems:
            raise SpecError(problems)
        function(**values, **arguments)

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    # Otherwise the signature of the wrapped function would be found in the place of this one.
    del command.__wrapped__
    return command


def _expanded(group: type) -> list[inspect.Parameter]:
    """Return the fields of a group as parameters, numbers as texts."""
    hints = get_type_hints(group, include_extras=True)
    parameters = []
    for field in fields(group):
        hint = hints[field.name]
        if _base(hint) in _NUMBERS:
            hint = Annotated[str | None, *hint.__metadata__]
        default = inspect.Parameter.empty if field.default is MISSING else field.default
        parameters.append(inspect.Parameter(field.name, _KEYWORD, default=default, annotation=hint))
    return parameters


def _base(hint: Any) -> type:
    """Return T of ``Annotated[T | None, ...]``, and of ``Annotated[T, ...]``."""
    kind: type = (get_args(get_args(hint)[0]) or get_args(hint))[0]
    return kind


def _filled(group: type, values: dict[str, Any], problems: list[Problem]) -> Any:
    """Take a group's fields out of ``values``; append what is wrong with them to ``problems``."""
    hints = get_type_hints(group, include_extras=True)
    filled = {field.name: values.pop(field.name) for field in fields(group)}
    for name, value in filled.items():
        if isinstance(value, str):
            try:
                filled[name] = _converted(value, _base(hints[name]))
            except ValueError as error:
                typed = flag(name) if isinstance(hints[name].__metadata__[0], OptionInfo) else name.upper()
                problems.append(Problem(COMMAND_LINE, None, typed, str(error)))
    return group(**filled)


def _converted(text: str, kind: type) -> Any:
    if not text:
        raise ValueError("is empty; give a value, or leave it out")
    if kind not in _NUMBERS:
        return text
    try:
        number = float(text)
        # A whole number may be written 1e6, and one of many digits must keep them all.
        return number if kind is float else int(number) if number.is_integer() and "e" in text.lower() else int(text)
    except (ValueError, OverflowError):
        raise ValueError(f"must be {_NUMBERS[kind]}, found {shown(text)}") from None
