"""Results for people and for programs: a trace's summary as text, as terminal tables and as JSON.

A report is a list of blocks (:mod:`blis.report.blocks`) that a renderer lays out. Nothing is computed here.
"""

from __future__ import annotations

__all__: list[str] = []
