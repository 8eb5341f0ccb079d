"""``blis observe`` as a user runs it."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from faulty_server import FAULTS, Exchange, FaultyServer, running
from typer.testing import Result

from blis.trace import Trace

Run = Callable[..., Result]
SHORT = ("--rate", 200, "--num-requests", 10)


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with running() as found:
        found.answer = Exchange.good
        yield found


def fails(every: int, fault: str) -> Callable[[Exchange], Any]:
    """A server that fails once in ``every`` requests, from the first on."""
    count = 0

    async def answer(x: Exchange) -> None:
        nonlocal count
        count += 1
        await (FAULTS[fault][0] if count % every == 1 else Exchange.good)(x)

    return answer


def test_a_run_is_reported_and_written(blis: Run, folder: Path, server: FaultyServer) -> None:
    result = blis("observe", *SHORT, "--server-url", server.url, "--server-type", "vllm", "--trace-out", "run")
    assert result.exit_code == 0
    assert "Observed run" in result.stdout
    assert re.search(r"Server +vllm serving good at http://127.0.0.1:\d+ \(completion API\)", result.stdout)
    assert "Schedule delay" in result.stdout
    assert re.search(r"completed +10 +100.0 %", result.stdout)
    trace = Trace.read("run")
    assert trace.column("status").tolist() == ["ok"] * 10


def test_json_has_the_load(blis: Run, server: FaultyServer) -> None:
    result = blis("observe", *SHORT, "--server-url", server.url, "--server-type", "vllm", "--json", "-q")
    assert result.exit_code == 0
    assert result.stderr == ""
    run = json.loads(result.stdout)["run"]
    load = run["load"]
    assert (load["sent"], run["error_share"], run["interrupted"]) == (10, 0.0, False)
    assert load["schedule_delay_us"]["p50"] >= 0


@pytest.mark.parametrize(("limit", "code"), [((), 3), (("--max-error-rate", 0.2), 0), (("--max-error-rate", 0.19), 3)])
def test_too_many_failures_have_an_exit_code(
    blis: Run, server: FaultyServer, limit: tuple[object, ...], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answer = fails(5, "http_500")
    arguments = ("observe", *SHORT, "--server-url", server.url, "--server-type", "vllm", *limit)
    result = blis(*arguments)
    assert result.exit_code == code
    assert re.search(r"http_error +2 requests: HTTP 500: no 500", result.stdout), "the report is always printed"


def test_an_unreachable_server(blis: Run) -> None:
    result = blis("observe", "--rate", 100, "--num-requests", 3, "--server-url", "http://127.0.0.1:9", "--model", "m")
    assert result.exit_code == 3
    assert "can't connect to http://127.0.0.1:9: connection refused" in result.stderr
    assert "connect_error" in result.stdout


def test_everything_in_a_file_with_flags_over_it(blis: Run, folder: Path, server: FaultyServer) -> None:
    config = {"url": "http://127.0.0.1:9", "type": "vllm", "api": "chat", "headers": {"X-A": "1"}, "timeout": "9s"}
    (folder / "server.yaml").write_text(yaml.safe_dump(config))
    flags = ("--server-config", "server.yaml", "--server-url", server.url, "--extra-body", '{"temperature": 0}')
    result = blis("observe", *SHORT, *flags, "--header", "X-B: 2", "--header", "X-C: a:b", "--trace-out", "run")
    assert result.exit_code == 0
    path, headers, body = server.received[-1]
    assert path == "/v1/chat/completions"
    assert (headers["X-B"], headers["X-C"], body["temperature"]) == ("2", "a:b", 0)


def test_secrets_are_written_nowhere(
    blis: Run, folder: Path, server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLIS_API_KEY", "k3y-of-mine")
    flags = ["--server-url", server.url, "--header", "X-Secret: hush-hush", "--header=X-Other: quiet!"]
    arguments = ["observe", *map(str, SHORT), *flags, "--trace-out", "run", "--metrics-out", "m.json"]
    monkeypatch.setattr(sys, "argv", ["blis", *arguments])
    result = blis(*arguments)
    assert result.exit_code == 0
    assert server.received[-1][1]["Authorization"] == "Bearer k3y-of-mine"
    assert server.received[-1][1]["X-Secret"] == "hush-hush"
    written = result.output + "".join(path.read_text() for path in folder.iterdir() if path.is_file())
    assert "X-Secret: ***" in written
    for secret in ("k3y-of-mine", "hush-hush", "quiet!"):
        assert secret not in written


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        ((), "no server: give --server-url URL, such as http://localhost:8000, or --server-config FILE"),
        (("--server-url", "localhost"), "server URL 'localhost': must begin with http:// or https:// and name a host"),
        (
            ("--server-url", "http://a", "--server-type", "vlm"),
            "--server-type: unknown type 'vlm' (did you mean 'vllm'?)",
        ),
        (("--server-url", "http://a", "--api-type", "x"), "--api-type: unknown api 'x'"),
        (("--server-url", "http://a", "--timeout", "soon"), "--timeout: must be a time >= 1"),
        (("--server-url", "http://a", "--max-concurrency", "0"), "--max-concurrency: must be a whole number >= 1"),
        (("--server-url", "http://a", "--retry", "-1"), "--retry: must be a whole number >= 0"),
        (("--server-url", "http://a", "--extra-body", "{"), "--extra-body: isn't JSON"),
        (("--server-url", "http://a", "--extra-body", "[]"), "--extra-body: must be a JSON object"),
        (("--server-url", "http://a", "--header", "nope"), "--header: must be written 'Name: value', with a colon"),
        (("--server-url", "http://a", "--header", "A\nB: c"), "--header ['A\\nB']: isn't a header"),
        (("--server-url", "http://a", "--api-key", "sk-1"), "--api-key: neither a file that can be read nor env:NAME"),
        (("--server-url", "http://a", "--max-error-rate", "2"), "--max-error-rate: must be a share from 0 to 1"),
        (("--server-url", "http://a", "--drain", "x"), "--drain: must be a time"),
        (("--server-url", "http://a", "--warm-up-requests", "-1"), "--warm-up-requests: must be 0 or more"),
        (("--server-url", "http://a", "--cut-at-horizon"), "--cut-at-horizon: the workload has no horizon"),
        (("--server-config", "none.yaml"), "none.yaml: cannot be read: No such file or directory"),
        (("--server-url", "http://a", "--trace-out", "no/run"), "--trace-out no/run: no doesn't exist; make it first"),
    ],
)
def test_what_is_refused_before_anything_is_sent(
    refused: Callable[..., list[str]], flags: tuple[str, ...], problem: str
) -> None:
    errors = refused("observe", *SHORT, *flags)
    assert len(errors) == 1
    assert problem in errors[0]
    assert "sk-1" not in errors[0]


def test_faults_of_a_config_file_have_their_lines(refused: Callable[..., list[str]], folder: Path) -> None:
    (folder / "server.yaml").write_text("url: http://a\ntimout: 5s\nretries: many\n")
    errors = refused("observe", *SHORT, "--server-config", "server.yaml")
    assert errors[0].startswith("server.yaml:2: timout: unknown key 'timout' (did you mean 'timeout'?)")
    assert errors[1].startswith("server.yaml:3: retries: must be a whole number >= 0, found 'many'")


def test_saturation_is_loud(blis: Run, server: FaultyServer) -> None:
    async def slow(x: Exchange) -> None:
        time.sleep(0.02)
        await x.good()

    server.answer = slow
    flags = ("--server-url", server.url, "--server-type", "vllm", "--max-concurrency", 1)
    result = blis("observe", *SHORT, *flags)
    assert "blis: warning: this machine, not the server, shaped the load: the median schedule delay is" in result.stderr
    assert "Generator saturated  YES" in result.stdout
    assert "by --max-concurrency" in result.stdout


def test_a_terminal_shows_where_the_run_stands(folder: Path, server: FaultyServer, repository: Path) -> None:
    """On a terminal there is a line that changes; nothing of it is in the report."""
    leader, follower = pty.openpty()
    arguments = ["observe", "--rate", "40", "--horizon", "800ms", "--server-url", server.url, "--server-type", "vllm"]
    process = subprocess.Popen(
        [sys.executable, "-m", "blis", *arguments],
        stdout=subprocess.PIPE,
        stderr=follower,
        env={**os.environ, "PYTHONPATH": str(repository)},
        text=True,
    )
    output, _ = process.communicate(timeout=60)
    os.close(follower)
    shown = b""
    try:
        while piece := os.read(leader, 65536):
            shown += piece
    except OSError:
        pass
    os.close(leader)
    assert process.returncode == 0
    assert "in flight" not in output
    assert re.search(
        rb"\r\x1b\[K0 s  \d+ sent \([\d.]+/s\)  \d+ in flight  \d+ done  0 errors  TTFT .* ms  delay", shown
    )
