"""The simulated cluster: admission, routing, instances, and a row for every request."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Series

import simpy

from blis import latency
from blis.cluster.admission import build_admission
from blis.cluster.asynchronous import AsynchronousInstance
from blis.cluster.instance import Instance
from blis.cluster.moment import Moment, Order
from blis.cluster.router import Router, build_router
from blis.cluster.sequence import Sequence
from blis.cluster.waiting import priority_of
from blis.errors import InternalError
from blis.request import ClientFacts, Outcome, Request, plain
from blis.rng import stream
from blis.spec.gateway import AdmissionSpec, RoutingSpec
from blis.spec.instance import InstanceConfig
from blis.trace.histogram import Histogram
from blis.trace.status import FINISH_CODES, STATUS_CODES, FinishReason, Status
from blis.trace.table import RecordTable

__all__ = ["Cluster"]

_CODES = {status: STATUS_CODES[status] for status in Status}
_DONE = Status.OK
_OK = _CODES[_DONE]
_STOPPED = FINISH_CODES[FinishReason.STOP]
_CAPPED = FINISH_CODES[FinishReason.LENGTH]
_UNFINISHED = FINISH_CODES[FinishReason.NONE]
_NO_PARTS = (0, 0, 0, 0)
_new_outcome = tuple.__new__


class Cluster:
    """A :class:`~blis.clients.target.Target` that simulates a deployment.

    Requests are numbered as they arrive. ``table`` gets a row for each when it ends, ``itl`` the inter-token latencies
    of completed requests; ``counts`` has the number that ended in each status, by the status's code. ``assign``
    overrides the router: it maps a request to an instance index (for experiments that force the routing). Only with
    ``may_cut`` can the run be :meth:`cut`, a request be followed while it is :meth:`live`, and given up
    (:meth:`abort`).
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
        table: RecordTable | None = None,
    ) -> None:
        self.env = env
        self.seed = seed
        admission = admission or AdmissionSpec()
        routing = routing or RoutingSpec()
        self.itl = Histogram()
        self.table = RecordTable([config.name for config in configs]) if table is None else table
        self.instances: list[Instance] = []
        for index, config in enumerate(configs):
            kind = AsynchronousInstance if config.async_scheduling else Instance
            self.instances.append(kind(env, index, config, latency.build(config), self.itl, self._record))
        self.injected = 0
        self.ended = 0
        self.counts = [0] * len(_CODES)
        self.last_event_us = 0
        self._admission = build_admission(admission)
        self._admission_us = admission.latency_us
        self._routing_us = routing.latency_us
        self._router: Router = build_router(routing, self.instances, stream(seed, "router", "ties"))
        self._assign = assign
        self._priority = [
            priority_of(config.priority_policy) if "priority" in config.scheduler + config.preemption else None
            for config in configs
        ]
        self._ungated = admission.policy == "always" and not (self._admission_us or self._routing_us)
        self._clients: dict[int, int] = {}
        self._facts: list[ClientFacts] = []
        self._live: dict[int, Sequence] | None = {} if may_cut else None
        self._cut = False
        self._logs_steps = False

    def log_steps(self) -> None:
        """From the start of a run on, keep when each step ended and which steps made a request's tokens."""
        self._logs_steps = True
        for instance in self.instances:
            instance.step_ends = []

    @property
    def in_flight(self) -> int:
        """Requests that arrived and have not ended."""
        return self.injected - self.ended

    def submit(self, request: Request) -> simpy.Event:
        """Take a request that arrives now; the event fires with its :class:`~blis.request.Outcome`."""
        request.request_id = self.injected
        self.injected += 1
        done = simpy.Event(self.env)
        sequence = Sequence(request, done)
        if self._live is not None:
            self._live[request.request_id] = sequence
        if self._ungated:
            self._route(sequence, request.arrival_us)
        elif self._admission_us:
            Moment(self.env, self._admission_us, Order.ARRIVAL, self._admit, sequence)
        else:
            self._decide(sequence)
        return done

    def _admit(self, moment: simpy.Event) -> None:
        self._decide(moment.subject)  # type: ignore[attr-defined]

    def _decide(self, sequence: Sequence) -> None:
        now = int(self.env.now)
        if not self._admission.admits(sequence.request, now):
            self._record(sequence, now, Status.REJECTED)
        elif self._routing_us:
            Moment(self.env, self._routing_us, Order.ARRIVAL, self._route_later, sequence)
        else:
            self._route(sequence, now)

    def _route_later(self, moment: simpy.Event) -> None:
        self._route(moment.subject, int(self.env.now))  # type: ignore[attr-defined]

    def _route(self, sequence: Sequence, now: int) -> None:
        request = sequence.request
        if self._assign is None:
            index = self._router.choose(request, now)
        else:
            index = self._assign(request)
        sequence.instance = index
        priority = self._priority[index]
        if priority is not None:
            sequence.priority = priority(request.client.slo_class, request.arrival_us)
        self.instances[index].accept(sequence, now)

    def _record(
        self, sequence: Sequence, now: int, status: Status, tokens: int = 0, first_us: int = -1, last_us: int = -1
    ) -> None:
        """Write the request's row, and fire its event if somebody waits for it."""
        request = sequence.request
        completed = status is _DONE
        code = _OK if completed else _CODES[status]
        self.counts[code] += 1
        self.ended += 1
        self.last_event_us = now
        if self._live is not None:
            del self._live[request.request_id]
        facts = request.client
        client = self._clients.get(id(facts))
        if client is None:
            client = self._clients[id(facts)] = self.table.client_index(facts)
            self._facts.append(facts)
        text, image, audio, video = request.parts or _NO_PARTS
        first_step = last_step = -1
        if self._logs_steps and completed:
            first_step, last_step = sequence.first_step - 1, sequence.last_step
        deadline = request.deadline_us
        segments = request.segments
        if (segments[0][0] is not None or facts.prefix_length or len(segments) > 1) and not plain(request):
            self.table.segments.put(request.request_id, segments)
        self.table.put(
            request.request_id, client, request.client_seq,
            self.table.session_index(request.session_id) if request.session_id else -1, request.round_index,
            request.input_tokens, request.output_tokens, tokens, request.max_output_tokens, request.prompt_tokens,
            text, image, audio, video, request.reason_ratio,
            request.arrival_us, -1 if deadline is None else deadline, first_us, last_us,
            sequence.scheduling_delay_us, sequence.epoch, sequence.cached_tokens, sequence.instance,
            code, _UNFINISHED if not completed else _CAPPED if request.capped else _STOPPED,
            first_step, last_step,
        )  # fmt: skip
        done = sequence.done
        # As Outcome(...), without the call in between.
        outcome = _new_outcome(
            Outcome,
            (
                request.request_id,
                status,
                tokens,
                first_us if first_us >= 0 else None,
                last_us if last_us >= 0 else None,
            ),
        )
        if done.callbacks:
            done.succeed(outcome)
        else:
            # Nobody waits now, so that the event needs no place in the queue; who asks later finds it processed.
            done._ok, done._value, done.callbacks = True, outcome, None  # type: ignore[assignment]

    def live(self, request_id: int) -> Sequence | None:
        """Return the sequence of a request that hasn't ended."""
        assert self._live is not None
        return self._live.get(request_id)

    def abort(self, request_id: int) -> None:
        """Give up a request, if it hasn't ended: it ends as cancelled, as one does whose deadline passes now."""
        if (sequence := self.live(request_id)) is not None:
            Moment(self.env, 0, Order.TIMEOUT, self._abort, sequence)

    def _abort(self, moment: simpy.Event) -> None:
        sequence: Sequence = moment.subject  # type: ignore[attr-defined]
        if sequence.instance >= 0:
            self.instances[sequence.instance].abort(sequence)
        elif self.live(sequence.request.request_id) is not None:
            # It is on its way through the gateway; at this time it has a place.
            routed_us = sequence.arrival_us + self._admission_us + self._routing_us
            Moment(self.env, routed_us - int(self.env.now), Order.TIMEOUT, self._abort, sequence)

    def cut(self) -> None:
        """End the run now: whatever is in flight is recorded as incomplete, with the tokens it has."""
        assert self._live is not None
        now = int(self.env.now)
        for sequence in list(self._live.values()):
            tokens, first_us, last_us = 0, -1, -1
            if sequence.instance >= 0:
                instance = self.instances[sequence.instance]
                tokens, first_us, last_us = instance.produced(sequence)
                instance.in_flight -= 1
            self._record(sequence, now, Status.INCOMPLETE, tokens, first_us, last_us)
        self._cut = True

    def close(self) -> None:
        """Account for the end of the run and check that nothing was lost.

        Raises :class:`blis.errors.InternalError` if a request or a block is missing.
        """
        for instance in self.instances:
            instance.close()
        ended = sum(self.counts)
        stranded = sum(instance.in_flight for instance in self.instances)
        if ended != self.injected or ended != len(self.table) or self.in_flight or stranded:
            raise self._bug(
                f"{self.injected} requests came in, but {ended} ended, {len(self.table)} have a row, {self.in_flight}"
                f" are in flight and {stranded} are still on an instance"
            )
        for instance in self.instances:
            kv = instance.scheduler.kv
            if not self._cut and kv.free != kv.total:
                raise self._bug(f"{instance.config.name} is idle, but {kv.total - kv.free} KV blocks are still held")

    def _bug(self, what: str) -> InternalError:
        return InternalError(
            f"{what} (seed {self.seed}). This is a bug in blis: please report it with the seed, the workload and the"
            " deployment."
        )
