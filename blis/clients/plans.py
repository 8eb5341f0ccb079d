"""Plans of clients that wait for answers: everything about their sessions that doesn't depend on how those end.

A client's sessions are numbered from 0, and so are all rounds it has planned, session by session: round number i has
the i-th draw of each of the client's streams (input, output, ...), and its number is the request's ``client_seq``. A
session that ends early leaves its other rounds unused. So what is drawn for a round never depends on what became of
another, and two runs of one workload give the same round the same number. A request outside sessions is planned as a
session of one round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice, repeat

import numpy as np

from blis.clients.arrivals import IntArray
from blis.clients.columns import ColumnSampler
from blis.clients.lengths import durations, lengths
from blis.clients.profiles import active_windows
from blis.clients.rates import END_OF_TIME_US, Profile, Stage
from blis.clients.renewal import MAX_BLOCK, block_sizes
from blis.clients.source import Block, ClientSource, Member, Row, capped_block, facts_of, pool_of
from blis.rng import stream
from blis.spec.client import ClientSpec
from blis.spec.distributions import Distribution
from blis.spec.session import MAX_ROUNDS
from blis.units import US_PER_S

__all__ = ["ClosedLoopSource", "Plan", "SessionBlock", "SessionSource", "Waiting"]

_TIMEOUT_US = 300 * US_PER_S


@dataclass(frozen=True, slots=True)
class Plan:
    """One session: its number, when it starts (0 in a closed loop), and for each round what is sent.

    ``first_seq`` is the number of its first round among all of the client's. The arrivals in ``rows`` mean nothing.
    ``think_us[i]`` is the time from the answer of round i to the next round, ``pause_us`` that from the session's end
    to what a closed loop does next.
    """

    number: int
    start_us: int
    first_seq: int
    rows: list[Row]
    think_us: list[int]
    pause_us: int


@dataclass(frozen=True, slots=True)
class SessionBlock:
    """Consecutive sessions of one client, m of them with n rounds in all.

    ``start_us`` and ``rounds`` are int64, shape (m,); starts increase, and are all 0 in a closed loop. ``requests``
    holds the rounds, session by session, each with its session's start as arrival, which is right for the first one.
    ``think_us``, int64, shape (n,), is the time from a round's answer to the next round, ``pause_us``, shape (m,), that
    after a session; None where there is none. ``first`` is the number of the first session, ``first_seq`` of its first
    round.
    """

    first: int
    first_seq: int
    start_us: IntArray
    rounds: IntArray
    requests: Block
    think_us: IntArray | None = None
    pause_us: IntArray | None = None

    def plans(self) -> Iterator[Plan]:
        """Iterate over the sessions one by one."""
        rows = self.requests.rows()
        thinks = repeat(0) if self.think_us is None else iter(self.think_us.tolist())
        pauses = repeat(0) if self.pause_us is None else self.pause_us.tolist()
        seq = self.first_seq
        sessions = zip(self.start_us.tolist(), self.rounds.tolist(), pauses, strict=False)
        for number, (start, rounds, pause) in enumerate(sessions, self.first):
            yield Plan(number, start, seq, list(islice(rows, rounds)), list(islice(thinks, rounds)), pause)
            seq += rounds


class Waiting:
    """What both kinds of clients that wait for answers have in common.

    ``accumulates`` says whether the prompts of a session grow by all that was said, ``in_sessions`` whether there are
    sessions at all.
    """

    def __init__(self, client: ClientSpec, seed: int, member: Member | None = None) -> None:
        session = client.session
        self.facts = facts_of(client) if member is None else member.facts
        self.max_output_tokens = client.max_output_tokens or 0
        self.timeout_us = client.timeout or (None if session is None else _TIMEOUT_US)
        self.in_sessions = session is not None
        self.accumulates = session is not None and session.context_growth == "accumulate"
        self.single = session is not None and session.single_session
        self.not_before_us = 0 if member is None else member.not_before_us
        self._client = client
        self._member = member is not None
        self.pool = pool_of(client, member, seed)
        self._seed = seed

    def _draw(self, starts: Iterator[IntArray]) -> Iterator[SessionBlock]:
        """Iterate over the sessions that start at these times, in blocks of about as many rounds as any block has."""
        named = partial(stream, self._seed, self.facts.client_id)
        columns = ColumnSampler(self._client, named, self.pool, anywhere=self._member)
        session = self._client.session
        rounds_of = None if session is None else lengths(session.max_rounds, partial(named, "rounds"))
        think_of = _times(None if session is None else session.think_time_us, partial(named, "think"))
        pause_of = _times(self._client.think_time_us, partial(named, "pause"))
        first = first_seq = 0
        for start_us in starts:
            size = len(start_us)
            rounds = np.ones(size, np.int64) if rounds_of is None else np.minimum(rounds_of(size), MAX_ROUNDS)
            for low, high in _portions(rounds):
                counts = rounds[low:high]
                total = int(counts.sum())
                arrivals = np.repeat(start_us[low:high], counts)
                requests = capped_block(arrivals, columns.columns(arrivals), self.max_output_tokens, self.pool)
                thinks, pauses = think_of and think_of(total), pause_of and pause_of(high - low)
                yield SessionBlock(first, first_seq, start_us[low:high], counts, requests, thinks, pauses)
                first += high - low
                first_seq += total


class SessionSource(Waiting):
    """A client whose sessions start by its arrival process."""

    def __init__(
        self,
        client: ClientSpec,
        profile: Profile,
        seed: int,
        member: Member | None = None,
        stages: Sequence[Stage] = (),
    ) -> None:
        super().__init__(client, seed, member)
        # Sessions start when a client would send single requests.
        self._starts = ClientSource(client, profile, seed, member, stages)

    def expected(self, end_us: int) -> float:
        """Return the mean number of sessions that start in [0, end_us)."""
        sessions = self._starts.expected(end_us)
        return min(sessions, 1.0) if self.single else sessions

    def sessions(self, end_us: int = END_OF_TIME_US, likely: float | None = None) -> Iterator[SessionBlock]:
        """Iterate over the sessions that start in [0, end_us), from the first on at every call.

        ``likely`` is about how many will be used, if that is fewer; it decides how far ahead is drawn and changes
        nothing else.
        """
        likely = 1.0 if self.single else likely
        starts = self._starts.arrivals(end_us, likely)
        return self._draw((first[:1] for first in islice(starts, 1)) if self.single else starts)


class ClosedLoopSource(Waiting):
    """A client that keeps ``concurrency`` requests, or sessions, going.

    Its workers are numbered from 0; worker k does what is planned under the numbers k, k + concurrency, ..., so that
    nothing a worker draws depends on how fast the others are. Nothing is sent outside ``windows``; worker k starts
    ``k * ramp_up / concurrency`` after the first one opens.
    """

    def __init__(self, client: ClientSpec, seed: int, member: Member | None = None) -> None:
        super().__init__(client, seed, member)
        assert client.concurrency is not None
        self.concurrency = client.concurrency
        self.windows = active_windows(client)
        self._ramp_up_us = client.ramp_up_us or 0

    def start_us(self, worker: int) -> int:
        """Return when a worker is ready for its first request, or session."""
        return self.windows[0][0] + self._ramp_up_us * worker // self.concurrency

    def sessions(self) -> Iterator[SessionBlock]:
        """Iterate over the sessions in order of their numbers, without an end, from the first on at every call."""
        return self._draw(np.zeros(size, np.int64) for size in block_sizes(float(self.concurrency)))


def _times(
    distribution: Distribution | None, named: Callable[..., np.random.Generator]
) -> Callable[[int], IntArray] | None:
    return None if distribution is None else durations(distribution, named)


def _portions(rounds: IntArray) -> Iterator[tuple[int, int]]:
    """Iterate over stretches of sessions, [low, high), with at most MAX_BLOCK rounds in all, or one session."""
    ends = np.cumsum(rounds)
    low = 0
    while low < len(rounds):
        before = int(ends[low - 1]) if low else 0
        high = max(low + 1, int(np.searchsorted(ends, before + MAX_BLOCK, side="right")))
        yield low, high
        low = high
