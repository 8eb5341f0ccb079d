"""The command line: one module per command, and the only part of blis that prints or exits.

A command turns its flags into calls of the library and hands what comes back to :mod:`blis.report`. Modules of
commands, and all that they need, are loaded when their command is run.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

__all__ = ["app", "main"]

if TYPE_CHECKING:
    from blis.cli.root import app
else:

    def __getattr__(name: str) -> object:
        if name != "app":
            raise AttributeError(f"module 'blis.cli' has no attribute {name!r}")
        from blis.cli.root import app

        return app


def main() -> None:
    """Run the command line of this process; always exits.

    Exit codes: 0 success, 2 a mistake in the input, 70 a bug in blis, 130 interrupted, 141 standard output was closed.
    """
    try:
        from blis.cli.root import app

        app(prog_name="blis")
    except KeyboardInterrupt:
        sys.stderr.write("blis: interrupted\n")
        sys.exit(130)
