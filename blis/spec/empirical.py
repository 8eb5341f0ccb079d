"""Measured distributions in specs: a PDF, inline or in a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, GetJsonSchemaHandler, model_serializer
from pydantic_core import CoreSchema

from blis.spec.fields import Checked, Text, unit
from blis.spec.pdf import check_pdf, read_pdf
from blis.spec.strict import StrictModel, refusals
from blis.spec.words import did_you_mean, shown

__all__ = ["AS_DRAWN", "EmpiricalParams"]

AS_DRAWN = unit("as drawn")
"""Unit of parameters that have that of the values drawn."""

_EXAMPLE = {"100": 0.5, "400": 0.3, "2000": 0.2}
_PDF = Checked(
    "a PDF, a mapping {value: probability, ...}",
    check_pdf,
    {
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"pattern": r"^\s*[+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?\s*$"},
        "additionalProperties": {"type": "number", "minimum": 0},
    },
)


class EmpiricalParams(StrictModel):
    """A measured distribution: a PDF, given under ``pdf``, directly in the place of ``params``, or in a ``file``.

    ``pdf`` is {value: probability} as written, unnormalised; it is there whichever way was used. A file is CSV
    (``value,probability``) or the text of a JSON or Python dictionary, found relative to the spec's folder.
    """

    pdf: Annotated[Mapping[float, float], _PDF] = Field(
        description="{value: probability, ...}; probabilities are normalised to add up to 1.",
        examples=[_EXAMPLE],
        json_schema_extra=AS_DRAWN,
    )
    file: Text | None = Field(
        default=None,
        description="A CSV (value,probability) or JSON file, relative to the spec.",
        examples=["lengths.csv"],
    )

    @classmethod
    def prepare(cls, raw: dict[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
        """Bring the three ways of giving the PDF into one; read the file if there is one."""
        if not raw:
            check_pdf(raw)
        if "pdf" not in raw and "file" not in raw:
            words = [key for key in raw if isinstance(key, str) and not any(letter.isdigit() for letter in key)]
            if words:
                hint = did_you_mean(words[0], ["pdf", "file"])
                text = f"unknown key {shown(words[0])}{hint}; allowed: pdf, file, or a PDF {{value: probability, ...}}"
                raise refusals(cls.__name__, [((words[0],), text)])
            return {"pdf": raw}
        name = raw.get("file")
        if not isinstance(name, str):
            return raw
        if raw.get("pdf") is not None:
            raise refusals(cls.__name__, [(("file",), "give pdf or file, not both")])
        try:
            # A path in a spec belongs to the spec's folder; an absolute one stays as it is.
            table = read_pdf(Path(context.get("base_dir") or ".") / name)
        except ValueError as error:
            raise refusals(cls.__name__, [(("file",), str(error))]) from None
        return {**raw, "pdf": table}

    @model_serializer
    def _inline(self) -> dict[str, Any]:
        """A spec that is written out holds the PDF itself, so that it doesn't depend on the file."""
        return {"pdf": dict(self.pdf)}

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        described = handler.resolve_ref_schema(handler(schema))
        properties = described["properties"]
        one_of = [
            {"type": "object", "properties": {key: properties[key]}, "required": [key], "additionalProperties": False}
            for key in ("pdf", "file")
        ]
        return {
            "title": "EmpiricalParams",
            "description": described["description"],
            "anyOf": [*one_of, {**_PDF.schema, "examples": [_EXAMPLE], **AS_DRAWN}],
        }
