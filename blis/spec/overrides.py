"""Command line flags in place of a deployment's values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from blis.errors import Problem, SpecError
from blis.spec.words import path_text, shown

__all__ = ["COMMAND_LINE", "FLAGS", "flag", "in_flags", "override", "parse_scorers"]

COMMAND_LINE = "command line"
"""Stands for the file's name in errors about flags."""

FLAGS: dict[str, tuple[str, ...]] = {
    "num_instances": ("instances",),
    "model": ("model",),
    "hardware": ("hardware",),
    "tp": ("tp",),
    "max_num_seqs": ("max_num_seqs",),
    "max_num_batched_tokens": ("max_num_batched_tokens",),
    "block_size": ("block_size",),
    "total_kv_blocks": ("total_kv_blocks",),
    "gpu_memory_utilization": ("gpu_memory_utilization",),
    "long_prefill_token_threshold": ("long_prefill_token_threshold",),
    "max_model_len": ("max_model_len",),
    "scheduler": ("scheduler",),
    "priority_policy": ("priority_policy",),
    "preemption": ("preemption",),
    "async_scheduling": ("async_scheduling",),
    "latency_model": ("latency", "model"),
    "alpha_coeffs": ("latency", "coefficients", "alpha"),
    "beta_coeffs": ("latency", "coefficients", "beta"),
    "admission_policy": ("admission", "policy"),
    "admission_latency": ("admission", "latency_us"),
    "token_bucket_capacity": ("admission", "capacity"),
    "token_bucket_refill_rate": ("admission", "refill_rate"),
    "routing_policy": ("routing", "policy"),
    "routing_scorers": ("routing", "scorers"),
    "routing_latency": ("routing", "latency_us"),
    "snapshot_interval": ("routing", "snapshot_interval_us"),
}
"""Flags, as Python names, and the places they set in a deployment."""

# What belongs to one policy or model only, and goes when a flag chooses another.
_BELONGINGS = {
    "latency_model": ("coefficients", "physics", "validity"),
    "admission_policy": ("capacity", "refill_rate"),
    "routing_policy": ("scorers",),
}
_CLUSTER_WIDE = ("admission", "routing")


def flag(name: str) -> str:
    """Return a flag as it is typed: ``--max-num-seqs`` for ``max_num_seqs``."""
    return "--" + name.replace("_", "-")


def override(data: Mapping[str, Any], flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return a deployment's plain data with flags set, in its pools too where they are about instances.

    Raises:
        SpecError: a flag that contradicts the deployment, or scorers that can't be read.
        TypeError: there is no such flag.
    """
    unknown = flags.keys() - FLAGS.keys()
    if unknown:
        raise TypeError(f"unknown flags: {', '.join(sorted(unknown))}; known: {', '.join(FLAGS)}")
    if "num_instances" in flags and data.get("pools"):
        text = "the deployment has pools, each with its own number of instances; change them in its file"
        raise SpecError([Problem(COMMAND_LINE, None, flag("num_instances"), text)])
    values = {name: _value(name, value) for name, value in flags.items()}
    result = _set(dict(data), values, new=True)
    if result.get("pools"):
        own = {name: value for name, value in values.items() if FLAGS[name][0] not in _CLUSTER_WIDE}
        result["pools"] = [_set(dict(pool), own, new=False) for pool in result["pools"]]
    return result


def in_flags(error: SpecError) -> SpecError:
    """Return the error with the flags' names in place of the keys they set."""
    names = {path_text(place): flag(name) for name, place in FLAGS.items()}

    def renamed(problem: Problem) -> Problem:
        inside = [key for key in names if problem.path == key or problem.path.startswith((f"{key}.", f"{key}["))]
        path = names[max(inside, key=len)] + problem.path[len(max(inside, key=len)) :] if inside else problem.path
        return Problem(problem.file, problem.line, path, problem.message)

    return SpecError([renamed(problem) for problem in error.problems])


def parse_scorers(text: str) -> dict[str, float]:
    """Return scorers and weights from text such as ``queue-depth:2,kv-utilization:1``; a weight left out is 1.

    >>> parse_scorers("queue-depth:2,kv-utilization")
    {'queue-depth': 2.0, 'kv-utilization': 1.0}

    Raises:
        ValueError: with the message for the user.
    """
    scorers: dict[str, float] = {}
    for item in text.split(","):
        name, colon, weight = (part.strip() for part in item.partition(":"))
        try:
            number = float(weight) if colon else 1.0
        except ValueError:
            raise ValueError(f"the weight of {shown(name)} must be a number, found {shown(weight)}") from None
        if not name:
            raise ValueError(f"must be NAME:WEIGHT,NAME:WEIGHT,..., found {shown(text)}")
        if name in scorers:
            raise ValueError(f"names {shown(name)} twice")
        scorers[name] = number
    return scorers


def _value(name: str, value: Any) -> Any:
    if name == "routing_scorers" and isinstance(value, str):
        try:
            return parse_scorers(value)
        except ValueError as error:
            raise SpecError([Problem(COMMAND_LINE, None, flag(name), str(error))]) from None
    if name == "total_kv_blocks" and isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    return value


def _set(data: dict[str, Any], values: Mapping[str, Any], *, new: bool) -> dict[str, Any]:
    """Set values at their places; without ``new`` only under first keys that are there already."""
    for name, value in values.items():
        key, *inner = FLAGS[name]
        if new or key in data:
            data[key] = _placed(data.get(key), inner, value, _BELONGINGS.get(name, ()))
    return data


def _placed(holder: Any, keys: list[str], value: Any, belongings: tuple[str, ...]) -> Any:
    if not keys:
        return value
    kept = dict(holder) if isinstance(holder, Mapping) else {}
    if kept.get(keys[0]) != value:
        kept = {key: old for key, old in kept.items() if key not in belongings}
    return kept | {keys[0]: _placed(kept.get(keys[0]), keys[1:], value, ())}
