"""Where clients send their requests: the one seam between a simulated cluster and a real server."""

from __future__ import annotations

from typing import Protocol

import simpy

from blis.request import Request

__all__ = ["Target"]


class Target(Protocol):
    """Takes requests and tells how each ended."""

    def submit(self, request: Request) -> simpy.Event:
        """Hand over ``request`` at the environment's current time; the event fires with its :class:`Outcome`."""
        ...
