"""What a report says about a trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from blis.metrics import summarize
from blis.report.plain import plain
from blis.report.summary import report
from blis.trace import Trace

Make = Callable[..., Trace]

WHOLE = """\
Simulated run
  Workload          mine.yaml: 4 requests/s, for 1 s, from 2 clients
  Deployment        11 instances of llama-3.1-70b on 4 x H100
  Policies          routing weighted, admission always, scheduler sjf, step times roofline
  Span              2 s: 1 s of arrivals, then 1 s to finish what was in flight
  Seed              42

Requests
  arrived           4
  completed         3  75.0 %
  timed out         1  25.0 %

Latency, ms                 mean   p50   p90   p95   p99    max
  TTFT  to the first token   353  40.0   808   904   981  1,000
  ITL   between two tokens  10.8  10.0  12.0  12.2  12.4   12.5
  TPOT  per output token    10.0  10.0  10.0  10.0  10.0   10.0
  E2E   to the last token    453   240   848   924   985  1,000
  Scheduling delay           337  20.0   796   893   971    990
  Of the 3 completed requests; times count from a request's arrival.

Service
  Throughput        1.50 requests/s completed
  Tokens            16.5 output tokens/s, 150 input tokens/s (214 with shared prefixes)
  SLO attainment    66.7 % of completed requests met all their targets (2 have any)
  Goodput           1.00 requests/s, 6.00 tokens/s, from these
  Prefix cache      25.0 % of KV blocks were hits; 64 prompt tokens not computed again
  Preemptions       2, of 1 request
  Fairness          0.531 (Jain's index of output tokens between 2 tenants; 1 is equal)

By group            requests  completed  TTFT p50  TTFT p99  TPOT p50  TPOT p99  E2E p50  E2E p99  tokens/s  SLO met
SLO class
  batch                    2     50.0 %     1,000     1,000         -         -    1,000    1,000     0.500        -
  critical                 2    100.0 %      30.0      39.8      10.0      10.0      180      239      16.0   50.0 %
Tenant
  office                   2     50.0 %     1,000     1,000         -         -    1,000    1,000     0.500        -
  web                      2    100.0 %      30.0      39.8      10.0      10.0      180      239      16.0   50.0 %
Instance
  (none)                   1      0.0 %         -         -         -         -        -        -         0        -
  instance_0               1    100.0 %      20.0      20.0      10.0      10.0      120      120      5.50  100.0 %
  instance_2               1    100.0 %     1,000     1,000         -         -    1,000    1,000     0.500        -
  instance_10              1    100.0 %      40.0      40.0      10.0      10.0      240      240      10.5    0.0 %
  Latencies in ms, output tokens; all of completed requests.
"""


def text(trace: Trace, **origins: str) -> str:
    return plain(report(trace.header, summarize(trace), origins))


def test_the_whole_report(make: Make) -> None:
    assert text(make(), Workload="mine.yaml").splitlines() == WHOLE.splitlines()


def test_nothing_arrived(make: Make) -> None:
    lines = text(Trace.from_columns({}, make(run={"span_us": 0}).header)).splitlines()
    assert lines[-3:] == ["Requests", "  arrived           0", "  completed         0  -"]


def test_nothing_completed(make: Make) -> None:
    report_text = text(make({"status": ["rejected"] * 4}))
    assert "  rejected by admission  4  100.0 %" in report_text
    assert "Latency" not in report_text


def test_lost_requests_are_shown(make: Make) -> None:
    assert "requests are missing from the trace" in text(make(run={"injected": 5}))


def test_a_single_group_needs_no_breakdown(make: Make) -> None:
    same = {name: ["x"] * 4 for name in ("client_id", "tenant_id", "slo_class", "instance")}
    found = text(make(same))
    assert "By group" not in found
    assert "Fairness" not in found


def test_columns_that_say_nothing_are_left_out(make: Make) -> None:
    found = text(make({"status": ["ok"] * 4}, slo_targets={}))
    (head,) = [line for line in found.splitlines() if line.startswith("By group")]
    assert "completed" not in head
    assert "SLO" not in found.replace("SLO class", "")


def test_many_groups_are_cut_short(make: Make) -> None:
    many = 25
    columns: dict[str, list[Any]] = {
        "request_id": list(range(many)),
        "client_id": [f"client-{number}" for number in range(many)],
        "status": ["ok"] * many,
        "arrival_time_us": [0] * many,
        "last_chunk_time_us": [5] * many,
    }
    trace = Trace.from_columns(columns, make().header)
    lines = text(trace).splitlines()
    assert lines[-2] == "  and 5 more, see --json"
    assert lines[-3].startswith("  client-19 ")


def test_clients_that_are_the_tenants_are_shown_once(make: Make) -> None:
    assert "Client" not in text(make()).splitlines()
    assert "Client" in text(make({"tenant_id": ["web", "office", "web", "office"]})).splitlines()


def test_an_observed_trace_counts_from_the_send(make: Make) -> None:
    found = text(make(mode="real", deployment=None, server={"url": "http://a:8000"}, warm_up_requests=1))
    lines = found.splitlines()
    assert lines[0] == "Observed run"
    assert "  Server            http://a:8000" in lines
    assert "times count from a request's send" in found
    assert "The first 1 request, the warm-up, left out." in found


def test_pools_are_described(make: Make) -> None:
    pools = [{"name": "fast", "instances": 2}, {"name": "cheap", "instances": 1, "hardware": "L40S", "tp": 1}]
    found = text(make(deployment={**DEPLOYMENT, "pools": pools}))
    clusters = "fast (2 instances of llama-3.1-70b on 4 x H100) + cheap (1 instance of llama-3.1-70b on L40S)"
    assert f"  Deployment        {clusters}" in found.splitlines()


def test_labels_cannot_steer_a_terminal(make: Make) -> None:
    found = text(make({"tenant_id": ["\x1b[31mred", "a\nb", "[bold]c", "d"]}), Workload="\x1b]0;title\x07.yaml")
    assert "\x1b" not in found
    assert "  \\x1b[31mred" in found
    assert "  a\\nb" in found
    assert "  [bold]c" in found


def test_notes_of_the_header_are_shown(make: Make) -> None:
    assert text(make(notes=["cut short by hand"])).splitlines()[-1].strip() == "cut short by hand"


DEPLOYMENT = {"model": "llama-3.1-70b", "hardware": "H100", "tp": 4}


def test_what_clients_see_stands_beside_what_the_server_saw(make: Make) -> None:
    found = text(make(network={"chat": {"rtt_ms": 10}, "mail": {"rtt_ms": 10}}))
    lines = found.splitlines()
    assert "  TTFT  to the first token   353  40.0   808   904   981  1,000" in lines
    head = lines.index("As clients see it, ms   mean    p50    p90    p95    p99    max")
    assert lines[head + 1].split() == ["TTFT", "363", "50.0", "818", "914", "991", "1,010"]
    assert lines[head + 3].split() == ["E2E", "463", "250", "858", "934", "995", "1,010"]
    assert lines[head + 4] == "batch"
    assert "  At the server; what its clients see through their networks is below." in lines
    # Targets are held against what clients see; one of the two with a target has it at the server only.
    (line,) = [line for line in lines if line.startswith("  SLO attainment")]
    assert line.split("  ")[-1].startswith("66.7 % of completed requests met all their targets as clients see it")
    near = text(make(network={"chat": {"rtt_ms": 11}}))
    assert "33.3 % of completed requests met all their targets as clients see it" in near
    assert "; at the server 66.7 %" in near


def test_without_networks_nothing_is_said_about_them(make: Make) -> None:
    found = text(make())
    assert "clients see" not in found
    assert "Sessions" not in found
    assert "Queueing" not in found
    assert "reasoning" not in found


def test_sessions(make: Make) -> None:
    found = text(make({"session_id": ["a", "a", "b", "b"], "round_index": [0, 1, 0, 1]}))
    lines = found.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("Sessions"))
    assert lines[start + 1].split() == ["Rounds", "2", "2", "2", "2", "2", "2"]
    assert lines[start + 2].split()[-1] == "1,000"
    assert lines[start + 4].split() == ["Duration,", "ms", *["340"] * 6]
    assert "  2 sessions, of which 1 completed every round they sent." in lines
    assert "  How the last round of the others ended: 1 timeout." in lines
    assert "150 input tokens/s (214 with prefixes and session context)" in found
    seen = text(
        make({"session_id": ["a", "a", "b", "b"], "round_index": [0, 1, 0, 1]}, network={"chat": {"rtt_ms": 10}})
    )
    (line,) = [line for line in seen.splitlines() if "Duration" in line]
    assert line.split() == ["Duration,", "ms", *["350"] * 6]
    assert "  Times are those that clients see." in seen.splitlines()


def test_the_answer_after_the_reasoning(make: Make) -> None:
    lines = text(make({"reason_ratio": [0.5, 0.0, 0.0, 0.0]})).splitlines()
    (line,) = [line for line in lines if "reasoning" in line]
    assert line.split()[-6:] == ["70.0"] * 6


def test_latency_from_the_intended_send(make: Make) -> None:
    lines = text(make({"send_time_us": [0, 110_000, 200_000, -1]}, mode="real", deployment=None)).splitlines()
    found = {line[:31].strip(): line[31:].split() for line in lines}
    assert found["TTFT  to the first token"][-1] == "1,000"
    assert found["TTFT from the intended send"][1] == "40.0"
    assert found["Sent later than intended"] == ["3.33", "0", "8.00", "9.00", "9.80", "10.0"]


def test_requests_that_waited_for_other_reasons_than_load(make: Make) -> None:
    # The first was passed by the second, of its class and no shorter.
    one_queue = {"instance": ["instance_0"] * 4, "scheduling_delay_us": [120_000, 0, 0, -1]}
    lines = text(make({**one_queue, "status": ["ok", "ok", "ok", "rejected"]})).splitlines()
    (line,) = [line for line in lines if "Queueing" in line]
    assert line.split("  ")[-1].strip() == "of 3 requests, 1 passed by a later one of their class, no shorter"


def test_why_requests_fit_no_instance(make: Make) -> None:
    deployment = {"model": "llama-3.1-8b", "hardware": "H100", "max_model_len": 150, "total_kv_blocks": 8}
    columns = {"status": ["unservable"] * 4, "instance": ["instance_0"] * 4, "planned_output_tokens": [1] * 4}
    lines = text(make(columns, deployment=deployment)).splitlines()
    exceeded = "Dropped: 2 requests of more tokens, prompt and output, than the"
    assert f"  {exceeded} model's max_model_len." in lines
    assert f"  {exceeded} instance's whole KV cache holds (total_kv_blocks)." in lines
    outgrown = text(make({"status": ["ok", "context_overflow", "ok", "context_overflow"]})).splitlines()
    assert "  Dropped: 2 requests of sessions whose context outgrew the model's max_model_len." in outgrown
