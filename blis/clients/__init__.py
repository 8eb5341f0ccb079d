"""Client processes: when requests arrive, how long they are, and the target they go to."""

from __future__ import annotations

__all__: list[str] = []
