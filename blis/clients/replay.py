"""Playing a recording: its requests, each at its time, and the rounds of its sessions as their answers come."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Generator
from typing import Any

import numpy as np
import numpy.typing as npt
import simpy

from blis.clients.links import NOBODY
from blis.clients.processes import Arrival, rank_priority
from blis.clients.rates import END_OF_TIME_US
from blis.clients.recording import Recording
from blis.clients.sessions import LEAST_WAIT_US
from blis.clients.target import Target
from blis.request import Outcome, Request
from blis.trace import Status

__all__ = ["Replay"]

NetworkUs = Callable[[Request, int], int]


def _no_network(request: Request, output_tokens: int) -> int:
    return 0


class Replay:
    """Sends the requests of a recording that are due before ``end_us``, at most ``num_requests`` of them.

    ``network_us`` is what a client's network adds to a request with that many output tokens, for targets that answer
    without one. At equal times the order of the recording holds. ``sent`` has the place of each request, in the order
    in which they were sent. A session ends with a round that fails and didn't in the recording; ``unsent`` counts the
    rounds that so are left.
    """

    def __init__(
        self,
        env: simpy.Environment,
        target: Target,
        recording: Recording,
        *,
        network_us: NetworkUs = _no_network,
        end_us: int = END_OF_TIME_US,
        num_requests: int | None = None,
    ) -> None:
        self.sent = array("q")
        self.unsent = 0
        self._env = env
        self._target = target
        self._recording = recording
        self._network_us = network_us
        self._end_us = end_us
        self._most = len(recording) if num_requests is None else num_requests

    def request_ids(self) -> npt.NDArray[np.int64] | None:
        """The recording's ids of the requests sent, in that order; None where they are just 0, 1, 2, ..."""
        ids = self._recording.request_ids[np.array(self.sent, np.int64)]
        return None if np.array_equal(ids, np.arange(len(ids))) else ids

    def run(self) -> Generator[simpy.Event, None, None]:
        """The process that sends everything that waits for no answer."""
        recording, env = self._recording, self._env
        for place in map(int, np.flatnonzero(~recording.waits)):
            at = recording.start_us.item(place)
            if at >= self._end_us or len(self.sent) >= self._most:
                return
            yield Arrival(env, at - int(env.now), rank_priority(place))
            if len(self.sent) >= self._most:
                return
            request = self._next(place)
            done = self._target.submit(request)
            if recording.following.item(place) != NOBODY:
                env.process(self._rounds(place, request, done))

    def _next(self, place: int, grown: int = 0) -> Request:
        self.sent.append(place)
        return self._recording.request(place, int(self._env.now), grown)

    def _rounds(self, place: int, request: Request, done: simpy.Event) -> Generator[simpy.Event, Any, None]:
        """The process of a session whose first round, at ``place``, is answered when ``done`` fires."""
        recording, env = self._recording, self._env
        grown = 0
        while (following := recording.following.item(place)) != NOBODY:
            outcome = yield done
            if outcome.status != Status.OK and recording.succeeded.item(place):
                self.unsent += self._rounds_from(following)
                return
            now = int(env.now)
            due = max(self._due(place, request, outcome), now + LEAST_WAIT_US)
            if due >= self._end_us:
                return
            yield Arrival(env, due - now, rank_priority(following))
            if len(self.sent) >= self._most:
                return
            grown += outcome.output_tokens - recording.produced.item(place)
            place, request = following, self._next(following, grown)
            done = self._target.submit(request)

    def _due(self, place: int, request: Request, outcome: Outcome) -> int:
        """When the round after the one at ``place`` is due; that one was ``request`` and has just been answered."""
        recording = self._recording
        following = recording.following.item(place)
        recorded_us = self._network_us(request, recording.produced.item(place)) if recording.at_server else 0
        since = request.arrival_us
        if recording.answered.item(following):
            last = outcome.last_token_us
            since = (int(self._env.now) if last is None else last) + self._network_us(request, outcome.output_tokens)
        return since + recording.think_us(following, recorded_us)

    def _rounds_from(self, place: int) -> int:
        count = 0
        while place != NOBODY:
            count, place = count + 1, self._recording.following.item(place)
        return count
