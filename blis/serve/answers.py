"""Answers on their way to clients, in good order or not."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Any, cast

from aiohttp import HttpVersion11, web

from blis.request import Outcome
from blis.serve.asked import Asked, Refusal
from blis.serve.faults import Fault, Trouble
from blis.serve.prefixes import Prompt
from blis.serve.tokens import Words
from blis.serve.wire import DONE, Wire
from blis.trace.status import Status

__all__ = ["Answer", "Speech", "StreamedAnswer", "WholeAnswer"]

_MOST_BUFFERED = 1 << 18
_NO_JSON = b'data: {"id": "cmpl-0", "choices": [{"index": 0, "te\n\n'


class Speech:
    """What is said in an answer of ``output`` tokens, as its client wants it."""

    def __init__(self, asked: Asked, prompt: Prompt, output: int, words: Words, wire: Wire) -> None:
        self.output = output
        self.finish = "length" if output == asked.max_tokens else "stop"
        self._asked = asked
        self._start = prompt.digest
        self._words = words
        self._wire = wire

    def chunk(self, first: int, last: int, finish: str | None = None) -> bytes:
        """Return the events of tokens ``first`` to ``last``, the last excluded."""
        ids = self._words.ids(self._start, first, last) if self._asked.return_ids else None
        usage = self._usage(last) if self._asked.continuous_usage else None
        role = b"" if first else self._wire.role()
        return role + self._wire.chunk(self._words.text(self._start, first, last), ids, finish, usage)

    def end(self, cached: int) -> bytes:
        """Return the events behind the last token."""
        return (self._wire.usage(self._usage(self.output, cached)) if self._asked.include_usage else b"") + DONE

    def whole(self, cached: int) -> bytes:
        """Return the answer as one document."""
        ids = self._words.ids(self._start, 0, self.output) if self._asked.return_ids else None
        text = self._words.text(self._start, 0, self.output)
        return self._wire.whole(text, ids, self.finish, self._usage(self.output, cached))

    def ids(self) -> list[int]:
        """Return all tokens."""
        return self._words.ids(self._start, 0, self.output)

    def _usage(self, output: int, cached: int | None = None) -> dict[str, Any]:
        prompt = len(self._asked.tokens)
        usage: dict[str, Any] = {"prompt_tokens": prompt, "total_tokens": prompt + output, "completion_tokens": output}
        return usage if cached is None else usage | {"prompt_tokens_details": {"cached_tokens": cached}}


class Answer(ABC):
    """Waits for what the simulation says of one request (a :class:`blis.serve.live.Listener`), and passes it on.

    ``over`` is done when there is nothing more to say, or nothing at all: then it has a :class:`Refusal`.
    """

    def __init__(self, speech: Speech, trouble: Trouble | None) -> None:
        self.speech = speech
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.trouble = trouble

    @abstractmethod
    async def respond(self, http: web.Request) -> web.StreamResponse:
        """Answer, as soon as there is something to say, until all is said.

        Raises:
            Refusal: there will be no answer.
        """

    def began(self) -> None:  # noqa: B027 - only streams have something to say then
        """See :class:`blis.serve.live.Listener`."""

    def grew(self, tokens: int) -> None:  # noqa: B027
        """See :class:`blis.serve.live.Listener`."""

    def ended(self, outcome: Outcome, cached: int) -> None:
        """See :class:`blis.serve.live.Listener`."""
        if self.over.done():
            return
        if outcome.status == Status.OK:
            self.complete(cached)
        else:
            self.refuse(outcome.status)

    @abstractmethod
    def complete(self, cached: int) -> None:
        """Say the last there is to say; ``cached`` tokens of the prompt needed no computing."""

    def cut(self) -> None:
        """End the answer here and now, since the server stops."""
        if not self.over.done():
            self.refuse(Status.CANCELLED)

    def refuse(self, status: str) -> None:
        """Give no answer."""
        match status:
            case Status.REJECTED:
                refusal = Refusal("The server is too busy: it refuses the request.", None, 429, "TooManyRequestsError")
            case Status.CANCELLED:
                refusal = Refusal("The server is shutting down.", None, 503, "ServiceUnavailableError")
            case _:
                refusal = Refusal("The request fits none of the instances it could be sent to, however idle they are.")
        self.over.set_exception(refusal)


class WholeAnswer(Answer):
    """An answer in one document."""

    def __init__(self, speech: Speech, trouble: Trouble | None) -> None:
        super().__init__(speech, trouble)
        self._cached = 0

    async def respond(self, http: web.Request) -> web.StreamResponse:
        """See :class:`Answer`."""
        await self.over
        body = self.speech.whole(self._cached)
        if self.trouble is not None:
            if self.trouble.fault is Fault.DISCONNECT and http.transport is not None:
                http.transport.abort()
            body = body[: len(body) // 2]
        return web.Response(body=body, content_type="application/json")

    def complete(self, cached: int) -> None:
        """See :class:`Answer`."""
        self._cached = cached
        if self.trouble is None or self.trouble.fault is not Fault.HANG:
            self.over.set_result(None)


class StreamedAnswer(Answer):
    """An answer in events, each written in the moment its tokens fall due.

    They go to the connection without a detour through a task, which would have to be woken for each. A client that
    reads slowly gets several tokens in an event.
    """

    def __init__(self, speech: Speech, trouble: Trouble | None) -> None:
        super().__init__(speech, trouble)
        self._begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport | None = None
        self._chunked = False
        self._due = 0
        self._sent = 0
        self._cached: int | None = None

    async def respond(self, http: web.Request) -> web.StreamResponse:
        """See :class:`Answer`."""
        await asyncio.wait((self._begun, self.over), return_when=asyncio.FIRST_COMPLETED)
        if self.over.done():
            await self.over
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(http)
        # uvloop's transports are not of asyncio's classes.
        self._transport = cast(asyncio.Transport, http.transport)
        self._chunked = http.version >= HttpVersion11
        self._send()
        await self.over
        with suppress(ConnectionResetError):
            # A client may leave when it has read the last event.
            await response.write_eof()
        return response

    def began(self) -> None:
        """See :class:`blis.serve.live.Listener`."""
        if not self._begun.done():
            self._begun.set_result(None)

    def grew(self, tokens: int) -> None:
        """See :class:`blis.serve.live.Listener`."""
        self._due = tokens
        self._send()

    def complete(self, cached: int) -> None:
        """See :class:`Answer`."""
        self._due, self._cached = self.speech.output, cached
        self.began()
        self._send()

    def cut(self) -> None:
        """See :class:`Answer`."""
        if self._transport is None:
            super().cut()
        elif not self.over.done():
            self._write(self.speech.chunk(self._sent, self._sent, "abort") + DONE)
            self.over.set_result(None)

    def _send(self) -> None:
        """Write what is due, unless the client has enough to read."""
        transport = self._transport
        if transport is None or self.over.done() or transport.is_closing():
            return
        complete = self._cached is not None
        if not complete and transport.get_write_buffer_size() > _MOST_BUFFERED:
            return
        if self.trouble is not None and self._due >= (stop := int(self.trouble.share * self.speech.output)):
            self._fail(transport, self.trouble.fault, stop)
        elif self._cached is not None:
            self._write(self.speech.chunk(self._sent, self._due, self.speech.finish) + self.speech.end(self._cached))
            self.over.set_result(None)
        elif self._due > self._sent:
            self._write(self.speech.chunk(self._sent, self._due))
            self._sent = self._due

    def _fail(self, transport: asyncio.Transport, fault: Fault, stop: int) -> None:
        """Send what comes before token ``stop``; in its place comes the trouble."""
        if stop > self._sent:
            self._write(self.speech.chunk(self._sent, stop))
            self._sent = stop
        if fault is Fault.DISCONNECT:
            transport.abort()
        elif fault is Fault.MALFORMED:
            self._write(_NO_JSON)
            self.trouble = None
            self._send()

    def _write(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
