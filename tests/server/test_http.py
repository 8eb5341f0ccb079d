"""What goes over the wire: heads and bodies, connections used again, retries, limits, TLS."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faulty_server import Exchange, FaultyServer, running

from blis.errors import BlisError
from blis.observation import observe
from blis.server.address import Address
from blis.trace import Trace


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with running() as found:
        found.answer = Exchange.good
        yield found


def spec(requests: int, rate: float = 100.0, **client: Any) -> dict[str, Any]:
    return {
        "num_requests": requests,
        "clients": [
            {
                "id": "a",
                "rate": rate,
                "arrival": {"process": "constant"},
                "input_distribution": {"type": "constant", "params": {"value": 7}},
                "output_distribution": {"type": "constant", "params": {"value": 3}},
                **client,
            }
        ],
    }


def run(server: FaultyServer, workload: dict[str, Any], **settings: Any) -> Trace:
    return observe(workload, {"url": server.url, "model": "m", **settings}, warn=lambda _: None)


def statuses(trace: Trace) -> list[str]:
    found: list[str] = trace.column("status").tolist()
    return found


def test_requests_say_what_vllm_takes(server: FaultyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "s3cret")
    trace = run(
        server,
        spec(1, prefix_group="g", prefix_length=5),
        type="vllm",
        api_key="env:SECRET",
        headers={"X-Team": "blis"},
        extra_body={"temperature": 0.5, "min_tokens": None},
    )
    path, headers, body = server.received[-1]
    assert path == "/v1/completions"
    assert headers["Authorization"] == "Bearer s3cret"
    assert headers["X-Team"] == "blis"
    assert headers["Host"] == server.url.removeprefix("http://")
    assert headers["X-Request-Id"].endswith("-0")
    assert len(body.pop("prompt")) == 12
    assert body == {
        "model": "m",
        "max_tokens": 3,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.5,
    }
    assert "s3cret" not in trace.header.to_yaml()
    assert trace.header.server is not None
    assert trace.header.server["output_length"] == "forced"


def test_other_servers_get_text_and_no_field_they_may_refuse(server: FaultyServer) -> None:
    trace = run(server, spec(1, streaming=False, model="theirs"), api="chat")
    path, headers, body = server.received[-1]
    assert path == "/v1/chat/completions"
    assert "Authorization" not in headers
    assert [message["role"] for message in body.pop("messages")] == ["user"]
    assert body == {"model": "theirs", "max_tokens": 3}
    assert trace.header.server is not None
    assert (trace.header.server["type"], trace.header.server["prompts"]) == ("openai", "words")


def test_connections_are_used_again_and_opened_beforehand(server: FaultyServer) -> None:
    trace = run(server, spec(20, rate=40.0), type="vllm", connections=3)
    connections = trace.header.run["connections"]
    assert statuses(trace) == ["ok"] * 20
    assert connections["opened"] >= 3
    assert connections["opened_in_run"] <= 5, "20 requests, one after the other, on connections that were there"
    assert connections["setup_us"]["p50"] > 0


def test_a_busy_server_is_asked_again_when_it_said(server: FaultyServer) -> None:
    asked: list[float] = []

    async def busy_at_first(x: Exchange) -> None:
        asked.append(time.monotonic())
        if len(asked) < 3:
            x.whole(b'{"error": {"message": "full"}}', 429, "application/json", "Retry-After: 0.6")
        else:
            await x.good()

    server.answer = busy_at_first
    trace = run(server, spec(1), type="vllm", retries=5)
    assert statuses(trace) == ["ok"]
    assert trace.column("error_message")[0] == "attempt 1: HTTP 429: full; attempt 2: HTTP 429: full"
    assert asked[1] - asked[0] >= 0.6
    assert asked[2] - asked[1] >= 1.0, "the pause doubles: 0.5 s, 1 s"
    assert trace.header.run["retried"] == 2
    assert trace.column("first_chunk_time_us")[0] - trace.column("send_time_us")[0] >= 1_600_000


def test_without_retries_a_busy_server_is_asked_once(server: FaultyServer) -> None:
    async def busy(x: Exchange) -> None:
        x.whole(b"{}", 503)

    server.answer = busy
    assert statuses(run(server, spec(2), type="vllm")) == ["rejected"] * 2
    assert len(server.received) == 2


def test_a_limit_of_concurrency_delays_sends_and_says_so(server: FaultyServer) -> None:
    under_way = most = 0

    async def slow(x: Exchange) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.05)
        await x.good()
        under_way -= 1

    server.answer = slow
    trace = run(server, spec(6), type="vllm", max_concurrency=2)
    assert statuses(trace) == ["ok"] * 6
    assert most == 2
    load = trace.header.run["load"]
    assert trace.header.run["held_back"] == 4
    assert load["schedule_delay_us"]["p50"] > 10_000
    assert load["saturated"]
    sends = trace.column("send_time_us")
    assert sends.tolist() == sorted(sends.tolist())


def test_a_request_held_back_beyond_its_deadline_is_never_sent(server: FaultyServer) -> None:
    async def slow(x: Exchange) -> None:
        await asyncio.sleep(0.25)
        await x.good()

    server.answer = slow
    trace = run(server, spec(2, timeout="150ms"), type="vllm", max_concurrency=1)
    assert statuses(trace) == ["timeout"] * 2
    first, second = trace.column("send_time_us").tolist()
    assert first > 0
    assert second > trace.column("deadline_us")[0] or second == -1
    assert len(server.received) <= 2


def test_a_clients_timeout_ends_its_requests(server: FaultyServer) -> None:
    async def half(x: Exchange) -> None:
        x.begin()
        await asyncio.sleep(60)

    server.answer = half
    began = time.monotonic()
    trace = run(server, spec(1, timeout="120ms"), type="vllm")
    assert time.monotonic() - began < 10
    assert statuses(trace) == ["timeout"]
    assert trace.column("error_message")[0] == "the client's timeout passed, after 1 chunk with tokens"
    assert trace.column("deadline_us")[0] == trace.column("arrival_time_us")[0] + 120_000


def test_secrets_are_taken_out_of_what_servers_say(server: FaultyServer, tmp_path: Path) -> None:
    async def indiscreet(x: Exchange) -> None:
        x.whole(b'{"error": {"message": "bad key k3y!"}}', 401)

    server.answer = indiscreet
    (tmp_path / "key").write_text("k3y!\n")
    trace = run(server, spec(1), type="vllm", api_key=str(tmp_path / "key"))
    assert trace.column("error_message")[0] == "HTTP 401: bad key ***"
    assert "k3y" not in trace.header.to_yaml()


@pytest.mark.parametrize("source", ["sk-abc", "env:NO_SUCH_VARIABLE_HERE"])
def test_a_key_that_is_not_there_is_not_repeated(source: str) -> None:
    with pytest.raises(BlisError) as error:
        observe(spec(1), {"url": "http://127.0.0.1:1", "api_key": source})
    assert "--api-key" in str(error.value)
    assert "sk-abc" not in str(error.value)


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = subprocess.run(
        f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
        f" -keyout {key} -out {certificate}".split(),
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("needs openssl to make a certificate")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with running(context) as server:
        server.answer = Exchange.good
        server.url = server.url.replace("127.0.0.1", "localhost")
        refused = run(server, spec(2), type="vllm")
        assert statuses(refused) == ["connect_error"] * 2
        assert "certificate isn't trusted" in refused.column("error_message")[0]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SSL_CERT_FILE", str(certificate))
            assert statuses(run(server, spec(2), type="vllm")) == ["ok"] * 2


def test_a_name_that_nobody_knows() -> None:
    warnings: list[str] = []
    trace = observe(spec(1), {"url": "http://no-such-host.invalid:9"}, warn=warnings.append)
    assert statuses(trace) == ["connect_error"]
    assert "can't connect to http://no-such-host.invalid:9" in trace.column("error_message")[0]
    assert "can't connect to http://no-such-host.invalid:9" in warnings[0]


@pytest.mark.parametrize(
    ("url", "parsed"),
    [
        ("http://localhost:8000", ("http", "localhost", 8000, "")),
        ("https://api.example.org/v1/", ("https", "api.example.org", 443, "")),
        ("http://[::1]:80/gateway/v1", ("http", "::1", 80, "/gateway")),
    ],
)
def test_urls(url: str, parsed: tuple[str, str, int, str]) -> None:
    found = Address.parse(url)
    assert (found.scheme, found.host, found.port, found.prefix) == parsed
    assert Address.parse(str(found)) == found


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("localhost:8000", "must begin with http:// or https://"),
        ("ftp://a", "must begin with http:// or https://"),
        ("http://", "name a host"),
        ("http://a:b", "Port could not be cast"),
        ("http://a/?x=1", "before any '?'"),
        ("http://me:pw@a", "user name or password"),
    ],
)
def test_urls_that_are_none(url: str, problem: str) -> None:
    with pytest.raises(BlisError) as error:
        Address.parse(url)
    assert problem in str(error.value)
    assert "pw" not in str(error.value)
