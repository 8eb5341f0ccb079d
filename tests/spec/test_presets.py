"""Workloads made from a handful of numbers."""

from __future__ import annotations

from typing import Any

import pytest

from blis.errors import BlisError, SpecError
from blis.spec.presets import PRESETS, Lengths, distribution, preset
from blis.spec.workload import WorkloadSpec, parse_workload


def lengths(spec: WorkloadSpec) -> list[tuple[float, float, float, float]]:
    (client,) = spec.clients
    found = []
    for side in (client.input_distribution, client.output_distribution):
        assert side.type == "gaussian"
        found.append((side.params.mean, side.params.std_dev, side.params.min, side.params.max))
    return found


@pytest.mark.parametrize(
    ("name", "prompt", "output"),
    [
        ("chatbot", (256, 100, 2, 800), (256, 100, 1, 1024)),
        ("summarization", (4096, 500, 100, 8192), (512, 150, 10, 2048)),
        ("contentgen", (1024, 150, 10, 2048), (1024, 200, 10, 2048)),
        ("multidoc", (10240, 1200, 500, 20480), (1536, 300, 50, 4096)),
    ],
)
def test_built_in_lengths(name: str, prompt: tuple[int, ...], output: tuple[int, ...]) -> None:
    spec = preset(name, rate=5, num_requests=10)
    assert lengths(spec) == [prompt, output]
    assert (spec.aggregate_rate, spec.num_requests, spec.horizon, spec.seed) == (5.0, 10, None, 42)
    assert (spec.clients[0].id, spec.clients[0].rate_fraction) == (name, 1.0)
    assert spec.clients[0].arrival.process == "constant"
    assert spec.warnings == ()
    assert set(PRESETS) == {"chatbot", "summarization", "contentgen", "multidoc"}


def test_given_lengths_and_everything_else() -> None:
    spec = distribution(
        Lengths(100, 0, 100, 100),
        Lengths(20, 5, 1, 40),
        rate=2.5,
        horizon="10s",
        seed=7,
        arrival="gamma",
        cv=3,
        prefix_tokens=64,
    )
    assert lengths(spec) == [(100, 0, 100, 100), (20, 5, 1, 40)]
    assert (spec.aggregate_rate, spec.horizon, spec.seed) == (2.5, 10_000_000, 7)
    (client,) = spec.clients
    assert (client.arrival.process, client.arrival.cv) == ("gamma", 3.0)
    assert (client.prefix_group, client.prefix_length) == ("distribution", 64)


def test_defaults_of_the_distribution_workload() -> None:
    spec = distribution(num_requests=1)
    assert lengths(spec) == [(512, 256, 2, 7000), (512, 256, 2, 7000)]
    assert (spec.clients[0].arrival.process, spec.clients[0].prefix_group) == ("constant", "")


def test_the_text_of_a_preset_reads_the_same() -> None:
    spec = preset("multidoc", num_requests=3, prefix_tokens=9)
    assert parse_workload(spec.text) == spec


def test_an_unknown_name() -> None:
    with pytest.raises(BlisError) as caught:
        preset("chatbott", num_requests=1)
    assert str(caught.value) == (
        "unknown preset 'chatbott' (did you mean 'chatbot'?); allowed: chatbot, summarization, contentgen, multidoc"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rate": -1}, "rate: must be a number >= 0, found -1"),
        ({"prefix_tokens": -1}, "prefix_tokens: must be a whole number >= 0, found -1"),
        ({"arrival": "gamma"}, "cv: missing; a gamma process needs its cv, a number in (0, 10]"),
        ({"arrival": "gama"}, "arrival: unknown process 'gama' (did you mean 'gamma'?)"),
        ({"num_requests": None}, "set horizon or num_requests"),
        ({"num_requests": -1}, "num_requests: must be a whole number >= 0, found -1"),
        ({"seed": -1}, "seed: must be a whole number >= 0, found -1"),
        ({"prompt": Lengths(5, -1, 1, 9)}, "prompt_tokens_stdev: must be a number >= 0, found -1"),
        ({"prompt": Lengths(-5, 1, 1, 9)}, "prompt_tokens: must be a number >= 0, found -5"),
        ({"output": Lengths(5, 1, 10, 9)}, "output_tokens_min: must be at most max, which is 9; found 10"),
        ({"output": Lengths(5, 1, 0, 0)}, "output_tokens_max: a length is at least 1 token, found 0"),
    ],
)
def test_problems_name_the_argument(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        distribution(**{"num_requests": 1, **arguments})
    assert str(caught.value).startswith(f"workload distribution: {message}")
    assert len(caught.value.problems) == 1
