"""From a workload spec to running clients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import simpy

from blis.clients.closed_loop import start_workers
from blis.clients.plans import ClosedLoopSource, SessionSource
from blis.clients.processes import Arrivals, open_loop, rank_priority
from blis.clients.profiles import profiles
from blis.clients.rates import END_OF_TIME_US, RateProfile
from blis.clients.servegen_load import chunk_sources
from blis.clients.sessions import Caller, sessions
from blis.clients.source import ClientSource, Source
from blis.clients.target import Target
from blis.errors import BlisError
from blis.spec.client import ClientSpec
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
        _source(client, profile, spec.seed) for client, profile in zip(spec.clients, profiles(spec), strict=True)
    ]
    if spec.servegen_data is not None:
        found += chunk_sources(spec, horizon_us, warn)
    found.sort(key=lambda source: source.facts.client_id)
    for one, other in pairwise(found):
        if one.facts.client_id == other.facts.client_id:
            raise BlisError(f"client id {one.facts.client_id!r} is a ServeGen chunk's too: give the client another id")
    return found


def start(
    env: simpy.Environment,
    target: Target,
    spec: WorkloadSpec,
    *,
    horizon_us: int | None,
    num_requests: int | None,
    warn: Warn,
    answering: Target | None = None,
) -> simpy.Event:
    """Start a process for every client that sends anything; the event returned fires after the last arrival.

    Requests arrive in [0, horizon_us); after ``num_requests`` in all, every client stops. At least one of the two
    should be given, since the clients of a spec never end by themselves. Timeouts of clients that were stopped stay in
    the environment's queue: a run that waits for the event and for the requests in flight needn't wait for them.
    Clients that wait for answers send to ``answering`` where it isn't the same as ``target``: one whose answers come
    when clients see them.
    """
    if horizon_us == 0 or num_requests == 0:
        return Arrivals(env, 0, 0).done
    end_us = END_OF_TIME_US if horizon_us is None else horizon_us
    senders = sending(sources(spec, horizon_us, warn), end_us, num_requests)
    processes = sum(source.concurrency if isinstance(source, ClosedLoopSource) else 1 for source, _ in senders)
    arrivals = Arrivals(env, num_requests, processes)
    for rank, (source, likely) in enumerate(senders):
        priority = rank_priority(rank)
        if isinstance(source, ClosedLoopSource):
            start_workers(Caller(env, answering or target, source, arrivals, priority, end_us), source)
        elif isinstance(source, SessionSource):
            caller = Caller(env, answering or target, source, arrivals, priority, end_us)
            env.process(sessions(caller, source.sessions(end_us, likely)))
        else:
            env.process(open_loop(env, target, source, arrivals, priority, end_us, likely))
    return arrivals.done


def sending(population: Sequence[Traffic], end_us: int, num_requests: int | None) -> list[Sender]:
    """Return those that send anything before ``end_us``, in the same order."""
    active = [source for source in population if isinstance(source, ClosedLoopSource) or source.expected(end_us) > 0]
    ever = [0.0 if isinstance(source, ClosedLoopSource) else source.expected(END_OF_TIME_US) for source in active]
    total = sum(ever)
    # Closed loops draw as they go.
    shares = [None if num_requests is None or not own else num_requests * own / total for own in ever]
    return [Sender(source, likely) for source, likely in zip(active, shares, strict=True)]


def _source(client: ClientSpec, profile: RateProfile, seed: int) -> Traffic:
    if client.concurrency is not None:
        return ClosedLoopSource(client, seed)
    if client.session is not None:
        return SessionSource(client, profile, seed)
    return ClientSource(client, profile, seed)
