"""Words of error messages: how values, places and allowed sets are shown."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any

__all__ = ["Path", "did_you_mean", "listed", "path_text", "shown", "step"]

Path = tuple[str | int, ...]
"""A place in a document: keys and list positions from the root."""

_LONGEST = 80
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def did_you_mean(word: object, allowed: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the allowed word nearest to ``word``, or an empty text.

    >>> did_you_mean("aggregat_rate", ["aggregate_rate", "seed"])
    " (did you mean 'aggregate_rate'?)"
    >>> did_you_mean("xyz", ["aggregate_rate", "seed"])
    ''
    """
    by_folded = {word.lower().replace("-", "_"): word for word in allowed}
    folded = str(word)[:_LONGEST].strip().lower().replace("-", "_")
    close = difflib.get_close_matches(folded, by_folded, n=1, cutoff=0.6)
    return f" (did you mean {by_folded[close[0]]!r}?)" if close else ""


def listed(allowed: Iterable[str]) -> str:
    """Return the allowed words, comma separated; an empty text is shown as ``""``."""
    return ", ".join(word or '""' for word in allowed)


def step(key: Any) -> str | int:
    """Return a key of any type as a part of a :data:`Path`."""
    if isinstance(key, int) and not isinstance(key, bool) and abs(key) < 2**63:
        return key
    return _printable(key) if isinstance(key, str) else shown(key)


def path_text(path: Path) -> str:
    """Return a place as people write it.

    >>> path_text(("clients", 2, "arrival", "cv"))
    'clients[2].arrival.cv'
    """
    text = ""
    for part in path:
        if isinstance(part, str) and _IDENTIFIER.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f"[{part if isinstance(part, int) else shown(part)}]"
    return text


def shown(value: Any) -> str:
    """Return a value from a file as an error shows it, in YAML's words and cut to a readable length."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case dict():
            if not value:
                return "{}"
            keys = ", ".join(_printable(str(key)[:20]) for key in list(value)[:5])
            return _cut(f"a mapping with the keys {keys}" + (", ..." if len(value) > 5 else ""))
        case list() | tuple():
            return f"a list of {len(value)} items" if len(value) != 1 else "a list of 1 item"
        case int() if abs(value) >= 10**_LONGEST:
            return "a number of very many digits"
        case str():
            return repr(value) if len(value) <= _LONGEST else repr(value[:_LONGEST]) + "..."
        case _:
            return _cut(repr(value))


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
