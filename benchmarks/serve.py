"""How punctual blis serve is: python benchmarks/serve.py [--rate N] [--seconds N] [--quick].

A server in a process of its own streams answers of 20 tokens to requests that come at a constant rate. It notes when
each event of a stream was due by the simulation (the end of a step, and the latency model's overheads behind it) and
when it had been handed to the socket; the client notes when the event arrived. Both clocks are the machine's monotonic
one. The lateness of the server is what `left` says; `arrived` has the sockets' and the client's in it. What the machine
adds by itself is in the line `bare`: a server that neither parses nor simulates, and writes as many events of the same
size at fixed intervals by the same clock.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

TOKENS = 20
GAP_US = 8_000
DEPLOYMENTS: dict[str, dict[str, Any]] = {
    "bare": {},
    "one H100, physics": {"model": "llama-3.1-8b", "hardware": "H100"},
    "one H100, no overheads": {"model": "llama-3.1-8b", "hardware": "H100", "latency": {"model": "roofline"}},
    "four H100, physics": {"model": "llama-3.1-8b", "hardware": "H100", "instances": 4},
}


async def serve(deployment: dict[str, Any]) -> None:
    """Serve until a line comes in, then say when each event was due and had left, in ns, by request."""
    from blis.serve import Server, answers, live

    due: dict[tuple[Any, int], int] = {}
    times: dict[str, list[tuple[int, int]]] = {}
    grow, end, write = live.Call._grow, live.Call.end, answers.StreamedAnswer._write

    def growing(call: Any, tokens: int, first_us: int, last_us: int) -> None:
        due[call._listener, tokens] = last_us
        grow(call, tokens, first_us, last_us)

    def ending(call: Any, answered: Any) -> None:
        due[call._listener, answered.value.output_tokens] = answered.value.last_token_us
        end(call, answered)

    def writing(answer: Any, data: bytes) -> None:
        write(answer, data)
        left = time.monotonic_ns()
        times.setdefault(answer.speech._wire._frame["id"], []).append((env.to_ns(due[answer, answer._due]), left))

    live.Call._grow, live.Call.end, answers.StreamedAnswer._write = growing, ending, writing
    async with Server(deployment) as server:
        env = server._env
        print(server.url, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        used = time.process_time()
    print(json.dumps({"cpu_s": used, "times": times}), flush=True)


class Bare(asyncio.Protocol):
    """Answers whatever comes by a stream of events at fixed intervals."""

    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    event = b"e6\r\ndata: " + b'{"text":'.ljust(222, b".") + b"\n\n\r\n"

    def __init__(self, env: Any, times: dict[str, list[tuple[int, int]]]) -> None:
        self.env, self.times = env, times

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        name = "cmpl-" + data.split(b"X-Request-Id: ")[1].split(b"\r")[0].decode()
        self.noted = self.times.setdefault(name, [])
        self.transport.write(self.head)
        at_us = self.env.clock_us()
        for number in range(1, TOKENS + 1):
            event = self.env.event()
            event.callbacks.append(self.write)
            self.env.complete(event, at_us=at_us + number * GAP_US)

    def write(self, _: Any) -> None:
        self.transport.write(self.event)
        self.noted.append((self.env.to_ns(int(self.env.now)), time.monotonic_ns()))
        if len(self.noted) == TOKENS:
            self.transport.write(b"0\r\n\r\n")


async def serve_bare() -> None:
    """Serve like :func:`serve`, but nothing that is worth anything."""
    from blis.server.wall_clock import WallClockEnvironment

    env, times = WallClockEnvironment(waking_us=0), {}
    clock = asyncio.create_task(env.run_async())
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Bare(env, times), "127.0.0.1", 0, backlog=4096)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await loop.run_in_executor(None, sys.stdin.readline)
    clock.cancel()
    print(json.dumps({"cpu_s": time.process_time(), "times": times}), flush=True)


class Client(asyncio.Protocol):
    """Sends one request on a connection of its own, and notes when what is streamed arrives."""

    def __init__(self, number: int, seen: dict[str, list[int]], prompt: list[int]) -> None:
        body = json.dumps({"prompt": prompt, "max_tokens": TOKENS, "ignore_eos": True, "stream": True}).encode()
        head = (
            f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nX-Request-Id: {number}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self.request = head.encode() + body
        self.over = asyncio.get_running_loop().create_future()
        self.seen = seen.setdefault(f"cmpl-{number}", [])

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.seen += [time.monotonic_ns()] * data.count(b'"text":')
        if data.endswith(b"\r\n0\r\n\r\n") or data == b"0\r\n\r\n":
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self.over.set_result(error)


async def send(url: str, rate: float, seconds: float) -> dict[str, list[int]]:
    """Send requests at a constant rate; returns the times in ns at which events arrived, by request."""
    loop = asyncio.get_running_loop()
    host, port = url.removeprefix("http://").rsplit(":", 1)
    seen: dict[str, list[int]] = {}
    draws = np.random.default_rng(0)
    clients = []
    begin = loop.time()
    for number in range(int(rate * seconds)):
        await asyncio.sleep(begin + number / rate - loop.time())
        client = Client(number, seen, draws.integers(100, 30_000, 128).tolist())
        clients.append((client, asyncio.create_task(loop.create_connection(lambda c=client: c, host, int(port)))))
    for client, connecting in clients:
        await connecting
        await client.over
    return seen


def measure(deployment: dict[str, Any], rate: float, seconds: float) -> str:
    """Serve and send; returns a line of figures in ms."""
    from blis.server.loop import loop_runner

    command = [sys.executable, __file__, "--serve", json.dumps(deployment)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            with loop_runner() as runner:
                seen = runner.run(send(server.stdout.readline().strip(), rate, seconds))
            server.stdin.write("\n")
            server.stdin.close()
            told = json.loads(server.stdout.readline())
        finally:
            server.send_signal(signal.SIGTERM)
    due, left = (np.array([pair[i] for name in seen for pair in told["times"][name]]) for i in (0, 1))
    arrived = np.concatenate([seen[name] for name in seen])
    figures = [f"{told['cpu_s'] / seconds:8.0%}"]
    for late in (left - due, arrived - due):
        figures += [f"{value / 1e6:8.2f}" for value in (*np.percentile(late, [50, 99]), late.max())]
    return " ".join(figures)


def main() -> None:
    """Measure every deployment."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--quick", action="store_true", help="two seconds")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        from blis.server.loop import loop_runner, quiet_collector

        with loop_runner() as runner, quiet_collector():
            deployment = json.loads(options.serve)
            runner.run(serve(deployment) if deployment else serve_bare())
        return
    print(f"{options.rate:g} requests/s of {TOKENS} tokens; ms from when an event was due to when it")
    print(f"{'':24} {'server':>8} {'left p50':>8} {'p99':>8} {'most':>8} {'arr. p50':>8} {'p99':>8} {'most':>8}")
    for name, deployment in DEPLOYMENTS.items():
        print(f"{name:24} {measure(deployment, options.rate, 2 if options.quick else options.seconds)}", flush=True)


if __name__ == "__main__":
    main()
