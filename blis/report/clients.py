"""What clients see: latencies through their networks, and sessions."""

from __future__ import annotations

from blis.metrics import ClientFigures, Distribution, Latencies, Summary
from blis.report.blocks import Grid, Row, printable
from blis.report.numbers import count, milliseconds, number, plural

__all__ = ["FIGURES", "client_latencies", "figures", "sessions"]

FIGURES = ("mean", "p50", "p90", "p95", "p99", "max")
"""The figures of a distribution that tables show."""


def figures(kind: Distribution) -> tuple[str, ...]:
    """Return a row's cells: the figures of a latency, in milliseconds."""
    return tuple(milliseconds(getattr(kind, figure)) for figure in FIGURES)


def client_latencies(seen: ClientFigures) -> Grid:
    """Return the latencies that clients see, of all and by SLO class."""
    rows = _rows(seen.overall)
    if len(seen.slo_classes) > 1:
        for label, latencies in seen.slo_classes.items():
            rows += [Row((printable(label) or "(no SLO class)",)), *_rows(latencies)]
    notes = ("The server's times plus round trip, upload of the prompt and download of the output.",)
    return Grid(("As clients see it, ms", *FIGURES), tuple(rows), notes)


def _rows(latencies: Latencies) -> list[Row]:
    kinds = [
        ("TTFT", latencies.ttft_us),
        ("First token after the reasoning", latencies.first_answer_us),
        ("TPOT", latencies.tpot_us),
        ("E2E", latencies.e2e_us),
    ]
    return [Row((label, *figures(kind))) for label, kind in kinds if kind.n]


def sessions(summary: Summary) -> Grid:
    """Return the sessions of a trace, which has some, as clients see them where their view is known."""
    found = summary.client_view.sessions if summary.client_view is not None else summary.sessions
    assert found is not None, "there are sessions"
    rounds = tuple(number(getattr(found.rounds, figure)) for figure in FIGURES)
    rows = [Row(("Rounds", *rounds))]
    kinds = [
        ("TTFT of the first round, ms", found.ttft_us),
        ("Mean TTFT of the rounds, ms", found.mean_ttft_us),
        ("Duration, ms", found.duration_us),
    ]
    rows += [Row((label, *figures(kind))) for label, kind in kinds if kind.n]
    ends = ", ".join(f"{count(amount)} {printable(status)}" for status, amount in found.ended.items() if status != "ok")
    notes = [f"{plural(found.sessions, 'session')}, of which {count(found.completed)} completed every round they sent."]
    if ends:
        notes.append(f"How the last round of the others ended: {ends}.")
    if summary.client_view is not None:
        notes.append("Times are those that clients see.")
    return Grid(("Sessions", *FIGURES), tuple(rows), tuple(notes))
