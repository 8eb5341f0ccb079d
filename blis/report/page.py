"""Pages of HTML with everything they need inside: tables, and the script that draws plots."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from string import Template

from blis.report.blocks import Block, Facts, Grid, Row
from blis.report.plots import plotting_code

__all__ = ["block_html", "blocks_html", "page"]

_PAGE = Template("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; color: #222; max-width: 1200px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.5em; } h2 { font-size: 1.25em; margin-top: 2em; border-bottom: 1px solid #ccc; }
h3 { font-size: 1em; }
table { border-collapse: collapse; margin: 0.5em 0 1em; }
th { text-align: right; padding: 0.15em 0.8em; border-bottom: 1px solid #bbb; vertical-align: bottom; }
td { text-align: right; padding: 0.1em 0.8em; font-variant-numeric: tabular-nums; }
th:first-child, td:first-child, table.facts td { text-align: left; }
td.group { font-weight: 600; padding-top: 0.5em; }
table.facts td:first-child { color: #666; white-space: nowrap; vertical-align: top; }
tr.good { color: #17692c; } tr.doubtful { color: #8a5a00; } tr.bad { color: #b00020; font-weight: 600; }
p.note { color: #666; margin: 0.1em 0; }
.tables { display: flex; flex-wrap: wrap; gap: 0 3em; align-items: flex-start; } .wide { overflow-x: auto; }
.plots { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 1em; }
@media (max-width: 900px) { .plots { grid-template-columns: minmax(0, 1fr); } }
</style>
<script>$code</script>
</head>
<body>
<h1>$title</h1>
$body</body>
</html>
""")


def page(title: str, body: str) -> str:
    """Return a page of a title (text) and a body (HTML, with plots of :mod:`blis.report.plots`).

    Raises:
        BlisError: the library for plots isn't installed.
    """
    return _PAGE.substitute(title=escape(title), code=plotting_code(), body=body)


def blocks_html(blocks: Sequence[Block]) -> str:
    """Return the blocks of a report, as many side by side as there is room for."""
    return f'<div class="tables">\n{"".join(block_html(block) for block in blocks)}</div>\n'


def block_html(block: Block) -> str:
    """Return a block of a report."""
    return _facts(block) if isinstance(block, Facts) else _grid(block)


def _facts(block: Facts) -> str:
    rows = "".join(f"<tr><td>{escape(label)}</td><td>{escape(text)}</td></tr>\n" for label, text in block.facts)
    return f'<div class="wide"><h3>{escape(block.title)}</h3>\n<table class="facts">\n{rows}</table></div>\n'


def _grid(block: Grid) -> str:
    head = "".join(f"<th>{escape(title)}</th>" for title in block.head)
    rows = "".join(_row(row, len(block.head)) for row in block.rows)
    notes = "".join(f'<p class="note">{escape(note)}</p>\n' for note in block.notes)
    return f'<div class="wide"><table>\n<tr>{head}</tr>\n{rows}</table>\n{notes}</div>\n'


def _row(row: Row, columns: int) -> str:
    if len(row.cells) == 1:
        return f'<tr><td class="group" colspan="{columns}">{escape(row.cells[0])}</td></tr>\n'
    cells = "".join(f"<td>{escape(cell)}</td>" for cell in row.cells)
    return f'<tr class="{row.mood}">{cells}</tr>\n' if row.mood else f"<tr>{cells}</tr>\n"
