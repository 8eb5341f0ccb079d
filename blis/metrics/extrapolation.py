"""Whether a simulated run went beyond the loads that its latency model was fitted on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from blis.metrics.served_load import Amounts, Answers, served_load
from blis.spec.instance import InstanceConfig
from blis.spec.validity import ValiditySpec
from blis.trace.columns import MISSING
from blis.trace.trace import Trace

__all__ = ["extrapolations"]

_SLACK = 0.1
_WORDS = {
    "running": ("sequences at once", "the busy time"),
    "context_tokens": ("tokens of context in a step", "the busy time"),
    "prefill_tokens": ("prompt tokens in a step", "the steps that end a prompt"),
    "prompt_tokens": ("tokens in a prompt", "the requests"),
    "requests_per_s": ("requests/s on an instance", "the time"),
}
"""What a quantity is, and what it is outside for a share of."""


def extrapolations(trace: Trace, configs: Sequence[InstanceConfig]) -> Iterator[str]:
    """Yield one sentence for each latency model that had to extrapolate, naming what, how far and for how long.

    A quantity counts as outside from a tenth below the least and above the most that the model was fitted on, since
    another run of the same load goes a little beyond its extremes. Of the rate of arrivals, the mean counts. Models
    without such ranges are not looked at, which costs nothing.
    """
    by_model: dict[ValiditySpec, list[InstanceConfig]] = {}
    for config in configs:
        if config.latency.validity is not None:
            by_model.setdefault(config.latency.validity, []).append(config)
    for validity, own in by_model.items():
        loads = [load for config in own if (load := _load(trace, config))]
        beyond = [text for name in _WORDS if (text := _beyond(name, validity, loads))]
        if beyond:
            where = f" of pool {own[0].pool}" if len(by_model) > 1 and own[0].pool else ""
            yield (
                f"the load{where} lies outside what the latency model was fitted on, so that its step times are"
                f" extrapolated: {'; '.join(beyond)}. Fit it again with traces of such a load added (blis fit"
                " --suggest-workload writes a workload), or don't rely on more than the tendency"
            )


def _beyond(name: str, validity: ValiditySpec, loads: Sequence[dict[str, Amounts]]) -> str:
    """Say how far a quantity went outside its range; nothing where it didn't, or where the range isn't known."""
    fitted = getattr(validity, name)
    found = [load[name] for load in loads if name in load]
    if fitted is None or not found:
        return ""
    values = np.concatenate([amounts.values for amounts in found])
    everything = Amounts(values, np.concatenate([amounts.weights for amounts in found]))
    least, most = fitted[0] * (1 - _SLACK), fitted[1] * (1 + _SLACK)
    if name == "requests_per_s":
        means = [float(np.average(amounts.values, weights=amounts.weights)) for amounts in found]
        if least <= min(means) and max(means) <= most:
            return ""
    share = everything.outside(least, most)
    if not share:
        return ""
    what, of = _WORDS[name]
    reached = [_said(everything.most)] if everything.most > most else []
    reached += [_said(everything.least)] if everything.least < least else []
    percent = f"{share:.0%}" if share >= 0.01 else "under 1%"
    known = f"{_said(fitted[0])} to {_said(fitted[1])} {what} fitted"
    return f"{known}, {' and '.join(reached)} reached, outside for {percent} of {of}"


def _said(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _load(trace: Trace, config: InstanceConfig) -> dict[str, Amounts]:
    """Return the load of an instance; empty where it answered nothing."""
    codes, names = trace.categories("instance")
    if config.name not in names:
        return {}
    first, last = trace.column("first_chunk_time_us"), trace.column("last_chunk_time_us")
    answered = (codes == list(names).index(config.name)) & (first >= 0) & (last >= first)
    answered &= (trace.column("output_tokens") > 0) & (trace.column("prompt_tokens") != MISSING)
    if not answered.any():
        return {}
    prompts = trace.column("prompt_tokens")[answered]
    answers = Answers(
        trace.column("arrival_time_us")[answered],
        prompts,
        trace.column("output_tokens")[answered],
        first[answered],
        last[answered],
    )
    fresh = np.maximum(prompts - np.maximum(trace.column("cached_tokens")[answered], 0), 1)
    return served_load(answers) | {"prefill_tokens": _prefilled(fresh, first[answered], config.max_num_batched_tokens)}


def _prefilled(fresh: npt.NDArray[Any], first_us: npt.NDArray[Any], budget: int) -> Amounts:
    """New prompt tokens of the steps in which a prompt ends: prompts that end together share a step's budget."""
    _, step = np.unique(first_us, return_inverse=True)
    tokens = np.minimum(np.bincount(step, fresh), budget)
    return Amounts(tokens.astype(np.float64), np.ones(tokens.size))
