"""Workloads made from a handful of numbers: one client, normal lengths.

``chatbot``, ``summarization``, ``contentgen`` and ``multidoc`` have their lengths built in; ``distribution`` takes
them. Requests come at constant gaps unless another process is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from blis.errors import BlisError, Problem, SpecError
from blis.rng import DEFAULT_SEED
from blis.spec.strict import did_you_mean
from blis.spec.words import listed, shown
from blis.spec.workload import WorkloadSpec, workload_from_dict

__all__ = ["DEFAULT_LENGTHS", "PRESETS", "Lengths", "distribution", "preset"]


@dataclass(frozen=True, slots=True)
class Lengths:
    """A normal distribution of tokens, clipped to [min, max]."""

    mean: float
    stdev: float
    min: float
    max: float

    def to_dict(self) -> dict[str, Any]:
        """Return the distribution as a spec writes it."""
        params = {"mean": self.mean, "std_dev": self.stdev, "min": self.min, "max": self.max}
        return {"type": "gaussian", "params": params}


PRESETS: dict[str, tuple[Lengths, Lengths]] = {
    "chatbot": (Lengths(256, 100, 2, 800), Lengths(256, 100, 1, 1024)),
    "summarization": (Lengths(4096, 500, 100, 8192), Lengths(512, 150, 10, 2048)),
    "contentgen": (Lengths(1024, 150, 10, 2048), Lengths(1024, 200, 10, 2048)),
    "multidoc": (Lengths(10240, 1200, 500, 20480), Lengths(1536, 300, 50, 4096)),
}
"""Tokens of prompt and output by preset."""

DEFAULT_LENGTHS = Lengths(512, 256, 2, 7000)
"""Prompt and output tokens of ``distribution`` where nothing else is asked for."""

_ARGUMENTS = {
    "aggregate_rate": "rate",
    "clients[0].arrival.process": "arrival",
    "clients[0].arrival.cv": "cv",
    "clients[0].prefix_length": "prefix_tokens",
    **{
        f"clients[0].{side}_distribution.params.{key}": name + ending
        for side, name in (("input", "prompt_tokens"), ("output", "output_tokens"))
        for key, ending in (("mean", ""), ("std_dev", "_stdev"), ("min", "_min"), ("max", "_max"))
    },
}
"""What a place in the spec is called by the one who gives the numbers."""


def preset(
    name: str,
    *,
    rate: float = 1.0,
    num_requests: int | None = None,
    horizon: int | str | None = None,
    seed: int = DEFAULT_SEED,
    arrival: str = "constant",
    cv: float | None = None,
    prefix_tokens: int = 0,
) -> WorkloadSpec:
    """Return a built-in workload at ``rate`` requests/s; see :func:`distribution` for the other arguments.

    >>> preset("chatbot", rate=5, num_requests=100).clients[0].input_distribution.params.mean
    256.0

    Raises:
        BlisError: where there is no preset of that name.
        SpecError: where a number can't be used; a problem's path is the argument's name.
    """
    if name not in PRESETS:
        allowed = listed(PRESETS)
        raise BlisError(f"unknown preset {shown(name)}{did_you_mean(name, PRESETS)}; allowed: {allowed}")
    prompt, output = PRESETS[name]
    return distribution(
        prompt,
        output,
        name=name,
        rate=rate,
        num_requests=num_requests,
        horizon=horizon,
        seed=seed,
        arrival=arrival,
        cv=cv,
        prefix_tokens=prefix_tokens,
    )


def distribution(
    prompt: Lengths = DEFAULT_LENGTHS,
    output: Lengths = DEFAULT_LENGTHS,
    *,
    name: str = "distribution",
    rate: float = 1.0,
    num_requests: int | None = None,
    horizon: int | str | None = None,
    seed: int = DEFAULT_SEED,
    arrival: str = "constant",
    cv: float | None = None,
    prefix_tokens: int = 0,
) -> WorkloadSpec:
    """Return a workload of one client, ``name``, whose prompts and outputs have the given lengths in tokens.

    ``rate`` counts requests/s, ``arrival`` and ``cv`` say how they are spaced (see
    :class:`~blis.spec.arrival.ArrivalSpec`); arrivals stop after ``num_requests`` or at ``horizon`` (microseconds, or
    text with a unit), of which one is needed. ``prefix_tokens`` start every prompt, the same for all, on top of
    ``prompt``.

    Raises:
        SpecError: where a number can't be used; a problem's path is the argument's name.
    """
    client: dict[str, Any] = {
        "id": name,
        "rate_fraction": 1.0,
        "arrival": {"process": arrival} if cv is None else {"process": arrival, "cv": cv},
        "input_distribution": prompt.to_dict(),
        "output_distribution": output.to_dict(),
    }
    if prefix_tokens:
        client |= {"prefix_group": name, "prefix_length": prefix_tokens}
    data: dict[str, Any] = {"version": "2", "seed": seed, "aggregate_rate": rate, "clients": [client]}
    data |= {key: value for key, value in (("num_requests", num_requests), ("horizon", horizon)) if value is not None}
    try:
        return workload_from_dict(data)
    except SpecError as error:
        problems = [
            Problem(f"workload {name}", None, _ARGUMENTS.get(p.path, p.path), p.message) for p in error.problems
        ]
        raise SpecError(problems) from None
