"""Strict reading of specs: every problem of a file at once, each with its line, place, value and what is allowed.

A spec model derives from :class:`StrictModel`. Rules about one value live in its type (:mod:`blis.spec.fields`),
rules between values in :meth:`StrictModel.across`, which sees the raw mapping, so that they are checked even where
another value is wrong. :func:`load_yaml` gives data and a locator, :func:`validate` turns them into a model or raises
one :class:`~blis.errors.SpecError` with everything found.
"""

from __future__ import annotations

import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Literal, Self, TypeGuard, TypeVar, Union

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, ValidationError, ValidationInfo, model_validator
from pydantic_core import ErrorDetails, InitErrorDetails

from blis.errors import Problem, SpecError
from blis.spec.fields import Checked, refusal
from blis.spec.located import Locate, load_yaml, nowhere
from blis.spec.words import Path, did_you_mean, listed, path_text, shown, step

__all__ = [
    "Finding",
    "Locate",
    "Path",
    "StrictModel",
    "did_you_mean",
    "is_number",
    "load_yaml",
    "lookup",
    "nowhere",
    "path_text",
    "refusal",
    "refusals",
    "shown",
    "validate",
]

Finding = tuple[Path, str]
"""A problem inside a mapping: where, relative to it, and the message."""

_M = TypeVar("_M", bound=BaseModel)


def lookup(holder: Any, key: str, default: Any = None) -> Any:
    """Return a value by name from a raw mapping or from a model already built."""
    return holder.get(key, default) if isinstance(holder, Mapping) else getattr(holder, key, default)


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a raw value can be compared with a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


class StrictModel(BaseModel):
    """Base of spec models: frozen, unknown keys are errors, and all problems come at once."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @classmethod
    def across(cls, raw: Mapping[str, Any]) -> Iterator[Finding]:
        """Yield what is wrong between the values of ``raw``, which may be of any type: use guarded comparisons."""
        yield from ()

    @classmethod
    def prepare(cls, raw: dict[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
        """Return the mapping to validate; for other accepted ways of writing the same. May raise a refusal."""
        return raw

    @model_validator(mode="wrap")
    @classmethod
    def _all_at_once(cls, raw: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        if isinstance(raw, cls):
            return handler(raw)
        if not isinstance(raw, Mapping):
            raise refusal(f"must be {_mapping_words(cls)}, found {shown(raw)}")
        prepared = cls.prepare(dict(raw), info.context or {})
        known = {key: value for key, value in prepared.items() if key in cls.model_fields}
        findings: list[Finding] = [((step(k),), _unknown_key(cls, k)) for k in prepared if k not in known]
        findings += cls.across(prepared)
        try:
            model = handler(known)
        except ValidationError as error:
            findings = [_explain(cls, detail) for detail in error.errors(include_url=False)] + findings
        if findings:
            raise refusals(cls.__name__, findings)
        return model


def refusals(title: str, findings: Iterable[Finding]) -> ValidationError:
    """Return the exception by which a model refuses its data at several places."""
    errors = [InitErrorDetails(type=refusal(text), loc=path, input=None) for path, text in findings]
    return ValidationError.from_exception_data(title, errors)


def validate(
    model: type[_M],
    data: Any,
    locate: Locate = nowhere,
    file: str = "<spec>",
    *,
    context: Mapping[str, Any] | None = None,
    problems: Sequence[Problem] = (),
) -> _M:
    """Return ``data`` as a ``model``; ``problems`` are those found while reading the text.

    Raises:
        SpecError: with all problems, in the order of the file.
    """
    found = list(problems)
    if data is None:
        found.append(Problem(file, None, "", f"the file is empty; expected {_mapping_words(model)}"))
    else:
        try:
            result = model.model_validate(data, context=dict(context or {}))
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                # A strict model has put its own errors into words already.
                strict = issubclass(model, StrictModel) and "text" in detail.get("ctx", {})
                loc, text = (detail["loc"], detail["ctx"]["text"]) if strict else _explain(model, detail)
                path = _written_path(data, loc)
                found.append(Problem(file, locate(path), path_text(path), text))
        except RecursionError:
            found.append(Problem(file, None, "", "nested too deeply"))
    if found:
        raise SpecError(sorted(dict.fromkeys(found), key=lambda problem: problem.line or 0))
    return result


def _explain(model: type[BaseModel], detail: ErrorDetails) -> Finding:
    """Return place and words for one of pydantic's errors, raised while ``model`` was checked."""
    loc = _without_tag(model, detail["loc"])
    kind, value, ctx = detail["type"], detail["input"], detail.get("ctx", {})
    annotation = _annotation(model, loc)
    match kind:
        case "blis":
            return loc, str(ctx["text"])
        case "missing":
            return loc, f"missing; expected {_expected(annotation)}"
        case "extra_forbidden":
            return loc, _unknown_key(model, loc[-1])
        case "literal_error":
            return loc, _not_among(str(loc[-1]), value, _literals(annotation) or _quoted(ctx["expected"]))
        case "union_tag_invalid" | "union_tag_not_found":
            key = str(ctx["discriminator"]).strip("'")
            return _wrong_tag(annotation, loc, key, value)
        case "too_short":
            return loc, f"must have at least {ctx['min_length']} item, found {shown(value)}"
        case "list_type" | "tuple_type" | "dict_type" | "model_type" | "model_attributes_type":
            return loc, f"must be {_expected(annotation)}, found {shown(value)}"
        case _:
            rule = detail["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
            return loc, f"must be {rule}, found {shown(value)}" if rule != detail["msg"] else rule


def _not_among(what: str, value: Any, allowed: Sequence[str]) -> str:
    return f"unknown {what} {shown(value)}{did_you_mean(value, allowed)}; allowed: {listed(allowed)}"


def _wrong_tag(annotation: Any, loc: Path, key: str, value: Any) -> Finding:
    tags = [tag for member in _members(annotation) for tag in _literals(member.model_fields[key].annotation)]
    if not isinstance(value, Mapping):
        return loc, f"must be {_expected(annotation)}, found {shown(value)}"
    if key not in value:
        return (*loc, key), f"missing; expected one of {listed(tags)}"
    return (*loc, key), _not_among(key, value[key], tags)


def _unknown_key(model: type[BaseModel], key: Any) -> str:
    allowed = list(model.model_fields)
    return f"unknown key {shown(key)}{did_you_mean(key, allowed)}; allowed: {listed(allowed)}"


def _mapping_words(model: type[BaseModel]) -> str:
    return f"a mapping with the keys {listed(model.model_fields)}"


def _quoted(expected: Any) -> list[str]:
    """Take the words out of pydantic's list of literals, such as ``'a', 'b' or 'c'``."""
    return str(expected).split("'")[1::2]


def _annotation(model: type[BaseModel], loc: Path) -> Any:
    """Return the annotation of the field of ``model`` at ``loc``, or of an item of that field."""
    field = model.model_fields.get(str(loc[0])) if loc else None
    if field is None:
        return None
    annotation: Any = Annotated[(field.annotation, *field.metadata, None)]
    for _ in loc[1:]:
        holder = next((part for part in _parts(annotation) if typing.get_origin(part) in (list, tuple)), None)
        if holder is None:
            return None
        annotation = typing.get_args(holder)[0]
    return annotation


def _without_tag(model: type[BaseModel], loc: Path) -> Path:
    """Leave out the member's name that pydantic puts behind a field, or an item of it, that is a union of models."""
    end = next((index for index, part in enumerate(loc) if index and not isinstance(part, int)), len(loc))
    members = _members(_annotation(model, loc[:end]))
    return (*loc[:end], *loc[end + 1 :]) if len(members) > 1 else loc


def _parts(annotation: Any) -> Iterator[Any]:
    """Yield the annotation and everything it is made of, unions and ``Annotated`` unfolded."""
    yield annotation
    if typing.get_origin(annotation) in (Annotated, Union, UnionType):
        for part in typing.get_args(annotation):
            yield from _parts(part)


def _literals(annotation: Any) -> list[str]:
    return [
        str(word) for part in _parts(annotation) if typing.get_origin(part) is Literal for word in typing.get_args(part)
    ]


def _members(annotation: Any) -> list[type[BaseModel]]:
    return [part for part in _parts(annotation) if isinstance(part, type) and issubclass(part, BaseModel)]


def _expected(annotation: Any) -> str:
    """Say what an annotation takes, as a noun phrase."""
    markers = [part for part in _parts(annotation) if isinstance(part, Checked)]
    if markers:
        return markers[-1].expected
    if words := _literals(annotation):
        return f"one of {listed(words)}"
    members = _members(annotation)
    if members and all(list(member.model_fields) == list(members[0].model_fields) for member in members):
        return _mapping_words(members[0])
    if any(typing.get_origin(part) in (list, tuple) for part in _parts(annotation)):
        return "a list"
    return "a mapping" if members or any(typing.get_origin(part) is dict for part in _parts(annotation)) else "a value"


def _written_path(data: Any, loc: Path) -> Path:
    """Return ``loc`` without what was never written, such as the long form of something given in a short one."""
    path: list[str | int] = []
    here = data
    for index, part in enumerate(loc):
        if isinstance(here, Mapping):
            key = part if part in here else next((key for key in here if step(key) == part), None)
            if key is None and index < len(loc) - 1:
                continue
            here = here.get(key)
        elif isinstance(here, Sequence) and not isinstance(here, str) and isinstance(part, int) and part < len(here):
            here = here[part]
        else:
            continue
        path.append(part)
    return tuple(path)
