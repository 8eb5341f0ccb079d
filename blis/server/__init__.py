"""The real target: a wall clock for client processes, and an OpenAI-compatible server reached over HTTP."""

from __future__ import annotations

__all__: list[str] = []
