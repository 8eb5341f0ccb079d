"""The simulated cluster: admission, routing, instances, and a row for every request."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Series

import simpy

from blis import latency
from blis.cluster.admission import build_admission
from blis.cluster.instance import Instance
from blis.cluster.moment import Moment, Order
from blis.cluster.router import Router, build_router
from blis.cluster.sequence import Sequence
from blis.cluster.waiting import priority_of
from blis.errors import InternalError
from blis.request import ClientFacts, Outcome, Request
from blis.rng import stream
from blis.spec.deployment import AdmissionSpec, RoutingSpec
from blis.spec.instance import InstanceConfig
from blis.trace.histogram import Histogram
from blis.trace.status import FINISH_CODES, STATUS_CODES, Status
from blis.trace.table import RecordTable

__all__ = ["Cluster"]

_OK = STATUS_CODES[Status.OK]


class Cluster:
    """A :class:`~blis.clients.target.Target` that simulates a deployment.

    Requests are numbered as they arrive. ``table`` gets a row for each when it ends, ``itl`` the inter-token latencies of
    completed requests, ``counts`` the number that ended in each status. ``assign`` overrides the router: it maps a request
    to an instance index (for experiments that force the routing). Only with ``may_cut`` can the run be :meth:`cut`.
    """

    def __init__(
        self,
        env: simpy.Environment,
        configs: Series[InstanceConfig],
        seed: int = 0,
        *,
        admission: AdmissionSpec | None = None,
        routing: RoutingSpec | None = None,
        assign: Callable[[Request], int] | None = None,
        may_cut: bool = False,
    ) -> None:
        self.env = env
        self.seed = seed
        admission = admission or AdmissionSpec()
        routing = routing or RoutingSpec()
        self.itl = Histogram()
        self.table = RecordTable([config.name for config in configs])
        self.instances: list[Instance] = []
        for index, config in enumerate(configs):
            self.instances.append(Instance(env, index, config, latency.build(config), self.itl, self._ended))
        self.injected = 0
        self.in_flight = 0
        self.counts = dict.fromkeys(Status, 0)
        self.last_event_us = 0
        self._admission = build_admission(admission)
        self._admission_us = admission.latency_us
        self._routing_us = routing.latency_us
        self._router: Router = build_router(routing, self.instances, stream(seed, "router", "ties"))
        self._assign = assign
        self._priority = [priority_of(config.priority_policy) for config in configs]
        self._clients: dict[int, int] = {}
        self._facts: list[ClientFacts] = []
        self._live: dict[int, tuple[Request, simpy.Event, Sequence | None, int]] | None = {} if may_cut else None
        self._cut = False

    def submit(self, request: Request) -> simpy.Event:
        """Take a request that arrives now; the event fires with its :class:`~blis.request.Outcome`."""
        request.request_id = self.injected
        self.injected += 1
        self.in_flight += 1
        done = simpy.Event(self.env)
        if self._live is not None:
            self._live[request.request_id] = (request, done, None, -1)
        if self._admission_us:
            Moment(self.env, self._admission_us, Order.ARRIVAL, self._admit_later, (request, done))
        else:
            self._admit(request, done)
        return done

    def _admit_later(self, moment: simpy.Event) -> None:
        assert isinstance(moment, Moment)
        self._admit(*moment.subject)

    def _admit(self, request: Request, done: simpy.Event) -> None:
        if not self._admission.admits(request, int(self.env.now)):
            self._record(request, done, None, -1, Status.REJECTED, 0, -1, -1)
        elif self._routing_us:
            Moment(self.env, self._routing_us, Order.ARRIVAL, self._route_later, (request, done))
        else:
            self._route(request, done)

    def _route_later(self, moment: simpy.Event) -> None:
        assert isinstance(moment, Moment)
        self._route(*moment.subject)

    def _route(self, request: Request, done: simpy.Event) -> None:
        if self._assign is None:
            index = self._router.choose(request, int(self.env.now))
        else:
            index = self._assign(request)
        priority = self._priority[index](request.client.slo_class, request.arrival_us)
        sequence = Sequence(request, done, priority)
        if self._live is not None:
            self._live[request.request_id] = (request, done, sequence, index)
        self.instances[index].accept(sequence)

    def _ended(
        self, instance: Instance, sequence: Sequence, status: Status, tokens: int, first_us: int, last_us: int
    ) -> None:
        self._record(sequence.request, sequence.done, sequence, instance.index, status, tokens, first_us, last_us)

    def _record(
        self,
        request: Request,
        done: simpy.Event,
        sequence: Sequence | None,
        instance: int,
        status: Status,
        tokens: int,
        first_us: int,
        last_us: int,
    ) -> None:
        self.counts[status] += 1
        self.in_flight -= 1
        if self._live is not None:
            del self._live[request.request_id]
        self.last_event_us = int(self.env.now)
        table = self.table
        facts = request.client
        client = self._clients.get(id(facts))
        if client is None:
            client = self._clients[id(facts)] = table.client_index(facts)
            self._facts.append(facts)
        completed = status is Status.OK
        steps = instance >= 0 and completed and self.instances[instance].step_ends is not None
        assert sequence is not None or not steps
        text, image, audio, video = request.parts or (0, 0, 0, 0)
        table.put(
            request.request_id,
            client,
            request.client_seq,
            table.session_index(request.session_id) if request.session_id else -1,
            request.round_index,
            request.input_tokens,
            request.output_tokens,
            tokens,
            request.max_output_tokens,
            request.prompt_tokens,
            text,
            image,
            audio,
            video,
            request.reason_ratio,
            request.arrival_us,
            -1 if request.deadline_us is None else request.deadline_us,
            first_us,
            last_us,
            -1 if sequence is None else sequence.scheduling_delay_us,
            0 if sequence is None else sequence.epoch,
            0 if sequence is None else sequence.cached_tokens,
            instance,
            STATUS_CODES[status],
            (FINISH_CODES["length"] if request.capped else FINISH_CODES["stop"]) if completed else FINISH_CODES[""],
            sequence.first_step - 1 if steps and sequence is not None else -1,
            sequence.last_step if steps and sequence is not None else -1,
        )
        self._announce(request, done, status, tokens, first_us, last_us)

    def _announce(
        self, request: Request, done: simpy.Event, status: Status, tokens: int, first_us: int, last_us: int
    ) -> None:
        """Fire the event if somebody waits for it; a client that doesn't costs no place in the event queue."""
        if done.callbacks:
            outcome = Outcome(
                request.request_id,
                status,
                tokens,
                None if first_us < 0 else first_us,
                None if last_us < 0 else last_us,
            )
            done.succeed(outcome)

    def cut(self) -> None:
        """End the run now: whatever is in flight is recorded as incomplete, with the tokens it has."""
        assert self._live is not None
        for request, done, sequence, index in list(self._live.values()):
            tokens, first_us, last_us = 0, -1, -1
            if sequence is not None:
                tokens, first_us, last_us = self.instances[index].produced(sequence)
                self.instances[index].in_flight -= 1
            self._record(request, done, sequence, index, Status.INCOMPLETE, tokens, first_us, last_us)
        self._cut = True

    def close(self) -> None:
        """Account for the end of the run and check that nothing was lost.

        Raises :class:`blis.errors.InternalError` if a request or a block is missing.
        """
        for instance in self.instances:
            instance.close()
        ended = sum(self.counts.values())
        stranded = sum(instance.in_flight for instance in self.instances)
        if ended != self.injected or ended != len(self.table) or self.in_flight or stranded:
            raise self._bug(
                f"{self.injected} requests came in, but {ended} ended, {len(self.table)} have a row, {self.in_flight} are"
                f" in flight and {stranded} of them on an instance"
            )
        for instance in self.instances:
            kv = instance.scheduler.kv
            if not self._cut and kv.free != kv.total:
                raise self._bug(f"{instance.config.name} is idle, but {kv.total - kv.free} KV blocks are still held")

    def _bug(self, what: str) -> InternalError:
        return InternalError(
            f"{what} (seed {self.seed}). This is a bug in blis: please report it with the seed, the spec and the deployment."
        )
