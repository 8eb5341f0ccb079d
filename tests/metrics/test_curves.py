"""Curves for plots."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blis.metrics import ClientView
from blis.metrics.curves import itl_curve, latency_curves, timeline
from blis.trace import STATUSES, Histogram, Trace, TraceHeader

# Arrive at 0, 1 s, 2 s, 4 s; the third times out while it waits, the last is rejected.
ROWS = {
    "request_id": [0, 1, 2, 3],
    "client_id": ["x"] * 4,
    "slo_class": ["a", "b", "b", "a"],
    "instance": ["i", "i", "i", ""],
    "streaming": [True] * 4,
    "output_tokens": [3, 3, 0, 0],
    "arrival_time_us": [0, 1_000_000, 2_000_000, 4_000_000],
    "first_chunk_time_us": [500_000, 3_000_000, -1, -1],
    "last_chunk_time_us": [2_500_000, 8_000_000, -1, -1],
    "scheduling_delay_us": [400_000, 1_500_000, -1, -1],
    "deadline_us": [-1, -1, 5_000_000, -1],
    "status": ["ok", "ok", "timeout", "rejected"],
}


def test_a_timeline_worked_out_by_hand():
    found = timeline(Trace.from_columns(ROWS), parts=8)
    assert found.at_s.tolist() == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5]
    # What happens at an edge belongs to the stretch before it.
    assert found.arrivals_per_s.tolist() == [2, 1, 0, 1, 0, 0, 0, 0]
    assert found.completions_per_s.tolist() == [0, 0, 1, 0, 0, 0, 0, 1]
    assert found.in_flight.tolist() == [2, 3, 2, 2, 1, 1, 1, 0]
    # Admitted at 0.4 and 2.5 s, gone at 5 and 4 s.
    assert found.waiting.tolist() == [1, 2, 1, 1, 0, 0, 0, 0]
    assert found.ttft_p50_us[0] == 1_250_000
    assert found.ttft_p99_us[0] == pytest.approx(500_000 + 0.99 * 1_500_000)
    assert np.isnan(found.ttft_p50_us[1:]).all()


def test_a_timeline_ends_with_the_last_event_and_needs_one():
    assert timeline(Trace.from_columns({})) is None
    assert timeline(Trace.from_columns({name: column[-1:] for name, column in ROWS.items()})) is None
    assert timeline(Trace.from_columns({**ROWS, "scheduling_delay_us": [-1] * 4})).waiting is None
    assert len(timeline(Trace.from_columns(ROWS)).at_s) == 20
    cut = Trace.from_columns(
        {**ROWS, "status": ["ok", "ok", "incomplete", "ok"]}, TraceHeader(run={"span_us": 9_000_000})
    )
    assert timeline(cut, 9).in_flight.tolist()[-2:] == [1, 0]


TIMES = st.integers(0, 10**6)


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(TIMES, st.none() | TIMES, st.none() | TIMES, st.sampled_from(STATUSES)),
        min_size=1,
        max_size=12,
    ),
    st.integers(1, 9),
)
def test_whoever_comes_goes(requests, parts):
    columns = {
        "arrival_time_us": [at for at, *_ in requests],
        "scheduling_delay_us": [-1 if wait is None else wait for _, wait, _, _ in requests],
        "first_chunk_time_us": [-1 if wait is None or run is None else at + wait for at, wait, run, _ in requests],
        "last_chunk_time_us": [-1 if wait is None or run is None else at + wait + run for at, wait, run, _ in requests],
        "status": [status for *_, status in requests],
    }
    found = timeline(Trace.from_columns(columns), parts)
    if found is None:
        return
    width = (
        np.ptp(found.at_s) / (parts - 1) if parts > 1 else 2 * (found.at_s[0] - min(at for at, *_ in requests) / 1e6)
    )
    assert found.arrivals_per_s.sum() * width == pytest.approx(len(requests))
    assert found.in_flight[-1] == 0
    assert (found.in_flight >= 0).all()


def test_distributions_by_class():
    curves = latency_curves(Trace.from_columns(ROWS), "ttft_us")
    assert set(curves) == {"", "a", "b"}
    whole = curves[""]
    assert (whole.x[0], whole.x[-1]) == (500_000, 2_000_000)
    assert (whole.y[0], whole.y[-1]) == (0, 1)
    assert np.interp(0.5, whole.y, whole.x) == pytest.approx(1_250_000, rel=1e-6)
    assert (np.diff(whole.y) > 0).all()
    assert (curves["a"].x == 500_000).all()


def test_classes_that_say_nothing_are_left_out():
    one = Trace.from_columns({**ROWS, "slo_class": ["a"] * 4})
    assert set(latency_curves(one, "ttft_us")) == {""}
    assert latency_curves(one, "first_answer_us") == {}
    many = {"slo_class": [f"c{i}" for i in range(1200)], "status": ["ok"] * 1200, "last_chunk_time_us": [5] * 1200}
    assert set(latency_curves(Trace.from_columns(many), "e2e_us")) == {""}


def test_what_clients_see():
    trace = Trace.from_columns(ROWS, TraceHeader(network={"x": {"rtt_ms": 100}}))
    assert latency_curves(trace, "ttft_us", ClientView(trace.header))[""].x[0] == 600_000


def test_gaps_between_tokens():
    curve = itl_curve(Histogram([10, 20], [99, 1]))
    assert (curve.x[0], curve.x[-1]) == (10, 20)
    assert curve.y[np.searchsorted(curve.x, 10.5)] == pytest.approx(0.99, abs=0.01)
    assert itl_curve(Histogram()) is None
