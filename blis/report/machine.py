"""Results for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from blis.metrics import Summary
from blis.trace import TraceHeader

__all__ = ["machine_readable", "to_json"]

_RUN = ("aggregate_rate", "horizon_us", "num_requests", "replay", "interrupted", "load", "error_share", "errors")


def machine_readable(header: TraceHeader, summary: Summary, warnings: Sequence[str] = ()) -> dict[str, Any]:
    """Return what was run and its summary as plain data; equal runs give equal data.

    ``run`` says what was run, the other keys are those of :class:`blis.metrics.Summary`. Times are microseconds.
    """
    facts: dict[str, Any] = {
        "seed": header.seed,
        "spec_sha256": header.spec_sha256,
        "hardware": header.hardware,
        "deployment": header.deployment,
        "server": header.server,
        **{name: header.run.get(name) for name in _RUN},
    }
    run = {name: value for name, value in facts.items() if value is not None}
    return {"run": run, "warnings": [*header.notes, *warnings], **summary.to_dict()}


def to_json(data: dict[str, Any]) -> bytes:
    """Return plain data as indented JSON in UTF-8, with a line end."""
    return orjson.dumps(_encodable(data), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _encodable(value: Any) -> Any:
    """Replace what UTF-8 can't hold, such as the bytes of a file name that isn't text."""
    match value:
        case str():
            return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()
        case dict():
            return {_encodable(key): _encodable(item) for key, item in value.items()}
        case list() | tuple():
            return [_encodable(item) for item in value]
        case _:
            return value
