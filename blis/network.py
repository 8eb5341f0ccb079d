"""What a network adds to a server's latencies, as its client sees them.

client's TTFT = server's TTFT + rtt + upload; client's E2E = server's E2E + rtt + upload + download. The round trip
counts once: half of it on the way there, half on the way back. Every function takes numbers or equally shaped arrays
and computes both alike to the last bit, so that a run that waits for the network and a trace read afterwards agree.
Results are whole microseconds, as floats.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from blis.rng import stream
from blis.units import BYTES_PER_TOKEN, US_PER_MS

__all__ = ["jitter_key", "round_trip_us", "transfer_us"]

Number = TypeVar("Number", float, npt.NDArray[np.float64])
Whole = TypeVar("Whole", int, npt.NDArray[np.uint64])

_BITS = 8
_MASK = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15
_UNIT = 2.0**-53


def transfer_us(tokens: Number, bandwidth_mbps: Number, media_bytes: Number | int = 0) -> Number:
    """Time to send ``tokens``, four bytes each, and ``media_bytes`` more; an infinite bandwidth takes no time.

    1 Mbit/s moves one bit per microsecond.

    >>> transfer_us(1000.0, 100.0), transfer_us(1000.0, float("inf"))
    (320.0, 0.0)
    """
    time: Number = _whole((tokens * BYTES_PER_TOKEN + media_bytes) * _BITS / bandwidth_mbps)
    return time


def round_trip_us(rtt_ms: Number, jitter_ms: Number, key: Whole, client_seq: Whole) -> Number:
    """Round trip of a client's request number ``client_seq``: uniform in rtt ± jitter, and never below 0.

    The jitter depends on the numbers given and nothing else: ``key`` is that of :func:`jitter_key`.

    >>> round_trip_us(10.0, 0.0, 1, 0)
    10000.0
    """
    position: Number = 2 * _uniform(key, client_seq) - 1
    delay = (rtt_ms + jitter_ms * position) * US_PER_MS
    trip: Number = _whole(delay * (delay > 0))
    return trip


def jitter_key(seed: int, client_id: str) -> int:
    """Number that tells one client's jitter from another's, under the run's seed."""
    return int(stream(seed, client_id, "network").integers(2**64, dtype=np.uint64))


def _uniform(key: Whole, position: Whole) -> Any:
    """Uniform in [0, 1) by position: the SplitMix64 generator (Steele, Lea and Flood, 2014), read at any place."""
    z = (key + (position + 1) * _GOLDEN) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return ((z ^ (z >> 31)) >> 11) * _UNIT


def _whole(us: Any) -> Any:
    return (us + 0.5) // 1
