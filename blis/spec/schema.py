"""JSON schemas (draft 2020-12) of the spec files, for editors and other tools.

Each key has its meaning (``description``), default and examples; ``x-unit`` says what a number counts, ``x-range`` what
it may be where that depends on another value, ``x-default`` what holds in place of a key that isn't given where that
isn't one value. The reference pages are made from these.

A schema takes every file that blis takes. It can't say all that blis checks (ranges that depend on another value,
unique ids, the contents of files), so a file that fits the schema may still be refused.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import WithDefaultSchema

from blis.spec.distributions import DISTRIBUTIONS

__all__ = ["deployment_schema", "server_schema", "workload_schema"]

_DISTRIBUTION = """Lengths, counts, times or shares that are drawn: ``type`` says how, ``params`` are its numbers.

Lengths are rounded to whole tokens, at least 1, counts and times to whole numbers, at least 0, and shares are clipped
to [0, 1]."""
_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def workload_schema() -> dict[str, Any]:
    """Return the JSON schema of a workload spec.

    >>> sorted(workload_schema()["properties"])[:3]
    ['aggregate_rate', 'category', 'clients']
    """
    from blis.spec.workload import WorkloadSpec

    return _schema(WorkloadSpec, "blis workload spec")


def deployment_schema() -> dict[str, Any]:
    """Return the JSON schema of a deployment spec."""
    from blis.spec.deployment import DeploymentSpec

    return _schema(DeploymentSpec, "blis deployment spec")


def server_schema() -> dict[str, Any]:
    """Return the JSON schema of a server config."""
    from blis.spec.server import ServerSpec

    return _schema(ServerSpec, "blis server config")


class _Generator(GenerateJsonSchema):
    """Tells defaults that are made when they are needed, too, and leaves examples in the order they are written in."""

    def get_default_value(self, schema: WithDefaultSchema) -> Any:
        if "default_factory" in schema:
            return schema["default_factory"]()  # type: ignore[call-arg]  # none of them looks at other values
        return super().get_default_value(schema)

    def sort(self, value: JsonSchemaValue, parent_key: str | None = None) -> JsonSchemaValue:
        return value


def _schema(model: type[BaseModel], title: str) -> dict[str, Any]:
    schema: dict[str, Any] = _tidy(model.model_json_schema(schema_generator=_Generator))
    kinds = [{"$ref": f"#/$defs/{kind.__name__}"} for kind in DISTRIBUTIONS]
    if all(kind.__name__ in schema.get("$defs", {}) for kind in DISTRIBUTIONS):
        schema = _named(schema, kinds, "#/$defs/Distribution")
        schema["$defs"]["Distribution"] = {"description": _DISTRIBUTION, "oneOf": kinds}
    return {"$schema": _DRAFT, **schema, "title": title}


def _named(node: Any, kinds: list[dict[str, Any]], reference: str) -> Any:
    """Refer to the alternatives ``kinds`` by their name, in place of listing them wherever they stand."""
    if isinstance(node, list):
        return [_named(item, kinds, reference) for item in node]
    if not isinstance(node, dict):
        return node
    if node.get("oneOf") == kinds:
        node = {"$ref": reference, **{key: value for key, value in node.items() if key != "oneOf"}}
    return {key: _named(value, kinds, reference) for key, value in node.items()}


def _tidy(node: Any) -> Any:
    """Leave out what is noise in JSON schema: titles made from names, and the discriminator of OpenAPI."""
    if isinstance(node, list):
        return [_tidy(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: {name: _tidy(child) for name, child in value.items()} if key in ("properties", "$defs") else _tidy(value)
        for key, value in node.items()
        if not (key == "title" and isinstance(value, str)) and key != "discriminator"
    }
