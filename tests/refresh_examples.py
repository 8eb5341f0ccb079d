"""Write anew what README.md and docs/ show as output, after a change that was meant to change it.

Usage: python tests/refresh_examples.py [PAGE...]

A shown line is replaced by the printed line that starts with the same words; lines with ``...`` stay. Read the text
around the examples afterwards: it may speak of the old figures.
"""

from __future__ import annotations

import doctest
import os
import re
import sys
import tempfile
from pathlib import Path

from markdown_examples import DOCTEST_FLAGS, Block, Page, blocks, commands

__all__ = ["Refresher", "refreshed"]


def label(line: str) -> str:
    """What a line starts with before its first figure."""
    return " ".join(re.split(r"[\d]", line.strip(), maxsplit=1)[0].split()) or line.strip()


def renewed(shown: tuple[str, ...], output: str) -> list[str]:
    """The lines ``shown`` as ``output`` has them now; a line that isn't found by its label stays."""
    actual = output.splitlines()
    found = []
    position = 0
    for line in shown:
        matches = (number for number in range(position, len(actual)) if label(actual[number]) == label(line))
        match = None if "..." in line or not line.strip() else next(matches, None)
        if match is None:
            found.append(line)
        else:
            found.append(actual[match].rstrip())
            position = match + 1
    return found


class _Wants(doctest.DocTestRunner):
    """Collects what examples give where it isn't what they show: (example, got)."""

    def __init__(self) -> None:
        super().__init__(optionflags=DOCTEST_FLAGS)
        self.given: list[tuple[doctest.Example, str]] = []

    def report_failure(self, out: object, test: doctest.DocTest, example: doctest.Example, got: str) -> None:
        self.given.append((example, got))


class Refresher(Page):
    """Runs a page and notes what its shown lines should be: ``changes`` maps (first line, lines) to new ones."""

    def __init__(self, path: Path, repository: Path, folder: Path) -> None:
        super().__init__(path, repository, folder)
        self.changes: dict[tuple[int, int], list[str]] = {}

    def _doctest(self, block: Block) -> None:
        wants = _Wants()
        self.examine(block, wants, lambda text: None)
        for example, got in wants.given:
            first = block.line + 1 + example.lineno + example.source.count("\n")
            self.changes[first, example.want.count("\n")] = got.splitlines()

    def _console(self, block: Block) -> None:
        for command in commands(block):
            output = self.execute(command, int(block.options.get("exit", "0")))
            if output is not None and command.shown:
                self.changes[command.shown_from, len(command.shown)] = renewed(command.shown, output)


def refreshed(text: str, refresher: Refresher) -> str:
    """The Markdown ``text`` with what its examples print now."""
    for block in blocks(text):
        refresher.run(block)
    lines = text.splitlines()
    for (first, count), new in sorted(refresher.changes.items(), reverse=True):
        lines[first - 1 : first - 1 + count] = new
    return "".join(f"{line}\n" for line in lines)


def main() -> None:
    """Refresh the pages that are named, or all."""
    root = Path(__file__).resolve().parent.parent
    sys.path.insert(0, str(root))
    named = [Path(name).resolve() for name in sys.argv[1:]]
    for page in named or [root / "README.md", *sorted((root / "docs").rglob("*.md"))]:
        text = page.read_text(encoding="utf-8")
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            new = refreshed(text, Refresher(page, root, Path(folder)))
            os.chdir(root)
        if new != text:
            page.write_text(new, encoding="utf-8")
            print(f"refreshed {page.relative_to(root)}")


if __name__ == "__main__":
    main()
