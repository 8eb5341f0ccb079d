"""Pools of prompts that a client sends again and again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from blis.spec.fields import unit, whole
from blis.spec.strict import Finding, StrictModel, lookup

__all__ = ["PoolSize", "PromptPoolSpec", "pool_findings"]


PoolSize = Annotated[int, whole(1, 100_000)]


class PromptPoolSpec(StrictModel):
    """A number of distinct prompts from which all of a client's requests are taken.

    Their lengths are drawn from the input distribution once: each prompt is the same whenever it is sent, on top of the
    client's prefix, so that a prefix cache knows it from the second time on. Answers are drawn for each request. The
    members of a cohort have one pool, or with ``prefix_sharing: per_member`` one each.
    """

    size: PoolSize = Field(description="Number of prompts.", examples=[100], json_schema_extra=unit("prompts"))
    order: Literal["round_robin", "random"] = Field(
        default="round_robin",
        description="Which prompt comes next: each in turn (in a cohort, from a random one on), or any.",
        examples=["random"],
    )
    lengths: Literal["random", "quantiles"] = Field(
        default="random",
        description="Whether lengths are drawn, or are the quantiles (i + 1/2)/size, shuffled: nothing left to chance.",
        examples=["quantiles"],
    )


def pool_findings(client: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what a raw client with a pool of prompts can't have beside it."""
    if client.get("prompt_pool") is None:
        return
    for key, what in (("session", "whose prompts grow"), ("multimodal", "whose inputs aren't text alone")):
        if client.get(key) is not None:
            yield ("prompt_pool",), f"isn't for a client with {key}, {what}; remove one of them"
    windows = lookup(client.get("lifecycle"), "windows")
    for index, window in enumerate(windows if isinstance(windows, list | tuple) else ()):
        if lookup(window, "input_distribution") is not None:
            text = "isn't for a client with prompt_pool, whose prompts are drawn once for all windows; remove it"
            yield ("lifecycle", "windows", index, "input_distribution"), text
