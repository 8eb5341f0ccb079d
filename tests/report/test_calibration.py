"""What a report says about a calibration."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from blis.calibration import Calibration, Estimate, Rating, calibrate
from blis.calibration.history import Drift, Past
from blis.calibration.series import Series, compare_series
from blis.report.calibration import report
from blis.report.calibration_history import history_grid
from blis.report.calibration_page import calibration_page
from blis.report.plain import plain
from blis.trace import Histogram, Trace, TraceHeader

N = 60
WHOLE = """\
Calibration
  Real              60 requests, real
  Simulated         60 requests, simulated, seed 3
  Requests          59 ok, 1 timed out, 0 with errors
  Compared          54 of 60; 5 in the warm-up, 1 not completed by the server
  Matched by        client, session, round and client sequence
  Intervals         95 %, from 20 resamples in blocks of 13 requests
  Rating            good (the worse of TTFT and E2E)
"""


def trace(mode: str, factor: float, **facts) -> Trace:
    arrivals = np.arange(N) * 100_000
    ttft = (1 + np.arange(N) * 7 % N) * 1000
    columns = {
        "client_id": ["a"] * N,
        "client_seq": np.arange(N),
        "slo_class": ["batch", "critical\x1b[31m"] * (N // 2),
        "streaming": [True] * N,
        "input_tokens": [10] * N,
        "prompt_tokens": [10] * N,
        "output_tokens": [11] * N,
        "arrival_time_us": arrivals,
        "send_time_us": arrivals,
        "first_chunk_time_us": arrivals + np.rint(ttft * factor).astype(int),
        "last_chunk_time_us": arrivals + np.rint(ttft * factor * 3).astype(int),
        "status": ["ok"] * (N - 1) + ["timeout" if mode == "real" else "ok"],
    }
    return Trace.from_columns(columns, TraceHeader(mode=mode, **facts), Histogram([1000], [N]))


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    real = trace("real", 1, warm_up_requests=5, server={"max_num_seqs": 64, "block_size": 16})
    simulated = trace("simulated", 1.15, seed=3, deployment={"model": "llama-3.1-8b", "max_num_seqs": 32})
    return calibrate(real, simulated, resamples=20)


def test_a_whole_report(calibration: Calibration) -> None:
    text = plain(report(calibration))
    assert text.startswith(WHOLE)
    assert [line.split()[:4] for line in text.splitlines() if line.startswith("  TTFT ")] == [
        ["TTFT", "54", "15.0", "%"]
    ]
    assert re.search(r"\n  ITL( +-){7}  0\.000 +-\n", text)
    for line in (
        "  As the server     block_size 16",
        "  Differing         max_num_seqs 32 (server: 64)",
        "  Given             none",
    ):
        assert f"\n{line}\n" in text
    assert re.search(r"\n  Defaults          model llama-3.1-8b, hardware H100, tp 1, .*total_kv_blocks \d+", text)
    assert "Prefix caches may diverge" in text
    assert "max_num_seqs was simulated as 32, but the server has 64." in text
    assert r"critical\x1b[31m" in text


def test_groups_have_their_rating(calibration: Calibration) -> None:
    lines = plain(report(calibration)).splitlines()
    start = lines.index("SLO class")
    assert [line.split()[0] for line in lines[start + 1 : start + 3]] == ["batch", r"critical\x1b[31m"]
    assert all(line.endswith("good") for line in lines[start + 1 : start + 3])


def test_history_says_whether_the_newest_is_worse() -> None:
    mape = {"ttft_us": Estimate(0.1), "e2e_us": None}
    pasts = [Past("2026-01-01", "run\n", 60, rating, mape) for rating in (Rating.GOOD, None)] * 11
    text = plain(
        [history_grid(pasts, {"ttft_us": Drift(0.1, 0.2, worse=True), "e2e_us": Drift(0.1, 0.1, worse=False)})]
    )
    assert text.splitlines()[0].split() == ["History", "pairs", "TTFT", "MAPE", "E2E", "MAPE", "rating", "trace"]
    assert text.splitlines()[1].split() == ["2026-01-01", "60", "10.0", "%", "-", "good", r"run\n"]
    assert "2 older ones aren't shown." in text
    assert "TTFT: MAPE 20.0 %, before 10.0 % (median): worse, beyond its interval." in text
    assert "E2E: MAPE 10.0 %, before 10.0 % (median): no drift to be seen." in text
    assert len(text.splitlines()) == 1 + 20 + 3


class Outline(HTMLParser):
    """Ids and texts of a page; checks that tags are closed in order, and that nothing is fetched from elsewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not {"src", "href"} & {name for name, _ in attrs}
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "script":
            self.texts.append(data.strip())


def test_a_page_holds_everything_itself(calibration: Calibration) -> None:
    outline = Outline(calibration_page(calibration, report(calibration)))
    assert outline.open == []
    metrics = ("ttft_us", "e2e_us", "tpot_us")
    assert outline.ids == [f"{plot}-{name}" for name in metrics for plot in ("cdf", "qq", "pairs", "error")]
    assert {"Known limitations", "TTFT", "By group", "blis calibrate"} <= set(outline.texts)


def test_plots_show_the_values(calibration: Calibration) -> None:
    text = calibration_page(calibration, [])
    plots = dict(
        zip(Outline(text).ids, re.findall(r"Plotly\.newPlot\(\s*\"[^\"]*\",\s*(\[.*?\]),\s*\{\"", text), strict=True)
    )
    quantiles, equal = map(points, json.loads(plots["qq-ttft_us"]))
    assert len(quantiles[0]) == 100
    assert quantiles[1] == pytest.approx([1.15 * x for x in quantiles[0]], rel=1e-5)
    assert equal[0] == equal[1]
    errors, right = map(points, json.loads(plots["error-ttft_us"]))
    assert errors[1] == pytest.approx([15.0] * 54)
    assert errors[0][:2] == [0.5, 0.6]
    assert right == ([0.5, 5.8], [0, 0])
    assert points(json.loads(plots["cdf-e2e_us"])[0])[1][0] == 0.005


def test_what_servers_told_is_shown_over_time(calibration: Calibration) -> None:
    times = np.arange(40.0)
    series = {
        "running": Series(times, 2 + times % 7, 3 + times % 7),
        "kv_usage": Series(times, times / 100, times / 100),
    }
    servers = {name: compare_series(name, levels, calibration.bootstrap) for name, levels in series.items()}
    told = replace(calibration, servers=servers, series=series)
    lines = [" ".join(line.split()) for line in plain(report(told)).splitlines()]
    assert "Running 40 4.88 5.88 +20.5 % +20.5 to +20.5 % 1.000 1.000 to 1.000" in [
        re.sub(r"\+[0-9.]+ to \+[0-9.]+ %", "+20.5 to +20.5 %", line) for line in lines
    ]
    assert any(line.startswith("KV cache in use 40 19.5 % 19.5 % ") for line in lines)
    assert "Servers over time" not in plain(report(calibration))
    text = calibration_page(told, report(told))
    assert Outline(text).ids[-2:] == ["level-running", "level-kv_usage"]
    plots = re.findall(r"Plotly\.newPlot\(\s*\"level-kv_usage\",\s*(\[.*?\]),\s*\{\"", text)
    assert points(json.loads(plots[0])[0])[1] == pytest.approx(times.tolist())


def points(line: dict[str, Any]) -> tuple[list[float], list[float]]:
    """Coordinates of a plotted line, which plotly may pack."""

    def values(data: Any) -> list[float]:
        if isinstance(data, dict):
            return np.frombuffer(base64.b64decode(data["bdata"]), np.dtype(data["dtype"])).astype(float).tolist()
        return [float(value) for value in data]

    return values(line["x"]), values(line["y"])
