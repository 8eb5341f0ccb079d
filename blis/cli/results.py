"""Giving a trace and its summary out, as the flags say."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from blis.cli.outputs import SummaryFlags
from blis.cli.streams import write_out
from blis.errors import BlisError

if TYPE_CHECKING:
    from blis.calibration.uncertainty import Intervals
    from blis.metrics import Summary
    from blis.report.blocks import Block
    from blis.trace import Trace

__all__ = ["give_out", "print_report", "provenance", "write_file", "write_trace"]


_HEADER = re.compile(r"(--header=[^:]*).*", re.DOTALL)


def write_trace(trace: Trace, prefix: str) -> None:
    """Write a trace; the command that made it goes into its provenance."""
    trace.write(prefix, provenance())


def provenance() -> dict[str, str]:
    """Return what the provenance of a trace says about the command that made it; values of headers may be secrets."""
    shown = [_HEADER.sub(r"\1: ***", word) for word in ("", *sys.argv[1:])]
    for index, word in enumerate(shown[:-1]):
        if word == "--header":
            shown[index + 1] = shown[index + 1].partition(":")[0] + ": ***"
    return {"command": shlex.join(["blis", *shown[1:]])}


def give_out(
    trace: Trace,
    flags: SummaryFlags,
    origins: Mapping[str, str],
    *,
    warnings: Sequence[str] = (),
    quiet: bool = False,
    intervals: Callable[[Summary], Intervals] | None = None,
) -> None:
    """Summarise a trace: to a file, as JSON or as a report, whose ``origins`` say where things came from.

    ``intervals`` says how sure the summary's figures are, where that is wanted.

    Raises:
        BlisError: where it can't be written.
    """
    if quiet and not flags.json and flags.metrics_out is None:
        return
    from blis.metrics import summarize

    summary = summarize(trace)
    sure = None if intervals is None else intervals(summary)
    if flags.json or flags.metrics_out is not None:
        from blis.report.machine import machine_readable, to_json

        more = {} if sure is None else {"uncertainty": sure.to_dict()}
        text = to_json(machine_readable(trace.header, summary, warnings) | more)
        if flags.metrics_out is not None:
            write_file(Path(flags.metrics_out), text)
        if flags.json:
            write_out(text.decode())
    if not (flags.json or quiet):
        from blis.report.summary import report

        noted = {"Warnings": f"{len(warnings)}, on standard error and in --json"} if warnings else {}
        blocks = report(trace.header, summary, {**origins, **noted})
        if sure is not None:
            from blis.report.uncertainty import prediction_intervals

            blocks.append(prediction_intervals(sure))
        print_report(blocks)


def write_file(path: Path, text: bytes) -> None:
    """Write a result to a file, all of it or nothing.

    Raises:
        BlisError: where it can't be written.
    """
    from blis.trace.files import staged

    if path.exists() and not path.is_file():
        # A device or a pipe is written to; a file that took its place would be no help.
        try:
            path.write_bytes(text)
        except OSError as error:
            raise BlisError(f"can't write {path}: {error.strerror}") from None
        return
    with staged(path.resolve()) as (part,):
        part.write_bytes(text)


def print_report(blocks: Sequence[Block]) -> None:
    """Print a report, in colours where that is a terminal."""
    if sys.stdout.isatty():
        from blis.report.terminal import on_terminal

        write_out(on_terminal(blocks, sys.stdout))
    else:
        from blis.report.plain import plain

        write_out(plain(blocks))
