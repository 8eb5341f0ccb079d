"""What traffic is like: its arrivals, lengths and clients in figures, and a workload spec that sends more of it."""

from __future__ import annotations

from blis.characterise.figures import Characterisation, characterise
from blis.characterise.spec import fit_spec

__all__ = ["Characterisation", "characterise", "fit_spec"]
