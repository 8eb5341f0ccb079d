"""Real servers, each started once; a test is skipped where its server isn't installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from real.servers import KINDS, RealServer, folder, installed, started

# Runs in an environment of its own, where blis isn't.
collect_ignore = ["make_model.py"]


def place_of(kind: str) -> Path:
    """Where a server is installed; skips the test where it isn't."""
    place = folder(Path(__file__).parents[2])
    if not installed(kind, place):
        pytest.skip(f"{kind} isn't installed in {place}: 'make test-real' does it, BLIS_REAL_SERVERS names the folder")
    return place


@pytest.fixture(scope="session", params=KINDS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    """Each kind of server in turn, with nothing to do but what the test asks."""
    kind: str = request.param
    with started(kind, place_of(kind), tmp_path_factory.mktemp("server") / "log") as found:
        yield found


@pytest.fixture(scope="session")
def vllm_place() -> Path:
    """Where vLLM is installed, for tests that start one of their own."""
    return place_of("vllm")
