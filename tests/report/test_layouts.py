"""A report as plain text and on a terminal."""

from __future__ import annotations

import io

import pytest
from rich.text import Text

from blis.report.blocks import Facts, Grid, Row, printable
from blis.report.plain import plain
from blis.report.terminal import on_terminal

FACTS = Facts("Run", (("Workload", "a.yaml"), ("A label longer than most", "x")))
GRID = Grid(
    ("Figures", "mean", "p50\nms", "spare"),
    (Row(("Group",)), Row(("first", "1", "23", "456")), Row(("second", "1,000", "2", "-"), "bad")),
    ("A note.",),
    spare=(3,),
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(width: int, monkeypatch: pytest.MonkeyPatch, *blocks: Facts | Grid) -> list[str]:
    """Lines of the report on a terminal that is ``width`` columns wide, without its colours."""
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm-256color")
    text = Text.from_ansi(on_terminal(blocks, Terminal())).plain
    return [line.rstrip() for line in text.splitlines()]


def test_plain_text_is_aligned() -> None:
    assert plain([FACTS, GRID]).splitlines() == [
        "Run",
        "  Workload                  a.yaml",
        "  A label longer than most  x",
        "",
        "Figures              mean  p50 ms  spare",
        "Group",
        "  first                 1      23    456",
        "  second            1,000       2      -",
        "  A note.",
    ]


def test_plain_text_has_no_limit_to_its_width() -> None:
    long = "x" * 500
    assert plain([Facts("Run", (("Workload", long),))]).splitlines()[1] == f"  Workload          {long}"


def test_nothing_to_report() -> None:
    assert plain([]) == ""
    assert plain([Facts("Empty", ())]) == "Empty\n"


def test_a_terminal_shows_all_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown(80, monkeypatch, FACTS, GRID)
    assert lines[:3] == ["Run", "  Workload                  a.yaml", "  A label longer than most  x"]
    assert [line.split() for line in lines[4:6]] == [["p50"], ["Figures", "mean", "ms", "spare"]]
    assert lines[-3].split() == ["first", "1", "23", "456"]
    assert lines[-2].split() == ["second", "1,000", "2", "-"]
    assert lines[-1] == "  A note."


def test_a_narrow_terminal_leaves_columns_out_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown(34, monkeypatch, GRID)
    assert not any("spare" in line for line in lines)
    assert any(line.split() == ["first", "1", "23"] for line in lines)
    assert "on a wider terminal" in " ".join(" ".join(lines).split())


def test_colours_are_for_terminals_that_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[1;31m" in on_terminal([GRID], Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[1;31m" not in on_terminal([GRID], Terminal())


def test_markup_in_a_label_is_text(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown(80, monkeypatch, Grid(("T", "n"), (Row(("[bold]x", ":smile:")),)))
    assert lines[-1].split() == ["[bold]x", ":smile:"]


@pytest.mark.parametrize(
    ("text", "line"),
    [("Büro 東京", "Büro 東京"), ("a\tb", "a\\tb"), ("\u202eevil", "\\u202eevil"), ("\x9b31m", "\\x9b31m")],
)
def test_printable(text: str, line: str) -> None:
    assert printable(text) == line
