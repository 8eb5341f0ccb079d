"""The members of a cohort, made so that 100,000 of them cost little.

All share one spec and one profile. A member's first gap is that of a process that has been running for long; the first
gaps of all members are drawn together, from streams of the cohort's, of which the k-th draw is member k's. So the time
before which a member surely sends nothing is known at once, and until then it needs no process and no streams.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from blis.clients.arrivals import FloatArray, stationary_first_gaps
from blis.clients.pool import PromptPool
from blis.clients.rates import END_OF_TIME_US, Profile
from blis.clients.renewal import arrival_turns
from blis.clients.source import Member, facts_of
from blis.rng import stream
from blis.spec.cohort import CohortSpec
from blis.spec.names import member_id

__all__ = ["Remembered", "members"]


class Remembered:
    """A :class:`~blis.clients.rates.Profile` that many share, whose expected numbers are worked out once."""

    def __init__(self, profile: Profile) -> None:
        self.times = profile.times
        self._expected = profile.expected
        self._known: dict[int, float] = {}

    def expected(self, end_us: int) -> float:
        """Return Lambda(end_us), the mean number of arrivals in [0, end_us)."""
        known = self._known.get(end_us)
        if known is None:
            known = self._known[end_us] = self._expected(end_us)
        return known


def members(cohort: CohortSpec, profile: Profile, seed: int) -> Iterator[Member]:
    """Iterate over the members of a cohort in order of their numbers; ``profile`` is that of each of them."""
    if cohort.arrival is None:
        # Members with concurrency start by themselves.
        gaps = starts = np.zeros(cohort.population)
    else:
        turns = arrival_turns(cohort)
        first = turns[0][1]
        named = partial(stream, seed, cohort.id, "first")
        gaps = stationary_first_gaps(named, first.process, first.cv, cohort.population)
        starts = _times(profile, gaps if len(turns) == 1 else np.minimum(gaps, profile.expected(turns[0][0])))
    facts = facts_of(cohort)
    shared = None if cohort.prompt_pool is None else PromptPool(cohort, cohort.id, seed)
    own_pool = shared is not None and cohort.prefix_sharing == "per_member"
    own_prefix = cohort.prefix_sharing == "per_member" and bool(facts.prefix_group)
    for number, (gap, start) in enumerate(zip(gaps.tolist(), starts.tolist(), strict=True)):
        identity = member_id(cohort.id, number)
        group = f"{facts.prefix_group}/{identity}" if own_prefix else facts.prefix_group
        pool = PromptPool(cohort, identity, seed) if own_pool else shared
        own = replace(facts, client_id=identity, prefix_group=group)
        # A microsecond early, so that a process that starts then is there before its first arrival.
        yield Member(own, gap, max(int(start) - 1, 0), pool)


def _times(profile: Profile, sums: FloatArray) -> FloatArray:
    """Return the times of ``sums`` in any order; END_OF_TIME_US of those that have none."""
    times = np.full(len(sums), float(END_OF_TIME_US))
    order = np.argsort(sums, kind="stable")
    if profile.expected(END_OF_TIME_US) > 0:
        found = np.minimum(profile.times(sums[order]), END_OF_TIME_US)
        times[order[: len(found)]] = found
    return times
