"""What servers said of themselves while a run went on: the sidecar of scraped metrics.

A row is a moment and a replica. Cells are blank where that server doesn't tell, and numbers like 12 or 0.375 elsewhere.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from blis.errors import TraceError
from blis.spec.words import shown
from blis.trace.csv_read import opened
from blis.units import US_PER_S

__all__ = ["COUNTERS", "GAUGES", "RATIOS", "Sample", "ServerMetrics", "read_metrics", "write_metrics"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

RATIOS = ("kv_usage", "prefix_hit_rate")
"""Shares from 0 to 1: of the KV cache that is in use, and of prompt tokens found in the prefix cache of late."""
GAUGES = ("running", "waiting", *RATIOS)
"""What holds at the moment; requests in the batch and in the queue, beside the ratios."""
COUNTERS = (
    "prefix_queries_total",
    "prefix_hits_total",
    "preemptions_total",
    "prompt_tokens_total",
    "generation_tokens_total",
    "requests_total",
    "steps_total",
)
"""What has been counted since the server's start: prompt tokens looked up in the prefix cache and found there,
preemptions, tokens of prompts and of answers, completed requests, and the engine's steps."""

Sample = tuple[int, int, dict[str, float]]
"""Time in microseconds since the run's start, replica, and values by name."""

_KEYS = ("time_us", "replica")
_NAMES = (*_KEYS, *GAUGES, *COUNTERS)


@dataclass(frozen=True, eq=False)
class ServerMetrics:
    """Scraped metrics, in order of time.

    ``time_us``, int64 of shape (n,), counts microseconds since the run's start, ``replica``, the same, replicas from 0.
    ``values`` has an array of float64 of shape (n,) for each of :data:`GAUGES` and :data:`COUNTERS`, with NaN where
    the server doesn't tell.
    """

    time_us: Ints
    replica: Ints
    values: Mapping[str, Floats]

    @classmethod
    def of(cls, samples: Iterable[Sample]) -> ServerMetrics:
        """Gather samples given in any order.

        >>> metrics = ServerMetrics.of([(2000, 0, {"running": 3}), (1000, 0, {"running": 1, "waiting": 2})])
        >>> metrics.time_us.tolist(), metrics.values["running"].tolist(), metrics.values["waiting"].tolist()
        ([1000, 2000], [1.0, 3.0], [2.0, nan])
        """
        ordered = sorted(samples, key=lambda sample: sample[:2])
        keys = np.array([sample[:2] for sample in ordered], np.int64).reshape(-1, 2)
        values = {
            name: np.array([sample[2].get(name, math.nan) for sample in ordered], np.float64)
            for name in (*GAUGES, *COUNTERS)
        }
        return cls(keys[:, 0], keys[:, 1], values)

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.time_us)

    def of_replica(self, replica: int) -> ServerMetrics:
        """The samples of one replica."""
        own = self.replica == replica
        return ServerMetrics(
            self.time_us[own], self.replica[own], {name: values[own] for name, values in self.values.items()}
        )

    def together(self) -> tuple[Ints, dict[str, Floats]]:
        """All replicas as one: times, int64 of shape (m,), and running, waiting and KV use then, float64 of shape (m,).

        The times are those of the first replica's samples, at which every other has what it last told. Requests are
        added up, shares of the cache averaged; NaN where a replica doesn't tell, or hasn't yet.
        """
        parts = [self.of_replica(replica) for replica in np.unique(self.replica).tolist()]
        times = parts[0].time_us if parts else self.time_us
        levels: dict[str, Floats] = {}
        for name in ("running", "waiting", "kv_usage"):
            told = np.full((max(len(parts), 1), len(times)), math.nan)
            for number, part in enumerate(parts):
                last = np.searchsorted(part.time_us, times, "right") - 1
                told[number] = np.where(last >= 0, part.values[name][last], math.nan)
            levels[name] = told.sum(axis=0) / (len(told) if name in RATIOS else 1)
        return times, levels

    def summary(self) -> dict[str, Any]:
        """Mean and largest values of what one replica's gauges tell, and by how much its counters rose, or how fast.

        The hit rate is that of the time from the first sample to the last, where the counters tell. A counter that
        falls began again from 0. Left out is what the server doesn't tell.
        """
        known = {name: values[~np.isnan(values)] for name, values in self.values.items()}
        found: dict[str, Any] = {
            name: {"mean": round(float(known[name].mean()), 6), "max": float(known[name].max())}
            for name in GAUGES
            if known[name].size
        }
        if "prefix_hit_rate" in found:
            found["prefix_hit_rate"] = found["prefix_hit_rate"]["mean"]
        rises = {name: rise for name in COUNTERS if (rise := _rise(known[name])) is not None}
        if "preemptions_total" in rises:
            found["preemptions"] = int(rises["preemptions_total"])
        if rises.get("prefix_queries_total") and "prefix_hits_total" in rises:
            found["prefix_hit_rate"] = round(rises["prefix_hits_total"] / rises["prefix_queries_total"], 6)
        seconds = (int(self.time_us[-1]) - int(self.time_us[0])) / US_PER_S if len(self) else 0.0
        for name in ("prompt_tokens", "generation_tokens", "requests", "steps"):
            if seconds and f"{name}_total" in rises:
                found[f"{name}_per_s"] = round(rises[f"{name}_total"] / seconds, 3)
        return found

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ServerMetrics):
            return NotImplemented
        return (
            np.array_equal(self.time_us, other.time_us)
            and np.array_equal(self.replica, other.replica)
            and all(np.array_equal(values, other.values[name], equal_nan=True) for name, values in self.values.items())
        )

    __hash__ = None  # type: ignore[assignment]


def write_metrics(path: Path, metrics: ServerMetrics, *, parquet: bool = False) -> None:
    """Write all samples to ``path``, as CSV or, which takes pyarrow, as Parquet."""
    if parquet:
        import pyarrow as pa
        import pyarrow.parquet as pq

        keys = {"time_us": metrics.time_us, "replica": metrics.replica}
        values = {name: pa.array(own, from_pandas=True) for name, own in metrics.values.items()}
        pq.write_table(pa.table({**keys, **values}), path)
        return
    columns = [metrics.values[name].tolist() for name in (*GAUGES, *COUNTERS)]
    rows = zip(metrics.time_us.tolist(), metrics.replica.tolist(), *columns, strict=True)
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.write(",".join(_NAMES) + "\n")
        file.writelines(",".join(map(_cell, row)) + "\n" for row in rows)


def read_metrics(path: Path) -> ServerMetrics:
    """Read what :func:`write_metrics` wrote, Parquet where the name ends so.

    Raises:
        TraceError: naming file and line of what is wrong.
    """
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        table = pq.read_table(path)
        columns = {name: table.column(name).to_numpy() for name in _NAMES}
        return ServerMetrics(columns.pop("time_us"), columns.pop("replica"), columns)
    try:
        with opened(path) as file:
            reader = csv.reader(file, strict=True)
            if (names := tuple(next(reader, ()))) != _NAMES:
                raise TraceError(f"{path}:1: found {shown(','.join(names))}; allowed is {','.join(_NAMES)}")
            samples = [_sample(row, f"{path}:{reader.line_num}") for row in reader]
    except (csv.Error, UnicodeDecodeError) as error:
        raise TraceError(f"{path}: not valid CSV: {error}") from None
    return ServerMetrics.of(samples)


def _sample(row: Sequence[str], place: str) -> Sample:
    if len(row) != len(_NAMES):
        raise TraceError(f"{place}: found {len(row)} cells; the first line names {len(_NAMES)} columns")
    try:
        values = {name: float(cell) for name, cell in zip(_NAMES, row, strict=True) if cell}
        time_us, replica = int(row[0]), int(row[1])
        if min(values.values()) < 0 or not math.isfinite(sum(values.values())):
            raise ValueError
    except ValueError:
        raise TraceError(
            f"{place}: found {shown(','.join(row))}; allowed are numbers >= 0, whole ones in {' and '.join(_KEYS)}, and"
            " empty cells elsewhere"
        ) from None
    return time_us, replica, values


def _cell(value: float) -> str:
    if math.isnan(value):
        return ""
    return str(int(value)) if value == int(value) else repr(value)


def _rise(values: Floats) -> float | None:
    """Return how much was counted from the first value to the last; None without values."""
    if not values.size:
        return None
    steps = np.diff(values)
    return float(np.where(steps >= 0, steps, values[1:]).sum())
