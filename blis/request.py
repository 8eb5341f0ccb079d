"""Plain data that travels between clients and targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["ANSWER", "ClientFacts", "Outcome", "Parts", "Request", "Segment", "plain"]

Segment = tuple[str | None, int]
"""A stretch of a prompt: (key, tokens). Equal keys mean equal tokens from the stretch's start on; the key None
marks tokens nobody else has. A prompt is a tuple of segments whose tokens add up to its length."""

ANSWER: Segment = (None, 0)
"""Ends a prompt whose last tokens have a key that the output doesn't go on with: each request has its own answer."""

Parts = tuple[int, int, int, int]
"""Tokens of a multimodal request by kind: text, image, audio, video."""


@dataclass(frozen=True, slots=True)
class ClientFacts:
    """What all requests of one client have in common; a trace repeats it on each row.

    ``slo_class`` is the label as written. ``prefix_length`` counts the tokens of ``prefix_group`` that start every
    prompt.
    """

    client_id: str
    tenant_id: str = ""
    slo_class: str = ""
    model: str = ""
    streaming: bool = True
    prefix_group: str = ""
    prefix_length: int = 0


@dataclass(slots=True, eq=False)
class Request:
    """One request as its client sends it.

    Times are whole microseconds since the run's start. ``input_tokens`` is the request's own part of the prompt;
    ``prompt_tokens`` is prefix + session context + own part, and the sum over ``segments``. ``output_tokens`` is how
    many tokens the model would produce, capped at ``max_output_tokens`` already (0: no cap); ``capped`` says whether
    the cap cut it. ``deadline_us`` is absolute, None without one. ``client_seq`` numbers the requests that the client
    has planned, from 0, sent or not, so that it is the same in every run of a workload. ``parts`` is None unless the
    request is multimodal. ``request_id`` is given by the target, in order of arrival.
    """

    client: ClientFacts
    client_seq: int
    arrival_us: int
    input_tokens: int
    prompt_tokens: int
    segments: tuple[Segment, ...]
    output_tokens: int
    max_output_tokens: int = 0
    capped: bool = False
    deadline_us: int | None = None
    session_id: str = ""
    round_index: int = 0
    parts: Parts | None = None
    reason_ratio: float = 0.0
    request_id: int = -1

    @property
    def context_tokens(self) -> int:
        """Tokens of the session's earlier rounds in the prompt; 0 in the first round, and outside sessions."""
        return self.prompt_tokens - self.client.prefix_length - self.input_tokens if self.round_index else 0


def plain(request: Request) -> bool:
    """Whether the columns of a trace tell the request's segments.

    They do where a prompt is the client's prefix, if it has one, and then either tokens that nobody shares or, under
    the session's id as key, all of the session's tokens so far; there are earlier ones from its second round on.
    """
    facts = request.client
    *head, (key, _) = request.segments
    if head != ([(facts.prefix_group, facts.prefix_length)] if facts.prefix_length else []):
        return False
    context = request.prompt_tokens - facts.prefix_length - request.input_tokens
    if key is None:
        return not context
    return key == request.session_id != "" and (context > 0 or not request.round_index)


class Outcome(NamedTuple):
    """How a request ended: a status of :class:`blis.trace.Status`, its reported times and what was produced.

    ``first_token_us`` and ``last_token_us`` are None where no token came.
    """

    request_id: int
    status: str
    output_tokens: int
    first_token_us: int | None
    last_token_us: int | None
