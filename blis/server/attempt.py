"""One attempt at a request: what comes back on its connection, and which status that makes."""

from __future__ import annotations

import time
from collections.abc import Callable

from blis.server.answer import Answer, excerpt, failure_text
from blis.server.connection import Connection
from blis.server.sse import EventStream
from blis.trace.status import Status

__all__ = ["Attempt"]

_TOO_BUSY = (429, 503)
_STREAM_KINDS = (b"text/event-stream", b"")
_MOST_BODY = 1 << 28


class Attempt:
    """The exchange that carries a request.

    ``status`` is None until the attempt is over; then ``message`` says why, and ``ended`` is called. Times are of
    :func:`time.monotonic_ns`, 0 where they never came. ``stale`` says that the server had closed the connection, an
    idle one, before it can have seen the request: that is no failure of the request.
    """

    __slots__ = (
        "_body", "_connection", "_ended", "_kind", "_size", "_stream", "_streaming", "answer", "ended_ns",
        "http_status", "message", "retry_after", "sent_ns", "stale", "status",
    )  # fmt: skip

    def __init__(self, streaming: bool, keep: bool, ended: Callable[[], None]) -> None:
        self.answer = Answer(keep)
        self.status: Status | None = None
        self.message = ""
        self.http_status = self.sent_ns = self.ended_ns = 0
        self.retry_after = b""
        self.stale = False
        self._streaming = streaming
        self._ended = ended
        self._connection: Connection | None = None
        self._stream: EventStream | None = None
        self._kind = b""
        self._body: list[bytes] = []
        self._size = 0

    @property
    def heard_ns(self) -> int:
        """When the last byte came."""
        return self._connection.heard_ns if self._connection is not None else 0

    def send(self, connection: Connection, data: bytes) -> None:
        """Send the request."""
        self._connection = connection
        self.sent_ns = connection.send(self, data)

    def give_up(self, status: Status, message: str) -> None:
        """End for a reason of our own; does nothing if the attempt is over."""
        if self.status is None:
            self._over(status, self._so_far(message), time.monotonic_ns())

    def opened(self, status: int, headers: dict[bytes, bytes]) -> None:
        """Part of :class:`blis.server.connection.Exchange`."""
        self.http_status = status
        self.retry_after = headers.get(b"retry-after", b"")
        self._kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
        if status == 200 and self._streaming and self._kind in _STREAM_KINDS:
            self._stream = EventStream()

    def body(self, data: bytes, at_ns: int) -> None:
        """Part of :class:`blis.server.connection.Exchange`."""
        if self.status is not None:
            return
        stream, answer = self._stream, self.answer
        if stream is not None:
            for name, text in stream.feed(data):
                answer.event(name, text, at_ns)
        if not answer.events:
            # A document; or a stream that isn't one, to be shown in the message.
            self._body.append(data)
            self._size += len(data)
        if answer.status is not None:
            self._over(answer.status, answer.message, at_ns)
        elif answer.done:
            self._end_stream(at_ns)
        elif self._size > _MOST_BODY:
            self._over(Status.MALFORMED, f"no end and no event in {_MOST_BODY:,} bytes", at_ns)

    def closed(self, status: Status | None, message: str, at_ns: int) -> None:
        """Part of :class:`blis.server.connection.Exchange`."""
        if self.status is not None:
            return
        connection, self._connection = self._connection, None
        if status is not None:
            reused = connection is not None and connection.requests > 1 and not connection.heard_ns
            self.stale = reused and status is Status.DISCONNECTED
            self._over(status, self._so_far(message), at_ns)
        elif self.http_status != 200:
            self._refused(at_ns)
        elif self._stream is not None:
            self._end_stream(at_ns)
        else:
            self._end_document(at_ns)

    def _end_stream(self, at_ns: int) -> None:
        answer = self.answer
        if answer.events or not self._size:
            answer.close_stream()
        else:
            answer.fail(Status.MALFORMED, f"the stream has no event: {excerpt(b''.join(self._body))}")
        self._over(answer.status or Status.OK, answer.message, at_ns)

    def _end_document(self, at_ns: int) -> None:
        """End with a whole document. Where a stream was asked for, it's an error, or its times mean nothing."""
        answer, body = self.answer, b"".join(self._body)
        if not self._streaming or self._kind == b"application/json":
            answer.document(body, at_ns)
        if self._streaming:
            del answer.chunk_ns[:]
            kind = self._kind.decode("latin-1")
            answer.fail(Status.MALFORMED, f"asked for a stream, got {kind}: {excerpt(body)}")
        self._over(answer.status or Status.OK, answer.message, at_ns)

    def _refused(self, at_ns: int) -> None:
        status = Status.REJECTED if self.http_status in _TOO_BUSY else Status.HTTP_ERROR
        text = failure_text(b"".join(self._body))
        self._over(status, f"HTTP {self.http_status}{': ' if text else ''}{text}", at_ns)

    def _so_far(self, message: str) -> str:
        chunks = len(self.answer.chunk_ns)
        return f"{message}, after {chunks} chunk{'' if chunks == 1 else 's'} with tokens" if chunks else message

    def _over(self, status: Status, message: str, at_ns: int) -> None:
        self.status, self.message, self.ended_ns = status, message, at_ns
        connection, self._connection = self._connection, None
        if connection is not None:
            if self.answer.done:
                connection.linger(self)
            else:
                connection.abort()
        # Nobody else is needed any more: without this, call and attempt would be a cycle for the garbage collector.
        ended, self._ended = self._ended, _nobody
        ended()


def _nobody() -> None:
    pass
