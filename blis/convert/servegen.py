"""ServeGen data written out as clients of a workload spec."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from blis.characterise.empirical import short, weighted
from blis.characterise.fits import weibull_cv
from blis.clients.servegen import ChunkSource
from blis.clients.servegen_load import chunk_sources
from blis.errors import BlisError
from blis.spec.arrival import CV_RANGES
from blis.spec.multimodal import MEDIA
from blis.spec.servegen_data import PATTERNS
from blis.spec.servegen_pdf import Pdf
from blis.spec.workload import WorkloadSpec, workload_from_dict
from blis.units import US_PER_S

__all__ = ["expanded"]

Data = dict[str, Any]
FloatArray = npt.NDArray[np.float64]

_NONE = Pdf(np.zeros(1), np.ones(1))


def expanded(spec: WorkloadSpec, warn: Callable[[str], None]) -> WorkloadSpec:
    """Return a workload in which each chunk of the spec's ServeGen data is a client, so that it needs the data no more.

    A chunk's windows of rates become windows of the client's lifecycle, with their rates and arrival processes; its
    lengths are one empirical distribution each, the mixture over the windows by their number of requests. So traffic
    has the data's rates, burstiness and marginal lengths, while the lengths don't change over time, and the number of
    requests in a window varies as that of a renewal process does.

    Raises:
        BlisError: There is no ServeGen data, or it can't be used.
    """
    if spec.servegen_data is None:
        raise BlisError("the workload has no servegen_data to write out as clients")
    if spec.servegen_data.length_correlation == "comonotonic":
        warn("length_correlation comonotonic isn't kept: clients draw a request's lengths independently")
    clients = [client for chunk in chunk_sources(spec, spec.horizon, warn) if (client := _client(chunk, spec, warn))]
    if not clients:
        raise BlisError(f"{spec.servegen_path}: nothing is sent in this part of the data, so there is nothing to write")
    data = spec.to_dict()
    data.pop("servegen_data")
    last = max(client["lifecycle"]["windows"][-1]["end_us"] for client in clients)
    ends = {"horizon": last} if spec.horizon is None and spec.num_requests is None else {}
    return workload_from_dict({**data, **ends, "aggregate_rate": 0.0, "clients": [*data.get("clients", ()), *clients]})


def _client(chunk: ChunkSource, spec: WorkloadSpec, warn: Callable[[str], None]) -> Data | None:
    assert spec.servegen_data is not None
    span = _Span(spec.servegen_data.span_start, min(chunk.end_us, spec.horizon or chunk.end_us))
    windows = list(_windows(chunk, span))
    if not windows:
        return None
    name = chunk.facts.client_id
    far = sum(window.pop("clipped") for window in windows)
    if far:
        warn(f"{name}: {far} of {len(windows)} windows are burstier than a spec can say; their cv is cut to the limit")
    requests = sum(window["rate"] * (window["end_us"] - window["start_us"]) for window in windows) / US_PER_S
    return {
        "id": name,
        "rate": short(requests / (span.end_us / US_PER_S)),
        "arrival": windows[0]["arrival"],
        **_contents(chunk, span),
        "lifecycle": {"windows": windows},
    }


@dataclass(frozen=True, slots=True)
class _Span:
    """The part of the data that is written out: its start on the data's clock, and its length."""

    start_s: float
    end_us: int

    def run_us(self, seconds: FloatArray) -> FloatArray:
        """Return times on the data's clock as microseconds of the run, those outside the part as its ends."""
        times: FloatArray = np.clip(np.rint((seconds - self.start_s) * US_PER_S), 0, self.end_us)
        return times


def _windows(chunk: ChunkSource, span: _Span) -> Iterator[Data]:
    """Yield the windows of a chunk inside the span, each with whether its cv had to be cut."""
    found = chunk.windows
    starts, ends = (span.run_us(seconds).astype(np.int64).tolist() for seconds in (found.starts, found.ends))
    rest = (column.tolist() for column in (found.rates * chunk.scale, found.patterns, found.shapes))
    for start, end, rate, pattern, shape in zip(starts, ends, *rest, strict=True):
        if start < end:
            arrival, clipped = _arrival(PATTERNS[pattern].lower(), shape)
            yield {"start_us": start, "end_us": end, "rate": short(rate), "arrival": arrival, "clipped": clipped}


def _arrival(pattern: str, shape: float) -> tuple[Data, bool]:
    if not pattern:
        return {"process": "poisson"}, False
    cv = 1 / math.sqrt(shape) if pattern == "gamma" else weibull_cv(shape)
    _, _, most = CV_RANGES[pattern]
    return {"process": pattern, "cv": short(min(cv, most))}, cv > most


def _contents(chunk: ChunkSource, span: _Span) -> Data:
    """Describe lengths as mixtures over the chunk's windows."""
    mixture = _Mixture(chunk, span)
    data: Data = {"output_distribution": mixture.of("output_tokens")}
    if "input_tokens" in mixture.fields:
        data["input_distribution"] = mixture.of("input_tokens")
    else:
        data["input_distribution"] = mixture.of("text_tokens")
        data["multimodal"] = multimodal = {}
        for kind in MEDIA:
            if mixture.occurs(f"{kind}_tokens"):
                multimodal[f"{kind}_distribution"] = mixture.of(f"{kind}_tokens")
                if f"{kind}_count" in mixture.fields:
                    multimodal[f"{kind}_count_distribution"] = mixture.of(f"{kind}_count")
    if mixture.occurs("reason_ratio"):
        data["reasoning"] = {"reason_ratio_distribution": mixture.of("reason_ratio")}
    return data


class _Mixture:
    """The distributions of a chunk's dataset windows, weighted by the requests that take their lengths from them."""

    def __init__(self, chunk: ChunkSource, span: _Span) -> None:
        found = chunk.windows
        requests: defaultdict[float, float] = defaultdict(float)
        expected = found.rates * (span.run_us(found.ends) - span.run_us(found.starts))
        for start, count in zip(chunk.lengths_from, expected.tolist(), strict=True):
            requests[start] += count
        self._parts = [(chunk.dataset.read(start), count) for start, count in requests.items() if count > 0]
        self.fields = {field for pdfs, _ in self._parts for field in pdfs}

    def occurs(self, field: str) -> bool:
        """Whether there is ever anything but 0."""
        return any(field in pdfs and bool(pdfs[field].values.any()) for pdfs, _ in self._parts)

    def of(self, field: str) -> Data:
        """Return the mixture of a field as a spec writes it; where a window has none, it counts as 0."""
        pdfs = [(pdfs.get(field, _NONE), weight) for pdfs, weight in self._parts]
        pdfs = [(pdf if len(pdf.values) else _NONE, weight) for pdf, weight in pdfs]
        values = np.concatenate([pdf.values for pdf, _ in pdfs])
        weights = np.concatenate([pdf.weights / pdf.weights.sum() * weight for pdf, weight in pdfs])
        unique, places = np.unique(values, return_inverse=True)
        return weighted(unique, np.bincount(places, weights))
