"""What inference-perf's files say, as workloads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import blis
from blis.convert import from_inference_perf
from blis.errors import SpecError
from blis.metrics import summarize
from blis.spec.workload import WorkloadSpec, parse_workload

S = 1_000_000
SYNTHETIC = {
    "type": "synthetic",
    "input_distribution": {"mean": 500, "std_dev": 100, "min": 20, "max": 900, "total_count": 100},
    "output_distribution": {"type": "fixed", "mean": 64.9},
}
STAGES = {"type": "poisson", "stages": [{"rate": 10, "duration": 60}]}


def converted(folder: Path, warn: Any = pytest.fail, **config: Any) -> WorkloadSpec:
    file = folder / "config.yml"
    file.write_text(yaml.safe_dump({"load": STAGES, "data": SYNTHETIC, **config}))
    spec = from_inference_perf(file, warn)
    assert parse_workload(spec.text) == spec
    return spec


def test_a_load_of_one_stage(tmp_path: Path) -> None:
    server = {"type": "vllm", "model_name": "m", "base_url": "http://localhost:8000", "ignore_eos": True}
    load = {**STAGES, "num_workers": 4, "request_timeout": 30, "base_seed": 9}
    spec = converted(tmp_path, load=load, server=server, api={"type": "chat", "streaming": True}, report={"x": 1})
    (client,) = spec.clients
    assert [(stage.rate, stage.duration, stage.drain) for stage in spec.stages] == [(10, 60 * S, False)]
    assert (spec.seed, client.timeout, client.streaming) == (9, 30 * S, True)
    assert client.arrival is not None
    assert (client.arrival.process, client.arrival.conditioned) == ("poisson", False)
    assert client.input_distribution.model_dump() == {
        "type": "gaussian",
        "params": {"mean": 500, "std_dev": 100, "min": 20, "max": 900},
    }
    assert client.output_distribution.model_dump() == {"type": "constant", "params": {"value": 64}}
    assert converted(tmp_path).clients[0].streaming is False


def test_stages_follow_each_other(tmp_path: Path) -> None:
    stages = [{"rate": 5, "duration": 100}, {"rate": 20, "duration": 50}]
    spec = converted(tmp_path, load={"type": "constant", "interval": 10, "stages": stages})
    assert [(stage.drain, stage.pause) for stage in spec.stages] == [(True, 10 * S), (False, 0)]
    trace = blis.generate(spec, warn=str)
    counts = np.histogram(trace.column("arrival_time_us") / S, [0, 100, 110, 160])[0]
    # Conditioned on their number, so that these are exact.
    assert counts.tolist() == [500, 0, 1000]


def test_concurrent_loads_are_closed_loops(tmp_path: Path) -> None:
    load = {"type": "concurrent", "stages": [{"num_requests": 40, "concurrency_level": 8}]}
    spec = converted(tmp_path, load=load)
    assert (spec.num_requests, spec.horizon, spec.clients[0].concurrency) == (40, None, 8)
    assert len(blis.simulate(spec)) == 40
    told: list[str] = []
    shared = {"type": "shared_prefix", "shared_prefix": {"num_groups": 10}}
    grouped = converted(tmp_path, told.append, load=load, data=shared)
    assert [client.concurrency for client in grouped.clients] == [1] * 8
    assert told == ["with 8 requests at a time, only 8 of the 10 groups are used"]


def test_groups_share_prefixes(tmp_path: Path) -> None:
    shared = {
        "num_unique_system_prompts": 4,
        "num_prompts_per_group": 5,
        "system_prompt_len": {"type": "uniform", "min": 100, "max": 500},
        "question_len": 30,
        "output_distribution": {"type": "normal", "mean": 80, "std_dev": 0, "min": 1, "max": 100},
    }
    spec = converted(tmp_path, data={"type": "shared_prefix", "shared_prefix": shared})
    assert [(one.prefix_group, one.prefix_length, one.rate_fraction) for one in spec.clients] == [
        ("group-1", 150, 1),
        ("group-2", 250, 1),
        ("group-3", 350, 1),
        ("group-4", 450, 1),
    ]
    lengths = {(one.input_distribution.params.value, one.output_distribution.params.value) for one in spec.clients}  # type: ignore[union-attr]
    assert lengths == {(30, 80)}
    assert [one.prompt_pool.size for one in spec.clients if one.prompt_pool] == [5] * 4
    # 600 requests of 20 prompts: nearly all are found in the cache.
    assert summarize(blis.simulate(spec)).cache.cached_tokens > 500 * 300


@pytest.mark.parametrize(
    ("lengths", "draw"),
    [
        ({"type": "lognormal", "mean": 200, "std_dev": 100}, lambda rng: _lognormal(rng, 200, 100)),
        ({"type": "lognormal", "mean": 900, "std_dev": 400}, lambda rng: _lognormal(rng, 900, 400)),
        ({"type": "uniform", "min": 50, "max": 800}, lambda rng: rng.uniform(50, 800, 100_000)),
        ({"type": "poisson", "mean": 40}, lambda rng: rng.poisson(40, 100_000)),
        ({"type": "skew_normal", "mean": 300, "std_dev": 80, "skew": 4}, lambda rng: _skewed(rng, 300, 80, 4)),
        ({"type": "normal", "mean": 300, "variance": 6400, "std_dev": 0}, lambda rng: rng.normal(300, 80, 100_000)),
    ],
)
def test_lengths_are_those_it_draws(tmp_path: Path, lengths: dict[str, Any], draw: Any) -> None:
    """By the formulas of its own samplers."""
    theirs = np.clip(np.rint(draw(np.random.default_rng(1))), lengths.get("min", 10), lengths.get("max", 1024))
    shared = {"num_groups": 1, "num_prompts_per_group": 20_000, "question_len": lengths}
    load = {"type": "poisson", "stages": [{"rate": 20_000, "duration": 1}]}
    spec = converted(tmp_path, str, load=load, data={"type": "shared_prefix", "shared_prefix": shared})
    ours = blis.generate(spec).column("input_tokens")
    assert ours.mean() == pytest.approx(theirs.mean(), rel=0.02)
    for p in (5, 50, 95, 99):
        assert np.percentile(ours, p) == pytest.approx(np.percentile(theirs, p), rel=0.05), p


@pytest.mark.parametrize(
    ("lengths", "params"),
    [
        ({"type": "uniform", "min": 0, "max": 800}, {"min": 1, "max": 800}),
        (
            {"type": "lognormal", "mean": 900, "std_dev": 400},
            {"mu": 6.71226, "sigma": 0.424573, "min": 10, "max": 1024},
        ),
        ({"type": "normal", "mean": 300, "std_dev": 80}, {"mean": 300, "std_dev": 80, "min": 10, "max": 1024}),
    ],
)
def test_what_has_a_formula_is_written_as_such(tmp_path: Path, lengths: dict[str, Any], params: dict[str, Any]) -> None:
    shared = {"type": "shared_prefix", "shared_prefix": {"question_len": lengths}}
    spec = converted(tmp_path, data=shared)
    found = spec.clients[0].input_distribution
    assert found.type == {"normal": "gaussian"}.get(lengths["type"], lengths["type"])
    assert found.params.model_dump() == pytest.approx(params, rel=1e-4)


def _lognormal(rng: np.random.Generator, mean: float, deviation: float) -> Any:
    square = np.log1p((deviation / mean) ** 2)
    return rng.lognormal(np.log(mean) - square / 2, np.sqrt(square), 100_000)


def _skewed(rng: np.random.Generator, mean: float, deviation: float, skew: float) -> Any:
    delta = skew / np.sqrt(1 + skew**2)
    first, second = rng.standard_normal((2, 100_000))
    one = delta * first + np.sqrt(1 - delta**2) * second
    return mean + deviation * np.where(first >= 0, one, -one)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"data": {"type": "shareGPT"}}, "data.type: must be synthetic, random or shared_prefix to be converted"),
        ({"data": {"type": "random"}}, "data.input_distribution: missing; random data needs it"),
        ({"load": {"type": "trace_replay"}}, "load.type"),
        ({"load": {"sweep": {"type": "linear"}}}, "load.sweep: finds its rates by trying a server: give stages"),
        ({"load": {"stages": []}}, "load.stages: missing; expected a list of stages"),
        ({"load": {"stages": [{"rate": 3}]}}, "load.stages[0].duration: missing; a stage of a constant load"),
        ({"load": {"type": "concurrent", "stages": [{"num_requests": 1}]}}, "load.stages[0].concurrency_level: miss"),
        ({"lod": {}}, "lod: unknown key 'lod' (did you mean 'load'?)"),
        (
            {"data": {"type": "shared_prefix", "shared_prefix": {"enable_multi_turn_chat": True}}},
            "data.shared_prefix.enable_multi_turn_chat: conversations can't be converted",
        ),
        (
            {"data": {**SYNTHETIC, "input_distribution": {"min": 5, "max": 3}}},
            "data.input_distribution.min: must be at most max, which is 3; found 5",
        ),
    ],
)
def test_what_cannot_be_converted_is_said(tmp_path: Path, config: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as error:
        converted(tmp_path, **config)
    assert message in str(error.value)
    assert all(problem.file.endswith("config.yml") for problem in error.value.problems)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot be read"):
        from_inference_perf(tmp_path / "nothing.yml", str)
    (tmp_path / "empty.yml").write_text("")
    with pytest.raises(SpecError, match="empty"):
        from_inference_perf(tmp_path / "empty.yml", str)
