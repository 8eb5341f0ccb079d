"""How far a long run is, on standard error where that is a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from blis.simulation import Progress

__all__ = ["ProgressBar"]

_PATIENCE_S = 0.5


class ProgressBar:
    """A bar with the workload's time, requests done and speed, for runs that take more than half a second.

    A run ends at its horizon or after ``num_requests``, whichever comes first; None where it has no such end.

    Used as a context; ``callback`` is what :func:`blis.simulation.simulate` takes, None where nothing is to be shown.
    """

    def __init__(
        self, horizon_us: int | None, num_requests: int | None, *, shown: bool = True, what: str = "simulated"
    ) -> None:
        self._what = what
        self._horizon_us = horizon_us
        self._num_requests = num_requests
        self._started = time.monotonic()
        self._bar: Any = None
        self._task: Any = None
        self._shown = shown and sys.stderr.isatty()

    @property
    def callback(self) -> Callable[[Progress], None] | None:
        """Shows how far the run is."""
        return (lambda so_far: self.show(so_far.now_us, so_far.arrived, so_far.ended)) if self._shown else None

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, now_us: int, arrived: int, ended: int) -> None:
        """Show how far the run is: the workload's time, requests that arrived and that ended."""
        passed = time.monotonic() - self._started
        if passed < _PATIENCE_S or not self._shown:
            return
        first = self._bar is None
        if first:
            self._open()
        self._bar.update(
            self._task,
            completed=self._share(now_us, arrived, ended),
            now=now_us / 1e6,
            ended=ended,
            speed=ended / passed,
        )
        if first:
            self._bar.start()
        self._bar.refresh()

    def _share(self, now_us: int, arrived: int, ended: int) -> float:
        """How much of the run is done: whichever of the horizon and the number of requests ends it first."""
        shares = [0.0]
        if self._horizon_us and arrived:
            # What is still in flight counts as not done, so that the bar goes on while a cluster drains.
            shares.append(min(now_us / self._horizon_us, 1.0) * ended / arrived)
        if self._num_requests:
            shares.append(ended / self._num_requests)
        return max(shares)

    def _open(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:.0f} %"),
            TextColumn("{task.fields[now]:,.0f} s {task.fields[what]}"),
            TextColumn("{task.fields[ended]:,} requests done"),
            TextColumn("{task.fields[speed]:,.0f}/s"),
            TimeRemainingColumn(compact=True),
            console=Console(file=sys.stderr),
            auto_refresh=False,
            transient=True,
            expand=True,
        )
        self._task = self._bar.add_task("", total=1.0, now=0.0, ended=0, speed=0.0, what=self._what)
