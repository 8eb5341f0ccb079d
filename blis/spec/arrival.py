"""How a client's requests are spaced."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import Field

from blis.spec.fields import Flag, RealNumber, unit
from blis.spec.strict import Finding, StrictModel, is_number, shown

__all__ = ["CV_RANGES", "ArrivalSpec"]

CV_RANGES = {"gamma": (0.0, False, 10.0), "weibull": (0.01, True, 10.4)}
"""For the processes that take a cv: the lowest, whether that one is allowed, and the highest."""
_FIXED_CV = {"poisson": 1, "constant": 0}


class ArrivalSpec(StrictModel):
    """How a client's requests are spaced; the rate comes from elsewhere.

    ``cv`` is the coefficient of variation of the gaps, their standard deviation over their mean: needed by gamma, in
    (0, 10], and weibull, in [0.01, 10.4]. A poisson process has 1 and a constant one 0, which may be said but not
    changed.

    With ``conditioned``, each stretch of constant rate (a stage, a window, or what they have in common) is filled by
    as many gaps as rate times duration gives, scaled to span it together, as load-testing tools do. They are laid on
    it as on a circle, from a uniform place on: a Poisson process given its count. What isn't a whole number is rounded
    so that the sum over stretches is right.
    """

    process: Literal["poisson", "gamma", "weibull", "constant"] = Field(
        description="Kind of renewal process.", examples=["poisson"]
    )
    cv: RealNumber | None = Field(
        default=None,
        description="Coefficient of variation of the gaps: gamma takes (0, 10], weibull [0.01, 10.4].",
        examples=[2.5],
        json_schema_extra=unit("none", span="gamma (0, 10], weibull [0.01, 10.4], poisson 1, constant 0"),
    )
    conditioned: Flag = Field(
        default=False,
        description="Whether each stage, or window, has exactly as many arrivals as its rate asks for.",
        examples=[True],
    )

    @classmethod
    def across(cls, raw: Mapping[str, Any]) -> Iterator[Finding]:
        """Gamma and weibull need a cv in their range."""
        process, cv = raw.get("process"), raw.get("cv")
        if not isinstance(process, str):
            return
        if process in CV_RANGES:
            low, closed, high = CV_RANGES[process]
            allowed = f"{'[' if closed else '('}{low:g}, {high:g}]"
            if cv is None:
                yield ("cv",), f"missing; a {process} process needs its cv, a number in {allowed}"
            elif is_number(cv) and abs(cv) < float("inf") and not (low <= cv <= high and (closed or cv > low)):
                yield ("cv",), f"the cv of a {process} process must be in {allowed}, found {shown(cv)}"
        elif process in _FIXED_CV and is_number(cv) and abs(cv) < float("inf") and cv != _FIXED_CV[process]:
            fixed = _FIXED_CV[process]
            hint = "leave it out, or choose gamma or weibull"
            yield ("cv",), f"the cv of a {process} process is always {fixed}; {hint}; found {shown(cv)}"
