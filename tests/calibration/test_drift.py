"""What a fit knows of a server's pace from trace to trace, and of the loads it was fitted on."""

from __future__ import annotations

import math

import pytest
from calibration.fitting import BETA, run

from blis.calibration.drift import between
from blis.calibration.fit import fit


def test_paces_by_hand() -> None:
    assert between([(0.9, 0.0), (1.1, 0.0)]) == pytest.approx(math.sqrt(0.02))
    assert between([(0.9, 0.06), (1.1, 0.08)]) == pytest.approx(math.sqrt(0.02 - 0.005))
    assert between([(0.99, 0.1), (1.01, 0.1)]) == 0


def test_a_machine_that_keeps_its_pace_has_none() -> None:
    found = fit([run(), run(0.8, seed=2)])
    assert found.drift == pytest.approx(0, abs=1e-4)
    assert found.latency()["validity"]["drift"] == found.drift


def test_a_machine_that_is_a_tenth_slower_now_and_then() -> None:
    slow = tuple(1.1 * value for value in BETA)
    found = fit([run(), run(seed=2, beta=slow), run(seed=3), run(seed=4, beta=slow)])
    # Two paces, 1 and 1.1, about their mean: the standard deviation of four is 0.1 / sqrt(3), of the mean 1.05;
    # another run differs from that mean by sqrt(1 + 1/4) as much.
    assert found.drift == pytest.approx(0.1 / math.sqrt(3) / 1.05 * math.sqrt(1.25), rel=0.1)


def test_one_trace_tells_nothing_about_it() -> None:
    found = fit([run()])
    assert found.drift is None
    assert "drift" not in found.latency()["validity"]


def test_ranges_are_those_of_all_traces() -> None:
    both = fit([run(), run(0.8, seed=2)]).ranges
    one = fit([run()]).ranges
    assert both["requests_per_s"][0] < one["requests_per_s"][0]
    assert both["prefill_tokens"] == (0, 512)
    assert both["prompt_tokens"][0] >= 50
    assert both["prompt_tokens"][1] <= 600
    assert "prefill_tokens" not in fit([run()], chunk_times=False).ranges
