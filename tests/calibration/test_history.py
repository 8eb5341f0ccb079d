"""Reports over time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from blis.calibration import Estimate, Rating, calibrate
from blis.calibration.history import Drift, Past, drift, keep, read_history
from blis.errors import BlisError
from blis.rng import stream
from blis.trace import Trace

Make = Callable[..., Trace]


def report(make: Make, factor: float = 1.0):
    rng = stream(1, "latencies")
    ttft = rng.integers(10_000, 200_000, 60)
    e2e = ttft + rng.integers(100_000, 2_000_000, 60)
    predicted = (np.array([ttft, e2e]) * factor).astype(int)
    return calibrate(make(ttft, e2e), make(*predicted, mode="simulated"), resamples=50)


def past(value: float, low: float, day: int = 1) -> Past:
    mape = {"ttft_us": Estimate(value, low, value + 0.1), "e2e_us": None}
    return Past(f"2026-01-{day:02d}", "run", 60, Rating.GOOD, mape)


def test_reports_are_kept_in_files_of_their_own(make: Make, tmp_path: Path):
    folder = tmp_path / "new" / "calibrations"
    first, second = report(make), report(make, 1.5)
    paths = [keep(folder, one) for one in (first, second)]
    (folder / "notes.txt").write_text("not one of them")
    assert len(set(paths)) == 2
    kept = json.loads(paths[1].read_text())
    assert kept.pop("date").endswith("+00:00")
    assert kept == json.loads(json.dumps(second.to_dict()))
    pasts = read_history(folder)
    assert [one.rating for one in sorted(pasts, key=lambda one: one.rating)] == [Rating.EXCELLENT, Rating.POOR]
    assert {one.mape["e2e_us"] for one in pasts} == {first.overall["e2e_us"].mape, second.overall["e2e_us"].mape}
    assert {one.calibrated for one in pasts} == {60}


def test_reports_come_oldest_first(make: Make, tmp_path: Path):
    data = report(make).to_dict()
    for number, date in enumerate(["2026-03-01T00:00:00+00:00", "2026-01-01T00:00:00+00:00"]):
        (tmp_path / f"calibration-{number}.json").write_text(json.dumps({"date": date, **data}))
    assert [one.date[:7] for one in read_history(tmp_path)] == ["2026-01", "2026-03"]


def test_drift_is_an_interval_above_the_usual_error():
    pasts = [past(0.10, 0.08), past(0.30, 0.25), past(0.12, 0.09)]
    assert drift([*pasts, past(0.14, 0.11)])["ttft_us"] == Drift(0.12, 0.14, worse=False)
    assert drift([*pasts, past(0.14, 0.13)]) == {"ttft_us": Drift(0.12, 0.14, worse=True)}
    assert drift(pasts[:1]) == drift([]) == {}


@pytest.mark.parametrize(
    "content",
    ["", "{}", "[1]", '{"overall": {}}', '{"date": 1, "overall": {"ttft_us": 3}, "real": {}, "requests": {}}'],
)
def test_a_file_that_is_no_report_is_named(content: str, tmp_path: Path):
    (tmp_path / "calibration-1.json").write_text(content)
    with pytest.raises(BlisError, match=r"calibration-1\.json: not a calibration report that blis kept"):
        read_history(tmp_path)


def test_a_folder_that_is_not_there(make: Make, tmp_path: Path):
    with pytest.raises(BlisError, match="is no folder; 'blis calibrate REAL SIM --history"):
        read_history(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(BlisError, match="can't make the folder"):
        keep(tmp_path / "file", report(make))
