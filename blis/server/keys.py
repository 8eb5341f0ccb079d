"""API keys: where they come from. They go into requests and nowhere else."""

from __future__ import annotations

import os
from pathlib import Path

from blis.errors import BlisError
from blis.spec.server import API_KEY_VARIABLE

__all__ = ["api_key"]

_ENVIRONMENT = "env:"


def api_key(source: str) -> str:
    """Return the key that ``source`` names: ``env:NAME``, a file, or where it is empty the usual variable, if any.

    Raises:
        BlisError: there is none, without saying what was given in its place: that might be the key itself.
    """
    if not source:
        return os.environ.get(API_KEY_VARIABLE, "").strip()
    if source.startswith(_ENVIRONMENT):
        name = source.removeprefix(_ENVIRONMENT)
        if not (key := os.environ.get(name, "").strip()):
            raise BlisError(f"--api-key: the environment variable {name} is empty or isn't set")
        return key
    try:
        key = Path(source).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        raise BlisError(
            "--api-key: neither a file that can be read nor env:NAME; a key itself must not be on the command line,"
            f" where others see it: put it into the environment variable {API_KEY_VARIABLE}, or into a file"
        ) from None
    if not key or not key.isascii() or any(letter.isspace() for letter in key):
        raise BlisError("--api-key: the file must hold the key and nothing else")
    return key
