"""The loads that a model is fitted on, for simulations to warn outside them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from blis.calibration.observed import Observed
from blis.calibration.steps import Steps
from blis.metrics.served_load import Amounts, Answers, served_load

__all__ = ["ranges"]


def ranges(parts: Sequence[Observed], seen: Sequence[Steps]) -> dict[str, tuple[float, float]]:
    """Return [least, most] of each quantity of :class:`blis.spec.validity.ValiditySpec` over all parts of the traces.

    ``seen`` are their steps, empty where chunk times are missing; then nobody knows how much a step prefilled.
    """
    found: dict[str, list[Amounts]] = {}
    for part in parts:
        requests = part.requests
        answers = Answers(requests.send_us, requests.prompt_tokens, requests.output_tokens, part.first_us, part.last_us)
        for name, amounts in served_load(answers).items():
            found.setdefault(name, []).append(amounts)
    limits = {
        name: (min(own.least for own in each), max(own.most for own in each)) for name, each in sorted(found.items())
    }
    if seen:
        limits["prefill_tokens"] = (0.0, float(max(np.max(steps.prefill, initial=0) for steps in seen)))
    return limits
