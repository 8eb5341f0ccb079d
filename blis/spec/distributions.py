"""Distributions of lengths, counts and ratios as a spec writes them: ``{type: gaussian, params: {...}}``.

Lengths come out whole and at least 1, counts whole and at least 0, ratios real in [0, 1]: the place where a
distribution is used decides, and the sampler rounds and clips. A further kind is one more pair of classes here and
one more member of :data:`Distribution`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, GetJsonSchemaHandler, model_serializer
from pydantic_core import CoreSchema

from blis.spec.fields import Checked, NonNegative, Positive, Probability, RealNumber, Text
from blis.spec.pdf import check_pdf, read_pdf
from blis.spec.strict import Finding, StrictModel, is_number, lookup, refusals
from blis.spec.words import did_you_mean, shown

__all__ = [
    "Constant",
    "ConstantParams",
    "Distribution",
    "Empirical",
    "EmpiricalParams",
    "Exponential",
    "ExponentialParams",
    "Gaussian",
    "GaussianParams",
    "Lognormal",
    "LognormalParams",
    "ParetoLognormal",
    "ParetoLognormalParams",
    "length_findings",
]


class _Bounded(StrictModel):
    """Parameters with min and max."""

    @classmethod
    def across(cls, raw: Mapping[str, Any]) -> Iterator[Finding]:
        """Min must not exceed max."""
        low, high = raw.get("min"), raw.get("max")
        if is_number(low) and is_number(high) and low > high:
            yield ("min",), f"must be at most max, which is {shown(high)}; found {shown(low)}"


class GaussianParams(_Bounded):
    """Normal distribution, clipped to [min, max]."""

    mean: NonNegative = Field(description="Mean before clipping, >= 0.")
    std_dev: NonNegative = Field(description="Standard deviation before clipping, >= 0.")
    min: NonNegative = Field(description="Smallest value; smaller draws become it.")
    max: NonNegative = Field(description="Largest value; larger draws become it.")


class ExponentialParams(_Bounded):
    """Exponential distribution, clipped to [min, max] where these are given."""

    mean: NonNegative = Field(description="Mean before clipping, >= 0.")
    min: NonNegative | None = Field(default=None, description="Smallest value; smaller draws become it.")
    max: NonNegative | None = Field(default=None, description="Largest value; larger draws become it.")


class LognormalParams(StrictModel):
    """exp(N(mu, sigma)): mu and sigma belong to the logarithm."""

    mu: RealNumber = Field(description="Mean of the logarithm.")
    sigma: NonNegative = Field(description="Standard deviation of the logarithm, >= 0.")


class ParetoLognormalParams(StrictModel):
    """A mixture: Pareto(alpha, xm) with probability mix_weight, otherwise lognormal(mu, sigma)."""

    alpha: Positive = Field(description="Tail index of the Pareto part, > 0.")
    xm: Positive = Field(description="Smallest value of the Pareto part, > 0.")
    mu: RealNumber = Field(description="Mean of the logarithm of the lognormal part.")
    sigma: NonNegative = Field(description="Standard deviation of the logarithm of the lognormal part, >= 0.")
    mix_weight: Probability = Field(description="Probability of the Pareto part, in [0, 1].")


class ConstantParams(StrictModel):
    """Always the same value."""

    value: NonNegative = Field(description="The value, >= 0.")


_PDF = Checked(
    "a PDF, a mapping {value: probability, ...}",
    check_pdf,
    {
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"pattern": r"^\s*[+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?\s*$"},
        "additionalProperties": {"type": "number", "minimum": 0},
        "description": "{value: probability, ...}; probabilities are normalised to add up to 1.",
    },
)


class EmpiricalParams(StrictModel):
    """A measured distribution: a PDF, given under ``pdf``, directly in the place of ``params``, or in a ``file``.

    ``pdf`` is {value: probability} as written, unnormalised; it is there whichever way was used. A file is CSV
    (``value,probability``) or the text of a JSON or Python dictionary, found relative to the spec's folder.
    """

    pdf: Annotated[Mapping[float, float], _PDF]
    file: Text | None = Field(default=None, description="A CSV (value,probability) or JSON file, relative to the spec.")

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
            "anyOf": [*one_of, dict(_PDF.schema)],
        }


class Gaussian(StrictModel):
    """Normal distribution, clipped."""

    type: Literal["gaussian"]
    params: GaussianParams


class Exponential(StrictModel):
    """Exponential distribution."""

    type: Literal["exponential"]
    params: ExponentialParams


class Lognormal(StrictModel):
    """Lognormal distribution."""

    type: Literal["lognormal"]
    params: LognormalParams


class ParetoLognormal(StrictModel):
    """Mixture of a Pareto and a lognormal distribution."""

    type: Literal["pareto_lognormal"]
    params: ParetoLognormalParams


class Constant(StrictModel):
    """One value."""

    type: Literal["constant"]
    params: ConstantParams


class Empirical(StrictModel):
    """A measured distribution."""

    type: Literal["empirical"]
    params: EmpiricalParams


Distribution = Annotated[
    Gaussian | Exponential | Lognormal | ParetoLognormal | Constant | Empirical, Field(discriminator="type")
]
"""Any distribution; ``type`` tells which."""


def length_findings(raw: Any) -> Iterator[Finding]:
    """Yield what makes a raw distribution unfit for lengths in tokens, which are at least 1."""
    params = lookup(raw, "params")
    for key in ("max", "value"):
        value = lookup(params, key)
        if is_number(value) and 0 <= value < 1:
            yield ("params", key), f"a length is at least 1 token, found {shown(value)}"
