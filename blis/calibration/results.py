"""What a calibration report holds. Times are microseconds, errors fractions; None means that there is no figure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from blis.calibration.bootstrap import Bootstrap
from blis.calibration.configuration import Configuration
from blis.calibration.figures import Comparison, Rating
from blis.calibration.load import Phase
from blis.calibration.pairing import By
from blis.calibration.samples import Sample
from blis.calibration.selection import Requests, Throughput, Tokens
from blis.calibration.series import Series
from blis.metrics.results import plain

__all__ = ["RATED", "Calibration", "Run", "worst"]

RATED = ("ttft_us", "e2e_us")
"""Metrics whose worse rating is that of the whole report: between them they hold everything a request waits for."""

Comparisons = Mapping[str, Comparison]


@dataclass(frozen=True, slots=True)
class Run:
    """One of the two traces: where it was read from (empty if it wasn't), and what its header says."""

    path: str
    mode: str
    requests: int
    seed: int | None
    epoch_us: int | None
    hardware: str | None


@dataclass(frozen=True, slots=True)
class Calibration:
    """How well a simulation predicted a real run.

    Breakdowns go by label, then by metric; they are empty where no request has a label, and ``left_out`` says how many
    labels of a breakdown aren't listed, those of the fewest requests. ``phases`` go by load, whose ranges ``load``
    has. ``servers`` has requests running and waiting and the KV cache's use over time, where the real trace has the
    servers' own metrics. ``samples`` and ``series`` are values for plots, and no part of :meth:`to_dict`.
    """

    rating: Rating | None
    real: Run
    simulated: Run
    matched_by: By
    requests: Requests
    tokens: Tokens
    overall: Comparisons
    slo_classes: Mapping[str, Comparisons]
    tenants: Mapping[str, Comparisons]
    phases: Mapping[str, Comparisons]
    left_out: Mapping[str, int]
    load: Mapping[str, Phase]
    servers: Comparisons
    throughput: Throughput
    bootstrap: Bootstrap
    configuration: Configuration
    limitations: tuple[str, ...]
    warnings: tuple[str, ...]
    samples: Mapping[str, Sample] = field(default_factory=dict, repr=False, compare=False)
    series: Mapping[str, Series] = field(default_factory=dict, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data for JSON; what isn't a finite number is None."""
        data: dict[str, Any] = plain(self)
        del data["samples"], data["series"]
        return data


def worst(comparisons: Comparisons) -> Rating | None:
    """The worse rating of :data:`RATED`; None where neither has one."""
    ratings = [rating for name in RATED if (rating := comparisons[name].rating) is not None]
    return max(ratings, key=list(Rating).index, default=None)
