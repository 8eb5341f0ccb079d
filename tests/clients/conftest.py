"""Fixtures for clients: a target that records, and specs in short form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import simpy

from blis.clients.build import start
from blis.request import Request
from blis.spec.workload import WorkloadSpec, workload_from_dict


class Recorder:
    """A target that keeps what it is given and never answers."""

    def __init__(self, env: simpy.Environment) -> None:
        self.env = env
        self.requests: list[Request] = []
        self._never = env.event()

    def submit(self, request: Request) -> simpy.Event:
        assert self.env.now == request.arrival_us
        self.requests.append(request)
        return self._never


def _fail(message: str) -> None:
    raise AssertionError(message)


@pytest.fixture(scope="session")
def record() -> Callable[..., list[Request]]:
    """Run a workload's clients to their end and return the requests in order of arrival; warnings fail the test."""

    def run(spec: WorkloadSpec | dict[str, Any], warn: Callable[[str], None] = _fail) -> list[Request]:
        if isinstance(spec, dict):
            spec = workload_from_dict(spec)
        env = simpy.Environment()
        target = Recorder(env)
        done = start(env, target, spec, horizon_us=spec.horizon, num_requests=spec.num_requests, warn=warn)
        env.run(until=done)
        return target.requests

    return run


@pytest.fixture(scope="session")
def servegen_folder() -> Path:
    """Small ServeGen-style data of our own."""
    return Path(__file__).resolve().parent.parent / "data" / "servegen"


@pytest.fixture(scope="session")
def client() -> Callable[..., dict[str, Any]]:
    """A client's YAML as plain data: constant lengths 100 and 10 and Poisson arrivals, unless said otherwise."""

    def make(name: str, **changes: Any) -> dict[str, Any]:
        return {
            "id": name,
            "arrival": {"process": "poisson"},
            "input_distribution": {"type": "constant", "params": {"value": 100}},
            "output_distribution": {"type": "constant", "params": {"value": 10}},
            **changes,
        }

    return make
