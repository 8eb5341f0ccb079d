"""The engine gives the golden results, to the microsecond, from a deployment written as a user writes it."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

import pytest
from engine_harness import Served, serve
from golden_cases import SKIP_REASON, GoldenCase, Row, differences, find, root

from blis import latency
from blis.cluster.cluster import Cluster
from blis.request import Request
from blis.spec.deployment import DeploymentSpec, deployment_from_dict

CASES = find()

pytestmark = [pytest.mark.real, pytest.mark.skipif(root() is None, reason=SKIP_REASON)]


def deployment(case: GoldenCase) -> DeploymentSpec:
    """Say what the case's configuration says in the keys of a deployment file."""
    gateway = case.gateway_settings
    admission = {"policy": gateway["admission"], "latency_us": gateway["admission_latency_us"]}
    if gateway["admission"] == "token-bucket":
        admission |= {"capacity": gateway["bucket_capacity"], "refill_rate": gateway["bucket_refill_rate"]}
    model: dict[str, Any] = {"model": case.latency_model}
    if case.alpha is not None:
        model["coefficients"] = {"alpha": list(case.alpha), "beta": list(case.beta or ())}
    return deployment_from_dict(
        {
            "version": "1",
            "instances": case.instances,
            "model": case.model,
            "hardware": case.gpu,
            "tp": case.tp,
            **case.engine_settings,
            "admission": admission,
            "routing": {"policy": "round-robin", "latency_us": gateway["routing_latency_us"]},
            "latency": model,
        }
    )


def run(case: GoldenCase) -> tuple[Cluster, list[Request], dict[int, Served]]:
    spec, requests, forced = deployment(case), case.requests, case.forced
    cluster, served = serve(
        spec.resolve(),
        requests,
        admission=spec.admission,
        routing=spec.routing,
        assign=None if forced is None else lambda request: forced[request.request_id],
        log_steps=True,
    )
    return cluster, requests, served


def last_step_us(cluster: Cluster, request: Request, served: Served) -> int:
    """Find the step that gave the last token by the moment it ended, and how long it took.

    It works where no step misses a running sequence, as in all cases that need it.
    """
    instance = cluster.instances[served.instance]
    ends = instance.step_ends
    assert ends is not None
    assert served.e2e_us is not None
    assert served.scheduling_delay_us is not None
    # Reported times are late by one overhead per token, which the simulated clock knows nothing of.
    overheads = latency.build(instance.config).overheads
    late = max(request.output_tokens, 1) * int(overheads.per_token) + int(overheads.completion)
    end = request.arrival_us + served.e2e_us - late
    place = bisect_left(ends, end)
    assert ends[place] == end, f"no step of {instance.config.name} ends at {end}"
    # It began when the one before it ended, or with the request's admission if the instance was idle.
    begin = request.arrival_us + served.scheduling_delay_us
    return end - max(begin, ends[place - 1] if place else 0)


def rows(case: GoldenCase, cluster: Cluster, requests: list[Request], served: dict[int, Served]) -> dict[int, Row]:
    twice = case.suite == "alpha_beta"
    found = {}
    for request in requests:
        outcome = served[request.request_id]
        if outcome.status != "ok":
            continue
        overheads = latency.build(cluster.instances[outcome.instance].config).overheads
        assert outcome.ttft_us is not None
        assert outcome.e2e_us is not None
        assert outcome.scheduling_delay_us is not None
        completion = int(overheads.completion) if request.output_tokens else 0
        found[request.request_id] = Row(
            ttft_us=outcome.ttft_us,
            e2e_us=outcome.e2e_us,
            scheduling_delay_us=outcome.scheduling_delay_us,
            itl_sum_us=outcome.e2e_us - outcome.ttft_us - completion,
            output_tokens=outcome.output_tokens,
            last_step_us=last_step_us(cluster, request, outcome) if twice else 0,
        )
    return found


def check_totals(case: GoldenCase, cluster: Cluster, served: dict[int, Served]) -> None:
    aggregate = case.results["aggregate"]
    if case.suite == "alpha_beta":
        steps = [len(instance.step_ends or ()) for instance in cluster.instances]
        assert steps == aggregate["steps_per_instance"]
        return
    # The reference averages the rates of its instances.
    caches = [instance.scheduler.kv for instance in cluster.instances]
    rates = [kv.claimed / max(kv.claimed + kv.allocated, 1) for kv in caches]
    assert sum(rates) / len(rates) == pytest.approx(aggregate["cache_hit_rate"], rel=1e-12, abs=0)
    assert sum(outcome.preemptions for outcome in served.values()) == aggregate["preemption_count"]


def test_all_cases_are_there() -> None:
    assert len(CASES) == 12 * 2 + 8


@pytest.mark.parametrize("case", CASES, ids=str)
def test_golden(case: GoldenCase) -> None:
    cluster, requests, served = run(case)
    found = rows(case, cluster, requests, served)
    assert differences(case, found) == []
    assert [number for number, outcome in served.items() if outcome.status == "rejected"] == case.rejected
    assert len(served) == len(found) + len(case.rejected)
    if case.corrected is None:
        check_totals(case, cluster, served)
    # The histogram holds the same ITLs: as many, and as long altogether.
    assert cluster.itl.count == sum(max(row.output_tokens - 1, 0) for row in found.values())
    assert cluster.itl.total == sum(row.itl_sum_us for row in found.values())
    if case.forced is not None:
        assert {number: outcome.instance for number, outcome in served.items()} == case.forced


def test_the_comparison_can_fail() -> None:
    case = next(case for case in CASES if str(case) == "alpha_beta-a_single_light-alpha-beta")
    cluster, requests, served = run(case)
    found = rows(case, cluster, requests, served)
    row = found[7]
    later = Row(
        row.ttft_us, row.e2e_us, row.scheduling_delay_us, row.itl_sum_us, row.output_tokens, row.last_step_us + 100
    )
    wrong = differences(case, found | {7: later})
    assert [text.split(":")[0] for text in wrong] == ["request 7", "request 7"]
