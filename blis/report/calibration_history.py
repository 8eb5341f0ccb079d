"""Calibrations over time as a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from blis.calibration.history import Drift, Past
from blis.calibration.results import RATED
from blis.report.blocks import Grid, Row, printable
from blis.report.calibration import MOODS, TITLES
from blis.report.numbers import NOTHING, count, share

__all__ = ["history_grid"]

_MOST_ROWS = 20


def history_grid(pasts: Sequence[Past], drifts: Mapping[str, Drift]) -> Grid:
    """Return the reports that were kept, oldest first, and what the newest says of drift."""
    rows = []
    for past in pasts[-_MOST_ROWS:]:
        errors = [NOTHING if (mape := past.mape[name]) is None else share(mape.value) for name in RATED]
        date = past.date[:19].replace("T", " ")
        cells = (date, count(past.calibrated), *errors, past.rating or NOTHING, printable(past.real))
        rows.append(Row(cells, MOODS[past.rating]))
    notes = [f"{len(pasts) - _MOST_ROWS} older ones aren't shown."] if len(pasts) > _MOST_ROWS else []
    for name, drift in drifts.items():
        verdict = "worse, beyond its interval" if drift.worse else "no drift to be seen"
        notes.append(f"{TITLES[name]}: MAPE {share(drift.newest)}, before {share(drift.earlier)} (median): {verdict}.")
    titles = (f"{TITLES[name]}\nMAPE" for name in RATED)
    return Grid(("History", "pairs", *titles, "rating", "trace"), tuple(rows), tuple(notes), spare=(5,))
