"""Workloads of inference-perf (https://github.com/kubernetes-sigs/inference-perf), from the files it is run with.

What these mean is taken from its sources (version 0.7):

* ``constant`` and ``poisson`` loads both send floor(rate x duration) requests per stage with exponential gaps; the
  first scales them to fill the stage exactly. So both are Poisson processes, the first conditioned on its count.
* Between two stages it waits for all answers, and then for ``interval`` seconds.
* Lengths are rounded to whole tokens and clipped to [min, max]. Those of a ``lognormal`` are given by their own mean
  and standard deviation; for synthetic and random data it is moved to begin at min. Those of a ``uniform`` are real
  before they are rounded, so min and max come up half as often as what lies between; here all come up alike.
* ``shared_prefix`` data has groups of prompts that begin with the same system prompt, and are served evenly. They are
  sent again and again, each with an output of its own length; here that is drawn anew for every request.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri, owens_t, pdtr

from blis.characterise.empirical import measured, short
from blis.convert.inference_perf_file import Config, Lengths, Load, SharedPrefix
from blis.errors import Problem
from blis.spec.located import load_yaml, read_text
from blis.spec.strict import validate
from blis.spec.workload import WorkloadSpec, workload_from_dict
from blis.units import US_PER_S

__all__ = ["from_inference_perf"]

Fields = dict[str, Any]
FloatArray = npt.NDArray[np.float64]

_QUANTILES = (np.arange(10_000) + 0.5) / 10_000
_Z = np.linspace(-10, 10, 8001)


def from_inference_perf(path: str | Path, warn: Callable[[str], None]) -> WorkloadSpec:
    """Return the workload that an inference-perf configuration describes; ``warn`` is told what it can't say.

    Raises:
        SpecError: with every problem of the file, and everything in it that can't be converted.
    """
    file = str(path)
    problems: list[Problem] = []
    data, locate = load_yaml(read_text(path), file, problems)
    config = validate(Config, data, locate, file, problems=problems)
    clients = list(_clients(config, warn))
    workload: Fields = {"version": "2", "clients": clients, **_ends(config.load)}
    if config.load.base_seed is not None:
        workload["seed"] = config.load.base_seed
    if config.load.lora_traffic_split is not None:
        warn(f"{file}: load.lora_traffic_split isn't kept: all requests ask for the deployment's model")
    return workload_from_dict(workload)


def _ends(load: Load) -> Fields:
    """Return how much is sent, and how long."""
    if load.type == "concurrent":
        return {"num_requests": load.stages[0].num_requests}
    stages = [
        {
            "rate": stage.rate,
            "duration": round((stage.duration or 0) * US_PER_S),
            "drain": True,
            "pause": round(load.interval * US_PER_S),
        }
        for stage in load.stages
    ]
    # Nothing waits for the last one.
    return {"stages": [*stages[:-1], {**stages[-1], "drain": False, "pause": 0}]}


def _clients(config: Config, warn: Callable[[str], None]) -> Iterator[Fields]:
    load, data = config.load, config.data
    common: Fields = {} if config.api.streaming else {"streaming": False}
    if load.request_timeout is not None:
        common["timeout"] = round(load.request_timeout * US_PER_S)
    if data.type != "shared_prefix":
        assert data.input_distribution is not None
        assert data.output_distribution is not None
        lengths = {
            "input_distribution": _distribution(data.input_distribution, moved=True),
            "output_distribution": _distribution(data.output_distribution, moved=True),
        }
        yield {"id": data.type, **_sending(load, 1, 0), **lengths, **common}
        return
    shared = data.shared_prefix or SharedPrefix()
    lengths = {
        "input_distribution": _distribution(shared.question_len),
        "output_distribution": _distribution(shared.output_len),
    }
    level = load.stages[0].concurrency_level
    if load.type == "concurrent" and level is not None and level < shared.num_groups:
        warn(f"with {level} requests at a time, only {level} of the {shared.num_groups} groups are used")
    pool = {"size": shared.num_prompts_per_group}
    places = (np.arange(shared.num_groups) + 0.5) / shared.num_groups
    for group, prefix in enumerate(_values(shared.system_prompt_len, places, moved=False).tolist()):
        name, sending = f"group-{group + 1}", _sending(load, shared.num_groups, group)
        if sending.get("concurrency") != 0:
            prompts = {"prefix_group": name, "prefix_length": round(prefix), "prompt_pool": pool}
            yield {"id": name, **sending, **lengths, **common, **prompts}


def _sending(load: Load, parts: int, part: int) -> Fields:
    """Return when one of several equal parts of a load is sent."""
    if load.type == "concurrent":
        level = load.stages[0].concurrency_level or 1
        return {"concurrency": level // parts + (part < level % parts)}
    arrival: Fields = {"process": "poisson"}
    if load.type == "constant":
        arrival["conditioned"] = True
    return {"rate_fraction": 1.0, "arrival": arrival}


def _distribution(lengths: Lengths, *, moved: bool = False) -> Fields:
    """Return lengths as a spec writes them; those it has no formula for by their quantiles."""
    if lengths.type == "normal" and _deviation(lengths) > 0:
        params = {"mean": lengths.mean, "std_dev": _deviation(lengths), "min": lengths.min, "max": lengths.max}
        return {"type": "gaussian", "params": params}
    if lengths.type == "lognormal" and not moved:
        mean = max(lengths.mean, 1.0)
        sigma = _sigma(mean, _deviation(lengths))
        params = {"mu": short(math.log(mean) - sigma**2 / 2), "sigma": short(sigma)}
        return {"type": "lognormal", "params": {**params, "min": lengths.min, "max": lengths.max}}
    if lengths.type == "uniform":
        return {"type": "uniform", "params": {"min": max(lengths.min, 1), "max": lengths.max}}
    return measured(np.maximum(np.rint(_values(lengths, _QUANTILES, moved=moved)), 1).astype(np.int64))


def _deviation(lengths: Lengths) -> float:
    return lengths.std_dev if lengths.variance is None else math.sqrt(lengths.variance)


def _sigma(mean: float, deviation: float) -> float:
    """Return the standard deviation of the logarithm of lognormal values."""
    return math.sqrt(math.log1p((deviation / mean) ** 2))


def _values(lengths: Lengths, p: FloatArray, *, moved: bool) -> FloatArray:
    """Return the quantiles at ``p`` in (0, 1)."""
    if lengths.type == "fixed":
        return np.full(len(p), math.floor(lengths.mean))
    mean, deviation, low, high = lengths.mean, _deviation(lengths), lengths.min, lengths.max
    match lengths.type:
        case "uniform":
            values = low + p * (high - low)
        case "lognormal":
            start = low if moved else 0
            above = max(mean - start, 1.0)
            sigma = _sigma(above, deviation)
            values = start + above * np.exp(sigma * ndtri(p) - sigma**2 / 2)
        case "poisson":
            counts = np.arange(math.ceil(mean + 12 * math.sqrt(mean) + 20))
            values = np.searchsorted(pdtr(counts, mean or 1.0), p).astype(np.float64)
        case "skew_normal":
            values = mean + deviation * np.interp(p, ndtr(_Z) - 2 * owens_t(_Z, lengths.skew), _Z)
        case _:
            values = mean + deviation * ndtri(p)
    clipped: FloatArray = np.clip(values, low, high)
    return clipped
