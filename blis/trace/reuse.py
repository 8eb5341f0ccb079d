"""What of a recorded prompt was in the server's prefix cache, as far as a trace tells.

A server that says so by request is believed. Otherwise the cache is taken to forget nothing: a prefix is in it from the
second request of its group on, a session's context from its second round on. Whether that context includes the answers
is another matter. A client of the chat API sends them back as text, which the server cuts into tokens anew; where it
doesn't get the tokens that it had produced, what it had cached ends with the prompt before. The servers' own count of
tokens found, where it was scraped, tells which.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from blis.trace.columns import MISSING
from blis.trace.trace import Trace

__all__ = ["answers_come_back", "cached_tokens", "recorded_prompts"]

IntArray = npt.NDArray[np.int64]

_BLOCK = 16
"""Tokens of a block where the header doesn't tell: vLLM's default."""


def recorded_prompts(trace: Trace) -> IntArray:
    """Tokens of whole prompts, shape (n,): as the server counted them, else as recorded, else prefix and own part."""
    own = trace.column("input_tokens") + np.maximum(trace.column("prefix_length"), 0)
    prompt = trace.column("prompt_tokens")
    counted = trace.column("server_input_tokens")
    prompts: IntArray = np.where(counted > 0, counted, np.where(prompt != MISSING, prompt, own))
    return prompts


def cached_tokens(trace: Trace, block_size: int) -> IntArray:
    """Tokens of each prompt that were in the prefix cache, whole blocks of ``block_size`` tokens, shape (n,)."""
    recorded = trace.column("cached_tokens")
    if (recorded != MISSING).any():
        told: IntArray = np.maximum(recorded, 0)
        return told
    return _remembered(trace, block_size, answers=answers_come_back(trace))


def answers_come_back(trace: Trace) -> bool:
    """Whether a session's next round begins with the tokens of the answers, and not only with those of the prompts.

    True where the trace doesn't tell, and where there are no sessions.
    """
    found = _hits(trace)
    words = trace.categories("session_id")[1]
    if found is None or trace.header.mode != "real" or not any(words):
        return True
    server = trace.header.server or {}
    block = int(server.get("block_size") or _BLOCK)
    with_answers, without = (int(_remembered(trace, block, answers=answers).sum()) for answers in (True, False))
    return abs(found - with_answers) <= abs(found - without)


def _hits(trace: Trace) -> float | None:
    """Prompt tokens that the servers found in their caches during the run; None where they don't tell."""
    if trace.metrics is None:
        return None
    counts, replica = trace.metrics.values["prefix_hits_total"], trace.metrics.replica
    own = [counts[(replica == number) & np.isfinite(counts)] for number in np.unique(replica)]
    found = [float(values[-1] - values[0]) for values in own if values.size > 1]
    return sum(found) if found else None


def _remembered(trace: Trace, block: int, *, answers: bool) -> IntArray:
    """What a cache that forgets nothing has of each prompt."""
    prompt = recorded_prompts(trace)
    outputs = np.maximum(trace.column("output_tokens"), 0) if answers else np.zeros(len(trace), np.int64)
    cached = np.zeros(len(trace), np.int64)
    prefix = np.maximum(trace.column("prefix_length"), 0)
    groups, _ = trace.categories("prefix_group")
    sessions, words = trace.categories("session_id")
    named = np.array([bool(word) for word in words], np.bool_)[sessions]
    seen: set[int] = set()
    context: dict[int, int] = {}
    for at in np.argsort(trace.column("send_time_us"), kind="stable").tolist():
        group, session = groups.item(at), sessions.item(at)
        length, whole = prefix.item(at), prompt.item(at)
        known = length if group in seen else 0
        if length:
            seen.add(group)
        if named.item(at):
            known = max(known, min(context.get(session, 0), whole))
            context[session] = whole + outputs.item(at)
        cached[at] = min(known, whole - 1) // block * block
    return np.maximum(cached, 0)
