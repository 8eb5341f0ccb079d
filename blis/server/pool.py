"""Connections to one server: looked up once, opened as needed, used again where the server allows it."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import time
from array import array
from collections.abc import Coroutine
from typing import Any

from blis.server.address import Address
from blis.server.connection import Connection, Exchange
from blis.trace.status import Status

__all__ = ["ConnectError", "Pool", "Response"]


_ROUND_TRIPS = 5


class ConnectError(Exception):
    """A server that can't be reached; the text names URL and cause."""


class Response:
    """The whole answer to a request whose times don't matter; also the exchange that gathers it."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.content = b""
        self._parts: list[bytes] = []
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def opened(self, status: int, headers: dict[bytes, bytes]) -> None:
        """Part of :class:`blis.server.connection.Exchange`."""
        self.status, self.headers = status, headers

    def body(self, data: bytes, at_ns: int) -> None:
        """Part of :class:`blis.server.connection.Exchange`."""
        self._parts.append(data)

    def closed(self, status: Status | None, message: str, at_ns: int) -> None:
        """Part of :class:`blis.server.connection.Exchange`."""
        self.content = b"".join(self._parts)
        if self._over.done():
            return
        if status is None:
            self._over.set_result(None)
        else:
            self._over.set_exception(ConnectError(message))

    async def finished(self) -> None:
        """Wait for the end; raises :class:`ConnectError` where there was none in good order."""
        await self._over


class Pool:
    """The connections of one client process to one server.

    ``setup_us`` has the time that every new connection took, TCP and TLS together.
    """

    def __init__(self, address: Address, connect_timeout_s: float = 10.0) -> None:
        self.address = address
        self.setup_us = array("q")
        self._timeout_s = connect_timeout_s
        self._tls = ssl.create_default_context() if address.scheme == "https" else None
        self._hosts: list[str] = []
        self._idle: dict[Connection, None] = {}
        self._open: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._all_closed: asyncio.Event = asyncio.Event()
        self._closing = False

    async def resolve(self) -> None:
        """Look the host up, for the whole run.

        Raises:
            ConnectError: where the name is unknown.
        """
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(self.address.host, self.address.port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise ConnectError(f"can't connect to {self.address}: {error.strerror or error}") from None
        self._hosts = list(dict.fromkeys(str(entry[4][0]) for entry in found))

    def take(self) -> Connection | None:
        """An idle connection, the one used last, or None."""
        while self._idle:
            connection, _ = self._idle.popitem()
            if connection.usable:
                return connection
        return None

    async def connect(self) -> Connection:
        """Open a connection.

        Raises:
            ConnectError: where that doesn't succeed.
        """
        if not self._hosts:
            await self.resolve()
        began_ns = time.monotonic_ns()
        try:
            async with asyncio.timeout(self._timeout_s):
                connection = await self._first_that_answers()
        except TimeoutError:
            raise ConnectError(f"can't connect to {self.address}: no answer within {self._timeout_s:g} s") from None
        except OSError as error:
            raise ConnectError(f"can't connect to {self.address}: {_cause(error)}") from None
        self.setup_us.append((time.monotonic_ns() - began_ns) // 1000)
        self._open.add(connection)
        return connection

    async def prepare(self, count: int) -> ConnectError | None:
        """Open ``count`` connections, to be there when they are needed; return why one of them wasn't, if so."""
        opened = await asyncio.gather(*(self.connect() for _ in range(count)), return_exceptions=True)
        failure = None
        for connection in opened:
            if isinstance(connection, Connection):
                self.give(connection)
            elif isinstance(connection, ConnectError):
                failure = connection
            else:
                raise connection
        return failure

    async def round_trip_us(self) -> int:
        """Return the shortest time of a few TCP handshakes: the network's round trip, without the server's thinking.

        Raises:
            ConnectError: where there is no connection to be had.
        """
        self.give(await self.connect())
        loop, host = asyncio.get_running_loop(), self._hosts[0]
        times = []
        for _ in range(_ROUND_TRIPS):
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
                probe.setblocking(False)
                began_ns = time.monotonic_ns()
                try:
                    async with asyncio.timeout(self._timeout_s):
                        await loop.sock_connect(probe, (host, self.address.port))
                except OSError as error:
                    raise ConnectError(f"can't connect to {self.address}: {_cause(error)}") from None
                times.append((time.monotonic_ns() - began_ns) // 1000)
        return min(times)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` as a task that ends with the pool."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_over)

    def _task_over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            task.get_loop().call_exception_handler({"message": "a task failed", "exception": error, "task": task})

    async def fetch(self, head: bytes, timeout_s: float = 30.0) -> Response:
        """Send a whole request and gather its answer.

        Raises:
            ConnectError: where no connection or no whole answer can be had.
        """
        connection = self.take() or await self.connect()
        response = Response()
        exchange: Exchange = response
        connection.send(exchange, head)
        try:
            async with asyncio.timeout(timeout_s):
                await response.finished()
        except TimeoutError:
            connection.abort()
            raise ConnectError(f"no answer from {self.address} within {timeout_s:g} s") from None
        return response

    def give(self, connection: Connection) -> None:
        """Keep a connection that is free for another request."""
        if self._closing:
            connection.abort()
        else:
            self._idle[connection] = None

    def forget(self, connection: Connection) -> None:
        """Note that a connection is no more."""
        self._idle.pop(connection, None)
        self._open.discard(connection)
        if not self._open:
            self._all_closed.set()

    async def close(self) -> None:
        """End everything that is under way; when this returns, no socket and no task is left."""
        self._closing = True
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection in tuple(self._open):
            connection.abort()
        while self._open:
            self._all_closed.clear()
            await self._all_closed.wait()

    def _new_connection(self) -> Connection:
        return Connection(self)

    async def _first_that_answers(self) -> Connection:
        loop = asyncio.get_running_loop()
        name = self.address.host if self._tls is not None else None
        for host in tuple(self._hosts):
            try:
                _, connection = await loop.create_connection(
                    self._new_connection, host, self.address.port, ssl=self._tls, server_hostname=name
                )
            except ssl.SSLError:
                raise
            except OSError as error:
                failure = error
                continue
            # The address that answered is asked first the next time.
            self._hosts.remove(host)
            self._hosts.insert(0, host)
            return connection
        raise failure


def _cause(error: OSError) -> str:
    if isinstance(error, TimeoutError) and not error.errno:
        return "no answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate isn't trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or error}"
    return os.strerror(error.errno).lower() if error.errno else str(error)
