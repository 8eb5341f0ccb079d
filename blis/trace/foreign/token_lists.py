"""CSV files that hold the token ids themselves, as lists: prompts that begin with the same tokens share them."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import orjson

from blis.errors import TraceError
from blis.spec.words import shown
from blis.trace.foreign.generated import generated_trace
from blis.trace.foreign.prefixes import PrefixTree
from blis.trace.foreign.tables import MOST_PROBLEMS, microseconds, records
from blis.trace.trace import Trace

__all__ = ["LEAST_COMMON", "list_columns", "read_token_lists"]

LEAST_COMMON = 16
"""Prompts with fewer leading tokens in common than this, a KV block of vLLM, share nothing."""


def list_columns(cells: Sequence[str]) -> tuple[int, int] | None:
    """Where a row has its prompt's and its output's token ids: the first two cells that look like lists."""
    found = [place for place, cell in enumerate(cells) if cell.lstrip().startswith("[")]
    return (found[0], found[1]) if len(found) >= 2 else None


def read_token_lists(path: Path) -> Trace:
    """Read a CSV file of arrivals in seconds (first column) and two lists of token ids per row: prompt and output.

    A first line of names is passed over. Shared leading tokens become equal segments, those of earlier outputs
    included.

    Raises:
        TraceError: naming line and column of up to ten cells that can't be used.
    """
    columns = [array("q") for _ in range(3)]
    prompts = PrefixTree(1, LEAST_COMMON, outputs=True)
    problems: list[str] = []
    places: tuple[int, int] | None = None
    for position, (line, row) in enumerate(records(path)):
        if places is None:
            places = list_columns(row)
            if places is None and not position and not _number(row[0]):
                continue
        try:
            arrival, prompt, output = _parsed(row, places)
        except ValueError as error:
            problems.append(f"{path}:{line}: {error}")
            if len(problems) == MOST_PROBLEMS:
                break
            continue
        for column, value in zip(columns, (arrival, len(prompt), len(output)), strict=True):
            column.append(value)
        tokens = len(prompt)
        prompt.extend(output)
        prompts.add(prompt, tokens)
    if problems:
        raise TraceError("\n".join(problems))
    return generated_trace("token-lists", *(np.array(column, np.int64) for column in columns), prompts=prompts)


def _number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _parsed(row: list[str], places: tuple[int, int] | None) -> tuple[int, array[int], array[int]]:
    """Arrival in microseconds and the two lists; raises ValueError that says what is wrong."""
    if places is None or len(row) <= places[1]:
        raise ValueError(f'found {len(row)} cells without two lists of token ids; allowed is 0.5,"[1, 2]","[3]"')
    try:
        arrival = microseconds(float(row[0]))
    except (ValueError, OverflowError):
        raise ValueError(f"column 1: found {shown(row[0])}; allowed is a number of seconds, 0 or more") from None
    prompt, output = (_tokens(row, place) for place in places)
    return arrival, prompt, output


def _tokens(row: list[str], place: int) -> array[int]:
    try:
        return array("i", orjson.loads(row[place]))
    except (ValueError, TypeError, OverflowError):
        text = f"column {place + 1}: found {shown(row[place])}; allowed is a list of token ids such as [128000, 9906]"
        raise ValueError(text) from None
