"""Pools of prompts: which prompt a request has, and that it is the same prompt each time."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from scipy import stats

import blis
from blis.clients.lengths import lengths
from blis.clients.quantiles import quantile_lengths
from blis.request import Request
from blis.rng import stream
from blis.spec.distributions import Distribution
from blis.trace.trace import Trace

Record = Callable[..., list[Request]]
Client = Callable[..., dict[str, Any]]

S = 1_000_000
CONSTANT = {"process": "constant"}
EXPONENTIAL = {"type": "exponential", "params": {"mean": 300}}
DEPLOYMENT: dict[str, Any] = {
    "max_model_len": 0,
    "total_kv_blocks": 10_000,
    "latency": {"model": "alpha-beta", "coefficients": {"alpha": [0, 0, 0], "beta": [1000, 0, 0]}},
}
"""One instance whose steps take a millisecond each, with blocks of 16 tokens."""


def prompts(requests: list[Request]) -> list[tuple[str | None, int]]:
    return [request.segments[-2] for request in requests]


def test_prompts_come_in_turn(record: Record, client: Client) -> None:
    pooled = client("a", rate=10, arrival=CONSTANT, input_distribution=EXPONENTIAL, prompt_pool={"size": 4})
    sent = record({"num_requests": 13, "clients": [pooled]})
    found = prompts(sent)
    assert [key for key, _ in found] == [f"a prompt {number % 4}" for number in range(13)]
    assert len(set(found)) == 4
    for request, (_, tokens) in zip(sent, found, strict=True):
        assert request.segments == (request.segments[0], (None, 0))
        assert request.input_tokens == request.prompt_tokens == tokens
    assert len({tokens for _, tokens in found}) == 4


def test_a_pool_has_the_lengths_of_its_distribution_once(record: Record, client: Client) -> None:
    """A larger pool has the same prompts, and more."""
    plain = client("a", rate=9, input_distribution=EXPONENTIAL)
    few, many = (
        set(prompts(record({"num_requests": 200, "clients": [{**plain, "prompt_pool": {"size": size}}]})))
        for size in (50, 200)
    )
    assert len(few) == 50
    assert few < many


def test_any_prompt_may_come_next(record: Record, client: Client) -> None:
    pooled = client("a", rate=10, prompt_pool={"size": 10, "order": "random"})
    counts = Counter(prompts(record({"num_requests": 2000, "clients": [pooled]})))
    assert len(counts) == 10
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3


def test_answers_are_drawn_for_each_request(record: Record, client: Client) -> None:
    plain = client("a", rate=10, output_distribution=EXPONENTIAL)
    one, other = (
        record({"num_requests": 50, "clients": [{**plain, **own}]}) for own in ({}, {"prompt_pool": {"size": 1}})
    )
    assert [(r.arrival_us, r.output_tokens) for r in one] == [(r.arrival_us, r.output_tokens) for r in other]


def test_a_prefix_comes_before_the_prompt(record: Record, client: Client) -> None:
    pooled = client("a", rate=10, prefix_group="docs", prefix_length=48, prompt_pool={"size": 2}, concurrency=None)
    sent = record({"num_requests": 2, "clients": [pooled]})
    assert sent[1].segments == (("docs", 48), ("a prompt 1", 100), (None, 0))
    assert (sent[1].input_tokens, sent[1].prompt_tokens) == (100, 148)


def test_a_cohort_shares_its_pool_or_not(record: Record, client: Client) -> None:
    pooled = client("web", population=50, rate=100, input_distribution=EXPONENTIAL, prompt_pool={"size": 20})
    found = prompts(record({"horizon": "5s", "cohorts": [pooled]}))
    assert {key for key, _ in found} == {f"web prompt {number}" for number in range(20)}
    assert len(set(found)) == 20
    # Members begin anywhere, so that all prompts are in use from the start.
    assert len(set(found[:100])) > 15
    apart = record({"horizon": "5s", "cohorts": [{**pooled, "prefix_sharing": "per_member"}]})
    for request in apart:
        assert str(request.segments[-2][0]).startswith(f"{request.client.client_id} prompt ")


def test_quantiles_leave_nothing_to_chance(record: Record, client: Client) -> None:
    """A measured multiset of lengths is served as it is, shuffled."""
    measured = {"type": "empirical", "params": {"580": 3, "590": 5, "603": 2}}
    pooled = client("a", rate=10, input_distribution=measured, prompt_pool={"size": 10, "lengths": "quantiles"})
    sent = [tokens for _, tokens in prompts(record({"num_requests": 20, "clients": [pooled]}))]
    assert sorted(sent[:10]) == [580] * 3 + [590] * 5 + [603] * 2
    assert sent[:10] != sorted(sent[:10])
    assert sent[:10] == sent[10:]


DISTRIBUTIONS: list[tuple[str, dict[str, Any]]] = [
    ("constant", {"value": 7}),
    ("gaussian", {"mean": 500, "std_dev": 100, "min": 300, "max": 600}),
    ("exponential", {"mean": 400}),
    ("exponential", {"mean": 400, "min": 100, "max": 500}),
    ("lognormal", {"mu": 6, "sigma": 0.8}),
    ("lognormal", {"mu": 6, "sigma": 0.8, "min": 200, "max": 900}),
    ("uniform", {"min": 3, "max": 4}),
    ("uniform", {"min": 100, "max": 900}),
    ("pareto_lognormal", {"alpha": 2.5, "xm": 300, "mu": 6, "sigma": 0.5, "mix_weight": 0.3}),
    ("pareto_lognormal", {"alpha": 2.5, "xm": 300, "mu": 6, "sigma": 0.5, "mix_weight": 0.3, "max": 450}),
    ("pareto_lognormal", {"alpha": 2.5, "xm": 300, "mu": 6, "sigma": 0, "mix_weight": 0.5}),
    ("empirical", {"100": 1, "200": 2, "900": 1}),
]


@pytest.mark.parametrize(("kind", "params"), DISTRIBUTIONS)
def test_quantiles_are_those_of_the_sampler(kind: str, params: dict[str, Any]) -> None:
    distribution: Any = TypeAdapter(Distribution).validate_python({"type": kind, "params": params})
    drawn = np.sort(lengths(distribution, lambda *names: stream(3, *names))(200_000))
    found = quantile_lengths(distribution, 500)
    assert (np.diff(found) >= 0).all()
    for place, value in enumerate(found.tolist()):
        # The share of draws up to a quantile is its probability, but for chance and for what rounding lumps together.
        below, upto = (np.searchsorted(drawn, value, side=side) / len(drawn) for side in ("left", "right"))
        margin = 4 * math.sqrt(0.25 / len(drawn)) + 0.001
        assert below - margin <= (place + 0.5) / 500 <= upto + margin


def test_the_largest_sizes_of_a_tail_are_lengths_still() -> None:
    heavy: Any = TypeAdapter(Distribution).validate_python({"type": "lognormal", "params": {"mu": 5, "sigma": 60}})
    found = quantile_lengths(heavy, 100)
    assert (found[0], found[-1]) == (1, 10**9)


def pooled_run(client: Client, **own: Any) -> Trace:
    pooled = client("a", rate=10, arrival=CONSTANT, prompt_pool={"size": 3}, **own)
    return blis.simulate({"horizon": "1s", "clients": [pooled]}, DEPLOYMENT)


def test_the_cache_knows_a_prompt_from_its_second_time_on(client: Client) -> None:
    # Of 100 tokens six full blocks are known, and a prompt's last token is computed in any case: of 96, five blocks.
    for tokens, known in ((100, 96), (96, 80)):
        fixed = {"type": "constant", "params": {"value": tokens}}
        trace = pooled_run(client, input_distribution=fixed, output_distribution=EXPONENTIAL)
        assert trace.column("cached_tokens").tolist() == [0, 0, 0] + [known] * 6
        assert set(trace.column("prompt_tokens").tolist()) == {tokens}


def test_answers_to_one_prompt_are_not_shared(client: Client) -> None:
    """An answer's blocks aren't found by the next request: nothing but full blocks of the prompt is claimed."""
    trace = pooled_run(client, output_distribution={"type": "constant", "params": {"value": 400}})
    assert trace.header.run["claimed_blocks"] == 6 * 6


def test_traces_keep_pooled_prompts(client: Client) -> None:
    trace = pooled_run(client, prefix_group="docs", prefix_length=32)
    assert trace.segments is not None
    assert list(trace.segments.items())[4] == (4, (("docs", 32), ("a prompt 1", 100), (None, 0)))
    again = blis.replay(trace, DEPLOYMENT)
    for name in ("cached_tokens", "first_chunk_time_us", "last_chunk_time_us"):
        assert again.column(name).tolist() == trace.column(name).tolist()
    spec = {"horizon": "1s", "clients": [client("a", rate=10, arrival=CONSTANT, prompt_pool={"size": 3})]}
    generated = blis.generate(spec)
    assert generated.segments == blis.simulate(spec, DEPLOYMENT).segments


def test_closed_loops_take_their_prompts_from_a_pool(client: Client) -> None:
    own = {"concurrency": 2, "rate": None, "arrival": None, "prompt_pool": {"size": 3}}
    trace = blis.simulate({"num_requests": 9, "clients": [client("a", **own)]}, DEPLOYMENT)
    assert trace.segments is not None
    found = dict(trace.segments.items())
    keys = [found[place][0][0] for place in range(9)]
    assert [keys[at] for at in np.argsort(trace.column("client_seq"))] == [f"a prompt {at % 3}" for at in range(9)]


@settings(max_examples=20)
@given(st.sampled_from(["round_robin", "random"]), st.integers(1, 300), st.sampled_from([None, 2.0, 4000.0]))
def test_prompts_do_not_depend_on_blocks(client: Client, order: str, size: int, likely: float | None) -> None:
    from blis.clients.build import sources
    from blis.clients.source import ClientSource
    from blis.spec.workload import workload_from_dict

    made = client("a", rate=100, prompt_pool={"size": size, "order": order}, input_distribution=EXPONENTIAL)
    (source,) = sources(workload_from_dict({"num_requests": 9, "clients": [made]}), None, pytest.fail)
    assert isinstance(source, ClientSource)
    rows = [[row for block in source.blocks(3 * S, guess) for row in block.rows()] for guess in (None, likely)]
    assert rows[0] == rows[1]
