"""The keys of a spec's JSON schema, and minimal specs around each of them, made of the examples in the schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Schema = dict[str, Any]
Beside = Mapping[str, Mapping[str, Any]]
"""What a mapping, or one with a key (``mapping.key``), has beside what is asked for; None takes a key out."""

_BOUNDS = {"minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"}


@dataclass(frozen=True)
class Key:
    """A key of a mapping of the schema; ``fields`` are the mapping's properties, of which some are ``required``."""

    holder: str
    name: str
    fields: Mapping[str, Schema]
    required: tuple[str, ...]

    @property
    def schema(self) -> Schema:
        return self.fields[self.name]

    def __str__(self) -> str:
        return f"{self.holder}.{self.name}"


class Keys:
    """Every key of a schema, and the way to it from the top, whose mapping is called ``top``."""

    def __init__(self, schema: Schema, top: str) -> None:
        self._definitions = schema.get("$defs", {})
        self.ways: dict[str, tuple[Key, ...]] = {top: ()}
        self.all: list[Key] = []
        queue = [(top, schema)]
        for holder, mapping in queue:
            for name in _references({"oneOf": mapping.get("oneOf", ())}):
                # A name for alternatives: each of them stands where it does.
                self.ways.setdefault(name, self.ways[holder])
                queue.append((name, self._definitions[name]))
            found = sorted(_keys(holder, mapping), key=lambda key: key.name not in key.required)
            self.all += found
            for key in found:
                for name in _references(key.schema):
                    if name not in self.ways:
                        self.ways[name] = (*self.ways[holder], key)
                        queue.append((name, self._definitions[name]))

    def holders(self) -> set[str]:
        return {key.holder for key in self.all}

    def spec(self, key: Key, example: Any, always: Beside, needs: Beside) -> dict[str, Any]:
        """Return a minimal spec in which ``key`` has the value ``example``."""
        data = _filled(key, example, always, needs)
        for step in reversed(self.ways[key.holder]):
            data = _filled(step, [data] if _holds_list(step.schema) else data, always, needs)
        return data


def lacking(key: Key) -> list[str]:
    """What the schema doesn't tell about a key: its meaning, unit, default, range, or an example."""
    numbers = list(_numbers(key.schema, {}))
    drawn = any(name == "Distribution" for name in _references(key.schema))
    told = {
        "meaning": bool(key.schema.get("description", "").strip()),
        "unit": all("x-unit" in number for number in numbers) and (not drawn or bool(_units(key.schema))),
        "default": key.name in key.required or not {"default", "x-default"}.isdisjoint(key.schema),
        "range": all(_BOUNDS & number.keys() or "x-range" in number for number in numbers),
        "example": bool(key.schema.get("examples")),
    }
    return [what for what, there in told.items() if not there]


def _filled(key: Key, value: Any, always: Beside, needs: Beside) -> dict[str, Any]:
    """Return the mapping that ``key`` belongs to, with what it needs."""
    data = {name: key.fields[name]["examples"][0] for name in key.required}
    data |= {**always.get(key.holder, {}), **always.get(str(key), {}), key.name: value, **needs.get(key.holder, {})}
    return {name: one for name, one in data.items() if one is not None}


def _keys(holder: str, mapping: Schema) -> Iterator[Key]:
    for option in (mapping, *mapping.get("anyOf", ())):
        for name in option.get("properties", ()):
            yield Key(holder, name, option["properties"], tuple(option.get("required", ())))


def _parts(schema: Schema) -> Iterator[Schema]:
    """The schemas that a schema is made of, of whatever it refers to none."""
    inner = [schema.get("items"), schema.get("additionalProperties"), *schema.get("prefixItems", ())]
    inner += [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    return (part for part in inner if isinstance(part, dict))


def _references(schema: Schema) -> Iterator[str]:
    if "$ref" in schema:
        yield schema["$ref"].rsplit("/", 1)[-1]
    for part in _parts(schema):
        yield from _references(part)


def _numbers(schema: Schema, around: Schema) -> Iterator[Schema]:
    """The numbers in a schema, each with the annotations of what it is part of."""
    annotations = around | {name: value for name, value in schema.items() if name.startswith("x-")}
    if schema.get("type") in ("number", "integer"):
        yield annotations | schema
    for part in _parts(schema):
        yield from _numbers(part, annotations)


def _units(schema: Schema) -> list[str]:
    own = [schema["x-unit"]] if "x-unit" in schema else []
    return own + [unit for part in _parts(schema) for unit in _units(part)]


def _holds_list(schema: Schema) -> bool:
    return schema.get("type") == "array" or any(part.get("type") == "array" for part in schema.get("anyOf", ()))
