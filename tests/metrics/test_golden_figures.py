"""The figures of an independent implementation, from its own per-request times."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from blis.metrics import summarize
from blis.trace import MISSING, Trace

CASES = [
    f"{case}/results-{model}.json"
    for case in (
        "a_single_light",
        "c3_kv_pressure_priority_preempt",
        "d_chunked_256",
        "f_4inst_round_robin",
        "j_token_bucket",
    )
    for model in ("roofline", "trained-physics")
]


@pytest.mark.real
@pytest.mark.parametrize("case", CASES)
def test_figures_from_golden_times(blis_data, case):
    path = blis_data / "golden" / "engine" / case
    result = json.loads(path.read_text())
    expected = result["aggregate"]
    generated = Trace.read(path.with_name("trace"))
    done = {row["request_id"]: row for row in result["requests"] if row["completed"]}

    def since_arrival(field: str) -> np.ndarray:
        arrivals = zip(
            generated.column("request_id").tolist(), generated.column("arrival_time_us").tolist(), strict=True
        )
        return np.array([at + done[i][field] if i in done else MISSING for i, at in arrivals])

    names = ("request_id", "tenant_id", "slo_class", "input_tokens", "output_tokens", "arrival_time_us")
    span_us = round(expected["vllm_estimated_duration_s"] * 1e6)
    ids = generated.column("request_id").tolist()
    trace = Trace.from_columns(
        {
            **{name: generated.column(name) for name in names},
            "first_chunk_time_us": since_arrival("ttft_us"),
            "last_chunk_time_us": since_arrival("e2e_us"),
            "scheduling_delay_us": [done[i]["scheduling_delay_us"] if i in done else MISSING for i in ids],
            "status": ["ok" if i in done else "rejected" for i in ids],
        },
        generated.header.model_copy(update={"run": {"span_us": span_us}}),
    )
    summary = summarize(trace)
    overall = summary.overall
    assert overall.completed == expected["completed_requests"]
    for name, found in (("ttft", overall.ttft_us), ("e2e", overall.e2e_us)):
        for figure in ("mean", "p90", "p95", "p99"):
            assert getattr(found, figure) / 1000 == pytest.approx(expected[f"{name}_{figure}_ms"], rel=1e-9)
    assert overall.scheduling_delay_us.p99 / 1000 == pytest.approx(expected["scheduling_delay_p99_ms"], rel=1e-9)
    assert overall.throughput.requests_per_s == pytest.approx(expected["responses_per_sec"], rel=1e-9)
    assert overall.throughput.output_tokens_per_s == pytest.approx(expected["tokens_per_sec"], rel=1e-9)
    tenants = re.findall(r"(tenant\d+): requests=(\d+), tokens=(\d+)", result.get("stdout_tail", ""))
    for tenant, requests, tokens in tenants:
        assert summary.tenants[tenant].completed == int(requests)
        tokens_per_s = summary.tenants[tenant].throughput.output_tokens_per_s
        assert tokens_per_s == pytest.approx(int(tokens) / span_us * 1e6, rel=1e-9)
    fairness = re.search(r"Jain Fairness Index: ([\d.]+)", result.get("stdout_tail", ""))
    if fairness:
        assert round(summary.jain_fairness, 4) == float(fairness[1])
