"""Flags that say where results go, and checks, before a run, that they can go there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typer import Option

from blis.errors import BlisError

__all__ = ["JSON", "QUIET", "TRACE_OUT", "OutputFlags", "SummaryFlags", "check_writable", "outputs", "trace_outputs"]

_PANEL = "Output"
_NO_PYARROW = "Parquet needs pyarrow, which isn't installed: 'pip install pyarrow', or write CSV by another ending"


JSON = Option(
    "--json",
    metavar="",
    help="Print one JSON object, times in microseconds, and nothing else.",
    rich_help_panel=_PANEL,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryFlags:
    """How a summary is given out."""

    json: Annotated[bool, JSON] = False
    metrics_out: Annotated[
        str | None, Option(metavar="FILE", help="Write that JSON object to a file.", rich_help_panel=_PANEL)
    ] = None


TRACE_OUT = Option(
    metavar="PREFIX",
    help="Write the trace, one row per request: PREFIX.csv, its header PREFIX.yaml and more beside them. With "
    "PREFIX.parquet the rows go to a Parquet file.",
    rich_help_panel=_PANEL,
)
QUIET = Option(
    "--quiet",
    "-q",
    metavar="",
    help="Print neither report nor progress nor warnings: only errors, and JSON where asked for.",
    rich_help_panel=_PANEL,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputFlags(SummaryFlags):
    """How a run is given out."""

    trace_out: Annotated[str | None, TRACE_OUT] = None
    quiet: Annotated[bool, QUIET] = False


def outputs(flags: SummaryFlags) -> dict[str, list[Path]]:
    """Return the files that the flags ask for, by flag.

    Raises:
        BlisError: a name that can't be one, or a format whose library is missing.
    """
    found: dict[str, list[Path]] = {}
    prefix = flags.trace_out if isinstance(flags, OutputFlags) else None
    if prefix is not None:
        found |= trace_outputs(prefix)
    if flags.metrics_out is not None:
        found[f"--metrics-out {flags.metrics_out}"] = [Path(flags.metrics_out)]
    return found


def trace_outputs(prefix: str, option: str = "--trace-out") -> dict[str, list[Path]]:
    """Return the files that ``option`` asks for, by that flag.

    Raises:
        BlisError: a name that can't be one, or a format whose library is missing.
    """
    from blis.trace.files import named

    if prefix.endswith(os.sep):
        raise BlisError(f"{option} {prefix}: names a folder; add the start of the files' names: {prefix}run")
    files = named(prefix)
    if files.data.suffix == ".parquet" and not _importable("pyarrow"):
        raise BlisError(f"{option} {prefix}: {_NO_PYARROW}")
    return {f"{option} {prefix}": list(files.paths)}


def check_writable(targets: Mapping[str, Iterable[Path]], inputs: Iterable[str | Path | None] = ()) -> None:
    """Make sure that files can be written, and that none of them overwrites another or an input.

    Raises:
        BlisError: naming the flag.
    """
    read = {Path(name).resolve() for name in inputs if name is not None}
    written: dict[Path, str] = {}
    for option, paths in targets.items():
        for path in paths:
            _check_folder(option, path)
            where = path.resolve()
            if where in read:
                raise BlisError(f"{option}: would overwrite {path}, which this run reads; choose another name")
            if where in written:
                raise BlisError(f"{option}: {path} is written by {written[where]} too; choose another name")
            written[where] = option


def _check_folder(option: str, path: Path) -> None:
    folder = path.parent
    if not path.name or path.is_dir():
        raise BlisError(f"{option}: {path} is a directory; give the name of a file")
    if not folder.is_dir():
        what = "isn't a directory" if folder.exists() else "doesn't exist; make it first"
        raise BlisError(f"{option}: {folder} {what}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise BlisError(f"{option}: you may not write to {folder}")


def _importable(module: str) -> bool:
    from importlib.util import find_spec

    return find_spec(module) is not None
