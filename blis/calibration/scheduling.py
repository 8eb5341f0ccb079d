"""Does a server schedule asynchronously? Told by which step a request first appears in.

An arrival during step s joins step s + 1 where the batch is formed between steps, and step s + 2 where the batch of the
next step has been formed already (asynchronous scheduling, as vLLM does on GPUs). Averages can't tell the two apart: a
larger overhead gives the same mean TTFT. Single requests can.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from blis.calibration.steps import Requests, Steps

__all__ = ["Membership", "combined", "membership"]

_WRONG = 0.02
_FEWEST = 20
_DECISIVE = 10.0
_MOST = 4000
_STEPS_LATE = 4
_LATE_US = 50_000
_PER_STEP = 100


@dataclass(frozen=True)
class Membership:
    """How likely the first steps of ``requests`` requests are under either mode.

    ``log_ratio`` is the log likelihood of asynchronous less that of synchronous scheduling, each with the delay on the
    way in that suits it best: ``delay_us`` that of the likelier one, to within ``resolution_us``. ``asynchronous`` is
    None where too few requests tell, or too little.
    """

    requests: int
    log_ratio: float
    delay_us: float
    resolution_us: float

    @property
    def asynchronous(self) -> bool | None:
        """Whether the likelier mode is the asynchronous one; None where that isn't certain."""
        if self.requests < _FEWEST or abs(self.log_ratio) < _DECISIVE:
            return None
        return self.log_ratio > 0


def combined(found: Sequence[Membership]) -> Membership:
    """Add up what several parts of one server's traces tell; the delay is the mean, by requests."""
    requests = sum(part.requests for part in found)
    share = [part.requests / requests if requests else 0.0 for part in found]
    return Membership(
        requests,
        sum(part.log_ratio for part in found),
        sum(part.delay_us * weight for part, weight in zip(found, share, strict=True)),
        max(part.resolution_us for part in found),
    )


def membership(steps: Steps, requests: Requests, budget: int, max_num_seqs: int) -> Membership:
    """Compare the two modes over requests that were prefilled in one step of a busy server with a free slot."""
    chosen = np.flatnonzero(_telling(steps, requests, budget, max_num_seqs))[:_MOST]
    count = len(chosen)
    if not count:
        return Membership(0, 0.0, 0.0, 0.0)
    sent, first = requests.send_us[chosen], steps.first[chosen]
    typical = float(np.median(steps.duration_us[steps.usable]))
    delays = np.arange(0, max(_STEPS_LATE * typical, _LATE_US), typical / _PER_STEP)
    best = dict.fromkeys((1, 2), (-math.inf, 0.0))
    for delay in delays.tolist():
        running = np.searchsorted(steps.end_us, sent + delay, side="right")
        for mode in best:
            right = int(np.count_nonzero(first - running == mode))
            likelihood = right * math.log(1 - _WRONG) + (count - right) * math.log(_WRONG)
            best[mode] = max(best[mode], (likelihood, -delay))
    ratio = best[2][0] - best[1][0]
    return Membership(count, ratio, -best[2 if ratio > 0 else 1][1], float(delays[1]))


def _telling(steps: Steps, requests: Requests, budget: int, max_num_seqs: int) -> npt.NDArray[np.bool_]:
    """Choose requests whose first step depends on the mode alone."""
    first = steps.first
    fresh = requests.prompt_tokens - requests.cached_tokens
    free = (steps.decodes[first] + steps.chunks[first] < max_num_seqs) & (steps.chunks[first] == 1)
    busy = (steps.decodes[first] > 0) & (steps.decodes[np.maximum(first - 1, 0)] > 0)
    busy &= steps.decodes[np.maximum(first - 2, 0)] > 0
    telling: npt.NDArray[np.bool_] = free & busy & (fresh + steps.decodes[first] <= budget)
    return telling
