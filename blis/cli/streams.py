"""Standard output and standard error."""

from __future__ import annotations

import os
import sys

import typer

from blis.cli.exits import EX_CLOSED
from blis.errors import BlisError

__all__ = ["warn", "write_out"]


def write_out(text: str) -> None:
    """Write to standard output, at once and whole.

    Raises:
        BlisError: it can't be written, for example since the disk is full.
        typer.Exit: nobody reads it any more.
    """
    if sys.stdout is None:
        return
    try:
        encoding = sys.stdout.encoding or "utf-8"
        # A narrow encoding must not stop a report: what it can't show is written as an escape.
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_the_rest()
        raise typer.Exit(EX_CLOSED) from None
    except OSError as error:
        _drop_the_rest()
        raise BlisError(f"can't write to standard output: {error.strerror}") from None


def _drop_the_rest() -> None:
    """Keep Python from writing what is left, and failing again, on its way out."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def warn(text: str) -> None:
    """Print a warning, each of its lines marked, to standard error."""
    for line in text.splitlines():
        sys.stderr.write(f"blis: warning: {line}\n")
