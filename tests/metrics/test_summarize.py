from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blis.metrics import AsRecorded, Distribution, summarize
from blis.trace import MISSING, STATUSES, Histogram, TextColumn, Trace, TraceHeader

# Six requests: four completed, one timed out, one rejected.
ROWS = {
    "request_id": [0, 1, 2, 3, 4, 5],
    "client_id": ["a", "a", "b", "b", "b", "a"],
    "tenant_id": ["t1", "t1", "t2", "t2", "t2", "t1"],
    "slo_class": ["critical", "critical", "batch", "batch", "batch", "critical"],
    "instance": ["instance_0", "instance_1", "instance_0", "instance_1", "instance_1", ""],
    "streaming": [True, True, True, True, True, True],
    "input_tokens": [10, 20, 30, 40, 50, 60],
    "prompt_tokens": [15, 25, 30, 40, 50, 65],
    "output_tokens": [5, 6, 1, 4, 3, 0],
    "arrival_time_us": [0, 100, 200, 300, 400, 500],
    "send_time_us": [0, 150, 200, 310, 400, 500],
    "first_chunk_time_us": [100, 500, 400, 600, 700, -1],
    "last_chunk_time_us": [500, 1000, 400, 1500, 900, -1],
    "scheduling_delay_us": [10, 20, 30, 40, 50, -1],
    "preemptions": [0, 2, 0, 1, 0, 0],
    "cached_tokens": [0, 16, 0, 0, 0, 0],
    "status": ["ok", "ok", "ok", "ok", "timeout", "rejected"],
}


def trace(columns=ROWS, itl=None, **facts) -> Trace:
    return Trace.from_columns(columns, TraceHeader(**facts), itl)


def test_latencies_worked_out_by_hand():
    overall = summarize(trace()).overall
    # TTFT 100 400 200 300, E2E 500 900 200 1200, and TPOT 400/4, 500/5, 900/3 (one token has no gap).
    assert overall.ttft_us == Distribution(4, 250.0, 250.0, 370.0, pytest.approx(385), pytest.approx(397), 400)
    assert overall.e2e_us == Distribution(4, 700.0, 700.0, 1110.0, pytest.approx(1155), pytest.approx(1191), 1200)
    assert overall.tpot_us == Distribution(3, 500 / 3, 100.0, 260.0, pytest.approx(280), pytest.approx(296), 300.0)
    assert overall.scheduling_delay_us == Distribution(4, 25.0, 25.0, 37.0, 38.5, pytest.approx(39.7), 40)


def test_rates_are_over_the_span():
    # Up to the last event, 1500 µs: 4 requests; 100 and 110 tokens in, 16 out.
    rates = summarize(trace()).overall.throughput
    assert rates.requests_per_s == pytest.approx(4 / 0.0015)
    assert rates.input_tokens_per_s == pytest.approx(100 / 0.0015)
    assert rates.prompt_tokens_per_s == pytest.approx(110 / 0.0015)
    assert rates.output_tokens_per_s == pytest.approx(16 / 0.0015)
    summary = summarize(trace(run={"span_us": 8_000_000}))
    assert summary.span_us == 8_000_000
    assert summary.overall.throughput.requests_per_s == 0.5
    assert summary.overall.throughput.output_tokens_per_s == 2.0


def test_rates_of_prompts_need_all_prompts():
    columns = {**ROWS, "prompt_tokens": [15, 25, -1, 40, 50, 65]}
    assert summarize(trace(columns)).overall.throughput.prompt_tokens_per_s is None
    # Of requests that didn't complete they aren't asked for.
    columns = {**ROWS, "prompt_tokens": [15, 25, 30, 40, -1, -1]}
    assert summarize(trace(columns, run={"span_us": 1_000_000})).overall.throughput.prompt_tokens_per_s == 110.0


@pytest.mark.parametrize(
    ("targets", "met", "asked"),
    [
        ({}, [0, 1, 2, 3], 0),
        ({"a": {"ttft_us": 300}}, [0, 2, 3], 2),
        ({"a": {"ttft_us": 400}}, [0, 1, 2, 3], 2),
        ({"a": {"ttft_us": 399}, "b": {"ttft_us": 250}}, [0, 2], 4),
        ({"b": {"tpot_us": 299}}, [0, 1, 2], 2),
        ({"b": {"tpot_us": 300}}, [0, 1, 2, 3], 2),
        ({"a": {"ttft_us": 1000, "e2e_us": 500}}, [0, 2, 3], 2),
        ({"a": {"ttft_us": 50, "e2e_us": 9000}, "b": {}}, [2, 3], 2),
        ({"unknown": {"ttft_us": 1}}, [0, 1, 2, 3], 0),
    ],
)
def test_attainment_and_goodput(targets, met, asked):
    slo = summarize(trace(slo_targets=targets, run={"span_us": 1_000_000})).overall.slo
    assert slo.attainment == len(met) / 4
    assert slo.with_targets == asked
    assert slo.goodput_requests_per_s == len(met)
    assert slo.goodput_tokens_per_s == sum(ROWS["output_tokens"][row] for row in met)


def test_a_latency_that_is_missing_meets_no_target():
    columns = {**ROWS, "first_chunk_time_us": [-1, 500, 400, 600, 700, -1]}
    summary = summarize(trace(columns, slo_targets={"a": {"ttft_us": 10**9}}))
    assert summary.overall.slo.attainment == 0.75
    assert summary.overall.ttft_us.n == 3
    assert summary.overall.e2e_us.n == 4


def test_breakdowns_go_by_label():
    pools = {"instance_0": "fast", "instance_1": "slow"}
    summary = summarize(trace(run={"pools": pools, "span_us": 1_000_000}, slo_targets={"a": {"ttft_us": 300}}))
    assert {name: group.ttft_us.mean for name, group in summary.slo_classes.items()} == {"batch": 250, "critical": 250}
    assert {name: group.e2e_us.max for name, group in summary.slo_classes.items()} == {"batch": 1200, "critical": 900}
    assert {name: group.throughput.output_tokens_per_s for name, group in summary.tenants.items()} == {
        "t1": 11,
        "t2": 5,
    }
    assert {name: group.slo.attainment for name, group in summary.clients.items()} == {"a": 0.5, "b": 1.0}
    assert {name: group.preemptions for name, group in summary.instances.items()} == {
        "": 0,
        "instance_0": 0,
        "instance_1": 3,
    }
    assert {name: group.requests for name, group in summary.pools.items()} == {"": 1, "fast": 2, "slow": 3}
    assert summary.slo_classes["batch"].statuses == {"ok": 2, "timeout": 1}
    assert list(summary.instances) == ["", "instance_0", "instance_1"]


def test_no_label_no_breakdown():
    summary = summarize(Trace.from_columns({"request_id": [0, 1], "status": ["ok", "ok"]}))
    assert summary.slo_classes == summary.tenants == summary.instances == summary.pools == summary.clients == {}
    assert summary.jain_fairness is None


def test_each_class_keeps_its_own_counts():
    classes = ["realtime"] * 50 + ["batch"] * 150
    arrival = np.arange(200) * 1000
    columns = {
        "request_id": range(200),
        "slo_class": classes,
        "status": ["ok"] * 200,
        "output_tokens": [2] * 200,
        "arrival_time_us": arrival,
        "first_chunk_time_us": arrival + np.arange(200),
        "last_chunk_time_us": arrival + 500,
    }
    summary = summarize(Trace.from_columns(columns))
    assert {name: group.ttft_us.n for name, group in summary.slo_classes.items()} == {"realtime": 50, "batch": 150}
    assert summary.slo_classes["realtime"].ttft_us.mean == 24.5
    assert summary.slo_classes["batch"].ttft_us.mean == 124.5


def test_more_labels_than_anybody_reads_are_left_out():
    ids = [f"c{i}" for i in range(1001)]
    columns = {"request_id": range(1001), "client_id": ids, "tenant_id": ids[:1000] + ids[:1], "status": ["ok"] * 1001}
    summary = summarize(Trace.from_columns(columns))
    assert summary.clients == {}
    assert summary.too_many == {"clients": 1001}
    assert len(summary.tenants) == 1000


def test_fairness_between_tenants():
    # 11 and 5 tokens: 16^2 / (2 (121 + 25)).
    assert summarize(trace()).jain_fairness == pytest.approx(256 / 292)
    # A tenant that got nothing counts; requests without a tenant don't.
    nothing = {**ROWS, "status": ["ok", "ok", "rejected", "rejected", "rejected", "ok"]}
    assert summarize(trace(nothing)).jain_fairness == 0.5
    unnamed = {**ROWS, "tenant_id": ["t1", "t1", "", "", "", "t1"]}
    assert summarize(trace(unnamed)).jain_fairness == 1.0


def test_preemptions_and_cache():
    summary = summarize(trace(run={"claimed_blocks": 30, "allocated_blocks": 90}))
    assert summary.overall.preemptions == 3
    assert summary.preempted_requests == 2
    assert summary.cache.hit_rate == 0.25
    assert summary.cache.cached_tokens == 16
    assert summarize(trace()).cache.hit_rate is None
    assert summarize(trace(run={"claimed_blocks": 0, "allocated_blocks": 0})).cache.hit_rate is None


def test_every_request_is_somewhere():
    statuses = [*STATUSES, "incomplete", "", "ok"]
    columns = {
        "request_id": range(len(statuses)),
        "status": statuses,
        "scheduling_delay_us": [7 if status == "incomplete" and i > 6 else -1 for i, status in enumerate(statuses)],
    }
    found = summarize(Trace.from_columns(columns)).conservation
    assert (found.completed, found.running, found.queued) == (2, 1, 2)
    assert (found.rejected, found.dropped, found.timed_out, found.failed) == (1, 2, 1, 7)
    assert found.injected == len(statuses) == 16
    assert found.balanced
    lost = summarize(Trace.from_columns(columns, TraceHeader(run={"injected": 17}))).conservation
    assert not lost.balanced


def test_gaps_between_tokens_come_from_their_histogram():
    summary = summarize(trace(itl=Histogram([3000, 3100], [9, 1])))
    assert summary.itl_us == Distribution(10, 3010.0, 3000.0, 3010.0, pytest.approx(3055), pytest.approx(3091), 3100)
    assert summarize(trace()).itl_us is None


def test_real_latencies_count_from_the_send():
    overall = summarize(trace(mode="real")).overall
    # Sent 0, 50, 0 and 10 µs after they were due.
    assert overall.ttft_us.mean == (100 + 350 + 200 + 290) / 4
    assert overall.e2e_us.mean == (500 + 850 + 200 + 1190) / 4


def test_a_real_answer_that_did_not_stream_has_no_first_token():
    columns = {**ROWS, "streaming": [False, True, True, True, True, True]}
    real = summarize(trace(columns, mode="real")).overall
    assert (real.ttft_us.n, real.tpot_us.n, real.e2e_us.n) == (3, 2, 4)
    simulated = summarize(trace(columns)).overall
    assert (simulated.ttft_us.n, simulated.tpot_us.n) == (4, 3)


def test_warm_up_stays_out_of_latencies_but_counts():
    summary = summarize(trace(warm_up_requests=2, slo_targets={"a": {"ttft_us": 1}}, run={"span_us": 1_000_000}))
    assert summary.overall.ttft_us == Distribution.of(np.array([200, 300]))
    assert summary.overall.slo.attainment == 1.0
    assert summary.overall.completed == 4
    assert summary.overall.throughput.requests_per_s == 4.0
    assert summary.warm_up_requests == 2


class Later(AsRecorded):
    """Everything 10 ms later, as over a network."""

    def ttft_us(self, stretch):
        ttft = super().ttft_us(stretch)
        return np.where(ttft == MISSING, MISSING, ttft + 10_000)


def test_another_view_changes_every_figure_that_follows_from_it():
    summary = summarize(trace(slo_targets={"a": {"ttft_us": 10_100}}), Later())
    assert summary.overall.ttft_us.mean == 10_250.0
    assert summary.overall.slo.attainment == 0.75
    assert summary.clients["b"].ttft_us.max == 10_300


def test_an_empty_trace_has_no_figures():
    data = summarize(Trace.from_columns({})).to_dict()
    nothing = {"n": 0, "mean": None, "p50": None, "p90": None, "p95": None, "p99": None, "max": None}
    assert data["overall"]["ttft_us"] == nothing
    assert data["overall"]["throughput"]["requests_per_s"] is None
    assert data["overall"]["slo"] == {
        "with_targets": 0,
        "attainment": None,
        "goodput_requests_per_s": None,
        "goodput_tokens_per_s": None,
    }
    assert data["conservation"]["injected"] == 0
    assert data["span_us"] == 0


def test_the_dictionary_is_json_and_complete():
    data = summarize(trace(itl=Histogram([3000], [5]), run={"pools": {"instance_0": "p"}})).to_dict()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert list(data) == [
        "mode",
        "view",
        "span_us",
        "warm_up_requests",
        "overall",
        "itl_us",
        "client_view",
        "intended",
        "sessions",
        "conservation",
        "unservable",
        "cache",
        "preempted_requests",
        "jain_fairness",
        "slo_classes",
        "tenants",
        "instances",
        "pools",
        "clients",
        "too_many",
    ]
    assert data["slo_classes"]["batch"]["e2e_us"]["max"] == 1200
    assert data["overall"]["statuses"] == {"ok": 4, "timeout": 1, "rejected": 1}


NUMBERS = st.integers(0, 2**63 - 1) | st.integers(0, 100)
REQUESTS = st.lists(
    st.tuples(
        st.sampled_from([*STATUSES, ""]),
        st.sampled_from(["", "x", "y"]),
        NUMBERS | st.just(-1),
        NUMBERS | st.just(-1),
        NUMBERS,
        NUMBERS | st.just(-1),
        NUMBERS | st.just(-1),
        NUMBERS | st.just(-1),
        NUMBERS | st.just(-1),
        st.sampled_from([0.0, 0.5, 1.0]),
    ),
    max_size=12,
)
NAMES = (
    "status tenant_id first_chunk_time_us last_chunk_time_us arrival_time_us output_tokens scheduling_delay_us"
    " prompt_tokens deadline_us reason_ratio"
).split()


@given(REQUESTS, st.sampled_from(["simulated", "real", "generated"]), st.integers(0, 5))
def test_any_trace_can_be_summarised(requests, mode, warm_up):
    columns = dict(zip(NAMES, zip(*requests, strict=True), strict=True)) if requests else {}
    columns |= {name: columns.get("tenant_id", ()) for name in ("instance", "session_id", "client_id")}
    header = TraceHeader(
        mode=mode,
        warm_up_requests=warm_up,
        slo_targets={"": {"ttft_us": 5, "tpot_us": 5}},
        network={"x": {"rtt_ms": 3, "bandwidth_mbps": 1e-9, "jitter_ms": 1}},
        deployment={"instances": 1},
    )
    summary = summarize(Trace.from_columns(columns, header))
    json.dumps(summary.to_dict(), allow_nan=False)
    assert summary.conservation.balanced
    assert summary.conservation.injected == summary.overall.requests == len(requests)
    groups = summary.tenants.values()
    if groups:
        assert sum(group.completed for group in groups) == summary.overall.completed
        assert sum(group.e2e_us.n for group in groups) == summary.overall.e2e_us.n
        assert sum(group.slo.with_targets for group in groups) == summary.overall.slo.with_targets


def big(rows: int) -> Trace:
    rng = np.random.default_rng(3)
    arrival = np.arange(rows) * 1000
    first = arrival + rng.integers(10_000, 900_000, rows)

    def labels(name: str, count: int) -> TextColumn:
        return TextColumn(rng.integers(0, count, rows).astype(np.int32), [f"{name}{i}" for i in range(count)])

    return Trace.from_columns(
        {
            "request_id": np.arange(rows),
            "client_id": labels("c", 20),
            "tenant_id": labels("t", 3),
            "slo_class": labels("s", 4),
            "instance": labels("i", 16),
            "status": TextColumn(np.zeros(rows, np.int32), ["ok"]),
            "arrival_time_us": arrival,
            "first_chunk_time_us": first,
            "last_chunk_time_us": first + rng.integers(0, 10**6, rows),
            "output_tokens": rng.integers(1, 900, rows),
            "scheduling_delay_us": rng.integers(0, 900, rows),
        },
        TraceHeader(slo_targets={"c1": {"ttft_us": 300_000, "tpot_us": 40_000}}),
    )


def test_stretches_add_up_to_the_whole():
    whole = big(150_000)
    summary = summarize(whole)
    ttft = whole.column("first_chunk_time_us") - whole.column("arrival_time_us")
    gaps = (whole.column("last_chunk_time_us") - whole.column("first_chunk_time_us")) / np.maximum(
        whole.column("output_tokens") - 1, 1
    )
    of = whole.column("instance") == "i7"
    assert summary.overall.ttft_us.p99 == np.percentile(ttft, 99)
    assert summary.instances["i7"].ttft_us.p95 == np.percentile(ttft[of], 95)
    assert summary.instances["i7"].requests == of.sum()
    assert summary.overall.tpot_us.p50 == np.percentile(gaps[whole.column("output_tokens") > 1], 50)
    late = (whole.column("client_id") == "c1") & ((ttft > 300_000) | (gaps > 40_000))
    assert summary.overall.slo.attainment == pytest.approx(1 - late.mean(), abs=1e-12)


def test_summaries_need_little_memory():
    rows = 300_000
    whole = big(rows)
    tracemalloc.start()
    try:
        summarize(whole)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # What a stretch needs doesn't grow with the trace.
    assert peak < 60 * rows + 8_000_000
