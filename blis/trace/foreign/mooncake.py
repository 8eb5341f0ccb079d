"""Mooncake's traces: lines of JSON whose hash ids say which prompts begin alike."""

from __future__ import annotations

from array import array
from codecs import BOM_UTF8
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from blis.errors import TraceError
from blis.spec.words import shown
from blis.trace.foreign.generated import generated_trace
from blis.trace.foreign.prefixes import PrefixTree
from blis.trace.foreign.tables import MOST_PROBLEMS, microseconds
from blis.trace.trace import Trace
from blis.units import US_PER_MS, US_PER_S

__all__ = ["HASH_TOKENS", "KEYS", "read_mooncake"]

HASH_TOKENS = 512
"""Tokens that each of the hash ids stands for; the last one of a prompt may stand for fewer."""
KEYS = ("timestamp", "input_length", "output_length", "hash_ids")
_TOKENS = "a whole number, 0 or more"
_ALLOWED = {
    "timestamp": "a number of milliseconds, 0 or more",
    "input_length": _TOKENS,
    "output_length": _TOKENS,
    "hash_ids": "a list of whole numbers below 2^63",
}


def read_mooncake(path: Path) -> Trace:
    """Read a Mooncake trace; equal hash ids at the start of two prompts become equal segments.

    Raises:
        TraceError: naming the lines and keys of what is wrong.
    """
    columns = [array("q") for _ in KEYS[:3]]
    prompts = PrefixTree(HASH_TOKENS, least=1)
    problems: list[str] = []
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                if number == 1:
                    line = line.removeprefix(BOM_UTF8)
                if not line.strip():
                    continue
                try:
                    arrival, prompt, output, ids = _parsed(line)
                except ValueError as error:
                    problems.append(f"{path}:{number}: {error}")
                    if len(problems) == MOST_PROBLEMS:
                        break
                    continue
                for column, value in zip(columns, (arrival, prompt, output), strict=True):
                    column.append(value)
                prompts.add(ids, prompt)
    except OSError as error:
        raise TraceError(f"can't read {path}: {error.strerror or error}") from None
    if problems:
        raise TraceError("\n".join(problems))
    return generated_trace("mooncake", *(np.array(column, np.int64) for column in columns), prompts=prompts)


def _parsed(line: bytes) -> tuple[int, int, int, array[int]]:
    """Arrival in microseconds, prompt and output tokens, and hash ids; raises ValueError that says what is wrong."""
    try:
        data = orjson.loads(line)
    except ValueError:
        data = None
    if not isinstance(data, dict):
        raise ValueError(f"found {shown(line.decode(errors='replace').strip())}; allowed is an object with {_keys()}")
    values: list[Any] = []
    for key, convert in zip(KEYS, (_arrival, _count, _count, _ids), strict=True):
        if key not in data and key != "hash_ids":
            raise ValueError(f"{key} is missing; each line has {_keys()}")
        try:
            values.append(convert(data.get(key, [])))
        except (ValueError, TypeError, OverflowError):
            raise ValueError(f"{key}: found {shown(data[key])}; allowed is {_ALLOWED[key]}") from None
    prompt, ids = values[1], values[3]
    if len(ids) > -(-prompt // HASH_TOKENS):
        raise ValueError(
            f"hash_ids: found {len(ids)} for an input_length of {prompt}; each stands for {HASH_TOKENS} tokens, so that"
            f" at most {-(-prompt // HASH_TOKENS)} are allowed"
        )
    return values[0], prompt, values[2], ids


def _keys() -> str:
    return ", ".join(KEYS)


def _arrival(value: Any) -> int:
    if isinstance(value, bool):
        raise TypeError
    return microseconds(value * US_PER_MS / US_PER_S)


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 63:
        raise ValueError
    return value


def _ids(value: Any) -> array[int]:
    if not isinstance(value, list) or bool in map(type, value):
        raise TypeError
    return array("q", value)
