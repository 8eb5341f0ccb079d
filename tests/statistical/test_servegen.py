"""Traffic made from real ServeGen data against the data: counts, lengths and burstiness, span by span."""

from __future__ import annotations

import ast
import json
import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from blis.clients.arrivals import circular_gaps
from blis.clients.build import sources
from blis.clients.source import Source
from blis.rng import stream
from blis.spec.workload import workload_from_dict

pytestmark = [pytest.mark.statistical, pytest.mark.real]

S = 1_000_000
DAY = 86_400
SPANS = [
    *(("language/m-large", day * DAY, (day + 1) * DAY) for day in range(14)),
    ("language/m-large", 324_000, 345_600),
    ("language/m-large", 864_000, 885_600),
    *(("reason/deepseek-r1", start, start + DAY // 4) for start in range(0, DAY, DAY // 4)),
    *(("multimodal/mm-image", start, start + DAY // 4) for start in range(0, DAY, DAY // 4)),
]
"""All of the data, and two stretches across its days."""
FIELDS = {"input_tokens": 1, "output_tokens": 1, "text_tokens": 0}
EMPTY = ("{}", "{0: 1.0}")


@pytest.fixture(params=SPANS, ids=lambda span: f"{span[0]}-{span[1]}-{span[2]}")
def span(request: pytest.FixtureRequest, blis_data: Path) -> tuple[Path, int, int]:
    """A folder of real data and a stretch of it in seconds."""
    folder, start, end = request.param
    return blis_data / "servegen" / "data" / folder, start, end


def load(span: tuple[Path, int, int]) -> list[Source]:
    folder, start, end = span
    data = {"path": str(folder), "span_start": start, "span_end": end}
    spec = workload_from_dict({"seed": 21, "horizon": f"{end - start}s", "servegen_data": data})
    return sources(spec, spec.horizon, lambda _: None)


def active(trace: Path, span: tuple[Path, int, int]) -> Iterator[tuple[int, float, str, float]]:
    """Start, rate, pattern and shape of the active windows of a trace, read in the plainest way."""
    for line in trace.read_text().split():
        start, rate, _, pattern, shape, _ = line.split(",")
        if float(rate) > 0 and span[1] <= int(start) < span[2]:
            yield int(start), float(rate), pattern, float(shape)


def mixtures(span: tuple[Path, int, int]) -> dict[str, dict[float, float]]:
    """The data's own distribution of each field: the windows' PDFs in proportion to the requests they get."""
    found: dict[str, dict[float, float]] = defaultdict(lambda: defaultdict(float))
    for trace in span[0].glob("*-trace.csv"):
        raw = json.loads(Path(str(trace).replace("trace.csv", "dataset.json")).read_text())
        usable = sorted(int(start) for start, texts in raw.items() if any(text not in EMPTY for text in texts.values()))
        requests: dict[int, float] = defaultdict(float)
        for start, rate, _, _ in active(trace, span):
            requests[usable[bisect_right(usable, start) - 1]] += rate
        for start, total in requests.items():
            for field, text in raw[str(start)].items():
                pdf = ast.literal_eval(text)
                for value, weight in pdf.items():
                    found[field][max(value, FIELDS.get(field, 0))] += total * weight / sum(pdf.values())
    return found


def test_counts_are_rate_times_time(span: tuple[Path, int, int]) -> None:
    expected = sum(rate * 600 for trace in span[0].glob("*-trace.csv") for _, rate, _, _ in active(trace, span))
    length = (span[2] - span[1]) * S
    sent = sum(len(block.arrival_us) for source in load(span) for block in source.blocks(length))
    assert expected > 500
    assert sent == pytest.approx(expected, rel=0.02)


def column(name: str, block: Any) -> Any:
    if name == "text_tokens":
        return block.columns.parts[:, 0]
    return getattr(block.columns, name)


def test_lengths_follow_the_datas_own_mixture(span: tuple[Path, int, int]) -> None:
    """Means within 2 %, p50, p90 and p99 within 3 %, or within three standard errors where the sample is small."""
    laws = mixtures(span)
    blocks = [block for source in load(span) for block in source.blocks((span[2] - span[1]) * S)]
    names = [name for name in ("input_tokens", "output_tokens", "text_tokens", "reason_ratio") if name in laws]
    assert len(names) >= 2
    for name in names:
        drawn = np.concatenate([column(name, block) for block in blocks])
        values, weights = np.array(sorted(laws[name].items())).T
        weights /= weights.sum()
        mean = float((values * weights).sum())
        error = math.sqrt(float((values**2 * weights).sum()) - mean**2) / math.sqrt(len(drawn))
        assert drawn.mean() == pytest.approx(mean, abs=max(0.02 * mean, 3 * error)), name
        cumulative = np.cumsum(weights)
        for rank in (0.5, 0.9, 0.99):
            margin = 3 * math.sqrt(rank * (1 - rank) / len(drawn))
            low, true, high = (
                values[min(int(np.searchsorted(cumulative, rank + shift)), len(values) - 1)]
                for shift in (-margin, 0, margin)
            )
            found = np.quantile(drawn, rank)
            assert min(low, 0.97 * true) <= found <= max(high, 1.03 * true), (name, rank)


def test_items_of_multimodal_requests(blis_data: Path) -> None:
    """The mean of image tokens is that of the count times that of one image, since images are drawn one by one."""
    span = (blis_data / "servegen" / "data" / "multimodal/mm-image", 0, 21_600)
    for source in load(span):
        pdfs = json.loads((span[0] / f"{source.facts.client_id}-dataset.json").read_text())["0"]
        count, tokens = (ast.literal_eval(pdfs[field]) for field in ("image_count", "image_tokens"))
        mean, square = (sum(v**power * w for v, w in tokens.items()) for power in (1, 2))
        count_mean, count_square = (sum(v**power * w for v, w in count.items()) for power in (1, 2))
        parts = [block.columns.parts for block in source.blocks(21_600 * S)]
        images = np.concatenate([part[:, 1] for part in parts if part is not None])
        variance = count_mean * (square - mean**2) + (count_square - count_mean**2) * mean**2
        error = math.sqrt(variance / len(images))
        assert images.mean() == pytest.approx(count_mean * mean, abs=max(4 * error, 1e-9))


def test_gaps_in_a_window_are_as_bursty_as_its_fit(span: tuple[Path, int, int]) -> None:
    """The cv of each window's gaps, ranked among those of samples of its fitted law, is uniform over all windows."""
    rng = stream(22, "fits")
    ranks = []
    for source in load(span):
        arrivals = np.concatenate([block.arrival_us for block in source.blocks((span[2] - span[1]) * S)])
        windows = list(active(span[0] / f"{source.facts.client_id}-trace.csv", span))
        for start, _, pattern, shape in windows[:: max(1, len(windows) // 25)]:
            low = (start - span[1]) * S
            mine = arrivals[(arrivals >= low) & (arrivals < low + 600 * S)]
            # Crowded arrivals are kept a microsecond apart, which tells at rates of hundreds per second only.
            if len(mine) < 20 or len(mine) > 20_000:
                continue
            gaps = np.diff(mine)
            fits = np.array([circular_gaps(rng, pattern.lower(), shape, len(gaps)) for _ in range(199)])
            ranks.append((fits.std(axis=1) / fits.mean(axis=1) < gaps.std() / gaps.mean()).mean())
    # A little blur keeps equal ranks apart for the test; corrected for the number of spans.
    blurred = np.array(ranks) * 199 / 200 + rng.random(len(ranks)) / 200
    assert len(blurred) >= 1
    assert stats.kstest(blurred, "uniform").pvalue > 0.01 / len(SPANS)
