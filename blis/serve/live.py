"""The simulated cluster in real time: requests come in when they come in, and tokens are told of when they fall due."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import simpy

from blis.cluster.cluster import Cluster
from blis.cluster.instance import Instance
from blis.cluster.moment import Moment, Order
from blis.cluster.sequence import Sequence, Stage
from blis.request import Outcome, Request
from blis.serve.meter import Meter
from blis.server.wall_clock import WallClockEnvironment
from blis.spec.deployment import DeploymentSpec
from blis.spec.instance import InstanceConfig
from blis.trace.segments import SegmentTable
from blis.trace.status import Status
from blis.trace.table import RecordTable
from blis.units import US_PER_S

__all__ = ["Call", "Listener", "LiveCluster"]

_NEVER = 1 << 62
_SLOT_US = 200
"""Real time; each time the process wakes costs it and its clients some tens of microseconds."""


class Listener(Protocol):
    """Told what becomes of a request, at the environment's time."""

    def began(self) -> None:
        """The request is on an instance: there will be an answer."""
        ...

    def grew(self, tokens: int) -> None:
        """The answer has so many tokens now."""
        ...

    def ended(self, outcome: Outcome, cached: int) -> None:
        """There will be no more; an answer that is complete has its last tokens now.

        ``cached`` tokens of the prompt were in the KV cache.
        """
        ...


class _NoSegments(SegmentTable):
    def put(self, *_: Any) -> None: ...


class _NoRows(RecordTable):
    """Counts rows instead of keeping them, since a server may run for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.segments = _NoSegments()

    def put(self, *_: Any) -> None:
        self._count += 1


class Call:
    """One request in the simulation."""

    def __init__(self, request: Request, listener: Listener) -> None:
        self.request = request
        self.tokens = 0
        self._listener = listener
        self._last_us = 0
        self._sequence: Sequence | None = None
        self._ticker: _Ticker | None = None

    def enter(self, sequence: Sequence) -> None:
        """Begin with the cluster's record of the request."""
        self._sequence = sequence

    def follow(self, ticker: _Ticker) -> None:
        """Begin to follow the request on its instance, unless it is sure to be refused there."""
        assert self._sequence is not None
        if self._sequence.stage is not Stage.GONE:
            self._ticker = ticker
            ticker.meter.began(self._sequence)
            ticker.add(self)
            self._listener.began()

    def look(self, produced: Callable[[Sequence], tuple[int, int, int]]) -> None:
        """Tell of the tokens that have come since the last look."""
        assert self._sequence is not None
        tokens, first_us, last_us = produced(self._sequence)
        if tokens > self.tokens:
            self._grow(tokens, first_us, last_us)

    def end(self, answered: simpy.Event) -> None:
        """Tell how the request has ended, when the last token's reported time has come."""
        outcome: Any = answered.value
        now = int(answered.env.now)
        last_us = outcome.last_token_us or now
        cached = 0 if self._sequence is None else self._sequence.cached_tokens
        if self._ticker is not None and self._sequence is not None:
            self._ticker.remove(self)
            if outcome.output_tokens > self.tokens:
                self._count(outcome.output_tokens, outcome.first_token_us, last_us)
            self._ticker.meter.ended(self._sequence, outcome.status, outcome.first_token_us or 0, last_us)
        if outcome.status is Status.OK and last_us > now:
            Moment(answered.env, last_us - now, Order.ARRIVAL, lambda _: self._listener.ended(outcome, cached))
        else:
            self._listener.ended(outcome, cached)

    def _grow(self, tokens: int, first_us: int, last_us: int) -> None:
        assert self._ticker is not None
        self._count(tokens, first_us, last_us)
        if last_us > int(self._ticker.env.now):
            # Overheads that the latency model has per token lie behind the step's end.
            self._ticker.tell_later(last_us, self._listener, tokens)
        else:
            self._listener.grew(tokens)

    def _count(self, tokens: int, first_us: int, last_us: int) -> None:
        assert self._ticker is not None
        meter, new = self._ticker.meter, tokens - self.tokens
        if not self.tokens:
            assert self._sequence is not None
            meter.first_token(self._sequence, first_us)
            meter.tokens(1, 0)
            self._last_us = first_us
            new -= 1
        if new:
            meter.tokens(new, (last_us - self._last_us) / new)
        self.tokens, self._last_us = tokens, last_us


class _Ticker:
    """Looks after an instance's steps: a microsecond after the end of each, which calls have tokens.

    Tokens that fall due later, within the same ``slot_us``, are told of together when the last of them does.
    """

    def __init__(self, env: simpy.Environment, instance: Instance, meter: Meter, slot_us: int) -> None:
        self.env = env
        self.meter = meter
        self._instance = instance
        self._calls: dict[Call, None] = {}
        self._moment: Moment | None = None
        self._due_us = _NEVER
        self._slot_us = slot_us
        self._slots: dict[int, list[tuple[Listener, int]]] = {}

    def add(self, call: Call) -> None:
        """Tell this call from now on."""
        self._calls[call] = None
        self._await_change()

    def remove(self, call: Call) -> None:
        """Tell this call no more."""
        del self._calls[call]

    def tell_later(self, due_us: int, listener: Listener, tokens: int) -> None:
        """Tell a listener of so many tokens, at ``due_us`` or shortly after."""
        at = -(-due_us // self._slot_us) * self._slot_us
        if at not in self._slots:
            self._slots[at] = []
            Moment(self.env, at - int(self.env.now), Order.ARRIVAL, self._tell)
        self._slots[at].append((listener, tokens))

    def _tell(self, _: simpy.Event) -> None:
        for listener, tokens in self._slots.pop(int(self.env.now)):
            listener.grew(tokens)

    def _await_change(self) -> None:
        due = self._instance.next_change_us() + 1
        if due < self._due_us and self._calls:
            if self._moment is not None:
                self._moment.callbacks = []
            self._due_us = due
            self._moment = Moment(self.env, due - int(self.env.now), Order.TIMEOUT, self._tick)

    def _tick(self, _: simpy.Event) -> None:
        self._due_us, self._moment = _NEVER, None
        produced = self._instance.produced
        for call in self._calls:
            call.look(produced)
        self._await_change()


class LiveCluster:
    """A deployment that serves requests from outside, as they come.

    ``model`` names it in the metrics, an empty text by the name each instance's model has.
    """

    def __init__(self, env: WallClockEnvironment, deployment: DeploymentSpec, *, model: str = "", speed: float = 1.0):
        self.env = env
        self.configs: list[InstanceConfig] = deployment.resolve()
        self._cluster = Cluster(
            env,
            self.configs,
            admission=deployment.admission,
            routing=deployment.routing,
            may_cut=True,
            table=_NoRows(),
        )
        self._gateway_us = deployment.admission.latency_us + deployment.routing.latency_us
        instances = self._cluster.instances
        self.meters = [Meter(one, model or one.config.model.name, US_PER_S * speed) for one in instances]
        slot_us = max(1, round(_SLOT_US * speed))
        self._tickers = [_Ticker(env, one, meter, slot_us) for one, meter in zip(instances, self.meters, strict=True)]

    @property
    def longest(self) -> int:
        """Most tokens of a prompt and its output, on the instance that has room for most."""
        return max(
            min(config.max_model_len or _NEVER, config.total_kv_blocks * config.block_size) for config in self.configs
        )

    def submit(self, request: Request, listener: Listener, at_us: int) -> Call:
        """Let a request arrive at ``at_us``, which has passed just now; ``listener`` is told what becomes of it."""
        call = Call(request, listener)
        self._outside(lambda _: self._enter(call), at_us)
        return call

    def abort(self, call: Call) -> None:
        """Give up a request, as if its client had gone; its listener is told as soon as it has ended."""
        self._outside(lambda _: self._cluster.abort(call.request.request_id))

    def look(self, what: Callable[[], None]) -> None:
        """Have ``what`` called at the environment's time now, from where the simulation can be looked at."""
        self._outside(lambda _: what())

    def _outside(self, callback: Callable[[simpy.Event], None], at_us: int | None = None) -> None:
        event = simpy.Event(self.env)
        event.callbacks = [callback]
        self.env.complete(event, at_us=at_us)

    def _enter(self, call: Call) -> None:
        request = call.request
        request.arrival_us = int(self.env.now)
        answered = self._cluster.submit(request)
        sequence = self._cluster.live(request.request_id)
        if sequence is None or answered.callbacks is None:
            call.end(answered)
            return
        call.enter(sequence)
        answered.callbacks.append(call.end)
        if self._gateway_us:
            Moment(self.env, self._gateway_us, Order.TIMEOUT, lambda _: self._routed(call, sequence))
        else:
            self._routed(call, sequence)

    def _routed(self, call: Call, sequence: Sequence) -> None:
        if sequence.instance >= 0:
            call.follow(self._tickers[sequence.instance])
