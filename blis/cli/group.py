"""Commands that are loaded when they are needed, and errors in the words and exit codes of blis."""

from __future__ import annotations

import sys
from collections.abc import Iterator, MutableMapping, Sequence
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from blis.cli.exits import EX_INTERRUPTED, EX_USAGE, explain

__all__ = ["COMMANDS", "Commands"]

COMMANDS = {
    "simulate": "blis.cli.simulate",
    "observe": "blis.cli.observe",
    "serve": "blis.cli.serve",
    "replay": "blis.cli.replay",
    "generate": "blis.cli.generate",
    "convert": "blis.cli.convert",
    "compose": "blis.cli.compose",
    "describe": "blis.cli.describe",
    "metrics": "blis.cli.metrics",
    "report": "blis.cli.report",
    "trace": "blis.cli.trace",
    "calibrate": "blis.cli.calibrate",
    "fit": "blis.cli.fit",
    "validate": "blis.cli.validate",
    "schema": "blis.cli.schema",
    "version": "blis.cli.version",
}
"""Modules of the commands; each has an ``app`` of one command."""


class _Lazy(MutableMapping[str, Any]):
    """Commands by name; looking one up imports its module."""

    def __init__(self, modules: dict[str, str]) -> None:
        self._modules = modules
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            command = typer.main.get_command(import_module(self._modules[name]).app)
            # A group of commands has no name of its own, and would be listed without one.
            command.name = name
            for parameter in command.params:
                _leave_unless_given(parameter)
            self._loaded[name] = command
        return self._loaded[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._modules.setdefault(name, "")
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        del self._modules[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)


def _leave_unless_given(parameter: Any) -> None:
    """Keep typer from preparing the conversion of a flag that isn't there, which costs milliseconds for each."""
    if parameter.required or parameter.callback is not None:
        return
    convert = parameter.process_value

    def process_value(ctx: Any, value: Any) -> Any:
        return None if value is None else convert(ctx, value)

    parameter.process_value = process_value


class Commands(TyperGroup):
    """The program's group of commands."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = _Lazy(dict(COMMANDS))

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **settings: Any,
    ) -> Any:
        """Run a command; unless ``standalone_mode`` is off, exit with one of the codes of :mod:`blis.cli.exits`."""

        def run() -> Any:
            return super(Commands, self).main(args, prog_name, complete_var, False, windows_expand_args, **settings)

        if not standalone_mode:
            return run()
        try:
            code = run()
        except typer.Abort:
            code = EX_INTERRUPTED
        except Exception as error:
            sys.exit(explain(error))
        if code == EX_INTERRUPTED:
            sys.stderr.write("blis: interrupted\n")
        sys.exit(code if isinstance(code, int) else 0)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command; a file in its place gets a hint that a command is missing."""
        try:
            return super().resolve_command(ctx, args)
        except Exception as error:
            if getattr(error, "exit_code", None) == EX_USAGE and "." in args[0] and hasattr(error, "message"):
                error.message += f" To simulate a workload: blis simulate {args[0]}"
            raise
