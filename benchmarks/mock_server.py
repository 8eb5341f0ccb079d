"""A server that answers every completion the same way and costs next to nothing, to measure a client against.

Streams a fixed number of chunks at a fixed pace, and keeps, by X-Request-Id, when each request had arrived whole and
when its first chunk was handed to the socket, on the clock that all processes of a machine share. ``GET /times`` gives
them as JSON and forgets them. Run it as a script; it prints its port.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import sys
import time
from typing import ClassVar

CHUNK = (
    b'data: {"id":"cmpl-9a14b59d9d608ad4","object":"text_completion","created":1795403716,"model":"mock","choices":'
    b'[{"index":0,"text":" word","logprobs":null,"finish_reason":null,"stop_reason":null,"token_ids":null}]}\n\n'
)
LAST = CHUNK.replace(b'"finish_reason":null', b'"finish_reason":"length"')
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\n%b\r\n"
MODELS = b'{"object":"list","data":[{"id":"mock","object":"model","owned_by":"blis","max_model_len":1000000}]}'


def chunked(data: bytes) -> bytes:
    """One chunk of a body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def usage(prompt: int, output: int) -> bytes:
    """The event with the counts of tokens, and the end marker."""
    counts = {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}
    return b'data: {"id":"cmpl","choices":[],"usage":%b}\n\ndata: [DONE]\n\n' % json.dumps(counts).encode()


class Server(asyncio.Protocol):
    """One connection."""

    times: ClassVar[dict[str, list[int]]] = {}
    first_s = 0.02
    gap_s = 0.01
    chunks = 10

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.received = b""

    def connection_made(self, transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        at_ns = time.monotonic_ns()
        self.received += data
        head, found, body = self.received.partition(b"\r\n\r\n")
        if not found:
            return
        headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        if len(body) < int(headers.get(b"content-length", b"0")):
            return
        self.received = b""
        if head.startswith(b"GET /times"):
            self.whole(json.dumps(self.times).encode())
            self.times.clear()
        elif b"/completions " not in head:
            self.whole(MODELS)
        else:
            request = headers.get(b"x-request-id", b"").decode()
            # Ids in an array, or words in a text.
            start = body.find(b'"prompt":') + len(b'"prompt":')
            ids = body.startswith(b"[", start)
            tokens = 1 + (body.count(b",", start, body.find(b"]")) if ids else body.count(b" ", start))
            self.loop.call_later(self.first_s, self.step, 0, request, at_ns, tokens)

    def whole(self, body: bytes) -> None:
        self.transport.write(HEAD % (b"application/json", b"content-length: %d\r\n" % len(body)) + body)

    def step(self, number: int, request: str, received_ns: int, prompt: int) -> None:
        data = chunked(CHUNK)
        if number == 0:
            data = HEAD % (b"text/event-stream", b"transfer-encoding: chunked\r\n") + data
            self.times[request] = [received_ns, time.monotonic_ns()]
        if number + 1 < self.chunks:
            self.transport.write(data)
            self.loop.call_later(self.gap_s, self.step, number + 1, request, received_ns, prompt)
        else:
            self.transport.write(chunked(LAST) + chunked(usage(prompt, self.chunks)) + b"0\r\n\r\n")


async def main(port: int) -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", port, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    gc.freeze()
    gc.disable()
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--first-ms", type=float, default=20.0)
    parser.add_argument("--gap-ms", type=float, default=10.0)
    parser.add_argument("--chunks", type=int, default=10)
    options = parser.parse_args()
    Server.first_s, Server.gap_s = options.first_ms / 1e3, options.gap_ms / 1e3
    Server.chunks = options.chunks
    try:
        import uvloop
    except ImportError:
        uvloop = None
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop if uvloop else None) as runner:
            runner.run(main(options.port))
    except KeyboardInterrupt:
        sys.exit(0)
