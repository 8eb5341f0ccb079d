"""Which latency model an instance has, and where its coefficients come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from blis.errors import BlisError, Problem
from blis.spec import catalogue
from blis.spec.catalogue import Gpu, ModelShape
from blis.spec.fields import Checked, NonNegative, refusal, unit
from blis.spec.located import load_yaml, read_text
from blis.spec.strict import Finding, StrictModel, lookup, shown, validate
from blis.spec.validity import ValiditySpec
from blis.spec.words import did_you_mean, listed

__all__ = [
    "CoefficientsSpec",
    "LatencyModelName",
    "LatencyModelSpec",
    "LatencySpec",
    "PhysicsSpec",
    "is_latency_file",
    "resolve_latency",
]

LatencyModelName = Literal["trained-physics", "roofline", "alpha-beta", "physics", "fitted"]
_NAMES = get_args(LatencyModelName)

_COEFFICIENTS: dict[str, dict[str, tuple[int, str]]] = {
    "trained-physics": {
        "alpha": (3, "queueing us, end of request us, overhead us per output token"),
        "beta": (11, "B1a, B1b, B2a, B2b, B3, B4, B5, B6, B7, B8, BEP"),
    },
    "roofline": {"alpha": (3, "queueing us, queueing us per prompt token, overhead us per output token")},
    "alpha-beta": {
        "alpha": (3, "queueing us, queueing us per prompt token, overhead us per output token"),
        "beta": (3, "step us, us per prefill token, us per decoding sequence"),
    },
    "fitted": {
        "alpha": (4, "queueing us, queueing us per prompt token, overhead us per output token, end of request us"),
        "beta": (
            6,
            "step us, us per decoding sequence, us per token of context, us per prefill token, us per prefill token and"
            " token before it, us of a step with prefill",
        ),
    },
}
_MORE = {("fitted", "beta"): (2, "more us per decoding sequence beyond the knee, the knee in decoding sequences")}
"""Coefficients that may follow."""
_WITHOUT_DEFAULTS = ("alpha-beta", "fitted")


def _coefficient(name: str, meaning: str, example: float) -> Any:
    counts = unit("µs" if name.endswith("_us") else "none")
    return Field(
        default_factory=lambda: float(catalogue.physics_coefficients()[name]),
        description=meaning,
        examples=[example],
        json_schema_extra=counts,
    )


def _orders(key: str) -> str:
    """Say which numbers each model takes as its ``alpha`` or ``beta``."""
    taken = ((name, numbers[key]) for name, numbers in _COEFFICIENTS.items() if key in numbers)
    return "; ".join(f"{name} takes {count} ({words})" for name, (count, words) in taken)


class PhysicsSpec(StrictModel):
    """Coefficients of the physics model; those not given are the ones that come with blis.

    The first six are factors of times that follow from datasheets, the others are times.
    """

    weights: NonNegative = _coefficient("weights", "Factor: reading the weights.", 1.1)
    kv_cache: NonNegative = _coefficient("kv_cache", "Factor: KV cache traffic.", 1.2)
    decode_compute: NonNegative = _coefficient("decode_compute", "Factor: matrix products of decoded tokens.", 1.3)
    prefill_compute: NonNegative = _coefficient(
        "prefill_compute", "Factor: matrix products and attention of prefill tokens, experts excepted.", 1.4
    )
    expert_compute: NonNegative = _coefficient(
        "expert_compute", "Factor: experts' matrix products of prefill tokens.", 1.5
    )
    all_reduce: NonNegative = _coefficient("all_reduce", "Factor: bytes that GPUs exchange in all-reduces.", 1.2)
    all_reduce_us: NonNegative = _coefficient("all_reduce_us", "Latency of a layer's all-reduces, where tp > 1.", 30)
    layer_us: NonNegative = _coefficient("layer_us", "Overhead of a layer.", 4)
    prefill_layer_us: NonNegative = _coefficient(
        "prefill_layer_us", "Overhead of a layer in steps with prefill tokens, in addition.", 15
    )
    sequence_us: NonNegative = _coefficient("sequence_us", "Overhead of a sequence.", 8)
    step_us: NonNegative = _coefficient("step_us", "Overhead of a step.", 1500)
    host_step_us: NonNegative = _coefficient(
        "host_step_us", "The host's work for a step, which asynchronous scheduling hides behind the GPU's.", 1500
    )
    host_sequence_us: NonNegative = _coefficient("host_sequence_us", "The same for each sequence of a step.", 10)
    request_us: NonNegative = _coefficient("request_us", "Time of a request on its way in and out.", 5000)
    prompt_token_us: NonNegative = _coefficient("prompt_token_us", "The same per token of the prompt.", 0.3)
    output_token_us: NonNegative = _coefficient("output_token_us", "Delay of each reported output token.", 15)
    completion_us: NonNegative = _coefficient("completion_us", "Time from the last step of a request to its end.", 400)


@dataclass(frozen=True, slots=True)
class LatencySpec:
    """A latency model by name; coefficients are None where the model's own apply."""

    model: LatencyModelName
    alpha: tuple[float, ...] | None = None
    beta: tuple[float, ...] | None = None
    physics: PhysicsSpec | None = None
    validity: ValiditySpec | None = None


class CoefficientsSpec(StrictModel):
    """Coefficients of a latency model, in its order.

    With dimensionless B1a to B4 and BEP, and B5 to B7 in µs, trained-physics takes B1a and B1b times the compute and KV
    traffic of prefill, B2a and B2b times those of decoding, B3 times the reading of weights, B4 and BEP times the
    all-reduces of attention and of experts (as datasheets give these times), B5 per layer, B6 per sequence and B7 per
    step; B8 isn't used.
    """

    alpha: tuple[NonNegative, ...] | None = Field(
        default=None,
        description=f"Overheads around the steps, in µs: {_orders('alpha')}.",
        examples=[[1000, 0.5, 20]],
        json_schema_extra=unit("µs"),
    )
    beta: tuple[NonNegative, ...] | None = Field(
        default=None,
        description=f"Step times: {_orders('beta')}; fitted may have two more: {_MORE['fitted', 'beta'][1]}.",
        examples=[[7000, 25, 12]],
        json_schema_extra=unit("µs"),
    )


def is_latency_file(model: str) -> bool:
    """Whether the name of a latency model is the path of a file instead."""
    return "/" in model or model.lower().endswith((".yaml", ".yml"))


def _check_model(value: Any) -> str:
    if not isinstance(value, str):
        raise refusal(f"must be the name of a latency model, or the path of a YAML file, found {shown(value)}")
    if value not in _NAMES and not is_latency_file(value):
        text = f"unknown model {shown(value)}{did_you_mean(value, _NAMES)}; allowed: {listed(_NAMES)}"
        raise refusal(f"{text}, or the path of a YAML file of a fitted model")
    return value


_MODEL = Checked(
    "the name of a latency model, or the path of a YAML file",
    _check_model,
    {
        "anyOf": [
            {"enum": [*_NAMES]},
            {"type": "string", "pattern": r"/|\.[yY][aA]?[mM][lL]$", "x-range": "the path of a YAML file"},
        ]
    },
)


class LatencyModelSpec(StrictModel):
    """Which latency model, and its coefficients where they aren't its own."""

    model: Annotated[str, _MODEL] = Field(
        default="trained-physics",
        description="How step times are computed: by a model of blis, or by one in a YAML file that was fitted.",
        examples=["roofline", "fitted.yaml"],
    )
    coefficients: CoefficientsSpec | None = Field(
        default=None,
        description="Coefficients in place of the model's own.",
        examples=[{"alpha": [1000, 0.5, 20], "beta": [7000, 25, 12]}],
    )
    physics: PhysicsSpec | None = Field(
        default=None, description="Coefficients of the model physics.", examples=[{"layer_us": 4}]
    )
    validity: ValiditySpec | None = Field(
        default=None,
        description="Where a fitted model was measured.",
        examples=[{"running": [1, 64], "async_scheduling": True}],
    )

    @classmethod
    def across(cls, raw: Mapping[str, Any]) -> Iterator[Finding]:
        """Each model takes its own coefficients, and a file holds all of them."""
        name, given = raw.get("model", "trained-physics"), raw.get("coefficients")
        if not isinstance(name, str):
            return
        if raw.get("physics") is not None and name != "physics":
            yield ("physics",), f"only the model physics uses them, but the model is {name}; remove one of them"
        if given is None:
            return
        if name == "physics" or is_latency_file(name):
            instead = "its file" if name != "physics" else "the key physics"
            yield ("coefficients",), f"the coefficients of {name} are given by {instead}; remove these"
            return
        yield from _numbers(name, given)


def _numbers(name: str, given: Any) -> Iterator[Finding]:
    """Yield what is wrong with how many alpha and beta coefficients are given."""
    takes = _COEFFICIENTS.get(name)
    if takes is None:
        return
    for key in ("alpha", "beta"):
        values = lookup(given, key)
        path = ("coefficients", key)
        if values is None and name in _WITHOUT_DEFAULTS and isinstance(given, Mapping | CoefficientsSpec):
            yield path, f"missing; {name} takes {takes[key][0]} numbers: {takes[key][1]}"
        elif values is not None and key not in takes:
            yield path, f"{name} has no {key} coefficients; remove them, or choose another latency model"
        elif isinstance(values, list | tuple):
            (count, names), (more, others) = takes[key], _MORE.get((name, key), (0, ""))
            if len(values) not in (count, count + more):
                also = f", or {count + more} (also {others})" if more else ""
                yield path, f"{name} takes {count} numbers ({names}){also}, found {len(values)}"


class _LatencyFile(LatencyModelSpec):
    """A fitted latency model: what a deployment says under ``latency``, and where it comes from."""

    provenance: dict[str, Any] = Field(default_factory=dict, description="Where the coefficients come from.")

    @classmethod
    def across(cls, raw: Mapping[str, Any]) -> Iterator[Finding]:
        """A file names a model of blis."""
        if "model" not in raw:
            yield ("model",), f"missing; expected one of {listed(_NAMES)}"
            return
        if isinstance(raw["model"], str) and is_latency_file(raw["model"]):
            yield ("model",), f"must be one of {listed(_NAMES)} here, found {shown(raw['model'])}"
        yield from super().across(raw)


def resolve_latency(spec: LatencyModelSpec, shape: ModelShape, gpu: Gpu, tp: int, base_dir: Path | None) -> LatencySpec:
    """Return a latency model with its coefficients; a relative path of a file starts at ``base_dir``.

    Raises:
        SpecError: the file is wrong.
        BlisError: it can't be read, or alpha-beta has no coefficients for the combination.
    """
    if is_latency_file(spec.model):
        spec = _read(Path(base_dir or ".") / spec.model)
    name: Any = spec.model
    given = spec.coefficients
    if name == "physics":
        return LatencySpec(name, physics=spec.physics or PhysicsSpec(), validity=spec.validity)
    if given is not None and (given.alpha is not None or given.beta is not None):
        return LatencySpec(name, given.alpha, given.beta, validity=spec.validity)
    if name == "fitted":
        raise BlisError("the model fitted has no coefficients of its own; name the file that blis fit wrote instead")
    return LatencySpec(name) if name != "alpha-beta" else _measured(shape, gpu, tp)


def _read(path: Path) -> LatencyModelSpec:
    problems: list[Problem] = []
    data, locate = load_yaml(read_text(path), str(path), problems)
    return validate(_LatencyFile, data, locate, str(path), problems=problems)


def _measured(shape: ModelShape, gpu: Gpu, tp: int) -> LatencySpec:
    """Return the measured alpha-beta coefficients of a combination."""
    rows = catalogue.coefficient_rows()
    row = next((r for r in rows if (r.model, r.hardware, r.tp) == (shape.name, gpu.name, tp)), None)
    if row is None:
        known = ", ".join(f"{r.model} on {r.hardware} tp {r.tp}" for r in rows)
        raise BlisError(
            f"no alpha-beta coefficients are known for {shape.name} on {gpu.name} tp {tp}; known: {known}; "
            "give latency.coefficients, or choose trained-physics, physics or roofline"
        )
    return LatencySpec("alpha-beta", row.alpha, row.beta)
