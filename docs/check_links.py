"""Check the links between the Markdown pages: targets and headings exist, and every page can be reached.

Usage: python docs/check_links.py [ROOT]
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

__all__ = ["problems"]

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.*?) *#*$", re.MULTILINE)
FENCED = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
START = "README.md"


def anchors(markdown: str) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    found: dict[str, int] = {}
    names = set()
    for title in HEADING.findall(FENCED.sub("", markdown)):
        name = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        seen = found.get(name, 0)
        found[name] = seen + 1
        names.add(f"{name}-{seen}" if seen else name)
    return names


def links(path: Path) -> list[tuple[str, str]]:
    """The links of the page at ``path`` to places inside the repository: (file part, anchor part)."""
    text = re.sub(r"`[^`\n]*`", "", FENCED.sub("", path.read_text(encoding="utf-8")))
    targets = [target for target in LINK.findall(text) if not re.match(r"[a-z]+:", target)]
    return [(file, anchor) for file, _, anchor in (target.partition("#") for target in targets)]


def problems(root: Path) -> list[str]:
    """Return a sentence for each broken link and each page that no chain of links from README.md reaches."""
    pages = {path.resolve() for path in [root / START, root / "CHANGELOG.md", *(root / "docs").rglob("*.md")]}
    found = []
    reached: set[Path] = set()
    queue = [(root / START).resolve()]
    while queue:
        page = queue.pop()
        if page in reached:
            continue
        reached.add(page)
        for file, anchor in links(page):
            target = (page.parent / file).resolve() if file else page
            place = f"{page.relative_to(root.resolve())}: link to {file}{'#' if anchor else ''}{anchor}"
            if not target.exists():
                found.append(f"{place}: no such file")
            elif target.suffix == ".md":
                queue.append(target)
                if anchor and anchor not in anchors(target.read_text(encoding="utf-8")):
                    found.append(f"{place}: the page has no such heading")
    unreached = sorted(str(page.relative_to(root.resolve())) for page in pages - reached)
    return sorted(found) + [f"{page}: no link leads here from {START}" for page in unreached]


def main() -> int:
    """Print the problems; the exit code is 1 if there are any."""
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent
    found = problems(root)
    for problem in found:
        print(problem)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
