"""From a workload spec to running clients."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import simpy

from blis.clients.arrivals import unit_gaps
from blis.clients.closed_loop import start_workers
from blis.clients.cohort import Remembered, members
from blis.clients.plans import ClosedLoopSource, SessionSource
from blis.clients.processes import Arrivals, open_loop, rank_priority
from blis.clients.profiles import profiles, timetable
from blis.clients.rates import END_OF_TIME_US, Profile, Stage
from blis.clients.renewal import arrival_turns
from blis.clients.servegen_load import chunk_sources
from blis.clients.sessions import Caller, sessions
from blis.clients.source import ClientSource, Member, Source
from blis.clients.stages import Gate
from blis.clients.target import Target
from blis.errors import BlisError
from blis.spec.client import ClientSpec
from blis.spec.cohort import CohortSpec
from blis.spec.workload import WorkloadSpec

__all__ = ["Sender", "Traffic", "sending", "sources", "start"]

Warn = Callable[[str], None]

Traffic = Source | SessionSource | ClosedLoopSource
"""What one client sends: requests that arrive, sessions that arrive, or requests or sessions in a closed loop."""


class Sender(NamedTuple):
    """A source, and about how many of its requests, or sessions, will be used if that isn't all of them."""

    source: Traffic
    likely: float | None


def sources(spec: WorkloadSpec, horizon_us: int | None, warn: Warn) -> list[Traffic]:
    """Return the sources of a workload in order of their client ids, whatever the order of the file.

    The sources don't depend on ``horizon_us``; ServeGen files are checked as far as it reaches (None: to their end).
    ``warn`` is called with a sentence for everything that can't be used. Raises :class:`BlisError` if ServeGen data
    can't be read at all, or has faults and is strict, and if a client has the id of a chunk.
    """
    found: list[Traffic] = [
        source
        for sender, profile in zip(spec.senders, profiles(spec), strict=True)
        for source in _sources_of(sender, profile, spec.seed, timetable(spec))
    ]
    if spec.servegen_data is not None:
        found += chunk_sources(spec, horizon_us, warn)
    found.sort(key=lambda source: source.facts.client_id)
    for one, other in pairwise(found):
        if one.facts.client_id == other.facts.client_id:
            raise BlisError(f"client id {one.facts.client_id!r} is a ServeGen chunk's too: give the client another id")
    return found


def _sources_of(sender: ClientSpec, profile: Profile, seed: int, stages: Sequence[Stage]) -> Iterator[Traffic]:
    """Iterate over the sources of a client, or of each member of a cohort."""
    if sender.concurrency is None:
        for _, arrival in arrival_turns(sender):
            # The shape of a process is solved for, and scipy loaded for that, before a clock runs that doesn't wait.
            unit_gaps(arrival.process, arrival.cv)
    own: Iterable[Member | None] = [None]
    if isinstance(sender, CohortSpec):
        profile = Remembered(profile)
        own = members(sender, profile, seed)
    for member in own:
        if sender.concurrency is not None:
            yield ClosedLoopSource(sender, seed, member)
        elif sender.session is not None:
            yield SessionSource(sender, profile, seed, member, stages)
        else:
            yield ClientSource(sender, profile, seed, member, stages)


def start(
    env: simpy.Environment,
    target: Target,
    spec: WorkloadSpec,
    *,
    horizon_us: int | None,
    num_requests: int | None,
    warn: Warn,
    answering: Target | None = None,
    stage_starts_us: list[int] | None = None,
) -> simpy.Event:
    """Start a process for every client that sends anything; the event returned fires after the last arrival.

    Requests arrive in [0, horizon_us); after ``num_requests`` in all, every client stops. At least one of the two
    should be given, since the clients of a spec never end by themselves. Timeouts of clients that were stopped stay in
    the environment's queue: a run that waits for the event and for the requests in flight needn't wait for them.
    Clients that wait for answers send to ``answering`` where it isn't the same as ``target``: one whose answers come
    when clients see them. ``stage_starts_us`` gets the times at which the workload's stages begin.
    """
    if horizon_us == 0 or num_requests == 0:
        return Arrivals(env, 0, 0).done
    end_us = END_OF_TIME_US if horizon_us is None else horizon_us
    senders = sending(sources(spec, horizon_us, warn), end_us, num_requests)
    processes = sum(source.concurrency if isinstance(source, ClosedLoopSource) else 1 for source, _ in senders)
    arrivals = Arrivals(env, num_requests, processes)
    answering, gate = answering or target, None
    if spec.stages:
        gate = Gate(env, spec.stages, timetable(spec), end_us, [] if stage_starts_us is None else stage_starts_us)
        if any(stage.drain for stage in spec.stages):
            # A stage is over when the clients see that it is.
            target = answering = gate.watched(answering)

    def begin(rank: int) -> None:
        source, likely = senders[rank]
        priority = rank_priority(rank)
        if isinstance(source, ClosedLoopSource):
            start_workers(Caller(env, answering, source, arrivals, priority, end_us), source)
        elif isinstance(source, SessionSource):
            caller = Caller(env, answering, source, arrivals, priority, end_us)
            env.process(sessions(caller, source.sessions(end_us, likely), gate))
        else:
            env.process(open_loop(env, target, source, arrivals, priority, end_us, likely, gate))

    later = []
    for rank, (source, _) in enumerate(senders):
        if source.not_before_us:
            later.append((source.not_before_us, rank))
        else:
            begin(rank)
    if later:
        env.process(_begin_later(env, arrivals, sorted(later), begin))
    return arrivals.done


def sending(population: Sequence[Traffic], end_us: int, num_requests: int | None) -> list[Sender]:
    """Return those that send anything before ``end_us``, in the same order."""
    active = [
        source
        for source in population
        if isinstance(source, ClosedLoopSource) or (source.not_before_us < end_us and source.expected(end_us) > 0)
    ]
    ever = [0.0 if isinstance(source, ClosedLoopSource) else source.expected(END_OF_TIME_US) for source in active]
    total = sum(ever)
    # Closed loops draw as they go.
    shares = [None if num_requests is None or not own else num_requests * own / total for own in ever]
    return [Sender(source, likely) for source, likely in zip(active, shares, strict=True)]


def _begin_later(
    env: simpy.Environment, arrivals: Arrivals, due: Sequence[tuple[int, int]], begin: Callable[[int], None]
) -> Generator[simpy.Event, None, None]:
    """Begin clients, given as (time, rank) in order, shortly before they first send: until then they need nothing."""
    for at, rank in due:
        if at > env.now:
            yield env.timeout(at - int(env.now))
            if arrivals.left <= 0:
                return
        begin(rank)
