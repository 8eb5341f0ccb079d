"""From a workload spec to the rate of each client and cohort over time."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace

from blis.clients.modulation import FLAT, ModulatedProfile, Wave
from blis.clients.rates import ALWAYS, Profile, RateProfile, Stage, Window, shared_profiles
from blis.spec.client import ClientSpec
from blis.spec.cohort import CohortSpec, DiurnalSpec, DrainSpec
from blis.spec.population import levels
from blis.spec.workload import WorkloadSpec

__all__ = ["active_windows", "profiles", "timetable"]


def profiles(spec: WorkloadSpec) -> list[Profile]:
    """Return the profile of each of the spec's clients and of each member of its cohorts, as ``spec.senders`` go.

    With an aggregate rate or stages, the rate fractions are normalised among those active at every moment; without,
    each has the rates it gives. Patterns of cohorts come on top of that.
    """
    given = [levels(sender, shared=spec.shared) for sender in spec.senders]
    windows = [active_windows(sender) if sender.lifecycle else () for sender in spec.senders]
    if spec.stages:
        plain = shared_profiles(given, windows, stages=timetable(spec))
    elif spec.shared:
        plain = shared_profiles(given, windows, spec.aggregate_rate)
    else:
        plain = [
            RateProfile(1.0, own or ALWAYS, weights=level)
            if len(set(level)) > 1
            else RateProfile(level[0], own or ALWAYS)
            for level, own in zip(given, windows, strict=True)
        ]
    return [
        _of_member(sender, profile) if isinstance(sender, CohortSpec) else profile
        for sender, profile in zip(spec.senders, plain, strict=True)
    ]


def timetable(spec: WorkloadSpec) -> tuple[Stage, ...]:
    """Return the stages of a workload on their own clock, which stands still while one drains."""
    stages, start = [], 0
    for stage in spec.stages:
        stages.append(Stage(start, start + stage.duration, stage.rate))
        start += stage.duration + stage.pause
    return tuple(stages)


def active_windows(client: ClientSpec) -> tuple[Window, ...]:
    """Return the stretches in which a client is active, in order."""
    if client.lifecycle is None:
        return ALWAYS
    return tuple((window.start_us, window.end_us) for window in client.lifecycle.ordered)


def _of_member(cohort: CohortSpec, profile: RateProfile) -> Profile:
    """Return the profile of a member of ``cohort``, whose rates without its patterns are those of ``profile``."""
    spike, drain = cohort.spike, cohort.drain
    if cohort.diurnal is None and spike is None and drain is None:
        return replace(profile, rate=profile.rate / cohort.population)
    edges, rates = profile.steps()
    cuts = set(edges)
    if spike is not None:
        cuts |= {spike.start_time_us, spike.start_time_us + spike.duration_us}
    if drain is not None:
        cuts |= {drain.start_time_us, drain.start_time_us + drain.ramp_duration_us}
    starts, lines = sorted(cuts), []
    for start in starts:
        rate = rates[bisect_right(edges, start) - 1]
        if spike is not None and 0 <= start - spike.start_time_us < spike.duration_us:
            active = any(low <= start < high for low, high in profile.windows)
            rate = rate * spike.multiplier if spike.multiplier is not None else (spike.trace_rate or 0.0) * active
        lines.append(_drained(rate / cohort.population, start, drain))
    return ModulatedProfile(starts, [rate for rate, _ in lines], [slope for _, slope in lines], _wave(cohort.diurnal))


def _drained(rate: float, start: int, drain: DrainSpec | None) -> tuple[float, float]:
    """Return what a drain makes of a rate from ``start`` on: the rate there, and its slope per microsecond."""
    if drain is None or start < drain.start_time_us:
        return rate, 0.0
    passed, ramp = start - drain.start_time_us, drain.ramp_duration_us
    return (rate * (1 - passed / ramp), -rate / ramp) if passed < ramp else (0.0, 0.0)


def _wave(rhythm: DiurnalSpec | None) -> Wave:
    if rhythm is None:
        return FLAT
    return Wave(rhythm.peak_to_trough_ratio, rhythm.peak_hour / 24 * rhythm.day_us, rhythm.day_us)
