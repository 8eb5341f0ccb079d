"""What clients see through their networks, beside what the server saw."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import blis
from blis.metrics import ClientView, summarize
from blis.metrics.stretch import Stretch
from blis.network import jitter_key, round_trip_us
from blis.trace import Trace, TraceHeader

# Server: TTFT 500, 2000, 1000 µs, E2E 4500, 2000, 3000.
ROWS = {
    "request_id": [0, 1, 2],
    "client_id": ["far", "far", "near"],
    "slo_class": ["critical", "batch", "critical"],
    "client_seq": [0, 1, 0],
    "streaming": [True] * 3,
    "input_tokens": [100, 200, 300],
    "prompt_tokens": [1000, 200, 300],
    "output_tokens": [5, 1, 3],
    "arrival_time_us": [0, 1000, 2000],
    "first_chunk_time_us": [500, 3000, 3000],
    "last_chunk_time_us": [4500, 3000, 5000],
    "status": ["ok"] * 3,
}
FAR = {"far": {"rtt_ms": 10, "bandwidth_mbps": 100}}


def made(network, columns=ROWS, **facts):
    return Trace.from_columns(columns, TraceHeader(network=network, **facts))


def test_a_round_trip_of_10_ms_makes_500_us_10500():
    summary = summarize(made({"far": {"rtt_ms": 10}}, {name: column[:1] for name, column in ROWS.items()}))
    assert summary.client_view.overall.ttft_us.mean == 10_500
    assert summary.client_view.overall.e2e_us.mean == 14_500
    # The server's figures stay what they were.
    assert summary.view == "server"
    assert summary.overall.ttft_us.mean == 500
    assert summary.overall.e2e_us.mean == 4500


def test_uploads_count_whole_prompts_and_downloads_the_output():
    # Of 1000 tokens 320 µs, of 200 64 µs; of outputs 5 tokens 1.6 and 1 token 0.32, rounded.
    seen = summarize(made(FAR)).client_view
    assert seen.overall.ttft_us.max == 2000 + 10_000 + 64
    assert seen.overall.ttft_us.mean == pytest.approx((500 + 10_320 + 2000 + 10_064 + 1000) / 3)
    assert seen.overall.e2e_us.mean == pytest.approx((4500 + 10_322 + 2000 + 10_064 + 3000) / 3)
    # 4 gaps in 4002 µs, 2 in 2000.
    assert seen.overall.tpot_us.mean == pytest.approx((4002 / 4 + 1000) / 2)


def test_by_class_and_without_a_network():
    seen = summarize(made(FAR)).client_view
    assert {name: figures.ttft_us.n for name, figures in seen.slo_classes.items()} == {"batch": 1, "critical": 2}
    assert seen.slo_classes["batch"].ttft_us.mean == 12_064
    # The near client has none.
    assert seen.slo_classes["critical"].ttft_us.mean == (500 + 10_320 + 1000) / 2


@pytest.mark.parametrize("facts", [{}, {"far": {"rtt_ms": 0}}])
def test_no_network_no_other_view(facts):
    assert summarize(made(facts)).client_view is None


def test_observed_latencies_are_the_clients_already():
    summary = summarize(made(FAR, {**ROWS, "send_time_us": [0, 1000, 2000]}, mode="real"))
    assert summary.view == "client"
    assert summary.client_view is None
    assert summary.overall.ttft_us.mean == (500 + 2000 + 1000) / 3


def test_targets_are_held_against_either_view():
    targets = {"far": {"ttft_us": 2000}, "near": {"ttft_us": 1000}}
    summary = summarize(made(FAR, slo_targets=targets, run={"span_us": 1_000_000}))
    assert summary.overall.slo.attainment == 1.0
    assert summary.client_view.overall.slo.attainment == pytest.approx(1 / 3)
    assert summary.client_view.overall.slo.goodput_tokens_per_s == 3
    assert summary.client_view.slo_classes["batch"].slo.attainment == 0.0


def test_media_take_the_bytes_their_client_says():
    columns = {**ROWS, "image_tokens": [500, 0, 100]}
    network = {"far": {"bandwidth_mbps": 100, "image_bytes_per_token": 104}}
    seen = summarize(made(network, columns)).client_view.overall
    # 500 of the 1000 tokens take 100 bytes more: 50 kB, 4 ms at 100 Mbit/s.
    assert seen.ttft_us.max == 500 + 320 + 4000


def test_jitter_is_that_of_client_and_request():
    summary = summarize(made({"far": {"rtt_ms": 10, "jitter_ms": 5}}, seed=9))
    key = jitter_key(9, "far")
    expected = [server + round_trip_us(10.0, 5.0, key, seq) for server, seq in ((500, 0), (2000, 1))]
    assert summary.client_view.overall.ttft_us.max == max(expected)
    assert summary.client_view.overall.ttft_us.mean == pytest.approx((sum(expected) + 1000) / 3)


def test_absurd_networks_are_no_trouble():
    seen = summarize(made({"far": {"rtt_ms": 1e300, "bandwidth_mbps": 1e-300}})).client_view.overall
    assert seen.ttft_us.n == 3
    assert seen.ttft_us.max == 2**60 + 2000


@settings(max_examples=25)
@given(st.floats(0, 1000), st.floats(0.1, 1e5) | st.none(), st.floats(0, 50))
def test_a_network_only_adds(rtt, bandwidth, jitter):
    network = {"far": {"rtt_ms": rtt, "bandwidth_mbps": bandwidth, "jitter_ms": jitter}}
    summary = summarize(made(network))
    seen = summary.client_view.overall if summary.client_view else summary.overall
    for kind in ("ttft_us", "e2e_us"):
        assert getattr(seen, kind).mean >= getattr(summary.overall, kind).mean
        assert getattr(seen, kind).max <= getattr(summary.overall, kind).max + 1000 * (rtt + jitter) + 320_000 + 1700


def test_a_simulated_run_keeps_its_server_side():
    def run(**network):
        client = {
            "id": "a",
            "rate_fraction": 1.0,
            "arrival": {"process": "poisson"},
            "input_distribution": {"type": "constant", "params": {"value": 1000}},
            "output_distribution": {"type": "constant", "params": {"value": 20}},
            **network,
        }
        return blis.simulate({"version": "2", "aggregate_rate": 10.0, "num_requests": 50, "clients": [client]})

    alone, behind = summarize(run()), summarize(run(network={"rtt_ms": 10, "bandwidth_mbps": 100}))
    assert alone.overall == behind.overall
    assert behind.client_view.overall.ttft_us.p99 == pytest.approx(alone.overall.ttft_us.p99 + 10_320)
    assert behind.client_view.overall.e2e_us.p50 == pytest.approx(alone.overall.e2e_us.p50 + 10_320 + 6)


def test_latency_from_the_intended_send_stands_beside_that_from_the_send():
    # Sent 0, 200 and 3000 µs late.
    columns = {
        **ROWS,
        "send_time_us": [0, 1200, 5000],
        "first_chunk_time_us": [500, 3000, 6000],
        "last_chunk_time_us": [4500, 3000, 8000],
    }
    summary = summarize(made({}, columns, mode="real"))
    assert summary.overall.ttft_us.mean == pytest.approx((500 + 1800 + 1000) / 3)
    assert summary.intended.ttft_us.mean == pytest.approx((500 + 2000 + 4000) / 3)
    assert summary.intended.e2e_us.max == 6000
    assert summary.intended.schedule_delay_us.n == 3
    assert summary.intended.schedule_delay_us.p50 == 200
    assert summary.intended.schedule_delay_us.p99 == pytest.approx(np.percentile([0, 200, 3000], 99))
    assert summarize(made({})).intended is None


def test_what_was_never_sent_has_no_schedule_delay():
    columns = {**ROWS, "send_time_us": [0, -1, 2000], "status": ["ok", "cancelled", "connect_error"]}
    summary = summarize(made({}, columns, mode="real"))
    assert summary.intended.schedule_delay_us.n == 2
    assert summary.intended.ttft_us.n == 1
    assert summarize(made({}, columns, mode="real", warm_up_requests=1)).intended.schedule_delay_us.n == 1


def test_a_sessions_next_round_waits_for_what_the_client_sees():
    client = {
        "id": "a",
        "rate_fraction": 1.0,
        "arrival": {"process": "poisson"},
        "session": {"max_rounds": 4, "think_time_us": 1000},
        "input_distribution": {"type": "exponential", "params": {"mean": 500}},
        "output_distribution": {"type": "exponential", "params": {"mean": 20}},
        "multimodal": {
            "image_distribution": {"type": "constant", "params": {"value": 300}},
            "image_bytes_per_token": 117.3,
        },
        "network": {"rtt_ms": 20, "bandwidth_mbps": 7.7, "jitter_ms": 13},
    }
    trace = blis.simulate({"version": "2", "aggregate_rate": 5.0, "num_requests": 80, "clients": [client]})
    seen = ClientView(trace.header).e2e_us(Stretch(trace, 0, len(trace)))
    answered = dict(zip(keys(trace), (trace.column("arrival_time_us") + seen).tolist(), strict=True))
    later = 0
    for (session, number), sent in zip(keys(trace), trace.column("arrival_time_us").tolist(), strict=True):
        if number:
            later += 1
            assert sent == answered[session, number - 1] + 1000
    assert later > 30


def keys(trace):
    return list(zip(trace.column("session_id").tolist(), trace.column("round_index").tolist(), strict=True))
