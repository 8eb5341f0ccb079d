"""Which prompts a server gets: token ids or texts, and how long its tokens are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from blis.errors import BlisError
from blis.server.discovery import Discovered, SetUp, json_object
from blis.server.pool import ConnectError, Response
from blis.server.prompts import ChatPrompts, Prompts, Scale, TextPrompts, TokenPrompts
from blis.server.requests import PATHS
from blis.server.streams import WORDS
from blis.spec.server import ServerSpec

__all__ = ["prompts_for"]

_IDS = (100, 4000)
"""Ids that ordinary tokens have in about every vocabulary, for a server that can't be asked."""
_PROBED = 120
"""About how many words are sent to see how many tokens they are."""
_USUAL_TOKENS_PER_WORD = 1.3
_FEWEST = 64


async def prompts_for(
    spec: ServerSpec, found: Discovered, setup: SetUp, seed: int, warn: Callable[[str], None]
) -> tuple[Prompts, dict[str, Any]]:
    """Return what makes prompts for this server, and how, for a trace's header.

    Token ids where the server takes them; otherwise words, single tokens all of them where a tokenizer file is given,
    scaled by what the server counts.

    Raises:
        BlisError: the tokenizer file can't be used.
    """
    tokens = _from_file(spec.tokenizer) if spec.tokenizer else None
    if spec.api == "completion" and found.dialect.token_prompts:
        ids = np.array(list(tokens.values()), np.int64) if tokens else await _ask_for_ids(found, setup, warn)
        return TokenPrompts(seed, ids), {"prompts": "token ids"}
    words = tuple(tokens) if tokens else WORDS
    measured = await _measure(spec, found, setup, words) if found.reached else None
    if measured is None:
        per_word, overhead = (1.0 if tokens else _USUAL_TOKENS_PER_WORD), 0
        if found.reached:
            warn(
                f"the server counts no tokens (no usage), so prompts are made with {per_word:g} tokens per word; their"
                " real lengths may differ"
            )
    else:
        per_word, overhead = measured
    kind = ChatPrompts if spec.api == "chat" else TextPrompts
    facts = {"prompts": "words", "tokens_per_word": round(per_word, 4), "prompt_overhead_tokens": overhead}
    return kind(seed, Scale(per_word, overhead), words), facts


def _from_file(path: str) -> dict[str, int]:
    """Return the words that are one token each, with their ids, by a tokenizer.json."""
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise BlisError(
            f"--tokenizer {path}: needs the library tokenizers, which isn't installed:"
            " pip install 'blis-sim[tokenizers]'"
        ) from None
    try:
        tokenizer = Tokenizer.from_str(Path(path).read_text(encoding="utf-8"))
    except Exception as error:
        # The library raises plain Exception for a file that is no tokenizer.
        raise BlisError(f"--tokenizer {path}: can't be read as a tokenizer.json: {error}") from None
    encoded = {word: tokenizer.encode(f" {word}", add_special_tokens=False).ids for word in WORDS}
    single = {word: ids[0] for word, ids in encoded.items() if len(ids) == 1}
    if len(single) < _FEWEST:
        raise BlisError(
            f"--tokenizer {path}: only {len(single)} of {len(WORDS)} common words are one token each; leave it out, and"
            " lengths are measured"
        )
    return single


async def _ask_for_ids(found: Discovered, setup: SetUp, warn: Callable[[str], None]) -> npt.NDArray[np.int64]:
    """Return ids of ordinary tokens: those of common words, by the server's own tokenizer."""
    text = " ".join(WORDS)
    body = {"model": found.model, "prompt": text, "content": text, "add_special_tokens": False}
    usual = np.arange(*_IDS)
    if not found.reached:
        return usual
    try:
        tokens = json_object(await setup.post("/tokenize", body)).get("tokens")
    except ConnectError:
        tokens = None
    if isinstance(tokens, list) and all(type(token) is int for token in tokens) and len(set(tokens)) >= _FEWEST:
        return np.unique(np.array(tokens, np.int64))
    low, high = _IDS
    warn(f"the server has no /tokenize; prompts are made of the token ids {low} to {high - 1}")
    return usual


async def _measure(
    spec: ServerSpec, found: Discovered, setup: SetUp, words: tuple[str, ...]
) -> tuple[float, int] | None:
    """Return tokens per word, and tokens on top; None where nobody counts.

    The same words are sent once and twice: what isn't doubled is on top. Other words in the second prompt would have
    other lengths, and tokens that only they explain would be taken for a chat template.
    """
    sample = words[:: max(len(words) // _PROBED, 1)]

    def probe(times: int) -> dict[str, Any]:
        text = " ".join(sample * times)
        prompt: dict[str, Any] = {"prompt": text}
        if spec.api == "chat":
            prompt = {"messages": [{"role": "user", "content": text}]}
        return {"model": found.model, **prompt, "max_tokens": 1, **spec.extra_body, "stream": False}

    try:
        answers = await asyncio.gather(*(setup.post(PATHS[spec.api], probe(times)) for times in (1, 2)))
    except ConnectError:
        return None
    once, twice = map(_prompt_tokens, answers)
    if once is None or twice is None or twice <= once:
        return None
    return (twice - once) / len(sample), max(2 * once - twice, 0)


def _prompt_tokens(response: Response) -> int | None:
    usage = json_object(response).get("usage")
    count = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    return count if isinstance(count, int) else None
