"""A line that says how an observed run is going, on standard error where that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from blis.server.standing import Standing

__all__ = ["StatusLine"]

_CLEAR = "\r\x1b[K"


class StatusLine:
    """Used as a context; ``callback`` is what :func:`blis.observe` takes, None where nothing is to be shown.

    It is one line of plain text: a table would take the sender milliseconds to draw, by which requests would be late.
    """

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown and sys.stderr.isatty()
        self._drawn = False

    @property
    def callback(self) -> Callable[[Standing], None] | None:
        """Shows where the run stands."""
        return self._show if self._shown else None

    def clear(self) -> None:
        """Make room for something else."""
        if self._drawn:
            sys.stderr.write(_CLEAR)
            sys.stderr.flush()
            self._drawn = False

    def __enter__(self) -> StatusLine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()

    def _show(self, standing: Standing) -> None:
        sys.stderr.write(_CLEAR + _text(standing))
        sys.stderr.flush()
        self._drawn = True


def _text(standing: Standing) -> str:
    parts = [
        f"{standing.now_us / 1e6:.0f} s",
        f"{standing.submitted:,} sent ({standing.rate:.4g}/s)",
        f"{standing.in_flight:,} in flight",
        f"{standing.done:,} done",
        f"{standing.errors:,} errors",
    ]
    for name, figures in (("TTFT", standing.ttft_us), ("delay", standing.delay_us)):
        if figures is not None:
            p50, p99 = figures
            parts.append(f"{name} {p50 / 1e3:.3g}/{p99 / 1e3:.3g} ms")
    return "  ".join(parts)
