"""When a client sees its answer: the server's last token, and the network."""

from __future__ import annotations

from typing import Any

import pytest
import simpy

from blis.clients.network import ClientSide
from blis.network import jitter_key, round_trip_us
from blis.request import ClientFacts, Outcome, Request
from blis.trace.header import NetworkFacts


def request(prompt: int = 1000, client: str = "a", **changes: Any) -> Request:
    return Request(ClientFacts(client), 0, 0, prompt, prompt, ((None, prompt),), 10, **changes)


class Served:
    """A target whose server is done after a while, and reports the last token at some time."""

    def __init__(self, env: simpy.Environment, done_us: int, outcome: Outcome) -> None:
        self.env = env
        self.done_us = done_us
        self.outcome = outcome

    def submit(self, request: Request) -> simpy.Event:
        if self.done_us:
            return self.env.timeout(self.done_us, self.outcome)
        over = self.env.event()
        over._ok, over._value, over.callbacks = True, self.outcome, None
        return over


def seen_us(
    facts: NetworkFacts | None,
    what: Request,
    *,
    tokens: int = 0,
    status: str = "ok",
    last_us: int | None = 500,
    done_us: int = 500,
) -> int:
    """When the client sees the end of a request that it sent at 0."""
    env = simpy.Environment()
    outcome = Outcome(0, status, tokens, None, last_us)
    target = ClientSide(env, Served(env, done_us, outcome), {} if facts is None else {"a": facts}, seed=3)
    event = target.submit(what)
    assert env.run(until=event) == outcome
    return int(env.now)


def test_no_network_adds_nothing() -> None:
    assert seen_us(None, request()) == seen_us(NetworkFacts(), request()) == 500
    assert seen_us(NetworkFacts(rtt_ms=10), request(client="b")) == 500


def test_known_delays() -> None:
    """10 ms there and back and 500 µs at the server; 1000 tokens up at 100 Mbit/s; 2000 tokens down."""
    assert seen_us(NetworkFacts(rtt_ms=10), request()) == 10_500
    assert seen_us(NetworkFacts(bandwidth_mbps=100), request()) == 820
    assert seen_us(NetworkFacts(bandwidth_mbps=100), request(), tokens=2000) == 820 + 640
    assert seen_us(NetworkFacts(rtt_ms=10, bandwidth_mbps=100), request(), tokens=2000) == 10_820 + 640


def test_media_have_bytes_of_their_own() -> None:
    """400 tokens of text at 4 bytes, 500 of images at 250 and 100 of audio at 4."""
    facts = NetworkFacts(bandwidth_mbps=8, image_bytes_per_token=250)
    assert seen_us(facts, request(parts=(400, 500, 100, 0))) == 500 + 400 * 4 + 500 * 250 + 100 * 4


def test_jitter_is_the_requests_own() -> None:
    facts = NetworkFacts(rtt_ms=10, jitter_ms=4)
    trip = round_trip_us(10.0, 4.0, jitter_key(3, "a"), 0)
    assert seen_us(facts, request()) == 500 + trip
    assert 6000 <= trip <= 14_000
    assert trip != 10_000


def test_overheads_of_reported_times_count() -> None:
    """The server is free at 500 µs, but the last token is reported 30 µs later."""
    assert seen_us(None, request(), last_us=530) == 530


def test_a_client_knows_its_own_timeout() -> None:
    assert seen_us(NetworkFacts(rtt_ms=10), request(), status="timeout") == 500


@pytest.mark.parametrize(("facts", "expected"), [(None, 0), (NetworkFacts(rtt_ms=2), 2000)])
def test_a_refusal_on_the_spot_comes_back_through_the_network(facts: NetworkFacts | None, expected: int) -> None:
    assert seen_us(facts, request(), status="rejected", last_us=None, done_us=0) == expected


def test_a_network_without_end_takes_as_long_as_there_is_time() -> None:
    assert seen_us(NetworkFacts(bandwidth_mbps=1e-300), request()) == 500 + 2**53
