"""Loads by hand, and warnings where they lie outside what a latency model was fitted on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from blis.metrics.served_load import Answers, served_load
from blis.simulation import replay, simulate

COEFFICIENTS = {"alpha": [0, 0, 0, 0], "beta": [10_000, 0, 0, 10, 0, 0]}
WORKLOAD = {
    "aggregate_rate": 20.0,
    "num_requests": 40,
    "clients": [
        {
            "id": "a",
            "rate_fraction": 1,
            "arrival": {"process": "constant"},
            "input_distribution": {"type": "constant", "params": {"value": 100}},
            "output_distribution": {"type": "constant", "params": {"value": 11}},
        }
    ],
}


def deployment(**validity: Any) -> dict[str, Any]:
    return {"latency": {"model": "fitted", "coefficients": COEFFICIENTS, "validity": validity}}


def answers(**columns: list[int]) -> Answers:
    return Answers(**{name: np.array(values, np.int64) for name, values in columns.items()})


def test_two_answers_by_hand() -> None:
    found = served_load(
        answers(
            sent_us=[0, 50],
            prompt_tokens=[100, 300],
            output_tokens=[10, 20],
            first_us=[100, 200],
            last_us=[300, 400],
        )
    )
    assert found["running"].values.tolist() == [1, 2, 1]
    assert found["running"].weights.tolist() == [100, 100, 100]
    # A tenth of a token per µs on two hundred, and a twentieth: in the middle of each stretch.
    assert found["context_tokens"].values == pytest.approx([102.5, 107.5 + 305, 315])
    assert (found["prompt_tokens"].least, found["prompt_tokens"].most) == (100, 300)
    assert found["running"].outside(1, 1) == pytest.approx(1 / 3)
    assert "requests_per_s" not in found


def test_rates_of_stretches() -> None:
    sent = [*range(0, 1_000_000, 100_000), *range(1_000_000, 2_000_001, 50_000)]
    ones = [1] * len(sent)
    found = served_load(answers(sent_us=sent, prompt_tokens=ones, output_tokens=ones, first_us=ones, last_us=ones))
    # 31 arrivals in 2 s make three stretches of 2/3 s.
    assert found["requests_per_s"].values == pytest.approx([7 * 1.5, 10 * 1.5, 14 * 1.5])
    assert "running" not in found


def warnings_of(**validity: Any) -> list[str]:
    found: list[str] = []
    simulate(WORKLOAD, deployment(**validity), warn=found.append)
    return found


def test_a_load_within_the_ranges_is_silent() -> None:
    wide = {"running": [1, 10], "context_tokens": [50, 2000], "prompt_tokens": [50, 200], "prefill_tokens": [0, 512]}
    assert warnings_of(**wide, requests_per_s=[5, 30]) == []
    assert warnings_of() == []


def test_a_tenth_beyond_the_range_is_no_news() -> None:
    assert warnings_of(prompt_tokens=[105, 109]) == []
    assert len(warnings_of(prompt_tokens=[112, 150])) == 1


@pytest.mark.parametrize(
    ("name", "limits", "said"),
    [
        ("running", [4, 9], "4 to 9 sequences at once fitted, 1 reached, outside for"),
        ("running", [1, 1], "1 to 1 sequences at once fitted, 3 reached, outside for"),
        ("prompt_tokens", [1, 50], "1 to 50 tokens in a prompt fitted, 100 reached, outside for 100% of the requests"),
        (
            "prefill_tokens",
            [0, 64],
            "0 to 64 prompt tokens in a step fitted, 100 reached, outside for 100%",
        ),
        ("context_tokens", [1, 100], "tokens of context in a step fitted"),
        ("requests_per_s", [1, 10], "1 to 10 requests/s on an instance fitted, 20"),
    ],
)
def test_what_is_outside_is_said_once(name: str, limits: list[float], said: str) -> None:
    (text,) = warnings_of(**{name: limits})
    assert said in text
    assert "blis fit --suggest-workload" in text


def test_all_quantities_go_into_one_warning() -> None:
    (text,) = warnings_of(prompt_tokens=[1, 50], requests_per_s=[1, 10])
    assert "tokens in a prompt" in text
    assert "requests/s" in text


def test_a_replay_warns_too() -> None:
    found: list[str] = []
    replay(simulate(WORKLOAD), deployment(prompt_tokens=[1, 50]), warn=found.append)
    assert len(found) == 1


def test_each_pool_is_held_against_its_own_model() -> None:
    latency = {name: deployment(prompt_tokens=limits)["latency"] for name, limits in (("a", [1, 50]), ("b", [1, 200]))}
    pools = [{"name": name, "latency": latency[name]} for name in latency]
    found: list[str] = []
    simulate(WORKLOAD, {"pools": pools}, warn=found.append)
    (text,) = found
    assert "the load of pool a lies outside" in text


def test_prompts_that_end_together_share_the_budget_of_a_step() -> None:
    burst = {**WORKLOAD, "aggregate_rate": 1000.0}
    found: list[str] = []
    simulate(burst, deployment(prefill_tokens=[0, 100]) | {"max_num_batched_tokens": 250}, warn=found.append)
    assert "0 to 100 prompt tokens in a step fitted, 250 reached" in found[0]
