"""The progress bar appears on a terminal, for runs that take their time, and only there."""

from __future__ import annotations

import io
import sys

import pytest

from blis.cli import progress
from blis.cli.progress import ProgressBar
from blis.simulation import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Make standard error a terminal of 100 columns without colours; for a test's body, since pytest sets it too."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    for name, value in {"COLUMNS": "100", "TERM": "xterm", "NO_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)
    return stream


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The monotonic clock of the bar; its only item is the time."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_it_shows_time_requests_and_speed(monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> None:
    terminal = on_terminal(monkeypatch)
    with ProgressBar(60_000_000, None) as bar:
        assert bar.callback is not None
        clock[0] += 2.0
        bar.callback(Progress(now_us=30_000_000, arrived=1000, ended=900))
    text = terminal.getvalue()
    for part in ("45 %", "30 s simulated", "900 requests done", "450/s"):
        assert part in text


def test_a_number_of_requests_ends_it_too(monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> None:
    terminal = on_terminal(monkeypatch)
    with ProgressBar(None, 2000) as bar:
        assert bar.callback is not None
        clock[0] += 2.0
        bar.callback(Progress(now_us=30_000_000, arrived=1000, ended=500))
    assert "25 %" in terminal.getvalue()


def test_a_short_run_has_none(monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> None:
    terminal = on_terminal(monkeypatch)
    with ProgressBar(None, 10) as bar:
        assert bar.callback is not None
        clock[0] += 0.4
        bar.callback(Progress(now_us=1, arrived=1, ended=0))
    assert terminal.getvalue() == ""


def test_a_pipe_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert ProgressBar(None, 10).callback is None


def test_none_is_shown_where_none_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    on_terminal(monkeypatch)
    assert ProgressBar(None, 10, shown=False).callback is None
