"""Reports kept over time, and whether the newest is worse than those before it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import orjson

from blis.calibration.figures import Estimate, Rating
from blis.calibration.results import RATED, Calibration
from blis.errors import BlisError
from blis.trace.files import staged

__all__ = ["Drift", "Past", "drift", "keep", "read_history"]

_PATTERN = "calibration-*.json"
_STAMP = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, slots=True)
class Past:
    """What is remembered of one report: its date (UTC), the real trace, and the MAPE of the rated metrics by name."""

    date: str
    real: str
    calibrated: int
    rating: Rating | None
    mape: Mapping[str, Estimate | None]


@dataclass(frozen=True, slots=True)
class Drift:
    """A metric's newest MAPE beside the median of the earlier ones.

    It is ``worse`` where its whole 95 % interval lies above that median.
    """

    earlier: float
    newest: float
    worse: bool


def keep(folder: str | os.PathLike[str], calibration: Calibration) -> Path:
    """Write a report, with the date, to a file of its own in ``folder``, which is made if need be.

    Raises:
        BlisError: where it can't be written.
    """
    directory = Path(folder)
    now = datetime.now(UTC)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BlisError(f"can't make the folder {directory}: {error.strerror}") from None
    data = {"date": now.isoformat(timespec="milliseconds"), **calibration.to_dict()}
    stamp, number = now.strftime(_STAMP), 1
    while (path := directory / f"calibration-{stamp}-{number}.json").exists():
        number += 1
    with staged(path) as (part,):
        part.write_bytes(orjson.dumps(data, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    return path


def read_history(folder: str | os.PathLike[str]) -> list[Past]:
    """Read the reports that were kept in ``folder``, oldest first; other files in it don't matter.

    Raises:
        BlisError: the folder, or a report in it, can't be read.
    """
    directory = Path(folder)
    if not directory.is_dir():
        raise BlisError(f"{directory} is no folder; 'blis calibrate REAL SIM --history {directory}' starts one")
    pasts = [_read(path) for path in directory.glob(_PATTERN)]
    return sorted(pasts, key=lambda past: past.date)


def drift(pasts: Sequence[Past]) -> dict[str, Drift]:
    """Compare the newest of some reports, oldest first, with those before it; empty where there is no other."""
    found: dict[str, Drift] = {}
    for name in RATED if pasts else ():
        earlier = [estimate.value for past in pasts[:-1] if (estimate := past.mape[name]) is not None]
        newest = pasts[-1].mape[name]
        if earlier and newest is not None:
            usual = median(earlier)
            found[name] = Drift(usual, newest.value, newest.low is not None and newest.low > usual)
    return found


def _read(path: Path) -> Past:
    try:
        data: dict[str, Any] = orjson.loads(path.read_bytes())
        overall = data["overall"]
        return Past(
            date=str(data["date"]),
            real=str(data["real"]["path"]),
            calibrated=int(data["requests"]["calibrated"]),
            rating=None if data["rating"] is None else Rating(data["rating"]),
            mape={name: Estimate(**overall[name]["mape"]) if overall[name]["mape"] else None for name in RATED},
        )
    except OSError as error:
        raise BlisError(f"can't read {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise BlisError(
            f"{path}: not a calibration report that blis kept ({error!r}); move it out of the folder"
        ) from None
