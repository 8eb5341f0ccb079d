"""Whether the load that a server got is the load that was asked for."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
import numpy.typing as npt

from blis.trace.columns import MISSING, Columns
from blis.units import US_PER_MS, US_PER_S

__all__ = ["load_facts"]

_MEDIAN_US = 10 * US_PER_MS
_P99_US = 100 * US_PER_MS
_GAP_SHARE = 0.1
_SHORTFALL = 0.02

IntArray = npt.NDArray[np.int64]


def load_facts(rows: Columns, own_delays_us: array[int]) -> dict[str, Any]:
    """Return rates and schedule delays, for the header of an observed run.

    The schedule delay of a request is its actual send less its intended one; ``own_delays_us`` are the delays without
    the opening of connections. ``saturated`` says that the generator, not the server, shaped the load: the median of
    its own delays exceeds 10 ms or a tenth of the mean gap between sends, their p99 exceeds 100 ms, or requests left at
    a rate 2 % or more below that of the schedule. ``saturation`` says which, in words.
    """
    arrivals, sends = (rows.numbers(name, 0, len(rows)) for name in ("arrival_time_us", "send_time_us"))
    sent = sends != MISSING
    if not sent.any():
        return {"sent": 0, "saturated": False}
    delays = sends[sent] - arrivals[sent]
    facts: dict[str, Any] = {"sent": int(np.count_nonzero(sent)), "schedule_delay_us": _figures(delays)}
    requested, achieved = _rate(arrivals[sent]), _rate(sends[sent])
    if requested is not None and achieved is not None:
        facts |= {"requested_rate": round(requested, 6), "achieved_rate": round(achieved, 6)}
    own = np.array(own_delays_us, np.int64)
    if not np.array_equal(np.sort(own), np.sort(delays)):
        facts["own_delay_us"] = _figures(own)
    reasons = _reasons(own, requested, achieved)
    facts |= {"saturated": bool(reasons), **({"saturation": reasons} if reasons else {})}
    return facts


def _figures(values: IntArray) -> dict[str, float]:
    p50, p99 = np.percentile(values, (50, 99)).tolist()
    return {"p50": round(p50, 1), "p99": round(p99, 1), "max": float(values.max())}


def _rate(times_us: IntArray) -> float | None:
    """Return events per second between the first and the last, None where there is no time between them."""
    span = int(times_us.max() - times_us.min())
    return (len(times_us) - 1) / span * US_PER_S if span > 0 else None


def _reasons(delays_us: IntArray, requested: float | None, achieved: float | None) -> list[str]:
    p50, p99 = np.percentile(delays_us, (50, 99)).tolist()
    reasons = []
    if p50 > _MEDIAN_US:
        reasons.append(f"the median schedule delay is {p50 / US_PER_MS:.1f} ms, more than 10 ms")
    if p99 > _P99_US:
        reasons.append(f"the p99 of the schedule delay is {p99 / US_PER_MS:.0f} ms, more than 100 ms")
    if requested is None or achieved is None:
        return reasons
    gap_us = US_PER_S / requested
    if p50 > _GAP_SHARE * gap_us and p50 <= _MEDIAN_US:
        gap = f"{gap_us / US_PER_MS:.3g} ms"
        reasons.append(f"the median schedule delay, {p50 / US_PER_MS:.3g} ms, is over 10 % of the mean gap of {gap}")
    if achieved < (1 - _SHORTFALL) * requested:
        reasons.append(f"requests left at {achieved:.4g}/s where {requested:.4g}/s were due")
    return reasons
