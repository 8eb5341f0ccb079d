"""Workloads that come with blis as spec files: typical kinds of traffic, each with its reason at its head."""

from __future__ import annotations

from pathlib import Path

from blis.errors import BlisError
from blis.spec.words import did_you_mean, listed, shown

__all__ = ["SCENARIOS", "about", "scenario_file"]

SCENARIOS = (
    "bursty",
    "unfair-tenants",
    "prefix-heavy",
    "mixed-slo",
    "diurnal",
    "spike",
    "agentic",
    "rag",
    "code-completion",
    "reasoning",
    "image-chat",
)
"""Their names."""

_FOLDER = Path(__file__).parent / "data" / "scenarios"


def scenario_file(name: str) -> Path:
    """Return the spec file of a scenario.

    >>> scenario_file("rag").name
    'rag.yaml'

    Raises:
        BlisError: where there is no scenario of that name.
    """
    if name not in SCENARIOS:
        raise BlisError(f"unknown scenario {shown(name)}{did_you_mean(name, SCENARIOS)}; allowed: {listed(SCENARIOS)}")
    return _FOLDER / f"{name}.yaml"


def about(name: str) -> str:
    """Return what a scenario is like and where its numbers come from: the comment at the head of its file.

    >>> about("spike")[:42]
    'Steady traffic that jumps to five times as'
    """
    lines = scenario_file(name).read_text(encoding="utf-8").splitlines()
    end = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    return " ".join(line.removeprefix("#").strip() for line in lines[:end])
