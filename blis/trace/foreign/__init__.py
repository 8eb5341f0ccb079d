"""Traces in formats of other programs and data sets, read as traces of blis."""

from __future__ import annotations

from blis.trace.foreign.detect import read_any

__all__ = ["read_any"]
