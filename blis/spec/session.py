"""Traffic that waits for answers: sessions of several rounds, and what reasoning adds to an answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from blis.spec.distributions import Distribution, length_findings
from blis.spec.fields import Checked, Flag, duration, refusal, unit, whole
from blis.spec.strict import Finding, StrictModel, lookup, shown

__all__ = ["MAX_ROUNDS", "Durations", "ReasoningSpec", "SessionSpec", "closed_loop_findings", "moved_session"]

MAX_ROUNDS = 10_000
"""No session has more rounds; larger draws become it."""


class _OrConstant(Checked):
    """Marks a distribution in whose place a plain value may stand, which is then always drawn."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._long_form, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [dict(self.schema), handler(schema)]}

    def _long_form(self, value: Any) -> Any:
        if isinstance(value, Mapping | BaseModel):
            return value
        try:
            number = self.check(value)
        except PydanticCustomError:
            raise refusal(f"must be {self.expected}, found {shown(value)}") from None
        return {"type": "constant", "params": {"value": number}}


class _Ratio(Checked):
    """Marks a distribution whose draws are shares of a whole."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return handler(schema)


def _check_ratio(distribution: Any) -> Any:
    params = distribution.params
    values = [getattr(params, key, None) for key in ("mean", "min", "max", "value", "xm")]
    above = next((value for value in (*values, *getattr(params, "pdf", ())) if value is not None and value > 1), None)
    if above is not None:
        raise refusal(f"a ratio is in [0, 1], found {shown(above)}")
    return distribution


def _or_constant(expected: str, plain: Checked) -> _OrConstant:
    return _OrConstant(f"{expected}, or a distribution", plain.check, plain.schema)


_DURATIONS = _or_constant("a time >= 0 (whole microseconds, or text with a unit such as '5s' or '10ms')", duration())
_ROUNDS = _or_constant(f"a whole number in [1, {MAX_ROUNDS}]", whole(1, MAX_ROUNDS))
_RATIOS = _Ratio("a distribution of values in [0, 1]", _check_ratio, {})

Durations = Annotated[Distribution, _DURATIONS]
"""A time, or a distribution of times in microseconds."""


class SessionSpec(StrictModel):
    """Conversations of several rounds, each round sent when the one before has been answered and thought about.

    What arrives by the client's ``arrival`` are sessions, not requests: its rate counts their starts. A round that
    isn't completed ends its session, which a ``timeout`` of the client's brings about after 300 s at the latest, unless
    the client sets another. The horizon ends sessions too: a round that would be due then isn't sent.
    """

    max_rounds: Annotated[Distribution, _ROUNDS] = Field(
        description=f"Rounds of a session, 1 to {MAX_ROUNDS}: a number, or a distribution to draw each session's from.",
        examples=[5, {"type": "exponential", "params": {"mean": 4, "max": 20}}],
        json_schema_extra=unit("rounds"),
    )
    think_time_us: Durations | None = Field(
        default=None,
        description="Time between an answer and the next round; none means at once, after 1 µs.",
        examples=["3s"],
    )
    context_growth: Literal["accumulate", "fixed"] = Field(
        default="accumulate",
        description="Whether a round's prompt repeats all inputs and outputs before it, or is its own input only.",
        examples=["fixed"],
    )
    single_session: Flag = Field(
        default=False,
        description="Whether there is one session only, which starts with the first arrival.",
        examples=[True],
    )

    @classmethod
    def across(cls, raw: Mapping[str, Any]) -> Iterator[Finding]:
        """Nobody has sessions without a round."""
        for path, text in length_findings(raw.get("max_rounds")):
            yield ("max_rounds", *path), text.replace("a length is at least 1 token", "a session has at least 1 round")


class ReasoningSpec(StrictModel):
    """How much of each answer is reasoning that comes before the answer proper; it is part of the output's tokens."""

    reason_ratio_distribution: Annotated[Distribution, _RATIOS] | None = Field(
        default=None,
        description="Share of a request's output tokens that is reasoning, in [0, 1].",
        examples=[{"type": "gaussian", "params": {"mean": 0.8, "std_dev": 0.1, "min": 0, "max": 1}}],
        json_schema_extra=unit("none"),
    )
    multi_turn: SessionSpec | None = Field(
        default=None, description="Another way to write the client's session.", examples=[{"max_rounds": 5}]
    )

    @classmethod
    def across(cls, raw: Mapping[str, Any]) -> Iterator[Finding]:
        """Something is said."""
        if raw.get("reason_ratio_distribution") is None and raw.get("multi_turn") is None:
            yield ("reason_ratio_distribution",), "missing; expected a distribution of values in [0, 1]"


def moved_session(raw: dict[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
    """Return a client's raw mapping with a sound reasoning.multi_turn moved to session, its canonical place."""
    reasoning = raw.get("reasoning")
    written = lookup(reasoning, "multi_turn")
    known = not isinstance(reasoning, Mapping) or reasoning.keys() <= ReasoningSpec.model_fields.keys()
    if written is None or raw.get("session") is not None or not known:
        return raw
    try:
        session = SessionSpec.model_validate(written, context=dict(context))
    except ValidationError:
        # Left in its place, so that its problems are told there.
        return raw
    ratio = lookup(reasoning, "reason_ratio_distribution")
    return {**raw, "session": session, "reasoning": None if ratio is None else {"reason_ratio_distribution": ratio}}


def closed_loop_findings(raw: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what is wrong between a client's session, concurrency and arrivals."""
    if raw.get("session") is not None and lookup(raw.get("reasoning"), "multi_turn") is not None:
        yield ("reasoning", "multi_turn"), "means session, which is given too; keep one of them"
    concurrency = raw.get("concurrency")
    if concurrency is None:
        if raw.get("arrival") is None:
            yield ("arrival",), "missing; expected a mapping with the keys process, cv, conditioned, conditioned"
        if raw.get("think_time_us") is not None:
            hint = "; a session has its own, session.think_time_us" if raw.get("session") is not None else ""
            yield ("think_time_us",), f"needs concurrency, the number of requests that the client keeps going{hint}"
        if raw.get("ramp_up_us") is not None:
            yield ("ramp_up_us",), "needs concurrency, the number of requests that the client keeps going"
        return
    for key in ("arrival", "rate", "rate_fraction"):
        if raw.get(key) is not None:
            text = "isn't for a client with concurrency, which sends whenever one of its requests has ended"
            yield (key,), f"{text}; remove it, or concurrency"
