"""Timelines of the engine worked out by hand, step by step."""

from __future__ import annotations

from dataclasses import replace

import pytest
from small_cases import Served, caches, config, gaps, outcomes, request, run, steps

from blis.spec.gateway import AdmissionSpec, RoutingSpec
from blis.spec.latency import LatencySpec


def test_three_requests_that_share_a_prefix() -> None:
    # Queueing 5 + prompt, a step 10 + 2 per prefill token + 3 per decode, each token 2 later. Six blocks of 4 tokens.
    # A: 4 shared + 2 own, 8 out; joins at 0 + 11.  B: 4 shared + 6 own, 2 out; joins at 10 + 15 = 25.
    # C: the 4 shared only, 3 out; joins at 30 + 9 = 39.
    cluster, served = run(
        config(6, alpha=(5, 1, 2), beta=(10, 2, 3), block_size=4, max_num_batched_tokens=8),
        request(0, (("p", 4), (None, 2)), 8),
        request(10, (("p", 4), (None, 6)), 2),
        request(30, (("p", 4),), 3),
    )
    assert steps(cluster) == [
        # From 11: A prefills 6 into blocks 0 (the shared one) and 1.
        33,
        # A decodes. B claims block 0 and prefills the other 6 (7 were left) into 2 and 3.
        58,
        # A and B decode. C, cached in full, computes its last block again, in block 4: block 5 is left.
        82,
        # B has left. A and C decode.
        98,
        114,
        # C has left.
        127,
        140,
        153,
    ]
    assert served == [
        # First token at 33 + 2; then 25 + 2, 24 + 2, twice 16 + 2, and three times 13 + 2.
        Served("ok", 0, 35, 35 + 134, 11, 8, 0, 0),
        # First token at 58 + 2, 50 after the arrival; the other one a step of 24 later.
        Served("ok", 0, 50, 50 + 26, 33 - 10, 2, 0, 4),
        # First token at 82 + 2, 54 after the arrival.
        Served("ok", 0, 54, 54 + 36, 58 - 30, 3, 0, 0),
    ]
    assert caches(cluster) == (1, 2 + 2 + 1 + 2 + 1)
    assert cluster.itl == gaps(27, 26, 18, 18, 15, 15, 15, 26, 18, 18)


def test_three_requests_short_of_blocks() -> None:
    # No queueing, a step 10 + tokens, each token 1 later. Four blocks of 2 tokens.
    # A: 3 in, 4 out.  B: 2 in, 3 out.  C: 1 in, 1 out, comes at 5 and gives up at 40.
    cluster, served = run(
        config(4, alpha=(0, 0, 1), beta=(10, 1, 1), block_size=2, max_num_batched_tokens=16),
        request(0, 3, 4),
        request(0, 2, 3),
        request(5, 1, 1, deadline=40),
    )
    assert steps(cluster) == [
        # A prefills into blocks 0 and 1, B into 2.
        15,
        # A decodes at 3, B at 2 in block 3. None is left for C.
        27,
        # A decodes at 4 and needs a block: B is preempted, to the queue's front, and frees 3 and 2; A takes 3.
        38,
        # A decodes at 5. B starts again in block 2 (its own content is still there, but has to be computed again).
        51,
        # At 40 C has left. At 51 A ends, its last token without a slot, and frees 3, 1, 0. B decodes in block 3.
        62,
        # B decodes at 3, and its last token takes block 1.
        73,
    ]
    assert served == [
        Served("ok", 0, 16, 16 + 13 + 12 + 14, 0, 4, 0, 0),
        Served("ok", 0, 52, 52 + 12 + 12, 38, 3, 1, 0),
        Served("timeout", 0, None, None, None, 0, 0, 0),
    ]
    assert caches(cluster) == (0, 3 + 1 + 1 + 1 + 1 + 1)
    assert cluster.itl == gaps(13, 12, 14, 12, 12)


def test_three_requests_in_chunks() -> None:
    # A step 10 + tokens; at most 4 tokens of a prompt at once and 6 in all. Blocks of 4 tokens and plenty of them.
    # A: 9 in, 3 out.  B: 3 in, 2 out.  C: at 30, 5 in, 1 out.
    cluster, served = run(
        config(beta=(10, 1, 1), block_size=4, max_num_batched_tokens=6, long_prefill_token_threshold=4),
        request(0, 9, 3),
        request(0, 3, 2),
        request(30, 5, 1),
    )
    assert steps(cluster) == [
        # 4 of A's tokens, and 2 of B's 3: the budget is gone.
        16,
        # 4 of A's, and B's last: its first token comes.
        31,
        # The last of A's, B's decode, and 4 of C's: the budget is gone again.
        47,
        # B has left. A decodes, and the last of C's.
        59,
        # A's last token.
        70,
    ]
    assert served == [
        Served("ok", 0, 47, 70, 0, 3, 0, 0),
        Served("ok", 0, 31, 47, 0, 2, 0, 0),
        Served("ok", 0, 29, 29, 1, 1, 0, 0),
    ]
    # A keeps 12 tokens in 3 blocks, B 5 in 2, C 6 in 2.
    assert caches(cluster) == (0, 7)
    assert cluster.itl == gaps(12, 11, 16)


def test_four_requests_with_deadlines() -> None:
    # Queueing 2, a step 10, each token 1 later, one sequence at a time.
    # A: 3 out by 25.  B: at 1, by 20.  C: at 5, 2 out by 52.  D: at 6, by 7.
    cluster, served = run(
        config(alpha=(2, 0, 1), max_num_seqs=1),
        request(0, output=3, deadline=25),
        request(1, deadline=20),
        request(5, output=2, deadline=52),
        request(6, deadline=7),
    )
    # D is late before it joins, at 8; B leaves the queue at 20. A leaves at 32, when its last token is there, but late.
    # C's last token falls on its deadline, which is in time.
    assert steps(cluster) == [12, 22, 32, 42, 52]
    assert outcomes(served) == [
        ("timeout", 13, 13 + 11 + 11, 2, 3),
        ("timeout", None, None, None, 0),
        ("ok", 43 - 5, 43 - 5 + 11, 32 - 5, 2),
        ("timeout", None, None, None, 0),
    ]
    assert cluster.itl == gaps(11)


@pytest.mark.parametrize(("deadline", "tokens"), [(149, 15), (150, 16), (151, 16), (159, 16)])
def test_a_deadline_cuts_a_long_run_of_decodes_at_the_next_boundary(deadline: int, tokens: int) -> None:
    # Leaving at the deadline's own microsecond is impossible: at equal times the step's end comes before the timeout.
    cluster, served = run(config(), request(output=100, deadline=deadline))
    assert outcomes(served) == [("timeout", 10, tokens * 10, 0, tokens)]
    assert steps(cluster) == [10 * step for step in range(1, tokens + 1)]


@pytest.mark.parametrize(("at", "delay"), [(50, 0), (51, 9), (55, 5), (59, 1)])
def test_an_arrival_cuts_a_long_run_of_decodes_at_the_next_boundary(at: int, delay: int) -> None:
    cluster, served = run(config(), request(output=100), request(at, output=1))
    assert outcomes(served) == [("ok", 10, 1000, 0, 100), ("ok", delay + 10, delay + 10, delay, 1)]
    assert steps(cluster) == [10 * step for step in range(1, 101)]


def test_an_arrival_that_finds_no_place_cuts_nothing_and_starts_when_one_is_free() -> None:
    cluster, served = run(config(max_num_seqs=1), request(output=100), request(55, output=1))
    assert outcomes(served) == [("ok", 10, 1000, 0, 100), ("ok", 955, 955, 945, 1)]
    assert steps(cluster) == [10 * step for step in range(1, 102)]


def test_requests_of_one_microsecond_start_one_step() -> None:
    # Two at 0; one at the microsecond at which their first step ends, and joins the next; one a microsecond too late.
    cluster, served = run(config(), request(), request(), request(10), request(11))
    assert steps(cluster) == [10, 20, 30, 40]
    assert outcomes(served) == [
        ("ok", 10, 20, 0, 2),
        ("ok", 10, 20, 0, 2),
        ("ok", 10, 20, 0, 2),
        ("ok", 19, 29, 9, 2),
    ]


def test_one_microsecond_for_arrivals_that_queue_differently() -> None:
    # Queueing 1 per prompt token: both join at 7, and one step starts.
    cluster, served = run(config(alpha=(0, 1, 0)), request(2, 5, 1), request(4, 3, 1))
    assert steps(cluster) == [17]
    assert outcomes(served) == [("ok", 15, 15, 5, 1), ("ok", 13, 13, 3, 1)]


def test_four_requests_scheduled_asynchronously() -> None:
    # No overheads, a step 10 + tokens, blocks of 4 tokens and plenty of them.
    # A: 4 in, 3 out.  B: at 5, 4 in, 2 out.  C: at 20, 1 in, 5 out, gives up at 60.  D: at 50, 2 in, 1 out.
    cluster, served = run(
        config(beta=(10, 1, 1), block_size=4, max_num_batched_tokens=16, async_scheduling=True),
        request(0, 4, 3),
        request(5, 4, 2),
        request(20, 1, 5, deadline=60),
        request(50, 2, 1),
    )
    assert steps(cluster) == [
        # Formed and started at 0; at once the next is formed: A's decode. B, at 5, misses it.
        14,
        # At 14 the next is formed: A and B.
        25,
        # At 25 the next is formed: A gets its last token in this step and isn't in it; B decodes, C is admitted.
        40,
        # At 40 the next is formed: C alone.
        52,
        # At 52 the next is formed: C, and D, which came at 50.
        63,
        # At 63 C is late: it has left, and its part in this step with it.
        75,
    ]
    assert served == [
        Served("ok", 0, 14, 14 + 11 + 15, 0, 3, 0, 0),
        Served("ok", 0, 35, 35 + 12, 20, 2, 0, 0),
        Served("timeout", 0, 32, 32 + 11, 20, 2, 0, 0),
        Served("ok", 0, 25, 25, 13, 1, 0, 0),
    ]
    assert caches(cluster) == (0, 2 + 2 + 1 + 1)
    assert cluster.itl == gaps(11, 15, 12)


def test_asynchronous_preemption_voids_the_running_step() -> None:
    # Four blocks of one token, steps of 10; A and B have 1 in and 3 out.
    # At 0 both prefill, and their decodes of 10 are planned, which takes the last blocks. At 10 the step of 20 is
    # planned: A needs a block, so B is preempted, and its decode, running until 20, is void. At 20 the step of 30 is
    # planned: A gets its last token at 30 and isn't in it; B is admitted again. Its decodes run at 40 and 50.
    cluster, served = run(config(4, block_size=1, async_scheduling=True), request(output=3), request(output=3))
    assert steps(cluster) == [10, 20, 30, 40, 50, 60]
    assert served == [Served("ok", 0, 10, 30, 0, 3, 0, 0), Served("ok", 0, 40, 60, 30, 3, 1, 0)]
    assert cluster.itl == gaps(10, 10, 10, 10)


def test_latencies_of_the_gateway_come_before_the_instance() -> None:
    # At 3 it comes, at 10 it is admitted, at 30 routed, at 35 queued; the step ends at 45.
    _, served = run(
        config(alpha=(5, 0, 0)),
        request(3, output=1),
        admission=AdmissionSpec(latency_us=7),
        routing=RoutingSpec(latency_us=20),
    )
    assert outcomes(served) == [("ok", 42, 42, 32, 1)]


def test_the_completion_overhead_counts_once_and_only_with_output() -> None:
    # trained-physics with one coefficient: a step takes B7 = 50 us.
    beta = (0.0,) * 8 + (50.0, 0.0, 0.0)
    base = replace(config(), latency=LatencySpec("trained-physics", (7.9, 5.9, 3.9), beta))
    cluster, served = run(base, request(output=3), request(1000, output=1), request(2000, output=0))
    # Queueing 7, each token 3 later, 5 at the end.
    assert outcomes(served) == [
        ("ok", 60, 60 + 53 + 53 + 5, 7, 3),
        ("ok", 60, 65, 7, 1),
        ("ok", 60, 60, 7, 0),
    ]
    assert steps(cluster) == [57, 107, 157, 1057, 2057]
    assert cluster.itl == gaps(53, 53)
