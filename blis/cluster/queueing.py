"""How long a request is on its way into an instance's wait queue."""

from __future__ import annotations

from blis.errors import BlisError
from blis.latency.base import Overheads
from blis.request import Request
from blis.spec.instance import InstanceConfig

__all__ = ["LONGEST_US", "Queueing", "too_long"]

LONGEST_US = 1 << 50
"""Longest step of a run and longest queueing delay, some 35 years: sums of as many as a run has still fit the clock."""


class Queueing:
    """The queueing delay of the latency model, and behind it the encoders that images, audio and video go through.

    ``fixed_us`` is what every request takes, 0 if that depends on the request or isn't anything.
    """

    def __init__(self, config: InstanceConfig, overheads: Overheads) -> None:
        self._config = config
        self._base = overheads.queue_base
        self._per_token = overheads.queue_per_token
        self._encoder = config.encoder
        self.fixed_us = 0 if self._per_token or self._encoder else self._checked("the queueing delay", self._base)

    def delay_us(self, request: Request) -> int:
        """Return the time from a request's routing to its place in the queue; each of its two parts is truncated."""
        prompt = request.prompt_tokens
        what = f"the queueing delay of a prompt of {prompt} tokens"
        delay = self._checked(what, self._base + self._per_token * prompt)
        if self._encoder is not None and request.parts is not None:
            delay += self._checked(f"encoding {request.parts[1:]} tokens", self._encoder.duration_us(request.parts))
        return delay

    def _checked(self, what: str, delay: float) -> int:
        if not delay <= LONGEST_US:
            raise too_long(self._config, what, delay)
        return int(delay)


def too_long(config: InstanceConfig, what: str, duration: float) -> BlisError:
    """Return the error for a duration that is beyond the clock."""
    return BlisError(
        f"{config.name}: with the latency model {config.latency.model}, {what} takes {duration:g} us, more than the"
        f" {LONGEST_US} us a simulation can count with; check the model's coefficients"
    )
