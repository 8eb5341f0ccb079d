from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from blis.network import jitter_key, round_trip_us, transfer_us

COUNTS = st.integers(0, 2**40)
SPEEDS = st.floats(0.01, 1e6) | st.just(math.inf)


def test_a_thousand_tokens_at_100_mbps_take_320_us():
    assert transfer_us(1000.0, 100.0) == 320
    assert transfer_us(0.0, 100.0) == transfer_us(1000.0, math.inf) == 0
    assert transfer_us(1000.0, 100.0, 1_000_000) == 320 + 80_000


def test_a_round_trip_without_jitter_is_the_rtt():
    assert round_trip_us(10.0, 0.0, jitter_key(1, "chat"), 5) == 10_000
    assert round_trip_us(0.0, 0.0, 0, 0) == 0


def test_jitter_is_uniform_about_the_rtt():
    trips = round_trip_us(
        np.full(20_000, 10.0), np.full(20_000, 4.0), np.uint64(jitter_key(7, "a")), np.arange(20_000, dtype=np.uint64)
    )
    assert trips.min() >= 6000
    assert trips.max() <= 14_000
    # Standard error of the mean: 8000 / sqrt(12 * 20000) = 16 µs.
    assert abs(trips.mean() - 10_000) < 5 * 16.4
    assert abs(np.quantile(trips, 0.25) - 8000) < 200
    # Successive ones don't go together.
    assert abs(np.corrcoef(trips[1:], trips[:-1])[0, 1]) < 0.04


def test_jitter_never_makes_a_trip_shorter_than_nothing():
    trips = [round_trip_us(1.0, 5.0, jitter_key(3, "a"), seq) for seq in range(100)]
    assert min(trips) == 0
    assert max(trips) <= 6000


def test_jitter_depends_on_seed_and_client():
    keys = {jitter_key(seed, client) for seed in (1, 2) for client in ("a", "b")}
    assert len(keys) == 4
    assert jitter_key(1, "a") == jitter_key(1, "a")


@given(st.lists(st.tuples(COUNTS, SPEEDS, st.floats(0, 1e4), st.floats(0, 1e4), st.integers(0, 2**64 - 1)), min_size=1))
def test_numbers_and_arrays_agree_to_the_last_bit(rows):
    tokens, speeds, rtts, jitters, keys = (list(column) for column in zip(*rows, strict=True))
    each = [transfer_us(float(count), speed) for count, speed in zip(tokens, speeds, strict=True)]
    assert transfer_us(np.array(tokens, float), np.array(speeds)).tolist() == each
    trips = [round_trip_us(*row, seq) for seq, row in enumerate(zip(rtts, jitters, keys, strict=True))]
    arrays = np.array(rtts), np.array(jitters), np.array(keys, np.uint64), np.arange(len(rows), dtype=np.uint64)
    assert round_trip_us(*arrays).tolist() == trips
