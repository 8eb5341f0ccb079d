"""Start and stop the servers that install.py installed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["BLOCK_SIZE", "CONTEXT", "KINDS", "MODEL", "SLOTS", "RealServer", "folder", "installed", "started"]

KINDS = ("vllm", "llama.cpp")
MODEL = "tiny"
CONTEXT = 2048
"""Most tokens of a request, prompt and answer."""
BLOCK_SIZE = 32
SLOTS = 4
"""Requests that llama.cpp computes at once."""

_STARTING_S = 600.0
_STOPPING_S = 5.0
_QUIET = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}


@dataclass
class RealServer:
    """A server that runs; ``log`` is where its output goes."""

    kind: str
    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def get(self, path: str) -> bytes:
        """Return what it answers to a GET."""
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            content: bytes = answer.read()
        return content

    def ready(self) -> bool:
        """Whether it answers that it's well."""
        with suppress(urllib.error.URLError, OSError):
            self.get("/health")
            return True
        return False

    def terminate(self) -> None:
        """Ask it to stop, as an operator would."""
        self.process.terminate()

    def stop(self) -> None:
        """Stop it; vLLM waits for its clients for ever, so that it is killed after a while, with its own processes."""
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_STOPPING_S)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def folder(repository: Path) -> Path:
    """Where the servers are installed: the folder that BLIS_REAL_SERVERS names, or one in build/."""
    return Path(os.environ.get("BLIS_REAL_SERVERS") or repository / "build" / "real-servers").resolve()


def installed(kind: str, place: Path) -> bool:
    """Whether a server and its model are there."""
    return _program(kind, place).exists() and (place / "model" / "model.gguf").exists()


@contextmanager
def started(kind: str, place: Path, log: Path, *arguments: str) -> Iterator[RealServer]:
    """Start a server on a free port, wait until it is ready, and stop it in the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(_program(kind, place)), *_arguments(kind, place, port), *arguments]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=_environment(kind, place), start_new_session=True
        )
    server = RealServer(kind, f"http://127.0.0.1:{port}", process, log)
    try:
        _wait(server)
        yield server
    finally:
        server.stop()


def _wait(server: RealServer) -> None:
    end = time.monotonic() + _STARTING_S
    while not server.ready():
        late = time.monotonic() > end
        if late or server.process.poll() is not None:
            tail = "\n".join(server.log.read_text(errors="replace").splitlines()[-30:])
            what = f"isn't ready after {_STARTING_S:g} s" if late else f"ended with {server.process.returncode}"
            raise RuntimeError(f"{server.kind} {what}:\n{tail}")
        time.sleep(0.2)


def _program(kind: str, place: Path) -> Path:
    return place / {"vllm": "venv-vllm/bin/vllm", "llama.cpp": "build-llama/bin/llama-server"}[kind]


def _arguments(kind: str, place: Path, port: int) -> list[str]:
    where = ["--host", "127.0.0.1", "--port", str(port)]
    if kind == "llama.cpp":
        # The context is shared out to the slots.
        sizes = f"--parallel {SLOTS} --ctx-size {SLOTS * CONTEXT} --threads 1 --threads-batch 1"
        return ["--model", str(place / "model" / "model.gguf"), "--alias", MODEL, *where, *sizes.split(), "--metrics"]
    sizes = f"--max-model-len {CONTEXT} --max-num-seqs 8 --max-num-batched-tokens 512 --block-size {BLOCK_SIZE}"
    model = "--load-format dummy --dtype bfloat16 --seed 0 --enforce-eager --enable-prefix-caching"
    usage = "--enable-prompt-tokens-details"
    names = ["--served-model-name", MODEL]
    return ["serve", str(place / "model"), *names, *where, *sizes.split(), *model.split(), usage]


def _environment(kind: str, place: Path) -> Mapping[str, str]:
    if kind == "llama.cpp":
        return os.environ
    caches = {"VLLM_CACHE_ROOT": str(place / "cache"), "HF_HOME": str(place / "cache" / "huggingface")}
    return {**os.environ, **_QUIET, **caches, "VLLM_CPU_KVCACHE_SPACE": "1"}
