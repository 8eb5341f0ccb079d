"""Units and conversions: every clock in blis counts whole microseconds."""

from __future__ import annotations

__all__ = ["BYTES_PER_TOKEN", "US_PER_MS", "US_PER_S"]

US_PER_S = 1_000_000
US_PER_MS = 1_000
BYTES_PER_TOKEN = 4
"""Size of a token on the wire, as the network model counts it."""
