"""An HTTP/1.1 connection on which requests follow one another."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Protocol, cast

import httptools

from blis.trace.status import Status

__all__ = ["Connection", "Exchange", "Owner"]

_LINGER_S = 1.0


class Exchange(Protocol):
    """One request's side of a connection: told what comes back."""

    def opened(self, status: int, headers: dict[bytes, bytes]) -> None:
        """The answer has begun; names of headers are in lower case."""
        ...

    def body(self, data: bytes, at_ns: int) -> None:
        """A part of the body arrived at ``at_ns`` (of :func:`time.monotonic_ns`)."""
        ...

    def closed(self, status: Status | None, message: str, at_ns: int) -> None:
        """The answer has ended, in good order as far as HTTP goes if ``status`` is None, else for that reason."""
        ...


class Owner(Protocol):
    """Who keeps connections."""

    def give(self, connection: Connection) -> None:
        """Take back a connection that is free again."""
        ...

    def forget(self, connection: Connection) -> None:
        """Note that a connection is no more."""
        ...


class Connection(asyncio.Protocol):
    """Sends bytes and reads answers with llhttp, each stamped when its bytes arrive, before they are looked at.

    aiohttp's client takes about ten times as long per answer of ten chunks, which would halve the load that one
    process can generate honestly.

    ``requests`` counts those sent; ``heard_ns`` is when the last byte came, 0 if none has since the last request.
    """

    def __init__(self, owner: Owner) -> None:
        self.requests = 0
        self.heard_ns = 0
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._exchange: Exchange | None = None
        self._parser: Any = httptools.HttpResponseParser(self)
        self._headers: dict[bytes, bytes] = {}
        self._status = 0

    @property
    def usable(self) -> bool:
        """Whether a request can be sent now."""
        return self._exchange is None and self._transport is not None and not self._transport.is_closing()

    def send(self, exchange: Exchange, data: bytes) -> int:
        """Send a whole request and return the time at which it was handed over, of :func:`time.monotonic_ns`."""
        assert self._transport is not None
        self._exchange = exchange
        self.requests += 1
        self.heard_ns = self._status = 0
        at_ns = time.monotonic_ns()
        self._transport.write(data)
        return at_ns

    def abort(self) -> None:
        """Close at once; the exchange, if any, hears no more."""
        self._exchange = None
        if self._transport is not None:
            self._transport.abort()

    def linger(self, exchange: Exchange) -> None:
        """Close soon unless the answer ends by itself: its meaning is complete, the HTTP message not yet."""
        asyncio.get_running_loop().call_later(_LINGER_S, self._abort_if, exchange)

    def _abort_if(self, exchange: Exchange) -> None:
        if self._exchange is exchange:
            self.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of :class:`asyncio.Protocol`."""
        # uvloop's transports are not of asyncio's classes.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Part of :class:`asyncio.Protocol`."""
        self.heard_ns = time.monotonic_ns()
        if self._exchange is None:
            # Nobody asked: whatever this is, no answer can be trusted after it.
            self.abort()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            raise error.__context__ or error from None
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            exchange = self._exchange
            self.abort()
            if exchange is not None:
                exchange.closed(Status.MALFORMED, f"the answer isn't HTTP/1.1: {error}", self.heard_ns)

    def connection_lost(self, error: Exception | None) -> None:
        """Part of :class:`asyncio.Protocol`."""
        exchange, self._exchange = self._exchange, None
        self._owner.forget(self)
        if exchange is None:
            return
        at_ns = time.monotonic_ns()
        sized = b"content-length" in self._headers or b"transfer-encoding" in self._headers
        if self._status and not sized and error is None:
            exchange.closed(None, "", at_ns)
            return
        how = "was reset" if isinstance(error, ConnectionResetError) else "was closed by the server"
        if error is not None and not isinstance(error, ConnectionResetError):
            how = f"broke: {error}"
        where = "in the middle of the answer" if self.heard_ns else "before any answer"
        exchange.closed(Status.DISCONNECTED, f"the connection {how} {where}", at_ns)

    def on_message_begin(self) -> None:
        """Part of httptools' protocol."""
        self._headers = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        """Part of httptools' protocol."""
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """Part of httptools' protocol."""
        status = self._parser.get_status_code()
        if status >= 200 and self._exchange is not None:
            self._status = status
            self._exchange.opened(status, self._headers)

    def on_body(self, data: bytes) -> None:
        """Part of httptools' protocol."""
        if self._exchange is not None:
            self._exchange.body(data, self.heard_ns)

    def on_message_complete(self) -> None:
        """Part of httptools' protocol."""
        exchange, transport = self._exchange, self._transport
        if exchange is None or transport is None or not self._status:
            # An interim answer (100 Continue), or nobody is interested any more.
            return
        self._exchange = None
        if transport.is_closing() or not self._parser.should_keep_alive():
            transport.close()
        else:
            self._owner.give(self)
        exchange.closed(None, "", self.heard_ns)
