"""Arrivals conditioned on their number: as many as the rate asks for, in each stretch of time.

A stretch is a stage, a window, or what the two have in common. With Lambda the client's cumulative rate and u uniform,
drawn once, the stretch [s, e) has floor(Lambda(e) + u) - floor(Lambda(s) + u) arrivals: exactly rate times duration
where that is whole everywhere, and nothing is lost on average where it isn't. Their gaps are those of the arrival
process, scaled so that together they span the stretch, and laid on it as on a circle, from a uniform place on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from blis.clients.arrivals import FloatArray, GapSampler, unit_gaps
from blis.clients.rates import Profile, Stage
from blis.clients.renewal import MAX_BLOCK
from blis.rng import Streams
from blis.spec.arrival import ArrivalSpec
from blis.spec.client import ClientSpec

__all__ = ["conditioned_sums", "on_a_circle"]


def conditioned_sums(
    client: ClientSpec, profile: Profile, named: Streams, stages: Sequence[Stage]
) -> Iterator[FloatArray]:
    """Iterate over the unit-rate arrivals of a client in blocks, Lambda at each arrival, float64 and increasing.

    ``named(*purpose)`` gives the client's random streams; each stretch has its own, named after its start.
    """
    rounding = float(named("arrival", "count").random())
    for start, end, arrival in _stretches(client, stages):
        low, high = profile.expected(start), profile.expected(end)
        count = math.floor(high + rounding) - math.floor(low + rounding)
        gaps = unit_gaps(arrival.process, arrival.cv)
        for places in on_a_circle(gaps, partial(named, "arrival", str(start)), count):
            # Rounding may carry the last one a hair over the edge.
            yield np.minimum(low + places * (high - low), np.nextafter(high, low))


def on_a_circle(sampler: GapSampler, streams: Streams, count: int) -> Iterator[FloatArray]:
    """Iterate over ``count`` places in [0, 1), increasing, in blocks: gaps scaled to span a circle of length 1.

    The gaps are drawn three times, once for their sum and once for each side of the place where the circle is cut, so
    that memory doesn't grow with their number.
    """
    total = 0.0
    for sums in _sums(sampler, streams(), count):
        total = float(sums[-1])
    if total <= 0:
        # Gaps too small for floats, all of them.
        sampler, total = (lambda rng, n: np.ones(n)), float(count)
    cut = total * float(streams("cut").random())
    for sums in _sums(sampler, streams(), count):
        after = sums[int(np.searchsorted(sums, cut, side="right")) :]
        if len(after):
            yield (after - cut) / total
    for sums in _sums(sampler, streams(), count):
        before = sums[: int(np.searchsorted(sums, cut, side="right"))]
        if len(before):
            yield (before + (total - cut)) / total
        if len(before) < len(sums):
            return


def _sums(sampler: GapSampler, rng: np.random.Generator, count: int) -> Iterator[FloatArray]:
    """Iterate over the sums of the first ``count`` gaps, in blocks."""
    total = 0.0
    for start in range(0, count, MAX_BLOCK):
        gaps = sampler(rng, min(MAX_BLOCK, count - start))
        gaps[0] += total
        sums = np.cumsum(gaps)
        total = float(sums[-1])
        yield sums


def _stretches(client: ClientSpec, stages: Sequence[Stage]) -> Iterator[tuple[int, int, ArrivalSpec]]:
    """Iterate over the stretches in which a client has a count, with their arrival processes."""
    own = client.arrival
    assert own is not None, "only closed loops have none"
    if client.lifecycle is None:
        yield from ((stage.start_us, stage.end_us, own) for stage in stages)
        return
    for window in client.lifecycle.ordered:
        inside = [(window.start_us, window.end_us)]
        if stages:
            spans = [(max(stage.start_us, window.start_us), min(stage.end_us, window.end_us)) for stage in stages]
            inside = [(start, end) for start, end in spans if start < end]
        yield from ((start, end, window.arrival or own) for start, end in inside)
