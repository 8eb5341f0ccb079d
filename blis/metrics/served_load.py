"""How heavy the load on an instance was, in the quantities that a fitted latency model knows the ranges of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from blis.metrics.occupancy import occupancy
from blis.units import US_PER_S

__all__ = ["Amounts", "Answers", "served_load"]

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

_FEWEST_PER_STRETCH = 10
_MOST_STRETCHES = 10


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """Requests that one instance answered; int64, shape (n,) each, times in µs.

    ``prompt_tokens`` are whole prompts; ``first_us`` and ``last_us`` the times of the first and the last token.
    """

    sent_us: IntArray
    prompt_tokens: IntArray
    output_tokens: IntArray
    first_us: IntArray
    last_us: IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Amounts:
    """The values of a quantity, shape (k,), and how much each of them counts."""

    values: FloatArray
    weights: FloatArray

    @property
    def least(self) -> float:
        """The smallest value."""
        return float(self.values.min())

    @property
    def most(self) -> float:
        """The largest value."""
        return float(self.values.max())

    def outside(self, least: float, most: float) -> float:
        """Share of the weights whose values lie below ``least`` or above ``most``."""
        beyond = (self.values < least) | (self.values > most)
        return float(self.weights[beyond].sum() / self.weights.sum())


def served_load(answers: Answers) -> dict[str, Amounts]:
    """Return the load by the names of :class:`blis.spec.validity.ValiditySpec`.

    ``running`` and ``context_tokens`` count by the time they lasted, while anybody decoded; ``prompt_tokens`` by
    requests; ``requests_per_s`` by equal stretches between the first arrival and the last, at most ten, with ten
    arrivals each or more. What can't be told, such as a rate from a few requests, isn't there.
    """
    found = {"prompt_tokens": _counted(answers.prompt_tokens)}
    edges, decodes, context = occupancy(answers.prompt_tokens, answers.output_tokens, answers.first_us, answers.last_us)
    busy = decodes > 0
    if busy.any():
        lasted = np.diff(edges)[busy]
        found |= {"running": Amounts(decodes[busy], lasted), "context_tokens": Amounts(context[busy], lasted)}
    sent = answers.sent_us
    begin, end = int(sent.min()), int(sent.max())
    count = min(sent.size // _FEWEST_PER_STRETCH, _MOST_STRETCHES)
    if count and end > begin:
        arrivals, _ = np.histogram(sent, count, (begin, end))
        found["requests_per_s"] = _counted(arrivals * (count * US_PER_S / (end - begin)))
    return found


def _counted(values: npt.NDArray[np.int64] | FloatArray) -> Amounts:
    return Amounts(values.astype(np.float64), np.ones(values.size))
