"""A report as plain text: aligned, without colours, boxes or a limit to its width."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from blis.report.blocks import Block, Facts, Grid

__all__ = ["plain"]

_GAP = "  "
_LABELS = 16


def plain(blocks: Sequence[Block]) -> str:
    """Return a report as text that ends with a line end."""
    parts = [_facts(block) if isinstance(block, Facts) else _grid(block) for block in blocks]
    return "\n".join("".join(f"{line}\n" for line in lines) for lines in parts)


def _facts(block: Facts) -> Iterator[str]:
    yield block.title
    width = max(_LABELS, *(len(label) for label, _ in block.facts), 0)
    for label, text in block.facts:
        yield f"{_GAP}{label:<{width}}{_GAP}{text}"


def _grid(block: Grid) -> Iterator[str]:
    head = tuple(title.replace("\n", " ") for title in block.head)
    lines = [head, *((_GAP + row.cells[0], *row.cells[1:]) for row in block.rows if len(row.cells) > 1)]
    widths = [max((len(line[column]) for line in lines), default=0) for column in range(len(block.head))]
    widths[0] = max(widths[0], _LABELS + len(_GAP))
    yield _line(head, widths)
    for row in block.rows:
        if len(row.cells) == 1:
            yield row.cells[0]
        else:
            yield _line((_GAP + row.cells[0], *row.cells[1:]), widths)
    for note in block.notes:
        yield _GAP + note


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    numbers = (f"{cell:>{width}}" for cell, width in zip(cells[1:], widths[1:], strict=True))
    return _GAP.join((f"{cells[0]:<{widths[0]}}", *numbers)).rstrip()
