"""What was generated, in a few lines."""

from __future__ import annotations

from collections.abc import Mapping

from blis.generation import Generated
from blis.report.blocks import Facts, printable
from blis.report.numbers import count, per_second, plural, span
from blis.units import US_PER_S

__all__ = ["report"]


def report(done: Generated, origins: Mapping[str, str]) -> list[Facts]:
    """Return the report of a generated trace, after the labelled texts of ``origins``."""
    facts = [(label, printable(text)) for label, text in origins.items()]
    requests = plural(done.requests, "request")
    if done.last_arrival_us:
        rate = per_second(done.requests / done.last_arrival_us * US_PER_S)
        requests += f" in {span(done.last_arrival_us)}, {rate} per second"
    facts.append(("Requests", requests))
    facts.append(("Tokens", f"{count(done.prompt_tokens)} in prompts, {count(done.output_tokens)} planned in outputs"))
    return [Facts("Generated trace", tuple(facts))]
