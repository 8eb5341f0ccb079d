"""Exit codes, and errors in words."""

from __future__ import annotations

import os
import sys
import traceback

from blis.errors import BlisError, InternalError
from blis.spec.words import did_you_mean

__all__ = ["EX_BUG", "EX_CLOSED", "EX_INTERRUPTED", "EX_MISSED", "EX_USAGE", "explain"]

EX_USAGE = 2
"""A mistake in the input: a file, a flag, a value."""
EX_MISSED = 3
"""All went well, but the result misses what a flag asks of it."""
EX_BUG = 70
"""A bug in blis."""
EX_INTERRUPTED = 130
"""Interrupted from the keyboard, as shells count it: 128 + SIGINT."""
EX_CLOSED = 141
"""Nobody reads standard output any more: 128 + SIGPIPE."""

_REPORT = (
    "This is a bug in blis, not in your input. Please report it with the command you ran and the files it read"
    " (BLIS_DEBUG=1 adds where it happened)."
)


def explain(error: Exception) -> int:
    """Say on standard error what went wrong, each problem on a line, and return the exit code."""
    if isinstance(error, BlisError):
        return _say(str(error))
    if isinstance(error, MemoryError):
        return _say("not enough memory for this run; fewer requests or a shorter horizon need less")
    if isinstance(error, OSError):
        return _say(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    if callable(words := getattr(error, "format_message", None)):
        return _usage(error, str(words()))
    if os.environ.get("BLIS_DEBUG"):
        traceback.print_exception(error)
    what = str(error) if isinstance(error, InternalError) else f"{type(error).__name__}: {error}"
    sys.stderr.write(f"blis: internal error: {what}\n{_REPORT}\n")
    return EX_BUG


def _say(message: str) -> int:
    for line in message.splitlines():
        sys.stderr.write(f"blis: error: {line}\n")
    return EX_USAGE


def _usage(error: Exception, message: str) -> int:
    """Explain a mistake on the command line itself, as typer found it."""
    if type(error).__name__ == "NoArgsIsHelpError":
        # Its message is the help, which may have been printed already.
        sys.stderr.write(message)
        return EX_USAGE
    if (name := getattr(error, "option_name", None)) and hasattr(error, "possibilities"):
        message = f"unknown flag {name}{did_you_mean(name, error.possibilities or ())}"
    _say(" ".join(message.split()))
    if (context := getattr(error, "ctx", None)) is not None:
        sys.stderr.write(f"'{context.command_path} --help' shows what there is.\n")
    return EX_USAGE
