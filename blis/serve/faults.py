"""Failures on purpose, to see what clients make of them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from blis.errors import BlisError
from blis.rng import stream
from blis.spec.words import did_you_mean, listed, shown

__all__ = ["Fault", "Faults", "Trouble", "parse_faults"]


class Fault(StrEnum):
    """What may go wrong with an answer."""

    TOO_MANY_REQUESTS = "429"
    """Refused, as by a server that is too busy."""
    SERVER_ERROR = "500"
    """Refused, as by a server that has a bug."""
    HANG = "hang"
    """The answer stops somewhere, or never begins, and the connection stays open."""
    DISCONNECT = "disconnect"
    """The connection is reset somewhere in the answer, or before it."""
    MALFORMED = "malformed"
    """Something in the answer isn't JSON."""


class Trouble(NamedTuple):
    """A fault, and where it comes: at this share of the answer's tokens, from 0 included to 1 excluded."""

    fault: Fault
    share: float


class Faults:
    """Draws a fault for each request in turn, each kind with a probability of its own.

    Raises:
        BlisError: a probability isn't one, or all together are above 1.
    """

    def __init__(self, rates: Mapping[Fault, float], seed: int = 0) -> None:
        for fault, rate in rates.items():
            if not 0 <= rate <= 1:
                raise BlisError(f"--faults: {fault} has the rate {rate:g}; it must be from 0 to 1")
        if sum(rates.values()) > 1:
            raise BlisError(f"--faults: the rates add up to {sum(rates.values()):g}; they must not exceed 1")
        self.rates = {fault: rate for fault, rate in rates.items() if rate}
        self._stream = stream(seed, "serve", "faults")

    def draw(self) -> Trouble | None:
        """Return what is to go wrong with the next request, None for nothing."""
        if not self.rates:
            return None
        chance, share = self._stream.random(2).tolist()
        for fault, rate in self.rates.items():
            if chance < rate:
                return Trouble(fault, share)
            chance -= rate
        return None


def parse_faults(text: str) -> dict[Fault, float]:
    """Read rates such as ``429=0.05,hang=0.01``.

    >>> parse_faults("429=0.05,hang=0.01")
    {<Fault.TOO_MANY_REQUESTS: '429'>: 0.05, <Fault.HANG: 'hang'>: 0.01}

    Raises:
        BlisError: that isn't what it says.
    """
    rates: dict[Fault, float] = {}
    names = [fault.value for fault in Fault]
    for part in text.split(","):
        name, equals, rate = (piece.strip() for piece in part.partition("="))
        if name not in names:
            hint = did_you_mean(name, names)
            raise BlisError(f"--faults: unknown fault {shown(name)}{hint}; allowed: {listed(names)}")
        if Fault(name) in rates:
            raise BlisError(f"--faults: {name} is given twice")
        try:
            rates[Fault(name)] = float(rate)
        except ValueError:
            found = shown(rate) if equals else "nothing"
            raise BlisError(f"--faults: {name}= must be followed by a rate such as 0.05; found {found}") from None
    return rates
