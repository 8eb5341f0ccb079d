"""The command line: one module per command, and the only part of blis that prints or exits.

A command turns its flags into calls of the library and hands what comes back to :mod:`blis.report`. Modules of
commands, and all that they need, are loaded when their command is run.
"""

from __future__ import annotations

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
    """Run the command line of this process; always exits, with one of the codes of :mod:`blis.cli.exits`."""
    from blis.cli.root import app

    app(prog_name="blis")
