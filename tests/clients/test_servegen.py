"""ServeGen chunks as clients: windows, spans, scales, lengths, and what is reported."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blis.clients.build import sources
from blis.clients.source import Source
from blis.errors import BlisError
from blis.request import Request
from blis.spec.workload import workload_from_dict

Record = Callable[..., list[Request]]
S = 1_000_000


def spec(folder: Path, horizon: str = "1h", rate: float = 0.0, **options: Any) -> Any:
    data = {"path": str(folder), **options}
    return workload_from_dict({"seed": 7, "horizon": horizon, "aggregate_rate": rate, "servegen_data": data})


def load(folder: Path, warn: Callable[[str], None] = pytest.fail, **options: Any) -> dict[str, Source]:
    workload = spec(folder, **options)
    return {source.facts.client_id: source for source in sources(workload, workload.horizon, warn)}


def column(source: Source, name: str, end_us: int = 3600 * S) -> Any:
    """All values of one column, int64 or float64, shape (n,) or (n, 4)."""
    blocks = list(source.blocks(end_us))
    if name == "arrival_us":
        return np.concatenate([block.arrival_us for block in blocks])
    return np.concatenate([getattr(block.columns, name) for block in blocks])


def write(folder: Path, number: int, trace: str, windows: dict[str, dict[str, str]]) -> None:
    (folder / f"chunk-{number}-trace.csv").write_text(trace)
    (folder / f"chunk-{number}-dataset.json").write_text(json.dumps(windows))


LENGTHS = {"0": {"input_tokens": "{10: 1.0}", "output_tokens": "{20: 1.0}"}}


def test_every_window_sends_what_its_rate_asks_for(servegen_folder: Path) -> None:
    found = load(servegen_folder / "language")
    assert sorted(found) == ["chunk-0", "chunk-12", "chunk-7"]

    def counts(name: str) -> list[int]:
        arrivals = column(found[name], "arrival_us")
        assert (np.diff(arrivals) > 0).all()
        return np.bincount(arrivals // (600 * S), minlength=4).tolist()

    assert counts("chunk-0") == [300, 0, 1200, 750]
    assert counts("chunk-7") == [0, 6, 60, 0]
    assert counts("chunk-12") == [24_000, 0, 0, 6000]


def test_lengths_come_from_the_latest_window_that_has_data(servegen_folder: Path) -> None:
    source = load(servegen_folder / "language")["chunk-0"]
    window = column(source, "arrival_us") // (600 * S)
    inputs, outputs = column(source, "input_tokens"), column(source, "output_tokens")
    assert set(inputs[window == 0].tolist()) == {100, 101}
    assert set(outputs[window == 0].tolist()) == {10}
    # The dataset's window at 1800 s is empty, so that at 1200 s serves both.
    for at in (2, 3):
        assert set(inputs[window == at].tolist()) == {200, 201, 300}
        assert set(outputs[window == at].tolist()) == {20, 21}


def test_a_length_of_zero_becomes_one(servegen_folder: Path) -> None:
    source = load(servegen_folder / "language")["chunk-7"]
    assert set(column(source, "output_tokens").tolist()) == {1, 70}


def test_gaps_of_a_window_span_it(tmp_path: Path) -> None:
    """Nearly constant gaps: 60 of 10 s each, though the fitted scale says something else; one is split by the ends."""
    write(tmp_path, 1, "0,0.1,0.0047,Gamma,45230,1\n", LENGTHS)
    arrivals = column(load(tmp_path)["chunk-1"], "arrival_us")
    assert len(arrivals) == 60
    assert np.diff(arrivals) / S == pytest.approx(np.full(59, 10.0), rel=0.05)
    assert (arrivals[0] + 600 * S - arrivals[-1]) / S == pytest.approx(10.0, rel=0.05)


@pytest.mark.parametrize("pattern", ["Gamma", "Weibull"])
@pytest.mark.parametrize("shape", ["1e-06", "0.0108", "0.3", "45230.0"])
def test_extreme_shapes_still_meet_the_rate(tmp_path: Path, pattern: str, shape: str) -> None:
    write(tmp_path, 1, f"0,2.0,1000,{pattern},{shape},1e300\n600,2.0,1,,0,0\n", LENGTHS)
    arrivals = column(load(tmp_path)["chunk-1"], "arrival_us")
    assert np.bincount(arrivals // (600 * S)).tolist() == [1200, 1200]


def test_low_rates_lose_nothing_on_average(tmp_path: Path) -> None:
    """A thousand windows of 0.3 requests each: 300 on average, with a standard deviation of 14.5."""
    write(tmp_path, 1, "".join(f"{at * 600},0.0005,1.0,,0,0\n" for at in range(1000)), LENGTHS)
    arrivals = column(load(tmp_path, horizon="200h")["chunk-1"], "arrival_us", 200 * 3600 * S)
    assert len(arrivals) == pytest.approx(300, abs=58)
    assert np.bincount(arrivals // (600 * S)).max() == 1


def test_a_span_changes_no_request_in_it(servegen_folder: Path) -> None:
    def requests(start: float, end: float | None) -> dict[str, list[tuple[int, int, int]]]:
        found = load(servegen_folder / "language", warn=lambda _: None, span_start=start, span_end=end)
        return {
            name: list(
                zip(
                    (column(source, "arrival_us") + round(start * S)).tolist(),
                    column(source, "input_tokens").tolist(),
                    column(source, "output_tokens").tolist(),
                    strict=True,
                )
            )
            for name, source in found.items()
        }

    everything = requests(0, None)
    for start, end in [(0, 600), (1200, 2400), (300, 2100), (1234.5, 1300.25), (2399, 2400)]:
        for name, some in requests(start, end).items():
            assert some == [row for row in everything[name] if start * S <= row[0] < end * S]


def test_a_span_that_cuts_a_window_takes_its_share(servegen_folder: Path) -> None:
    source = load(servegen_folder / "language", warn=lambda _: None, span_start=150, span_end=450)["chunk-12"]
    assert source.expected(3600 * S) == pytest.approx(12_000)
    arrivals = column(source, "arrival_us")
    assert arrivals.max() < 300 * S
    # Half of 24,000 Poisson arrivals, four standard deviations.
    assert len(arrivals) == pytest.approx(12_000, abs=310)


def test_aggregate_rate_scales_all_chunks_alike(servegen_folder: Path) -> None:
    own, scaled = load(servegen_folder / "language"), load(servegen_folder / "language", rate=5.0)
    assert sum(source.expected(2400 * S) for source in scaled.values()) == pytest.approx(5.0 * 2400)
    shares = {scaled[name].expected(2400 * S) / own[name].expected(2400 * S) for name in own}
    assert max(shares) == pytest.approx(min(shares))
    total = sum(len(column(source, "arrival_us")) for source in scaled.values())
    # Whole windows: their counts are off by less than one each.
    assert total == pytest.approx(12_000, abs=7)


def test_aggregate_rate_is_met_over_the_span_not_the_horizon(servegen_folder: Path) -> None:
    short = load(servegen_folder / "language", rate=5.0, horizon="10min")
    assert sum(source.expected(2400 * S) for source in short.values()) == pytest.approx(12_000)


@pytest.mark.parametrize(("pattern", "shape"), [("Gamma", "0.05"), ("Weibull", "0.3")])
def test_plain_renewal_has_the_rate_on_average(tmp_path: Path, pattern: str, shape: str) -> None:
    """Started with a whole gap instead of a part of a long one, such bursty windows would send a third more."""
    write(tmp_path, 1, "".join(f"{at * 600},0.05,3.0,{pattern},{shape},1\n" for at in range(1500)), LENGTHS)
    source = load(tmp_path, horizon="250h", normalize="none")["chunk-1"]
    counts = np.bincount(column(source, "arrival_us", 900_000 * S) // (600 * S), minlength=1500)
    assert len(set(counts.tolist())) > 50
    assert counts.mean() == pytest.approx(30, abs=4 * counts.std() / np.sqrt(1500))


def test_plain_renewal_with_extreme_shapes_ends(tmp_path: Path) -> None:
    write(tmp_path, 1, "0,0.5,1000,Gamma,1e-6,1\n600,0.5,9,Weibull,0.005,1\n1200,1.0,1,,0,0\n", LENGTHS)
    arrivals = column(load(tmp_path, normalize="none")["chunk-1"], "arrival_us")
    assert (arrivals >= 1200 * S).sum() == pytest.approx(600, abs=100)


def test_lengths_are_independent_or_comonotonic(tmp_path: Path) -> None:
    flat = "{" + ", ".join(f"{value}: 1" for value in range(1, 1001)) + "}"
    write(
        tmp_path, 1, "0,10,1,,0,0\n", {"0": {"input_tokens": flat, "output_tokens": flat, "reason_ratio": "{0.5: 1}"}}
    )
    apart, alike = load(tmp_path)["chunk-1"], load(tmp_path, length_correlation="comonotonic")["chunk-1"]
    assert column(alike, "input_tokens").tolist() == column(alike, "output_tokens").tolist()
    correlation = np.corrcoef(column(apart, "input_tokens"), column(apart, "output_tokens"))[0, 1]
    # Four standard errors of a correlation of 6000 pairs.
    assert abs(correlation) < 4 / np.sqrt(6000)
    assert column(apart, "arrival_us").tolist() == column(alike, "arrival_us").tolist()


def test_reasoning(servegen_folder: Path) -> None:
    ratios = column(load(servegen_folder / "reasoning")["chunk-3"], "reason_ratio")
    assert set(ratios.tolist()) == {0.25, 0.998003992015968}
    assert (ratios == 0.25).mean() == pytest.approx(0.5, abs=0.05)


def test_multimodal_parts(servegen_folder: Path) -> None:
    source = load(servegen_folder / "multimodal")["chunk-1"]
    window = column(source, "arrival_us") // (600 * S)
    parts, inputs = column(source, "parts"), column(source, "input_tokens")
    assert parts.sum(axis=1).tolist() == inputs.tolist()
    text, image, audio, video = parts[window == 0].T
    assert set(text.tolist()) == {100}
    # One image of three or none: 0, 4, 1280; three: 12, 8 + 1280, 4 + 2560, 3840.
    assert set(image.tolist()) == {0, 4, 1280, 12, 1288, 2564, 3840}
    assert (image == 0).mean() == pytest.approx(0.25, abs=0.08)
    assert audio.max() == video.max() == 0
    text, image, audio, video = parts[window == 1].T
    assert set(audio.tolist()) == {0, 50}
    assert image.max() == video.max() == 0
    # Nothing at all isn't a prompt: it gets one token of text.
    assert text.tolist() == (audio == 0).astype(int).tolist()


def test_comonotonic_images_are_equal(servegen_folder: Path) -> None:
    source = load(servegen_folder / "multimodal", length_correlation="comonotonic")["chunk-1"]
    image = column(source, "parts")[column(source, "arrival_us") < 600 * S, 1]
    # u below 0.25 has no image, below 0.5 one of 4 tokens, above three of 1280.
    assert set(image.tolist()) == {0, 4, 3840}


def test_requests_carry_what_the_chunk_says(record: Record, servegen_folder: Path) -> None:
    sent = record(spec(servegen_folder / "multimodal", horizon="60s"))
    assert all(r.parts is not None and sum(r.parts) == r.input_tokens == r.prompt_tokens for r in sent)
    assert all(type(part) is int for r in sent for part in r.parts or ())
    assert {r.client.client_id for r in sent} == {"chunk-1"}
    sent = record(spec(servegen_folder / "reasoning", horizon="60s"))
    assert {r.reason_ratio for r in sent} == {0.25, 0.998003992015968}


def test_faults_are_named_and_the_rest_goes_on(servegen_folder: Path) -> None:
    folder = servegen_folder / "faulty"
    told: list[str] = []
    found = load(folder, warn=told.append)
    assert {name: round(source.expected(3600 * S)) for name, source in found.items()} == {
        "chunk-0": 1200,
        # The dataset's second window is unreadable, so the first serves on.
        "chunk-4": 1200,
        "chunk-5": 600,
        "chunk-8": 600,
    }
    starts = [
        f"{folder}/chunk-1-trace.csv: there is no chunk-1-dataset.json beside it",
        f"{folder}/chunk-2-dataset.json: there is no chunk-2-trace.csv beside it",
        f"{folder}/chunk-3-trace.csv: never active",
        f"{folder}/chunk-4-dataset.json: window '600': input_tokens: can't be read at \"10: __import__('os')",
        f"{folder}/chunk-5-trace.csv:2: rate: must be a number >= 0, found 'fast'",
        f"{folder}/chunk-6-dataset.json:1: isn't JSON",
        f"{folder}/chunk-8-dataset.json: no usable window before 600 s, so that 1 active windows of chunk-8-trace.csv",
    ]
    assert len(told) == len(starts)
    for start in starts:
        assert sum(text.startswith(start) for text in told) == 1, start


def test_strict_data_stops_with_all_faults(servegen_folder: Path) -> None:
    with pytest.raises(BlisError) as caught:
        load(servegen_folder / "faulty", strict=True)
    assert len(str(caught.value).splitlines()) == 7
    assert len(load(servegen_folder / "language", strict=True)) == 3


@pytest.mark.parametrize(
    ("window", "fault"),
    [
        ({"input_tokens": "{5: 1}"}, "output_tokens is missing"),
        ({"output_tokens": "{5: 1}"}, "input_tokens is missing"),
        ({"input_tokens": "{5: 1}", "output_tokens": "{}"}, "output_tokens is {}"),
        ({"text_tokens": "{5: 1}", "output_tokens": "{}"}, "output_tokens is {}"),
        ({"input_tokens": "{5: 1}", "output_tokens": "{5: 1}", "reason_ratio": "{}"}, "reason_ratio is {}"),
        ({"input_tokens": "{5: 1}", "output_tokens": "{5: 1}", "reason_ratio": "{1.5: 1}"}, "a ratio lies in [0, 1]"),
        ({"input_tokens": "{5: 1}", "text_tokens": "{5: 1}", "output_tokens": "{5: 1}"}, "keep one of them"),
    ],
)
def test_a_window_without_what_a_request_needs_is_a_fault(tmp_path: Path, window: dict[str, str], fault: str) -> None:
    write(tmp_path, 1, "0,1,1,,0,0\n", {"0": window})
    with pytest.raises(BlisError) as caught:
        load(tmp_path, strict=True)
    assert f"{tmp_path}/chunk-1-dataset.json: window 0: " in str(caught.value)
    assert fault in str(caught.value)


def test_modalities_may_be_left_out_and_items_counted_once(tmp_path: Path) -> None:
    write(tmp_path, 1, "0,1,1,,0,0\n", {"0": {"image_tokens": "{5: 1}", "output_tokens": "{5: 1}"}})
    assert set(map(tuple, column(load(tmp_path)["chunk-1"], "parts").tolist())) == {(0, 5, 0, 0)}


def test_chunks_silent_in_the_span_are_named_once(servegen_folder: Path) -> None:
    told: list[str] = []
    found = load(servegen_folder / "language", warn=told.append, span_start=600, span_end=1200)
    assert list(found) == ["chunk-7"]
    folder = servegen_folder / "language"
    assert told == [f"{folder}: no requests in the span [600, 1200) s (the data ends at 2400 s): chunk-0, chunk-12"]
    told.clear()
    assert load(servegen_folder / "language", warn=told.append, span_start=9000) == {}
    assert told[0].endswith("(the data ends at 2400 s): chunk-0, chunk-7, chunk-12")


def test_rates_may_be_measured_over_other_windows(tmp_path: Path) -> None:
    write(tmp_path, 1, "0,1,1,,0,0\n60,0,0,,0,0\n120,2,1,,0,0\n", LENGTHS)
    arrivals = column(load(tmp_path, time_window=60)["chunk-1"], "arrival_us")
    assert np.bincount(arrivals // (60 * S)).tolist() == [60, 0, 120]


def test_data_and_clients_together(record: Record, client: Any, servegen_folder: Path) -> None:
    both = {
        "seed": 7,
        "horizon": "10min",
        "clients": [client("zed", rate=1.0)],
        "servegen_data": {"path": str(servegen_folder / "reasoning")},
    }
    sent = record(both)
    alone = record({**both, "clients": []})
    assert {r.client.client_id for r in sent} == {"zed", "chunk-3"}
    assert [r.arrival_us for r in sent if r.client.client_id == "chunk-3"] == [r.arrival_us for r in alone]
    with pytest.raises(BlisError, match="must be 0 where there are both clients and servegen_data"):
        record({**both, "aggregate_rate": 5, "clients": [client("zed", rate_fraction=1.0)]})
    with pytest.raises(BlisError, match="client id 'chunk-3' is a ServeGen chunk's too"):
        record({**both, "clients": [client("chunk-3", rate=1.0)]})


@pytest.mark.real
@pytest.mark.parametrize(
    ("folder", "chunks", "seconds"),
    [("language/m-large", 8, 1_209_600), ("reason/deepseek-r1", 3, 86_400), ("multimodal/mm-image", 3, 86_400)],
)
def test_real_data_sends_rate_times_time(blis_data: Path, folder: str, chunks: int, seconds: int) -> None:
    """All of it loads without a fault; each span's count is within 2 % of its rate times its time."""
    path = blis_data / "servegen" / "data" / folder
    assert len(load(path, strict=True, horizon="400h")) == chunks
    for start, end in [(0, seconds), (seconds // 2, seconds // 2 + 21_600), (seconds - 7200, seconds)]:
        found = load(path, warn=lambda _: None, horizon="400h", span_start=start, span_end=end)
        length = (end - start) * S
        expected = sum(source.expected(length) for source in found.values())
        sent = sum(len(block.arrival_us) for source in found.values() for block in source.blocks(length))
        assert expected > 1000
        assert sent == pytest.approx(expected, rel=0.02)
