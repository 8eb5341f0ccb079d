"""When clients see their answers, where the times of a target are a server's."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import simpy
from simpy.events import NORMAL

from blis.clients.rates import END_OF_TIME_US
from blis.clients.target import Target
from blis.network import jitter_key, round_trip_us, transfer_us
from blis.request import Request
from blis.spec.multimodal import MEDIA
from blis.trace.header import NetworkFacts, facts_for
from blis.trace.status import Status
from blis.units import BYTES_PER_TOKEN

__all__ = ["ClientSide"]


class ClientSide:
    """A target that answers when the client has the last token, :class:`blis.metrics.ClientView`'s E2E after sending.

    That is the last token's reported time, which may lie some overhead after the server was done, plus what the
    client's network adds: a round trip, the upload of the prompt and the download of the output. A client notices by
    its own clock that it has waited too long, so a timeout comes without delay. ``networks`` goes by client id, or by
    cohort as in a trace's header.
    """

    def __init__(self, env: simpy.Environment, target: Target, networks: Mapping[str, NetworkFacts], seed: int) -> None:
        self._env = env
        self._target = target
        self._networks = networks
        self._seed = seed
        self._known: dict[str, tuple[NetworkFacts | None, int]] = {}

    def submit(self, request: Request) -> simpy.Event:
        """Hand the request on; the event fires with its :class:`~blis.request.Outcome` when the client knows it."""
        answered = self._target.submit(request)
        seen = simpy.Event(self._env)
        if answered.callbacks is None:
            self._pass_on(request, seen, answered)
        else:
            answered.callbacks.append(partial(self._pass_on, request, seen))
        return seen

    def _pass_on(self, request: Request, seen: simpy.Event, answered: simpy.Event) -> None:
        outcome: Any = answered.value
        now = int(self._env.now)
        delay = 0
        if outcome.status != Status.TIMEOUT:
            delay = max((outcome.last_token_us or now) - now, 0) + self.network_us(request, outcome.output_tokens)
        # As a Timeout does it: an event that has its value and happens later.
        seen._ok, seen._value = True, outcome
        self._env.schedule(seen, NORMAL, min(delay, END_OF_TIME_US))

    def network_us(self, request: Request, output_tokens: int) -> int:
        """Return what the network adds to a request's E2E: round trip, upload and the download of its output."""
        facts, key = self._network_of(request.client.client_id)
        if facts is None:
            return 0
        trip = round_trip_us(facts.rtt_ms, facts.jitter_ms or 0.0, key, request.client_seq)
        mbps = facts.bandwidth_mbps or float("inf")
        up = transfer_us(float(request.prompt_tokens), mbps, _more_bytes(request, facts))
        down = transfer_us(float(output_tokens), mbps)
        return int(min(trip + up + down, END_OF_TIME_US))

    def _network_of(self, client_id: str) -> tuple[NetworkFacts | None, int]:
        """Return a client's network and the key of its jitter."""
        known = self._known.get(client_id)
        if known is None:
            facts = facts_for(self._networks, client_id)
            jittery = facts is not None and facts.jitter_ms
            known = self._known[client_id] = facts, jitter_key(self._seed, client_id) if jittery else 0
        return known


def _more_bytes(request: Request, facts: NetworkFacts) -> float:
    """Return how many bytes more the media of a request have than as many tokens of text."""
    more = 0.0
    for kind, tokens in zip(MEDIA, (request.parts or (0, 0, 0, 0))[1:], strict=True):
        per_token: float | None = getattr(facts, f"{kind}_bytes_per_token")
        if per_token is not None:
            more += tokens * (per_token - BYTES_PER_TOKEN)
    return more
