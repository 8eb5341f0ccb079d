"""Whether a load was the one that was asked for."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
import pytest

from blis.server.load import load_facts
from blis.trace.columns import ArrayColumns


def facts(arrivals: Any, delays: Any, own: Any = None) -> dict[str, Any]:
    arrivals, delays = np.asarray(arrivals, np.int64), np.asarray(delays, np.int64)
    rows = ArrayColumns({"arrival_time_us": arrivals, "send_time_us": arrivals + delays})
    return load_facts(rows, array("q", (delays if own is None else np.asarray(own)).tolist()))


EVERY_10_MS = np.arange(101) * 10_000


def test_a_load_as_it_should_be() -> None:
    found = facts(EVERY_10_MS, np.full(101, 200))
    assert found == {
        "sent": 101,
        "schedule_delay_us": {"p50": 200.0, "p99": 200.0, "max": 200.0},
        "requested_rate": 100.0,
        "achieved_rate": 100.0,
        "saturated": False,
    }


@pytest.mark.parametrize(
    ("delays", "reason"),
    [
        (np.full(101, 10_001), "the median schedule delay is 10.0 ms, more than 10 ms"),
        (np.where(np.arange(101) < 4, 150_000, 100), "the p99 of the schedule delay is 150 ms, more than 100 ms"),
        (np.full(101, 1_001), "the median schedule delay, 1 ms, is over 10 % of the mean gap of 10 ms"),
        (np.where(np.arange(101) == 100, 25_000, 0), "requests left at 97.56/s where 100/s were due"),
    ],
)
def test_each_sign_of_saturation(delays: Any, reason: str) -> None:
    found = facts(EVERY_10_MS, delays)
    assert found["saturated"]
    assert reason in found["saturation"]


def test_opening_connections_is_not_the_generators_fault() -> None:
    """A server that closes every connection makes every request late; the delay is shown, the verdict is about us."""
    found = facts(EVERY_10_MS, np.full(101, 30_000), own=np.full(101, 100))
    assert found["schedule_delay_us"]["p50"] == 30_000
    assert found["own_delay_us"]["p50"] == 100
    assert not found["saturated"]


def test_what_was_never_sent_counts_for_nothing() -> None:
    rows = ArrayColumns({"arrival_time_us": np.array([5, 9]), "send_time_us": np.array([-1, -1])})
    assert load_facts(rows, array("q")) == {"sent": 0, "saturated": False}
    assert facts([5], [3])["sent"] == 1
