from __future__ import annotations

import math

import pytest

from blis.errors import TraceError
from blis.trace.server_metrics import ServerMetrics, read_metrics, write_metrics

SECOND = 1_000_000
SAMPLES = [
    (0, 0, {"running": 1, "waiting": 0, "kv_usage": 0.125, "generation_tokens_total": 1000, "preemptions_total": 7}),
    (0, 1, {"running": 8, "prefix_hit_rate": 0.5}),
    (SECOND, 0, {"running": 4, "waiting": 2, "kv_usage": 0.375, "generation_tokens_total": 1600}),
    (2 * SECOND, 0, {"running": 1, "waiting": 1, "kv_usage": 0.25, "generation_tokens_total": 2**53 - 1}),
]


@pytest.fixture
def metrics() -> ServerMetrics:
    return ServerMetrics.of(SAMPLES)


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_what_is_written_is_read(tmp_path, metrics, ending):
    if ending == ".parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"run.metrics{ending}"
    write_metrics(path, metrics, parquet=ending == ".parquet")
    assert read_metrics(path) == metrics
    write_metrics(path, ServerMetrics.of([]), parquet=ending == ".parquet")
    assert len(read_metrics(path)) == 0


def test_cells_are_short_and_blank_where_nothing_is_known(tmp_path, metrics):
    path = tmp_path / "run.metrics.csv"
    write_metrics(path, metrics)
    lines = path.read_text().splitlines()
    assert lines[0] == (
        "time_us,replica,running,waiting,kv_usage,prefix_hit_rate,prefix_queries_total,prefix_hits_total,"
        "preemptions_total,prompt_tokens_total,generation_tokens_total,requests_total,steps_total"
    )
    assert lines[1:3] == ["0,0,1,0,0.125,,,,7,,1000,,", "0,1,8,,,0.5,,,,,,,"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0,0,1", r"metrics\.csv:3: found 3 cells; the first line names 13 columns"),
        ("x,0,1,,,,,,,,,,", r"metrics\.csv:3: found .*; allowed are numbers >= 0"),
        (",0,1,,,,,,,,,,", "allowed are numbers"),
        ("0,0,-1,,,,,,,,,,", "allowed are numbers"),
        ("0,0,nan,,,,,,,,,,", "allowed are numbers"),
        ("0,0,inf,,,,,,,,,,", "allowed are numbers"),
        ("1.5,0,1,,,,,,,,,,", "allowed are numbers"),
    ],
)
def test_wrong_lines_are_named(tmp_path, metrics, line, message):
    path = tmp_path / "run.metrics.csv"
    write_metrics(path, ServerMetrics.of(SAMPLES[:1]))
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(TraceError, match=message):
        read_metrics(path)


def test_other_columns_are_refused(tmp_path):
    path = tmp_path / "run.metrics.csv"
    path.write_text("time_us,replica,runing\n")
    with pytest.raises(TraceError, match=r"metrics\.csv:1: found 'time_us,replica,runing'; allowed is time_us,"):
        read_metrics(path)


def test_a_summary_has_levels_of_gauges_and_rises_of_counters(metrics):
    assert metrics.of_replica(0).summary() == {
        "running": {"mean": 2.0, "max": 4.0},
        "waiting": {"mean": 1.0, "max": 2.0},
        "kv_usage": {"mean": 0.25, "max": 0.375},
        "preemptions": 0,
        "generation_tokens_per_s": (2**53 - 1 - 1000) / 2,
    }
    assert metrics.of_replica(1).summary() == {"running": {"mean": 8.0, "max": 8.0}, "prefix_hit_rate": 0.5}
    assert ServerMetrics.of([]).summary() == {}


def test_the_hit_rate_of_the_run_comes_from_the_counters_where_there_are_some():
    metrics = ServerMetrics.of(
        [
            (0, 0, {"prefix_hit_rate": 0.9, "prefix_queries_total": 1000, "prefix_hits_total": 900}),
            (SECOND, 0, {"prefix_hit_rate": 0.8, "prefix_queries_total": 1400, "prefix_hits_total": 1000}),
        ]
    )
    assert metrics.summary()["prefix_hit_rate"] == 0.25


def test_a_counter_that_falls_began_again():
    counts = (500, 800, 0, 30, math.nan, 70)
    metrics = ServerMetrics.of([(time * SECOND, 0, {"requests_total": count}) for time, count in enumerate(counts)])
    assert metrics.summary()["requests_per_s"] == (300 + 70) / 5


def test_replicas_together_are_what_each_last_told():
    metrics = ServerMetrics.of(
        [
            (10, 0, {"running": 1, "kv_usage": 0.25}),
            (15, 1, {"running": 10, "kv_usage": 0.75}),
            (20, 0, {"running": 2, "kv_usage": 0.5}),
            (30, 0, {"running": 3}),
        ]
    )
    times, levels = metrics.together()
    assert times.tolist() == [10, 20, 30]
    assert [str(value) for value in levels["running"].tolist()] == ["nan", "12.0", "13.0"]
    assert [str(value) for value in levels["kv_usage"].tolist()] == ["nan", "0.625", "nan"]
    assert all(math.isnan(value) for value in levels["waiting"])
    assert [
        len(part) for part in (ServerMetrics.of([]).together()[0], ServerMetrics.of([]).together()[1]["running"])
    ] == [0, 0]
