"""A trace as something to play again: which request is sent when, or after which answer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from blis.clients.links import NOBODY, Links, lean, link
from blis.clients.rates import END_OF_TIME_US
from blis.clients.recorded import RecordedRequests, is_status, output_lengths, sessions
from blis.errors import BlisError
from blis.request import Request
from blis.trace import MISSING, Status, Trace

__all__ = ["Recording"]

IntArray = npt.NDArray[np.int64]


class Recording:
    """The requests of a trace in the order in which they start; place i is that of the i-th.

    ``request_ids`` are the trace's own; ``start_us`` says when each is sent if it waits for nothing. A later round of a
    session, whose place ``following`` gives for the round before it (-1: no more rounds), is sent :meth:`think_us`
    after the answer to that one; where ``answered`` is false, the trace doesn't know when that came, and the time
    counts from when that one was sent. ``succeeded`` says whose answer was complete, and ``produced`` how many tokens
    it had. ``skipped`` counts requests left out because nobody knows their output length. ``at_server`` says that
    answers are recorded as the server saw them, without the network. All arrays have the shape (n,).

    Args:
        trace: What to play.
        speed: All times between requests, thinking included, are divided by this, above 0; deadlines aren't.
        open_loop: Send every round of a session at its recorded time, whatever becomes of the one before.
        intended: Start the requests of a real trace when they were meant to be sent, not when they were.
        warn: Called with a sentence for whatever had to be left out or guessed.

    Raises:
        BlisError: Rows contradict themselves.
    """

    def __init__(
        self,
        trace: Trace,
        *,
        speed: float = 1.0,
        open_loop: bool = False,
        intended: bool = False,
        warn: Callable[[str], None],
    ) -> None:
        ids, recorded = trace.column("request_id"), _recorded_starts(trace, intended)
        outputs, known = output_lengths(trace)
        order = np.lexsort((ids, recorded))
        self._order = order if known.all() else order[known[order]]
        self.skipped = len(trace) - len(self._order)
        if self.skipped:
            warn(f"the output lengths of {self.skipped:,} of {len(trace):,} requests aren't known: those are left out")
        self.request_ids = ids[self._order]
        start = recorded[self._order]
        self.start_us = _scaled(start, speed)
        links = link(sessions(trace)[self._order], trace.column("round_index")[self._order])
        deadline = trace.column("deadline_us")
        patience = np.where(deadline == MISSING, MISSING, np.maximum(deadline - recorded, 0))
        self._requests = RecordedRequests(trace, outputs, patience, links, self._order, warn)
        generated = trace.header.mode == "generated"
        self.succeeded = lean(is_status(trace, Status.OK)[self._order] | generated)
        self.produced = (outputs if generated else np.maximum(trace.column("output_tokens"), 0))[self._order]
        if open_loop:
            links = Links(*[np.broadcast_to(np.int64(NOBODY), len(start))] * 3)
        self.following = links.following
        self.waits = links.later
        self.at_server = trace.header.mode not in ("real", "generated")
        self.answered, self._gap_us = self._gaps(trace, links, start, warn)
        self._speed = speed

    def __len__(self) -> int:
        """Number of requests."""
        return len(self._order)

    def request(self, place: int, now: int, grown: int = 0) -> Request:
        """The request at a place, sent at ``now``; its session's context has ``grown`` tokens more than recorded."""
        return self._requests.request(self._order.item(place), now, grown)

    def think_us(self, place: int, network_us: int) -> int:
        """Time from the answer before, as the client has it, to the request at a place.

        ``network_us`` is what the network added to that answer where the trace has the server's times.
        """
        gap: int = self._gap_us.item(place)
        if self.answered.item(place) and self.at_server:
            gap = max(gap - network_us, 0)
        return gap if self._speed == 1.0 else round(gap / self._speed)

    def _gaps(
        self, trace: Trace, links: Links, start: IntArray, warn: Callable[[str], None]
    ) -> tuple[npt.NDArray[np.bool_], IntArray]:
        """Whether each gap counts from the answer before, and the gaps (0 where nothing comes before)."""
        later = np.flatnonzero(links.later)
        before = links.previous[later]
        if not later.size:
            return np.broadcast_to(np.False_, len(start)), np.broadcast_to(np.int64(0), len(start))
        answered, gaps = np.zeros(len(start), np.bool_), np.zeros(len(start), np.int64)
        if trace.header.mode == "generated":
            # Nothing took any time there, so that all time between rounds is thinking.
            answered[later], gaps[later] = True, start[later] - start[before]
            return answered, np.maximum(gaps, 0)
        seen = trace.column("last_chunk_time_us")[self._order][before]
        told = self.succeeded[before] & (seen != MISSING)
        answered[later] = told
        gaps[later] = start[later] - np.where(told, seen, start[before])
        early = int(np.count_nonzero(gaps < 0))
        if early:
            warn(
                f"{early:,} of {later.size:,} later rounds of sessions began before the round before was answered; here"
                " they wait for the answer (replay in open loop to keep all recorded times)"
            )
        return answered, np.maximum(gaps, 0)


def _recorded_starts(trace: Trace, intended: bool) -> IntArray:
    arrival = trace.column("arrival_time_us")
    if trace.header.mode != "real" or intended:
        return arrival
    sent = trace.column("send_time_us")
    return np.where(sent == MISSING, arrival, sent)


def _scaled(times: IntArray, speed: float) -> IntArray:
    """Times divided by ``speed``, to the nearest microsecond."""
    if speed != 1.0:
        scaled = np.rint(times / speed)
        if scaled.size and scaled.max() >= END_OF_TIME_US:
            raise BlisError(f"speed is {speed:g}, at which the trace would take longer than the clock counts")
        return scaled.astype(np.int64)
    return times
