"""A report on a terminal, as rich lays it out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO

from rich import box
from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from blis.report.blocks import Block, Facts, Grid, Mood

__all__ = ["on_terminal"]

_TITLE = "bold cyan"
_STYLES: dict[Mood, str] = {"": "", "good": "green", "doubtful": "yellow", "bad": "bold red"}
_LABELS = 16
_ENDLESS = 10_000


def on_terminal(blocks: Sequence[Block], file: IO[str]) -> str:
    """Return a report as the terminal behind ``file`` shows it, with its width and its colours."""
    console = Console(file=file, highlight=False, emoji=False, markup=False)
    with console.capture() as capture:
        for number, block in enumerate(blocks):
            if number:
                console.print()
            if isinstance(block, Facts):
                console.print(_facts(block))
            else:
                _print_grid(console, block)
    return capture.get()


def _facts(block: Facts) -> RenderableType:
    table = Table.grid(padding=(0, 2), pad_edge=False)
    table.add_column(style="dim", no_wrap=True, min_width=_LABELS)
    table.add_column(overflow="fold")
    for label, text in block.facts:
        table.add_row(Text(label), Text(text))
    return Group(Text(block.title, style=_TITLE), Padding(table, (0, 0, 0, 2)))


def _print_grid(console: Console, block: Grid) -> None:
    notes = list(block.notes)
    columns = list(range(len(block.head)))
    for spare in block.spare:
        if (
            Measurement.get(console, console.options.update(max_width=_ENDLESS), _grid(block, columns)).maximum
            <= console.width
        ):
            break
        columns.remove(spare)
    if len(columns) < len(block.head):
        notes.append("There is more on a wider terminal, and in --json.")
    console.print(_grid(block, columns))
    for note in notes:
        console.print(Padding(Text(note, style="dim"), (0, 0, 0, 2)))


def _grid(block: Grid, columns: Sequence[int]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 0, 0, 1), header_style="dim", show_edge=False)
    first, *others = columns
    table.add_column(Text(block.head[first], style=_TITLE), min_width=_LABELS + 2, overflow="fold", vertical="bottom")
    for column in others:
        table.add_column(Text(block.head[column]), justify="right", no_wrap=True)
    for row in block.rows:
        if len(row.cells) == 1:
            table.add_row(Text(row.cells[0], style="bold"))
        else:
            style = _STYLES[row.mood]
            cells = (Text(row.cells[column], style=style) for column in others)
            table.add_row(Text("  " + row.cells[first]), *cells)
    return table
