"""Workload specs from what other programs have, and from each other."""

from __future__ import annotations

from blis.convert.compose import compose
from blis.convert.inference_perf import from_inference_perf
from blis.convert.servegen import expanded

__all__ = ["compose", "expanded", "from_inference_perf"]
