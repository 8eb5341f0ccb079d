"""An OpenAI-compatible server in which everything can go wrong: the model's name says what does."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

TOKENS = 3
"""Tokens of every whole answer, each in a chunk of its own where it is streamed."""


class Exchange:
    """One request, and ways to answer it."""

    def __init__(self, writer: asyncio.StreamWriter, body: dict[str, Any], chat: bool) -> None:
        self.writer = writer
        self.body = body
        self.chat = chat
        self.streaming = bool(body.get("stream"))

    def raw(self, data: bytes) -> None:
        self.writer.write(data)

    def head(self, status: int = 200, kind: str = "", *headers: str) -> None:
        kind = kind or ("text/event-stream; charset=utf-8" if self.streaming else "application/json")
        lines = [f"HTTP/1.1 {status} Whatever", f"Content-Type: {kind}", *headers, "", ""]
        self.raw("\r\n".join(lines).encode())

    def whole(self, data: bytes, status: int = 200, kind: str = "application/json", *headers: str) -> None:
        self.head(status, kind, f"Content-Length: {len(data)}", *headers)
        self.raw(data)

    def chunk(self, data: bytes) -> None:
        self.raw(b"%x\r\n%b\r\n" % (len(data), data))

    def event(self, value: Any) -> None:
        self.chunk(b"data: " + (value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n\n")

    def token(self, number: int, finish: str | None = None) -> dict[str, Any]:
        said = {"delta": {"content": f" t{number}"}} if self.chat else {"text": f" t{number}"}
        return {"choices": [{"index": 0, **said, "finish_reason": finish}]}

    @property
    def usage(self) -> dict[str, Any]:
        return {"usage": {"prompt_tokens": 7, "completion_tokens": TOKENS, "total_tokens": 7 + TOKENS}}

    @property
    def document(self) -> dict[str, Any]:
        said = {"message": {"role": "assistant", "content": " t0 t1 t2"}} if self.chat else {"text": " t0 t1 t2"}
        return {"choices": [{"index": 0, **said, "finish_reason": "length"}], **self.usage}

    def begin(self) -> None:
        """Head and first token of a stream, or the head of a document and its first half."""
        if self.streaming:
            self.head(200, "", "Transfer-Encoding: chunked")
            if self.chat:
                self.event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
            self.event(self.token(0))
        else:
            data = json.dumps(self.document).encode()
            self.head(200, "", f"Content-Length: {len(data)}")
            self.raw(data[: len(data) // 2])

    def rest(self, usage: bool = True, done: bool = True, end: bool = True) -> None:
        """What is left of a stream after :meth:`begin`."""
        self.event(self.token(1))
        self.event(self.token(2, "length"))
        if usage:
            self.event({"choices": [], **self.usage})
        if done:
            self.event(b"[DONE]")
        if end:
            self.raw(b"0\r\n\r\n")

    async def good(self) -> None:
        """Answer as one should."""
        if self.streaming:
            self.begin()
            await asyncio.sleep(0.005)
            self.rest()
        else:
            self.whole(json.dumps(self.document).encode())

    def reset(self) -> None:
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


async def hang(_: Exchange) -> None:
    await asyncio.sleep(3600)


async def no_done(x: Exchange) -> None:
    x.begin()
    x.rest(done=False)


async def done_then_hang(x: Exchange) -> None:
    x.begin()
    x.rest(end=False)
    await hang(x)


async def no_usage(x: Exchange) -> None:
    if x.streaming:
        x.begin()
        x.rest(usage=False)
    else:
        x.whole(json.dumps({"choices": x.document["choices"]}).encode())


async def byte_by_byte(x: Exchange) -> None:
    """Comments, CRLF and data without a blank, every byte on its own."""
    if not x.streaming:
        await x.good()
        return
    x.head(200, "", "Transfer-Encoding: chunked")
    stream = b": hello\r\n\r\n"
    for value in (x.token(0), x.token(1), x.token(2, "length"), {"choices": [], **x.usage}):
        stream += b"data:" + json.dumps(value).encode() + b"\r\n\r\n"
    for byte in stream + b"data:[DONE]\r\n\r\n":
        x.chunk(bytes([byte]))
    x.raw(b"0\r\n\r\n")


async def interim_answer(x: Exchange) -> None:
    x.raw(b"HTTP/1.1 100 Continue\r\n\r\n")
    await x.good()


async def until_closed(x: Exchange) -> None:
    """Neither length nor chunks: the end of the connection is the end of the answer."""
    x.head(200, "", "Connection: close")
    if x.streaming:
        for value in (x.token(0), x.token(1), x.token(2, "length"), {"choices": [], **x.usage}):
            x.raw(b"data: " + json.dumps(value).encode() + b"\n\n")
    else:
        x.raw(json.dumps(x.document).encode())
    x.writer.close()


async def closes_when_idle(x: Exchange) -> None:
    """Promises to keep the connection and closes it."""
    await x.good()
    x.writer.close()


async def error(x: Exchange, status: int, *headers: str) -> None:
    x.whole(json.dumps({"error": {"message": f"no {status}", "code": status}}).encode(), status, "", *headers)


async def html_404(x: Exchange) -> None:
    x.whole(b"<html><body>nothing here</body></html>", 404, "text/html")


async def error_without_end(x: Exchange) -> None:
    x.head(500, "application/json", "Content-Length: 100")
    x.raw(b'{"error": ')
    await hang(x)


async def closed_before(x: Exchange) -> None:
    x.writer.close()


async def reset_before(x: Exchange) -> None:
    x.reset()


async def closed_within(x: Exchange) -> None:
    x.begin()
    await asyncio.sleep(0.01)
    x.writer.close()


async def reset_within(x: Exchange) -> None:
    x.begin()
    await asyncio.sleep(0.01)
    x.reset()


async def head_only(x: Exchange) -> None:
    x.head(200, "", "Content-Length: 50")
    x.writer.close()


async def truncated(x: Exchange) -> None:
    if x.streaming:
        x.begin()
        x.raw(b"0\r\n\r\n")
    else:
        x.whole(json.dumps(x.document).encode()[:-9])


async def hang_within(x: Exchange) -> None:
    x.begin()
    await hang(x)


async def endless(x: Exchange) -> None:
    """Never silent, never over."""
    x.begin()
    while not x.writer.is_closing():
        await asyncio.sleep(0.02)
        if x.streaming:
            x.event(x.token(1))
        else:
            x.raw(b" ")


async def html_200(x: Exchange) -> None:
    x.whole(b"<html><body>please log in</body></html>", 200, "text/html")


async def bad_json(x: Exchange) -> None:
    if x.streaming:
        x.begin()
        x.event(b'{"choices": [')
        x.rest()
    else:
        x.whole(b'{"choices": [')


async def wrong_shape(x: Exchange) -> None:
    if x.streaming:
        x.begin()
        x.event({"choices": ["no"]})
        x.rest()
    else:
        x.whole(b'{"choices": [17]}')


async def error_inside(x: Exchange, code: int) -> None:
    said = {"error": {"message": "it broke", "code": code}}
    if x.streaming:
        x.begin()
        x.event(said)
        x.event(b"[DONE]")
        x.raw(b"0\r\n\r\n")
    else:
        x.whole(json.dumps(said).encode())


async def not_http(x: Exchange) -> None:
    x.raw(b"220 mail.example.org ESMTP\r\n")


async def bad_chunk(x: Exchange) -> None:
    x.head(200, "", "Transfer-Encoding: chunked")
    x.raw(b"zz\r\nhello\r\n")
    await hang(x)


async def empty(x: Exchange) -> None:
    x.whole(b"", 200, "text/event-stream" if x.streaming else "application/json")


async def no_events(x: Exchange) -> None:
    x.whole(b"once upon a time\n\n", 200, "text/event-stream" if x.streaming else "application/json")


async def no_stream(x: Exchange) -> None:
    x.whole(json.dumps(x.document).encode())


async def aborted(x: Exchange) -> None:
    if x.streaming:
        x.begin()
        x.event(x.token(1, "abort"))
        x.raw(b"0\r\n\r\n")
    else:
        x.whole(json.dumps(x.document).replace('"length"', '"abort"').encode())


async def only_done(x: Exchange) -> None:
    if x.streaming:
        x.head(200, "", "Transfer-Encoding: chunked")
        x.event(b"[DONE]")
        x.raw(b"0\r\n\r\n")
    else:
        x.whole(b"[DONE]")


Fault = Callable[[Exchange], Awaitable[None]]

FAULTS: dict[str, tuple[Fault, str, str]] = {
    "good": (Exchange.good, "ok", "ok"),
    "byte_by_byte": (byte_by_byte, "ok", "ok"),
    "interim_answer": (interim_answer, "ok", "ok"),
    "until_closed": (until_closed, "ok", "ok"),
    "closes_when_idle": (closes_when_idle, "ok", "ok"),
    "no_usage": (no_usage, "ok", "ok"),
    "no_done": (lambda x: no_done(x) if x.streaming else x.good(), "ok", "ok"),
    "done_then_hang": (lambda x: done_then_hang(x) if x.streaming else x.good(), "ok", "ok"),
    "http_400": (lambda x: error(x, 400), "http_error", "http_error"),
    "http_401": (lambda x: error(x, 401), "http_error", "http_error"),
    "http_500": (lambda x: error(x, 500), "http_error", "http_error"),
    "http_302": (lambda x: error(x, 302, "Location: /elsewhere"), "http_error", "http_error"),
    "html_404": (html_404, "http_error", "http_error"),
    "busy_429": (lambda x: error(x, 429, "Retry-After: 1"), "rejected", "rejected"),
    "busy_503": (lambda x: error(x, 503), "rejected", "rejected"),
    "busy_inside": (lambda x: error_inside(x, 503), "rejected", "rejected"),
    "error_inside": (lambda x: error_inside(x, 400), "malformed", "malformed"),
    "error_without_end": (error_without_end, "timeout", "timeout"),
    "closed_before": (closed_before, "disconnected", "disconnected"),
    "reset_before": (reset_before, "disconnected", "disconnected"),
    "closed_within": (closed_within, "disconnected", "disconnected"),
    "reset_within": (reset_within, "disconnected", "disconnected"),
    "head_only": (head_only, "disconnected", "disconnected"),
    "truncated": (truncated, "truncated", "malformed"),
    "aborted": (aborted, "truncated", "truncated"),
    "empty": (empty, "truncated", "malformed"),
    "only_done": (only_done, "truncated", "malformed"),
    "hang": (hang, "timeout", "timeout"),
    "hang_within": (hang_within, "timeout", "timeout"),
    "endless": (endless, "timeout", "timeout"),
    "html_200": (html_200, "malformed", "malformed"),
    "bad_json": (bad_json, "malformed", "malformed"),
    "wrong_shape": (wrong_shape, "malformed", "malformed"),
    "no_events": (no_events, "malformed", "malformed"),
    "no_stream": (no_stream, "malformed", "ok"),
    "not_http": (not_http, "malformed", "malformed"),
    "bad_chunk": (bad_chunk, "malformed", "malformed"),
}
"""By model: what the server does, and which status that is, streamed and not."""


class FaultyServer:
    """``received`` has every request's path, headers and body, in order of arrival."""

    def __init__(self) -> None:
        self.received: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.connections = 0
        self.get: dict[str, Any] = {"/v1/models": {"data": [{"id": "good", "object": "model"}]}}
        self.answer: Callable[[Exchange], Awaitable[None]] | None = None
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while not writer.is_closing():
                await self._exchange(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
        headers = dict(line.split(": ", 1) for line in lines)
        data = await reader.readexactly(int(headers.get("Content-Length", 0)))
        method, path, _ = first.split(" ")
        if method == "GET" or path == "/tokenize":
            found = self.get.get(path)
            x = Exchange(writer, {}, False)
            document = found if isinstance(found, bytes) else json.dumps(found or {"detail": "Not Found"}).encode()
            x.whole(document, 200 if found else 404)
        else:
            body = json.loads(data)
            self.received.append((path, headers, body))
            x = Exchange(writer, body, path.endswith("/chat/completions"))
            await (self.answer or FAULTS[body["model"]][0])(x)
        await writer.drain()


@contextmanager
def running(tls: ssl.SSLContext | None = None) -> Iterator[FaultyServer]:
    """A server in a thread of its own; its tasks end with it."""
    server = FaultyServer()
    loop = asyncio.new_event_loop()
    started, stop = threading.Event(), asyncio.Event()

    async def main() -> None:
        listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, backlog=1024, ssl=tls)
        server.url = f"http{'s' if tls else ''}://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        started.set()
        await stop.wait()
        listener.close()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()), daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()
