"""Single rules of the oracle, each with the value that follows from it."""

from __future__ import annotations

import pytest

from blis.request import ClientFacts, Request, Segment
from oracle import AlphaBeta, Config, RequestResult, Result, run

TEN = AlphaBeta((0, 0, 0), (10, 0, 0))
"""Each step takes 10 us; no overheads."""


def request(
    arrival: int = 0, prompt: int = 1, output: int = 2, *, deadline: int | None = None, slo_class: str = "",
    segments: tuple[Segment, ...] = (),
) -> Request:  # fmt: skip
    return Request(
        ClientFacts("client", slo_class=slo_class), 0, arrival, prompt, prompt, segments or ((None, prompt),), output,
        deadline_us=deadline,
    )  # fmt: skip


def serve(config: Config, *requests: Request, model: AlphaBeta = TEN) -> Result:
    return run([config], requests, latency=lambda _: model)


def outcome(result: RequestResult) -> tuple[str, int, int]:
    return result.status, result.output_tokens, result.left_us


@pytest.mark.parametrize(
    ("deadline", "queueing", "wanted"),
    [
        (20, 0, ("ok", 2, 20)),
        (19, 0, ("timeout", 2, 20)),
        (10, 0, ("timeout", 2, 20)),
        (9, 0, ("timeout", 1, 10)),
        (0, 0, ("timeout", 1, 10)),
        (0, 1, ("timeout", 0, 1)),
        (1, 1, ("timeout", 1, 11)),
    ],
)
def test_deadline_of_a_running_request(deadline: int, queueing: int, wanted: tuple[str, int, int]) -> None:
    model = AlphaBeta((queueing, 0, 0), (10, 0, 0))
    result = serve(Config(10), request(deadline=deadline), model=model)
    assert outcome(result.requests[0]) == wanted


@pytest.mark.parametrize(("deadline", "wanted"), [(19, ("timeout", 0, 19)), (20, ("timeout", 1, 30))])
def test_deadline_of_a_waiting_request(deadline: int, wanted: tuple[str, int, int]) -> None:
    result = serve(Config(10, max_num_seqs=1), request(), request(deadline=deadline))
    assert outcome(result.requests[1]) == wanted


@pytest.mark.parametrize(
    ("prompt", "output", "limit", "status"),
    [
        (10, 22, 0, "ok"),
        (10, 23, 0, "unservable"),
        (10, 2, 12, "ok"),
        (10, 3, 12, "unservable"),
        (10, 0, 10, "unservable"),
        (10, 0, 11, "ok"),
    ],
)
def test_unservable(prompt: int, output: int, limit: int, status: str) -> None:
    result = serve(Config(2, max_model_len=limit), request(prompt=prompt, output=output))
    assert result.requests[0].status == status


def test_unservable_comes_before_the_deadline() -> None:
    result = serve(Config(1), request(prompt=17, deadline=0), model=AlphaBeta((5, 0, 0), (10, 0, 0)))
    assert outcome(result.requests[0]) == ("unservable", 0, 5)


def test_no_output_ends_with_the_prefill() -> None:
    result = serve(Config(10), request(output=0), model=AlphaBeta((0, 0, 3), (10, 0, 0)))
    assert result.requests == [RequestResult(0, 0, "ok", 0, 13, 13, [], 0, 0, 0, 0, 0, 0, 10)]
    assert result.allocated_blocks == 1


def test_last_token_takes_a_slot() -> None:
    assert serve(Config(10, block_size=4), request(prompt=4, output=1)).allocated_blocks == 2
    assert serve(Config(10, block_size=4), request(prompt=4, output=0)).allocated_blocks == 1


def test_request_queued_at_a_step_joins_its_batch_and_two_start_one_step() -> None:
    result = serve(Config(10), request(), request(), request(10), request(11))
    assert [(step.start_us, step.sums.sequences) for step in result.instances[0].steps] == [
        (0, 2), (10, 3), (20, 2), (30, 1),
    ]  # fmt: skip


def test_budget_goes_to_running_sequences_first() -> None:
    # 2 tokens per step. A, and the first half of B; A, and the second half; A and B; B, and C for the first time; C.
    result = serve(
        Config(10, max_num_batched_tokens=2), request(output=3), request(prompt=2, output=3), request(output=2)
    )
    sums = [(step.sums.prefill_tokens, step.sums.decodes) for step in result.instances[0].steps]
    assert sums == [(2, 0), (1, 1), (0, 2), (1, 1), (0, 1)]
    assert [r.itls for r in result.requests] == [[10, 10], [10, 10], [10]]
    assert [r.e2e_us for r in result.requests] == [30, 40, 50]


def test_a_step_that_misses_a_sequence_is_not_in_its_itls() -> None:
    # Four blocks of 2 tokens. At 10, A takes the last one; B, which needs one too and is the least urgent, preempts
    # itself, which ends the batch before it comes to C. C goes on at 20.
    result = serve(
        Config(4, block_size=2, preemption="priority"),
        request(prompt=2, output=3, slo_class="critical"),
        request(prompt=2, output=3, slo_class="batch"),
        request(prompt=1, output=3, slo_class="standard"),
    )
    sums = [(step.sums.prefill_tokens, step.sums.decodes) for step in result.instances[0].steps[:4]]
    assert sums == [(5, 0), (0, 1), (2, 2), (0, 2)]
    c = result.requests[2]
    assert (c.itls, c.ttft_us, c.e2e_us, c.left_us) == ([10, 10], 10, 30, 40)


def test_threshold_cuts_chunks() -> None:
    result = serve(Config(10, long_prefill_token_threshold=4, max_num_batched_tokens=6), request(prompt=9), request())
    sums = [(step.sums.prefill_tokens, step.sums.decodes) for step in result.instances[0].steps]
    # 4 of A and B's only token; 4 of A; the last of A; A's decode.
    assert sums == [(5, 0), (4, 1), (1, 0), (0, 1)]


@pytest.mark.parametrize(
    ("scheduler", "order"),
    [
        ("fcfs", [0, 1, 2, 3]),
        ("sjf", [3, 2, 0, 1]),
        ("priority-fcfs", [2, 1, 3, 0]),
        ("reverse-priority", [0, 3, 1, 2]),
    ],
)
def test_schedulers(scheduler: str, order: list[int]) -> None:
    classes, prompts = ("background", "", "critical", "sheddable"), (3, 4, 2, 1)
    requests = [
        request(1, prompt, 1, slo_class=slo_class) for prompt, slo_class in zip(prompts, classes, strict=True)
    ]  # fmt: skip
    # A request of 10 us keeps the only place while the others come.
    result = serve(Config(10, max_num_seqs=1, scheduler=scheduler), request(output=1), *requests)
    assert [r.request_id - 1 for r in sorted(result.requests[1:], key=lambda r: r.left_us)] == order


def test_equal_requests_go_by_the_text_of_their_ids() -> None:
    requests = [request(0, output=1)] + [request(1, output=1) for _ in range(10)]
    result = serve(Config(10, max_num_seqs=1, scheduler="sjf"), *requests)
    served = [r.request_id for r in sorted(result.requests, key=lambda r: r.left_us)]
    assert served == [0, 1, 10, 2, 3, 4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize(("policy", "order"), [("slo-based", [1, 2]), ("inverted-slo", [2, 1])])
def test_priority_by_age(policy: str, order: list[int]) -> None:
    # The longest waiting one was queued last.
    config = Config(10, max_num_seqs=1, scheduler="priority-fcfs", priority_policy=policy)
    model = AlphaBeta((0, 1, 0), (20, 0, 0))
    result = serve(config, request(output=1), request(1, prompt=9, output=1), request(3, output=1), model=model)
    assert [r.request_id for r in sorted(result.requests[1:], key=lambda r: r.left_us)] == order


@pytest.mark.parametrize(("preemption", "victim"), [("fcfs", 2), ("priority", 1)])
def test_who_is_preempted(preemption: str, victim: int) -> None:
    # Six blocks of one token: at 20 the first one finds none for its third token.
    requests = [request(output=3, slo_class=slo_class) for slo_class in ("critical", "batch", "standard")]
    result = serve(Config(6, block_size=1, preemption=preemption), *requests)
    assert [r.request_id for r in result.requests if r.preemptions] == [victim]


def test_an_empty_batch_takes_its_time() -> None:
    # Two blocks of 2 tokens. At 10 the first needs another, preempts itself, and the step is empty, though it frees a
    # block for the second; that one decodes at 20, and the first starts again at 30.
    config = Config(2, block_size=2, preemption="priority")
    requests = [request(prompt=2, slo_class=slo_class) for slo_class in ("batch", "critical")]
    result = serve(config, *requests)
    assert [step.sums.sequences for step in result.instances[0].steps] == [2, 0, 1, 1, 1]
    assert [(r.ttft_us, r.e2e_us, r.left_us) for r in result.requests] == [(40, 50, 50), (10, 20, 30)]


def test_blocks_can_be_claimed_in_the_batch_that_computes_them() -> None:
    # The third claims what the others are computing in the same step. The second could claim the first one's block,
    # but it has to compute at least one token: it makes its own copy.
    shared: tuple[Segment, ...] = (("p", 4),)
    result = serve(
        Config(10, block_size=4),
        request(prompt=4, segments=shared),
        request(prompt=4, segments=shared),
        request(prompt=5, segments=(*shared, (None, 1))),
    )
    assert [r.cached_tokens for r in result.requests] == [0, 0, 4]
    assert result.claimed_blocks == 1


def test_output_continues_the_last_key() -> None:
    # The first request's 4 + 4 tokens are the second one's prompt.
    first = request(prompt=4, output=4, segments=(("s", 4),))
    second = request(100, 9, 1, segments=(("s", 8), (None, 1)))
    result = serve(Config(10, block_size=4), first, second)
    assert result.requests[1].cached_tokens == 8

    third = request(100, 9, 1, segments=(("t", 8), (None, 1)))
    assert serve(Config(10, block_size=4), first, third).requests[1].cached_tokens == 0


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_lone_request_takes_prefill_and_decode_steps(asynchronous: bool) -> None:
    config = Config(10, block_size=4, max_num_batched_tokens=5, async_scheduling=asynchronous)
    result = serve(config, request(prompt=12, output=6))
    # Chunks of 5, 5 and 2; then five decodes.
    assert result.requests == [RequestResult(0, 0, "ok", 0, 30, 80, [10] * 5, 0, 0, 0, 6, 2, 7, 80)]


def test_asynchronous_arrival_misses_the_next_batch() -> None:
    requests = [request(output=10), request(5)]
    delays = [
        serve(Config(10, async_scheduling=asynchronous), *requests).requests[1].scheduling_delay_us
        for asynchronous in (False, True)
    ]
    assert delays == [5, 15]


def test_asynchronous_preemption_voids_the_running_step() -> None:
    # Four blocks of one token, steps of 10; A and B have 1 in and 3 out.
    # At 0 both prefill, and their decodes of 10 are planned, which takes the last blocks. At 10 the step of 20 is
    # planned: A needs a block, so B is preempted, and its decode, running until 20, is void. At 20 the step of 30 is
    # planned: A gets its last token at 30 and isn't in it; B is admitted again. Its decodes run at 40 and 50.
    config = Config(4, block_size=1, async_scheduling=True)
    result = serve(config, request(output=3), request(output=3))
    assert result.requests[0] == RequestResult(0, 0, "ok", 0, 10, 30, [10, 10], 0, 0, 0, 3, 0, 2, 30)
    assert result.requests[1] == RequestResult(1, 0, "ok", 0, 40, 60, [10, 10], 30, 1, 0, 3, 3, 5, 60)
    assert [step.sums.decodes for step in result.instances[0].steps] == [0, 2, 1, 0, 1, 1]
