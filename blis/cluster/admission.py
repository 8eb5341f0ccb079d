"""Admission policies: whether the cluster takes a request at all."""

from __future__ import annotations

from typing import Protocol

from blis.request import Request
from blis.spec.gateway import AdmissionSpec
from blis.units import US_PER_S

__all__ = ["Admission", "TokenBucket", "build_admission"]


class Admission(Protocol):
    """Decides on a request at a time in µs."""

    def admits(self, request: Request, now: int) -> bool:
        """Return whether ``request`` may go on to the router."""
        ...


class _Constant:
    def __init__(self, answer: bool) -> None:
        self._answer = answer

    def admits(self, request: Request, now: int) -> bool:
        return self._answer


class TokenBucket:
    """A bucket of ``capacity`` tokens, full at first, refilled by ``refill_rate`` per second.

    A request costs its prompt tokens, prefix included.
    """

    def __init__(self, capacity: float, refill_rate: float) -> None:
        self._capacity = capacity
        self._refill_rate = refill_rate
        self._tokens = capacity
        self._last = 0

    def admits(self, request: Request, now: int) -> bool:
        """Refill for the time passed, then take the prompt's tokens if they are there."""
        self._tokens = min(self._capacity, self._tokens + (now - self._last) * self._refill_rate / US_PER_S)
        self._last = now
        if self._tokens < request.prompt_tokens:
            return False
        self._tokens -= request.prompt_tokens
        return True


def build_admission(spec: AdmissionSpec) -> Admission:
    """Return the policy a deployment asks for."""
    if spec.policy == "token-bucket":
        assert spec.capacity is not None
        assert spec.refill_rate is not None
        return TokenBucket(spec.capacity, spec.refill_rate)
    return _Constant(spec.policy == "always")
