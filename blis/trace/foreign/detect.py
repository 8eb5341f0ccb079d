"""Which format a file has."""

from __future__ import annotations

import os
from pathlib import Path

from blis.errors import TraceError
from blis.spec.words import shown
from blis.trace.columns import REQUIRED
from blis.trace.files import is_sidecar
from blis.trace.foreign.columns import FORMATS, read_format
from blis.trace.foreign.mooncake import KEYS, read_mooncake
from blis.trace.foreign.tables import records
from blis.trace.foreign.token_lists import list_columns, read_token_lists
from blis.trace.trace import Trace

__all__ = ["read_any"]

_JSON = (".jsonl", ".ndjson", ".json")
_TABLES = (".csv", ".txt", "")
_BLANK = b" \t\r\n\xef\xbb\xbf"
_FOREIGN = (*_JSON, ".csv", ".txt")


def read_any(path: str | os.PathLike[str], header: str | os.PathLike[str] | None = None) -> Trace:
    """Read a trace of blis (by its prefix, header or data), or a file of another format, told by its columns.

    Those are Azure's LLM inference traces, BurstGPT, Splitwise/Vidur CSV, Mooncake JSONL and CSV with lists of token
    ids. ``header`` is the header of a trace of blis where that isn't beside its data.

    Raises:
        TraceError: naming file, line and column of what is wrong, or the formats there are.
    """
    file = Path(path)
    if file.suffix in _FOREIGN and not file.exists():
        raise TraceError(f"{file}: no such file")
    ours = header is not None or is_sidecar(file) or file.suffix not in (*_JSON, *_TABLES)
    if ours or not file.is_file():
        return Trace.read(path, header)
    if file.suffix in _JSON or _first(file) == b"{":
        return read_mooncake(file)
    rows = records(file)
    _, names = next(rows, (1, []))
    titles = {name.strip() for name in names}
    for form in FORMATS:
        if titles.issuperset(form.columns):
            return read_format(file, form)
    if "request_id" in titles and len(titles.intersection(REQUIRED)) > 1:
        return Trace.read(path)
    second = next(rows, (1, []))[1]
    if list_columns(names) or list_columns(second):
        return read_token_lists(file)
    raise TraceError(_unknown(file, names))


def _first(file: Path) -> bytes:
    """The first byte that isn't blank."""
    try:
        with open(file, "rb") as lines:
            return next((text[:1] for line in lines if (text := line.strip(_BLANK))), b"")
    except OSError as error:
        raise TraceError(f"can't read {file}: {error.strerror or error}") from None


def _unknown(file: Path, names: list[str]) -> str:
    forms = [f"  {form.name}: {', '.join(form.columns)}" for form in FORMATS]
    found = f"the columns {', '.join(map(shown, names[:10]))}" if names else "nothing"
    return "\n".join(
        [
            f"{file}:1: no known format of a trace; found {found}. Known are, by their columns:",
            "  blis: request_id, client_id, ... (with a header, a .yaml file, beside it)",
            *forms,
            f"  Mooncake JSONL: objects with {', '.join(KEYS)}",
            "  token lists: seconds in column 1 and two columns of lists such as [128000, 9906]",
        ]
    )
