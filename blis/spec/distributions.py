"""Distributions of lengths, counts and ratios as a spec writes them: ``{type: gaussian, params: {...}}``.

Lengths come out whole and at least 1, counts whole and at least 0, ratios real in [0, 1]: the place where a
distribution is used decides, and the sampler rounds and clips. ``min`` and ``max`` clip too: a draw beyond an end
becomes that end, and isn't drawn again, so the ends have a probability of their own. A further kind is one more pair of
classes here and one more member of :data:`Distribution`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from blis.spec.empirical import AS_DRAWN, EmpiricalParams
from blis.spec.fields import NonNegative, Positive, Probability, RealNumber, unit
from blis.spec.strict import Finding, StrictModel, is_number, lookup
from blis.spec.words import shown

__all__ = [
    "DISTRIBUTIONS",
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
    "Uniform",
    "UniformParams",
    "length_findings",
]


_OF_LOG = unit("none", span="of either sign")
_MIN: Any = Field(
    default=None,
    description="Smallest value; smaller draws become it. None: no such limit.",
    examples=[10],
    json_schema_extra=AS_DRAWN,
)
_MAX: Any = Field(
    default=None,
    description="Largest value; larger draws become it. None: no such limit.",
    examples=[2000],
    json_schema_extra=AS_DRAWN,
)


class _Bounded(StrictModel):
    """Parameters with min and max."""

    @classmethod
    def across(cls, raw: Mapping[str, Any]) -> Iterator[Finding]:
        """Min must not exceed max."""
        low, high = raw.get("min"), raw.get("max")
        if is_number(low) and is_number(high) and low > high:
            yield ("min",), f"must be at most max, which is {shown(high)}; found {shown(low)}"


class GaussianParams(_Bounded):
    """Normal distribution, clipped to [min, max]: a draw beyond an end becomes that end."""

    mean: NonNegative = Field(description="Mean before clipping.", examples=[590], json_schema_extra=AS_DRAWN)
    std_dev: NonNegative = Field(
        description="Standard deviation before clipping.", examples=[60], json_schema_extra=AS_DRAWN
    )
    min: NonNegative = Field(
        description="Smallest value; smaller draws become it.", examples=[400], json_schema_extra=AS_DRAWN
    )
    max: NonNegative = Field(
        description="Largest value; larger draws become it.", examples=[800], json_schema_extra=AS_DRAWN
    )


class ExponentialParams(_Bounded):
    """Exponential distribution, clipped to [min, max] where these are given."""

    mean: NonNegative = Field(description="Mean before clipping.", examples=[150], json_schema_extra=AS_DRAWN)
    min: NonNegative | None = _MIN
    max: NonNegative | None = _MAX


class LognormalParams(_Bounded):
    """exp(N(mu, sigma)): mu and sigma belong to the logarithm. Clipped to [min, max] where these are given."""

    mu: RealNumber = Field(description="Mean of the logarithm.", examples=[5.5], json_schema_extra=_OF_LOG)
    sigma: NonNegative = Field(
        description="Standard deviation of the logarithm.", examples=[0.8], json_schema_extra=unit("none")
    )
    min: NonNegative | None = _MIN
    max: NonNegative | None = _MAX


class ParetoLognormalParams(_Bounded):
    """A mixture: Pareto(alpha, xm) with probability mix_weight, otherwise lognormal(mu, sigma).

    Clipped to [min, max] where these are given.
    """

    alpha: Positive = Field(
        description="Tail index of the Pareto part.", examples=[2.5], json_schema_extra=unit("none")
    )
    xm: Positive = Field(description="Smallest value of the Pareto part.", examples=[400], json_schema_extra=AS_DRAWN)
    mu: RealNumber = Field(
        description="Mean of the logarithm of the lognormal part.", examples=[5], json_schema_extra=_OF_LOG
    )
    sigma: NonNegative = Field(
        description="Standard deviation of the logarithm of the lognormal part.",
        examples=[0.5],
        json_schema_extra=unit("none"),
    )
    mix_weight: Probability = Field(
        description="Probability of the Pareto part.", examples=[0.3], json_schema_extra=unit("none")
    )
    min: NonNegative | None = _MIN
    max: NonNegative | None = _MAX


class UniformParams(_Bounded):
    """All whole numbers from min to max, both included, with the same probability.

    A ratio is any number between them. Where whole numbers are drawn, ends with fractions are rounded.
    """

    min: NonNegative = Field(description="Smallest value.", examples=[50], json_schema_extra=AS_DRAWN)
    max: NonNegative = Field(description="Largest value.", examples=[800], json_schema_extra=AS_DRAWN)


class ConstantParams(StrictModel):
    """Always the same value."""

    value: NonNegative = Field(description="The value.", examples=[248], json_schema_extra=AS_DRAWN)


class Gaussian(StrictModel):
    """Normal distribution, clipped."""

    type: Literal["gaussian"] = Field(description="Kind of distribution.", examples=["gaussian"])
    params: GaussianParams = Field(
        description="Its parameters.", examples=[{"mean": 590, "std_dev": 60, "min": 400, "max": 800}]
    )


class Exponential(StrictModel):
    """Exponential distribution, clipped where min or max is given."""

    type: Literal["exponential"] = Field(description="Kind of distribution.", examples=["exponential"])
    params: ExponentialParams = Field(description="Its parameters.", examples=[{"mean": 150, "max": 2000}])


class Lognormal(StrictModel):
    """Lognormal distribution, clipped where min or max is given."""

    type: Literal["lognormal"] = Field(description="Kind of distribution.", examples=["lognormal"])
    params: LognormalParams = Field(description="Its parameters.", examples=[{"mu": 5.5, "sigma": 0.8, "max": 8000}])


class ParetoLognormal(StrictModel):
    """Mixture of a Pareto and a lognormal distribution, clipped where min or max is given."""

    type: Literal["pareto_lognormal"] = Field(description="Kind of distribution.", examples=["pareto_lognormal"])
    params: ParetoLognormalParams = Field(
        description="Its parameters.", examples=[{"alpha": 2.5, "xm": 400, "mu": 5, "sigma": 0.5, "mix_weight": 0.3}]
    )


class Uniform(StrictModel):
    """All values from min to max alike."""

    type: Literal["uniform"] = Field(description="Kind of distribution.", examples=["uniform"])
    params: UniformParams = Field(description="Its parameters.", examples=[{"min": 50, "max": 800}])


class Constant(StrictModel):
    """One value."""

    type: Literal["constant"] = Field(description="Kind of distribution.", examples=["constant"])
    params: ConstantParams = Field(description="Its parameters.", examples=[{"value": 248}])


class Empirical(StrictModel):
    """A measured distribution."""

    type: Literal["empirical"] = Field(description="Kind of distribution.", examples=["empirical"])
    params: EmpiricalParams = Field(description="Its parameters.", examples=[{"100": 0.5, "400": 0.3, "2000": 0.2}])


Distribution = Annotated[
    Gaussian | Exponential | Lognormal | ParetoLognormal | Uniform | Constant | Empirical, Field(discriminator="type")
]
"""Any distribution; ``type`` tells which."""

DISTRIBUTIONS = (Gaussian, Exponential, Lognormal, ParetoLognormal, Uniform, Constant, Empirical)
"""Its members."""


def length_findings(raw: Any) -> Iterator[Finding]:
    """Yield what makes a raw distribution unfit for lengths in tokens, which are at least 1."""
    params = lookup(raw, "params")
    # Below a min of 0 others have a density to clip; a uniform one would have 0 itself as a value.
    for key in ("max", "value", *(("min",) if lookup(raw, "type") == "uniform" else ())):
        value = lookup(params, key)
        if is_number(value) and 0 <= value < 1:
            yield ("params", key), f"a length is at least 1 token, found {shown(value)}"
