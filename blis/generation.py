"""Specify without predicting: a workload's requests as a trace, straight from the samplers that its clients draw from.

The requests are those a simulation of the same workload sends: the same ids, times and lengths. What only a server
decides is blank: when tokens came, how many, and how the request ended. ``planned_output_tokens`` has the drawn length.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from blis.clients.build import Sender, Traffic, sending, sources
from blis.clients.merge import Slice, merged
from blis.clients.plans import ClosedLoopSource, SessionSource
from blis.clients.profiles import timetable
from blis.clients.rates import END_OF_TIME_US
from blis.clients.rounds import Round, earliest_rounds
from blis.clients.sessions import session_name
from blis.clients.source import Block, ClientSource
from blis.errors import BlisError
from blis.request import ANSWER
from blis.spec.workload import WorkloadSpec, workload_of
from blis.trace.columns import MISSING, ArrayColumns, TextColumn
from blis.trace.header import TraceHeader
from blis.trace.segments import SegmentTable
from blis.trace.store import write_trace
from blis.trace.trace import Trace

__all__ = ["Generated", "generate", "generate_to"]

AnySpec = WorkloadSpec | Mapping[str, Any] | str | Path
Warn = Callable[[str], None]
IntArray = npt.NDArray[np.int64]

_FACTS = ("client_id", "tenant_id", "slo_class", "prefix_group", "model")
_BITS = 40
_SESSIONS = (1 << _BITS) - 1
_PARTS = ("text_tokens", "image_tokens", "audio_tokens", "video_tokens")


@dataclass(frozen=True, slots=True)
class Generated:
    """How much was generated so far: requests, their tokens, and when the last one arrives."""

    requests: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    last_arrival_us: int = 0

    def plus(self, found: Mapping[str, Any]) -> Generated:
        """Count the columns of some more requests, of which there is at least one."""
        return Generated(
            self.requests + len(found["arrival_time_us"]),
            self.prompt_tokens + int(found["prompt_tokens"].sum()),
            self.output_tokens + int(found["planned_output_tokens"].sum()),
            int(found["arrival_time_us"][-1]),
        )


def generate(spec: AnySpec, *, num_requests: int | None = None, warn: Warn = warnings.warn) -> Trace:
    """Return a workload's requests as a trace in memory, about 150 bytes each.

    Args:
        spec: A workload: a spec, its data as a dictionary, or the path of its YAML file.
        num_requests: Stop after this many, if the workload goes on.
        warn: Called with a sentence for whatever is doubtful in the workload.

    Raises:
        SpecError: The spec is wrong; names every problem.
        BlisError: ServeGen data can't be used.

    >>> trace = generate(
    ...     {
    ...         "version": "2",
    ...         "aggregate_rate": 10.0,
    ...         "num_requests": 3,
    ...         "clients": [
    ...             {
    ...                 "id": "chat",
    ...                 "rate_fraction": 1.0,
    ...                 "arrival": {"process": "constant"},
    ...                 "input_distribution": {"type": "constant", "params": {"value": 512}},
    ...                 "output_distribution": {"type": "constant", "params": {"value": 32}},
    ...             }
    ...         ],
    ...     },
    ... )
    >>> trace.column("arrival_time_us").tolist(), trace.column("planned_output_tokens").tolist()
    ([100000, 200000, 300000], [32, 32, 32])
    """
    workload = workload_of(spec)
    segments = SegmentTable()
    parts = list(_parts(workload, num_requests, warn, segments))
    return Trace.from_columns(_together(parts), _header(workload, num_requests), segments=segments)


def generate_to(
    path: str | os.PathLike[str],
    spec: AnySpec,
    *,
    provenance: Mapping[str, Any] | None = None,
    progress: Callable[[Generated], None] | None = None,
    warn: Warn = warnings.warn,
) -> Generated:
    """Write a workload's requests as a trace under the prefix ``path``, in memory that doesn't grow with their number.

    Only those of pooled prompts take some: their segments go into a file of their own.

    ``progress`` is called now and then with how much there is so far; ``provenance`` goes into the provenance file.
    For the rest see :func:`generate` and :func:`blis.trace.write_trace`.

    Raises:
        SpecError: The spec is wrong; names every problem.
        BlisError: ServeGen data can't be used.
        TraceError: The files can't be written; nothing has changed then.
    """
    workload = workload_of(spec)
    so_far = Generated()
    segments = SegmentTable()

    def parts() -> Iterator[ArrayColumns]:
        nonlocal so_far
        for found in _parts(workload, None, warn, segments):
            yield ArrayColumns(found)
            so_far = so_far.plus(found)
            if progress is not None:
                progress(so_far)

    write_trace(path, _header(workload, None), parts(), provenance=provenance, segments=segments)
    return so_far


def _header(workload: WorkloadSpec, num_requests: int | None) -> TraceHeader:
    stages = {"stage_starts_us": [stage.start_us for stage in timetable(workload)]} if workload.stages else {}
    header = TraceHeader.of_workload(workload, stages, mode="generated")
    if num_requests is not None:
        header.run["num_requests"] = min(num_requests, header.run.get("num_requests", num_requests))
    return header


def _parts(
    workload: WorkloadSpec, num_requests: int | None, warn: Warn, segments: SegmentTable
) -> Iterator[dict[str, Any]]:
    """Iterate over the columns of consecutive requests; what these can't express of prompts goes to ``segments``."""
    for doubt in workload.warnings:
        warn(doubt)
    if any(stage.drain for stage in workload.stages[:-1]):
        warn("stages drain: when the next one begins only a server can tell; here it begins as if nothing were left")
    limits = [limit for limit in (workload.num_requests, num_requests) if limit is not None]
    most = min(limits) if limits else None
    if workload.horizon == 0 or most == 0:
        return
    end_us = END_OF_TIME_US if workload.horizon is None else workload.horizon
    senders = sending(sources(workload, workload.horizon, warn), end_us, most)
    clients = _Clients([sender.source for sender in senders])
    first = 0
    for found in merged([_blocks(sender, end_us) for sender in senders], most):
        clients.put_prompts(found, first, segments)
        yield clients.columns(found, first)
        first += len(found.arrival_us)


def _blocks(sender: Sender, end_us: int) -> Iterator[Block]:
    source, likely = sender
    match source:
        case ClosedLoopSource():
            raise BlisError(
                f"client {source.facts.client_id!r} has a concurrency: it sends when it has been answered, which only a"
                " server can tell; simulate the workload, or give the client a rate"
            )
        case SessionSource():
            return earliest_rounds(source, end_us, likely)
        case _:
            return source.blocks(end_us, likely)


class _Clients:
    """What all requests of a client have in common, for all clients at once."""

    def __init__(self, population: Sequence[Traffic]) -> None:
        facts = [source.facts for source in population]
        self._words = {name: tuple(getattr(own, name) for own in facts) for name in _FACTS}
        self._streaming = np.array([own.streaming for own in facts], np.bool_)
        self._prefix_length = np.array([own.prefix_length for own in facts], np.int64)
        self._cap = np.array([source.max_output_tokens for source in population], np.int64)
        timeouts = [MISSING if source.timeout_us is None else source.timeout_us for source in population]
        self._timeout = np.array(timeouts, np.int64)
        self._pools = [source.pool if isinstance(source, ClientSource) else None for source in population]
        self._pooled = np.array([pool is not None for pool in self._pools], np.bool_)

    def columns(self, found: Slice, first: int) -> dict[str, Any]:
        """The columns of a trace for some requests, which are numbered from ``first``."""
        rows, source, own = len(found.arrival_us), found.source, found.columns
        codes = source.astype(np.int32)
        prefix, timeout = self._prefix_length[source], self._timeout[source]
        zeros = np.zeros(rows, np.int64)
        context = zeros if found.rounds is None else found.rounds.context_tokens
        parts = [zeros] * 4 if own.parts is None else list(own.parts.T)
        return {
            "request_id": np.arange(first, first + rows),
            **{name: TextColumn(codes, words) for name, words in self._words.items()},
            "session_id": self._sessions(source, found.rounds),
            "round_index": zeros if found.rounds is None else found.rounds.place,
            "prefix_length": prefix,
            "streaming": self._streaming[source],
            "input_tokens": own.input_tokens,
            **dict(zip(_PARTS, parts, strict=True)),
            "reason_ratio": np.zeros(rows) if own.reason_ratio is None else own.reason_ratio,
            "deadline_us": np.where(timeout == MISSING, MISSING, found.arrival_us + timeout),
            "arrival_time_us": found.arrival_us,
            "prompt_tokens": own.input_tokens + prefix + context,
            "max_output_tokens": self._cap[source],
            "planned_output_tokens": own.output_tokens,
            "client_seq": found.number,
        }

    def put_prompts(self, found: Slice, first: int, segments: SegmentTable) -> None:
        """Note the prompts that come from pools, of requests that are numbered from ``first``."""
        if found.columns.prompt is None:
            return
        rows = np.flatnonzero(self._pooled[found.source])
        own = (column[rows].tolist() for column in (found.source, found.columns.prompt, found.columns.input_tokens))
        for row, source, prompt, tokens in zip(rows.tolist(), *own, strict=True):
            pool, prefix = self._pools[source], int(self._prefix_length[source])
            assert pool is not None
            head = ((self._words["prefix_group"][source], prefix),) if prefix else ()
            segments.put(first + row, (*head, (pool.keys[prompt], tokens), ANSWER))

    def _sessions(self, source: IntArray, rounds: Round | None) -> TextColumn:
        """The ids of the sessions that requests belong to."""
        codes = np.full(len(source), -1, np.int32)
        if rounds is None:
            return TextColumn(codes, ())
        inside = np.flatnonzero(rounds.session >= 0)
        keys, codes[inside] = np.unique(source[inside] << _BITS | rounds.session[inside], return_inverse=True)
        clients = self._words["client_id"]
        pairs = zip((keys >> _BITS).tolist(), (keys & _SESSIONS).tolist(), strict=True)
        return TextColumn(codes, [session_name(clients[client], number) for client, number in pairs])


def _together(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Join the columns of consecutive requests."""
    joined: dict[str, Any] = {}
    for name in parts[0] if parts else ():
        pieces = [part[name] for part in parts]
        joined[name] = _texts(pieces) if isinstance(pieces[0], TextColumn) else np.concatenate(pieces)
    return joined


def _texts(pieces: Sequence[TextColumn]) -> TextColumn:
    if all(piece.words is pieces[0].words for piece in pieces):
        return TextColumn(np.concatenate([piece.codes for piece in pieces]), pieces[0].words)
    firsts = accumulate((len(piece.words) for piece in pieces), initial=0)
    codes = [np.where(piece.codes < 0, -1, piece.codes + first) for piece, first in zip(pieces, firsts, strict=False)]
    return TextColumn(np.concatenate(codes).astype(np.int32), [word for piece in pieces for word in piece.words])
