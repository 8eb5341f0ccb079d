"""A target that answers, for clients that wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import simpy

from blis.clients.build import start
from blis.request import Outcome, Request
from blis.spec.workload import workload_from_dict

__all__ = ["Answering", "Answers", "answered"]

Answers = Callable[[Request], tuple[int, str, int]]
"""How a request is answered: after how many microseconds, with what status and how many tokens."""


class Answering:
    """Answers each request as ``answers`` says, and keeps them in ``requests``."""

    def __init__(self, env: simpy.Environment, answers: Answers) -> None:
        self.env = env
        self.answers = answers
        self.requests: list[Request] = []

    def submit(self, request: Request) -> simpy.Event:
        assert self.env.now == request.arrival_us
        assert sum(tokens for _, tokens in request.segments) == request.prompt_tokens
        self.requests.append(request)
        delay, status, tokens = self.answers(request)
        return self.env.timeout(delay, Outcome(len(self.requests), status, tokens, None, None))


def answered(
    spec: dict[str, Any], answers: Answers = lambda request: (100, "ok", request.output_tokens)
) -> list[Request]:
    """Run a workload's clients until nothing happens any more; return the requests in order of arrival."""
    workload = workload_from_dict(spec)
    env = simpy.Environment()
    target = Answering(env, answers)
    done = start(
        env, target, workload, horizon_us=workload.horizon, num_requests=workload.num_requests, warn=pytest.fail
    )
    env.run()
    assert done.processed
    return target.requests
