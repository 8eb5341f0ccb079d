"""Reports on traces whose errors are known."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from blis.calibration import Calibration, Rating, calibrate
from blis.errors import BlisError, TraceError
from blis.rng import stream
from blis.simulation import simulate
from blis.trace import Histogram, NetworkFacts, Trace
from blis.trace.chunks import ChunkTimes
from blis.trace.observed import NO_USAGE

Make = Callable[..., Trace]

N = 200


@pytest.fixture
def latencies() -> tuple[np.ndarray, np.ndarray]:
    """TTFT and E2E of 200 requests."""
    rng = stream(5, "latencies")
    ttft = rng.integers(10_000, 200_000, N)
    return ttft, ttft + rng.integers(100_000, 2_000_000, N)


def compared(*traces: Trace, **more) -> Calibration:
    return calibrate(*traces, **{"resamples": 50, **more})


def test_a_perfect_prediction(make: Make, latencies):
    result = compared(make(*latencies), make(*latencies, mode="simulated"))
    for name in ("ttft_us", "e2e_us", "tpot_us", "output_tokens_per_s"):
        comparison = result.overall[name]
        assert (comparison.mape.value, comparison.mape.high) == (0, 0), name
        assert comparison.pearson_r.value == pytest.approx(1)
        assert comparison.rating is Rating.EXCELLENT
    assert result.rating is Rating.EXCELLENT
    assert result.requests.calibrated == N
    assert result.warnings == ("The simulated trace doesn't tell its deployment, so settings can't be compared with"
                               " the server's.",)  # fmt: skip


@pytest.mark.parametrize(("factor", "direction"), [(1.1, "over"), (0.9, "under")])
def test_ten_per_cent_off(make: Make, latencies, factor: float, direction: str):
    ttft, e2e = latencies
    ttft, e2e = ttft // 10 * 10, e2e // 10 * 10
    simulated = make((ttft * factor).round().astype(int), (e2e * factor).round().astype(int), mode="simulated")
    result = compared(make(ttft, e2e), simulated)
    for name in ("ttft_us", "e2e_us", "tpot_us"):
        assert result.overall[name].mape.value == pytest.approx(0.10)
        assert result.overall[name].bias.direction == direction
        assert result.overall[name].figures["p99"].error.value == pytest.approx(factor - 1)
    assert result.rating is Rating.GOOD


def test_real_latencies_count_from_the_send(make: Make):
    """A request sent late waited at its client; that isn't the server's latency."""
    ttft, e2e = np.full(40, 1000), np.full(40, 5000)
    arrivals = np.arange(40) * 10_000
    late = make(ttft, e2e, send_time_us=arrivals + 300, arrival_time_us=arrivals)
    result = compared(late, make(ttft - 300, e2e - 300, mode="simulated"))
    assert result.overall["ttft_us"].mape.value == 0
    assert result.overall["e2e_us"].mape.value == 0


def test_the_network_is_added_to_the_simulated_side(make: Make, latencies):
    """A round trip of 10 ms, and four bytes a token at 100 Mbit/s: 100 tokens take 32 µs, 11 tokens 4."""
    network = {"client": NetworkFacts(rtt_ms=10, bandwidth_mbps=100)}
    ttft, e2e = latencies
    seen = make(ttft + 10_000 + 32, e2e + 10_000 + 32 + 4)
    for real, simulated, more in (
        (seen, make(ttft, e2e, mode="simulated", network=network), {}),
        (seen, make(ttft, e2e, mode="replayed", network=network, client_seq=np.full(N, -1)), {}),
        (seen, make(ttft, e2e, mode="simulated"), {"network": network["client"]}),
        (make(ttft + 10_032, e2e + 10_036, network=network), make(ttft, e2e, mode="simulated"), {}),
        (
            seen,
            make(ttft, e2e, mode="simulated", network={"client": NetworkFacts(rtt_ms=99)}),
            {"network": network["client"]},
        ),
    ):
        result = compared(real, simulated, **more)
        assert result.overall["ttft_us"].mape.value == 0
        assert result.overall["e2e_us"].mape.value == 0
    # The times of a real trace are the client's already.
    again = compared(seen, make(ttft + 10_032, e2e + 10_036, mode="real", network=network))
    assert again.overall["e2e_us"].mape.value == 0


def test_a_round_trip_only_adds_a_round_trip(make: Make, latencies):
    simulated = make(*latencies, mode="simulated")
    result = compared(make(*latencies), simulated, network=NetworkFacts(rtt_ms=10))
    for name, bias in (("ttft_us", 10_000), ("e2e_us", 10_000), ("tpot_us", 0)):
        size = result.overall[name].bias.size
        assert (size.value, size.low, size.high) == (pytest.approx(bias), pytest.approx(bias), pytest.approx(bias))


def test_a_measured_round_trip_is_used_where_nothing_else_is_known(make: Make, latencies):
    ttft, e2e = latencies
    real = make(ttft + 250, e2e + 250, server={"rtt_us": 250})
    assert compared(real, make(ttft, e2e, mode="simulated")).overall["e2e_us"].mape.value == 0
    other = make(ttft, e2e, mode="simulated", network={"client": NetworkFacts(rtt_ms=1)})
    assert compared(real, other).overall["e2e_us"].bias.size.value == pytest.approx(750)


def test_requests_of_the_real_trace_are_simulated_on_the_spot(make: Make, latencies):
    server = {"max_num_seqs": 4, "block_size": 32, "total_kv_blocks": 500, "max_model_len": 4096, "model": "qwen3-14b"}
    real = make(*latencies, server=server, warm_up_requests=20)
    result = compared(real, deployment={"hardware": "A100-80", "tp": 2})
    assert result.simulated.mode == "replayed"
    assert result.simulated.hardware == "A100-80"
    assert result.matched_by == "request_id"
    assert result.requests.calibrated == N - 20
    assert result.configuration.matched == server
    assert result.configuration.given == {"hardware": "A100-80", "tp": 2}
    assert set(result.configuration.defaulted) == {"max_num_batched_tokens", "async_scheduling", "latency"}
    assert result.tokens.prompt_mismatches == result.tokens.output_mismatches == 0


def test_a_simulation_is_reproduced_on_the_spot():
    spec = {
        "version": "2",
        "aggregate_rate": 20,
        "num_requests": 60,
        "clients": [
            {
                "id": name,
                "rate_fraction": 1,
                "arrival": {"process": "poisson"},
                "input_distribution": {"type": "exponential", "params": {"mean": 300}},
                "output_distribution": {"type": "exponential", "params": {"mean": 20}},
                "network": {"rtt_ms": 3, "bandwidth_mbps": 50},
            }
            for name in ("a", "b")
        ],
    }
    trace = simulate(spec, {"hardware": "L40S", "max_num_seqs": 8})
    result = compared(trace)
    assert result.overall["e2e_us"].mape.value == 0
    assert result.overall["itl_us"].ks.d == 0
    assert result.requests.calibrated == 60


def test_a_deployment_is_for_simulating(make: Make, latencies):
    with pytest.raises(BlisError, match="both a simulated trace and a deployment to simulate"):
        calibrate(make(*latencies), make(*latencies, mode="simulated"), {"tp": 2})


def test_warm_up_and_failures_are_left_out_and_counted(make: Make, latencies):
    status = np.array(["ok"] * N, object)
    status[[3, 50, 60]] = "timeout"
    status[70] = "http_error"
    real = make(*latencies, warm_up_requests=10, status=status)
    predicted = np.array(["ok"] * N, object)
    predicted[[5, 80, 81, 82]] = "rejected"
    # Request 199 is in the real trace only, request 200 in the simulated one.
    sequence = np.arange(N)
    sequence[-1] = N
    simulated = make(*latencies, mode="simulated", status=predicted, client_seq=sequence)
    requests = compared(real, simulated).requests
    assert (requests.total, requests.ok, requests.timeout, requests.error) == (N, N - 4, 3, 1)
    assert requests.excluded.warm_up == 10
    assert requests.excluded.failed == 3
    assert requests.excluded.unmatched == 1
    assert requests.excluded.simulated_failed == 3
    assert requests.calibrated == N - 17
    assert requests.unmatched_simulated == 1
    warnings = " ".join(compared(real, simulated).warnings)
    assert "1 real requests have no simulated counterpart." in warnings
    assert "1 simulated requests have no real counterpart." in warnings
    assert "3 requests that the server completed didn't complete in the simulation." in warnings


def test_answers_whose_tokens_nobody_counted_are_left_out(make: Make, latencies):
    messages = np.array([""] * N, object)
    messages[[4, 5]] = NO_USAGE
    messages[6] = f"sent again once; {NO_USAGE}"
    messages[7] = "sent again once"
    real = make(*latencies, error_message=messages, warm_up_requests=5)
    requests = compared(real, make(*latencies, mode="simulated")).requests
    assert (requests.excluded.warm_up, requests.excluded.uncounted, requests.calibrated) == (5, 2, N - 7)


def test_a_hundred_requests_less_a_warm_up_of_ten_give_ninety_pairs(make: Make, latencies):
    ttft, e2e = (side[:100] for side in latencies)
    real, simulated = make(ttft, e2e, warm_up_requests=10), make(ttft, e2e, mode="simulated")
    assert compared(real, simulated).requests.calibrated == 90
    assert compared(real, simulated, warm_up_requests=0).requests.calibrated == 100
    assert compared(real, simulated, warm_up_requests=25).overall["e2e_us"].n == 75


def test_warm_up_goes_by_request_id_whatever_the_order_of_rows(make: Make, latencies):
    backwards = [side[::-1] for side in latencies]
    real = make(
        *backwards, request_id=np.arange(N)[::-1], client_seq=np.arange(N)[::-1], warm_up_requests=20,
        arrival_time_us=np.arange(N)[::-1] * 10_000,
    )  # fmt: skip
    ttft, e2e = latencies
    wrong = np.concatenate((ttft[:20] * 5, ttft[20:])), np.concatenate((e2e[:20] * 5, e2e[20:]))
    result = compared(real, make(*wrong, mode="simulated"))
    assert result.overall["ttft_us"].mape.value == 0
    assert result.requests.calibrated == N - 20


def test_requests_that_do_not_stream_count_for_e2e_only(make: Make, latencies):
    streaming = np.arange(N) % 4 != 0
    result = compared(make(*latencies, streaming=streaming), make(*latencies, mode="simulated"))
    assert result.overall["e2e_us"].n == N
    assert result.overall["ttft_us"].n == result.overall["tpot_us"].n == N * 3 // 4


def test_groups_have_the_requests_of_their_label(make: Make, latencies):
    ttft, e2e = latencies
    realtime = np.arange(N) % 4 == 0
    classes = np.where(realtime, "realtime", "batch").astype(object)
    tenants = np.array(["left", "right"] * (N // 2), object)
    simulated = make(np.where(realtime, ttft * 2, ttft), np.where(realtime, e2e * 2, e2e), mode="simulated")
    result = compared(make(ttft, e2e, slo_class=classes, tenant_id=tenants), simulated)
    assert {label: group["e2e_us"].n for label, group in result.slo_classes.items()} == {"batch": 150, "realtime": 50}
    assert result.slo_classes["realtime"]["ttft_us"].mape.value == pytest.approx(1)
    assert result.slo_classes["batch"]["ttft_us"].mape.value == 0
    assert result.tenants["left"]["e2e_us"].mape.value == pytest.approx(0.5)
    assert result.tenants["right"]["e2e_us"].mape.value == 0
    assert result.left_out == {}


def test_of_many_labels_the_largest_are_listed(make: Make, latencies):
    tenants = np.array([f"tenant {min(i, 120)}" for i in range(N)], object)
    result = compared(make(*latencies, tenant_id=tenants), make(*latencies, mode="simulated"))
    assert len(result.tenants) == 50
    assert result.tenants["tenant 120"]["e2e_us"].n == 80
    assert result.left_out == {"tenants": 71}


def test_without_labels_there_are_no_groups(make: Make, latencies):
    result = compared(make(*latencies), make(*latencies, mode="simulated"))
    assert (result.slo_classes, result.tenants, result.phases, result.load) == ({}, {}, {}, {})


def test_load_phases(make: Make, latencies):
    # 50 requests a second apart, then 150 100 ms apart; the simulation is wrong where the load is high.
    arrivals = np.concatenate((np.arange(50) * 1_000_000, 50_000_000 + np.arange(150) * 100_000))
    ttft, e2e = latencies
    busy = np.where(arrivals >= 50_000_000, 2, 1)
    result = compared(
        make(ttft, e2e, arrival_time_us=arrivals),
        make(ttft * busy, e2e * busy, mode="simulated", arrival_time_us=arrivals),
    )
    assert set(result.phases) == set(result.load) == {"low", "medium", "high"}
    assert sum(group["e2e_us"].n for group in result.phases.values()) == N
    assert result.phases["low"]["e2e_us"].mape.value < 0.05
    assert result.phases["high"]["e2e_us"].mape.value > 0.8
    assert result.load["low"].most_requests_per_s < 1.5
    assert result.load["high"].most_requests_per_s == pytest.approx(10, rel=0.2)


def test_throughput_is_what_is_completed_over_time(make: Make):
    # 100 requests a second, 11 tokens each; the simulation answers each a minute late, after all arrivals.
    ttft, e2e = np.full(100, 1000), np.full(100, 5000)
    late = ttft + 60_000_000, e2e + 60_000_000
    result = compared(make(ttft, e2e), make(*late, mode="simulated"))
    assert result.throughput.real_requests_per_s == pytest.approx(100, rel=0.02)
    assert result.throughput.real_output_tokens_per_s == pytest.approx(1100, rel=0.02)
    assert result.throughput.simulated_requests_per_s == pytest.approx(100 / 61, rel=0.02)
    windows = result.overall["output_tokens_per_s"]
    assert windows.n == 10
    assert windows.figures["mean"].real == pytest.approx(1100, rel=0.02)
    assert windows.figures["mean"].simulated == 0


def test_gaps_between_tokens(make: Make, latencies):
    real = make(*latencies, itl=Histogram([10_000, 20_000], [3, 1]))
    simulated = make(*latencies, mode="simulated", itl=Histogram([10_000], [4]))
    gaps = compared(real, simulated).overall["itl_us"]
    assert gaps.figures["mean"].error.value == pytest.approx(-0.2)
    assert gaps.ks.d == 0.25
    assert "itl_us" not in compared(make(*latencies, itl=None), simulated).overall


def test_gaps_come_from_chunk_times_where_nothing_else_has_them(make: Make, latencies):
    chunks = ChunkTimes.of([4, 9, 5, 6], [[10, 20, 50], [], [100, 130], [7]])
    real = make(*latencies, itl=None, chunks=chunks)
    gaps = compared(real, make(*latencies, mode="simulated", itl=Histogram([10], [1]))).overall["itl_us"]
    assert (gaps.n, gaps.figures["mean"].real) == (3, pytest.approx(70 / 3))


def test_token_mismatches_are_counted_and_warned_about(make: Make, latencies):
    outputs = np.full(N, 11)
    outputs[:7] = 22
    counted = np.full(N, 100)
    counted[:3] = 102
    counted[3] = -1
    real = make(*latencies, server_input_tokens=counted)
    result = compared(real, make(*latencies, mode="simulated", output_tokens=outputs, prompt_tokens=np.full(N, 100)))
    assert (result.tokens.prompt_mismatches, result.tokens.output_mismatches) == (3, 7)
    assert result.tokens.prompt_ratio == pytest.approx(20_000 / 20_006)
    assert result.tokens.output_ratio == pytest.approx((193 * 11 + 7 * 22) / 2200)
    assert result.tokens.unknown_prompts == 0
    text = " ".join(result.warnings)
    assert "3 of 200 pairs differ in prompt tokens" in text
    assert "7 of 200 pairs differ in output tokens; in all, 1.035 times as many were simulated" in text


def test_few_pairs_are_doubtful(make: Make, latencies):
    ttft, e2e = (side[:29] for side in latencies)
    (warning, _) = compared(make(ttft, e2e), make(ttft, e2e, mode="simulated")).warnings
    assert warning == "Only 29 requests could be compared; below 30, figures say little."
    ttft, e2e = (side[:30] for side in latencies)
    assert len(compared(make(ttft, e2e), make(ttft, e2e, mode="simulated")).warnings) == 1


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"real": {"mode": "simulated"}}, "taken for the real one is simulated"),
        ({"simulated": {"mode": "real"}}, "compares two observations"),
        ({"real": {"seed": 1}, "simulated": {"seed": 2}}, r"seeds differ \(1 and 2\)"),
        ({"real": {"client_seq": np.full(N, -1)}}, "matched by order of arrival"),
        ({"real": {"send_time_us": np.arange(N) * 10_000 + 20_000}}, r"sent late \(median 20.0 ms"),
        ({"real": {"first_chunk_time_us": np.arange(N) * 10_000}}, "200 pairs have a real ttft_us of 0"),
        (
            {
                "real": {
                    "last_chunk_time_us": np.arange(N) * 10_000 + 10**7,
                    "first_chunk_time_us": np.arange(N) * 10_000,
                }
            },
            "One side of tpot_us hardly varies",
        ),
    ],
)
def test_doubts(make: Make, latencies, more, words: str):
    sides = {"real": {"mode": "real"}, "simulated": {"mode": "simulated"}}
    real, simulated = (make(*latencies, **{**facts, **more.get(name, {})}) for name, facts in sides.items())
    assert any(re.search(words, warning) for warning in compared(real, simulated).warnings)


@pytest.mark.parametrize("factor", [1000, 0.001])
def test_milliseconds_are_not_taken_for_microseconds(make: Make, latencies, factor: float):
    wrong = [(side * factor).astype(int) for side in latencies]
    warnings = compared(make(*latencies), make(*wrong, mode="simulated")).warnings
    assert any("check that both traces are in microseconds" in warning for warning in warnings)


def test_a_header_in_other_units_is_refused(make: Make, latencies, tmp_path: Path):
    make(*latencies).write(tmp_path / "real")
    header = tmp_path / "real.yaml"
    header.write_text(header.read_text().replace("microseconds", "milliseconds"))
    with pytest.raises(TraceError, match="time_unit"):
        calibrate(tmp_path / "real", make(*latencies, mode="simulated"))


def test_limitations_are_always_attached(make: Make, latencies):
    result = compared(make(*latencies), make(*latencies, mode="simulated"))
    text = " ".join(result.limitations)
    for known in ("Prefix caches may diverge", "Speculative decoding", "LoRA", "A network is"):
        assert known in text
    assert "All requests share the prefix group" not in text
    shared = compared(make(*latencies, prefix_group=["docs"] * N), make(*latencies, mode="simulated"))
    assert "All requests share the prefix group 'docs'" in shared.limitations[-1]
    two = compared(make(*latencies, prefix_group=["docs", "code"] * (N // 2)), make(*latencies, mode="simulated"))
    assert two.limitations == result.limitations


@pytest.mark.parametrize("empty", ["real", "simulated"])
def test_empty_input_is_an_error(make: Make, latencies, empty: str):
    sides = {"real": make(*latencies), "simulated": make(*latencies, mode="simulated"), empty: make([], [])}
    with pytest.raises(BlisError, match=f"the {empty} trace is empty: there is nothing to compare"):
        calibrate(sides["real"], sides["simulated"])


def test_nothing_left_is_an_error_with_the_reasons(make: Make, latencies):
    other = make(*latencies, mode="simulated", client_id=["another"] * N)
    with pytest.raises(BlisError, match="of 200 real requests, 10 in the warm-up, 190 without a simulated counterpart"):
        calibrate(make(*latencies, warm_up_requests=10), other)


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("warm_up_requests", -1, ">= 0"),
        ("resamples", 0, "from 1 to 10,000"),
        ("resamples", 20_000, "from"),
        ("seed", -3, ">= 0"),
    ],
)
def test_numbers_out_of_range(make: Make, latencies, name: str, value: int, allowed: str):
    with pytest.raises(BlisError, match=f"{name} must be a whole number {allowed}.*found {value}"):
        calibrate(make(*latencies), make(*latencies, mode="simulated"), **{name: value})


def test_equal_seeds_give_equal_reports_that_are_plain_data(make: Make, latencies, tmp_path: Path):
    ttft, e2e = latencies
    real, simulated = make(ttft, e2e), make(ttft + 500, e2e + 900, mode="simulated")
    simulated.write(tmp_path / "simulated")
    one = calibrate(real, simulated, resamples=200).to_dict()
    again = calibrate(real, tmp_path / "simulated", resamples=200).to_dict()
    assert again["simulated"].pop("path") == str(tmp_path / "simulated")
    assert one["simulated"].pop("path") == ""
    assert json.dumps(one) == json.dumps(again)
    other = calibrate(real, simulated, resamples=200, seed=1).to_dict()
    assert other["overall"]["e2e_us"]["mape"]["low"] != one["overall"]["e2e_us"]["mape"]["low"]
    assert other["overall"]["e2e_us"]["mape"]["value"] == one["overall"]["e2e_us"]["mape"]["value"]
    assert one["bootstrap"]["resamples"] == 200
    assert "samples" not in one
