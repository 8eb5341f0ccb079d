"""Timelines worked out by hand, step by step."""

from __future__ import annotations

from blis.latency.base import BatchSums
from blis.request import ClientFacts, Request, Segment
from oracle import AlphaBeta, Config, RequestResult, Result, StepRecord, run

CLIENT = ClientFacts("client")


def request(arrival: int, output: int, *segments: Segment, deadline: int | None = None) -> Request:
    prompt = sum(tokens for _, tokens in segments)
    return Request(CLIENT, 0, arrival, segments[-1][1], prompt, segments, output, deadline_us=deadline)


def serve(config: Config, model: AlphaBeta, *requests: Request) -> Result:
    return run([config], requests, latency=lambda _: model)


def steps(*rows: tuple[int, int, BatchSums]) -> list[StepRecord]:
    return [StepRecord(index, *row) for index, row in enumerate(rows)]


def decodes(number: int, context: int) -> BatchSums:
    return BatchSums(decodes=number, decode_context=context, sequences=number)


def test_three_requests_that_share_a_prefix() -> None:
    # Queueing 5 + prompt, a step 10 + 2 per prefill token + 3 per decode, each token 2 later. Six blocks of 4 tokens.
    # A: 4 shared + 2 own, 8 out; joins at 0 + 11.  B: 4 shared + 6 own, 2 out; joins at 10 + 15 = 25.
    # C: the 4 shared only, 3 out; joins at 30 + 9 = 39.
    result = serve(
        Config(total_kv_blocks=6, block_size=4, max_num_batched_tokens=8),
        AlphaBeta((5, 1, 2), (10, 2, 3)),
        request(0, 8, ("p", 4), (None, 2)),
        request(10, 2, ("p", 4), (None, 6)),
        request(30, 3, ("p", 4)),
    )
    assert result.instances[0].steps == steps(
        # A prefills 6 into blocks 0 (the shared one) and 1.
        (11, 33, BatchSums(6, 0, 0, 1, 6 * (6 + 3), 6 * 2.5, 0, 6 * (0 + 3))),
        # A decodes at 6. B claims block 0 and prefills the other 6 (7 were left) into 2 and 3.
        (33, 58, BatchSums(6, 1, 6, 2, 6 * (10 + 3), 6 * 2.5, 0, 6 * (4 + 3), 4)),
        # A decodes at 7, B at 10. C, cached in full, computes its last block again, in block 4: block 5 is left.
        (58, 82, BatchSums(4, 2, 7 + 10, 3, 4 * (4 + 2), 4 * 1.5, 0, 4 * (0 + 2))),
        # B has left: 5, 3, 2 are free. A decodes at 8 in block 5, C at 4 in block 3.
        (82, 98, decodes(2, 8 + 4)),
        (98, 114, decodes(2, 9 + 5)),
        # C has left: 2, 3, 4 are free. A decodes at 10, 11, and at 12 in block 2.
        (114, 127, decodes(1, 10)),
        (127, 140, decodes(1, 11)),
        (140, 153, decodes(1, 12)),
    )
    a_itls = [25 + 2, 24 + 2, 16 + 2, 16 + 2, 13 + 2, 13 + 2, 13 + 2]
    assert result.requests == [
        # First token at 33 + 2.
        RequestResult(0, 0, "ok", 0, 35, 35 + 134, a_itls, 11, 0, 0, 8, 0, 7, 153),
        # First token at 58 + 2, 50 after the arrival; the other one a step of 24 later.
        RequestResult(1, 10, "ok", 0, 50, 50 + 26, [26], 33 - 10, 0, 4, 2, 1, 2, 82),
        # First token at 82 + 2, 54 after the arrival.
        RequestResult(2, 30, "ok", 0, 54, 54 + 36, [18, 18], 58 - 30, 0, 0, 3, 2, 4, 114),
    ]
    assert (result.claimed_blocks, result.allocated_blocks) == (1, 2 + 2 + 1 + 2 + 1)
    assert result.instances[0].free_blocks == 6


def test_three_requests_short_of_blocks() -> None:
    # No queueing, a step 10 + tokens, each token 1 later. Four blocks of 2 tokens.
    # A: 3 in, 4 out.  B: 2 in, 3 out.  C: 1 in, 1 out, comes at 5 and gives up at 40.
    result = serve(
        Config(total_kv_blocks=4, block_size=2, max_num_batched_tokens=16),
        AlphaBeta((0, 0, 1), (10, 1, 1)),
        request(0, 4, (None, 3)),
        request(0, 3, (None, 2)),
        request(5, 1, (None, 1), deadline=40),
    )
    assert result.instances[0].steps == steps(
        # A prefills into blocks 0 and 1, B into 2.
        (0, 15, BatchSums(5, 0, 0, 2, 3 * 4.5 + 2 * 3, 3 * 1 + 2 * 0.5, 0, 3 * 1.5 + 2 * 1)),
        # A decodes at 3, B at 2 in block 3. None is left for C.
        (15, 27, decodes(2, 3 + 2)),
        # A decodes at 4 and needs a block: B is preempted, to the queue's front, and frees 3 and 2; A takes 3.
        (27, 38, decodes(1, 4)),
        # A decodes at 5. B starts again in block 2 (its own content is still there, but has to be computed again).
        (38, 51, BatchSums(2, 1, 5, 2, 2 * 3, 2 * 0.5, 0, 2 * 1)),
        # At 40 C has left. At 51 A ends, its last token without a slot, and frees 3, 1, 0. B decodes at 2 in block 3.
        (51, 62, decodes(1, 2)),
        # B decodes at 3, and its last token takes block 1.
        (62, 73, decodes(1, 3)),
    )
    assert result.requests == [
        RequestResult(0, 0, "ok", 0, 16, 16 + 13 + 12 + 14, [13, 12, 14], 0, 0, 0, 4, 0, 3, 51),
        RequestResult(1, 0, "ok", 0, 52, 52 + 12 + 12, [12, 12], 38, 1, 0, 3, 3, 5, 73),
        RequestResult(2, 5, "timeout", 0, left_us=40),
    ]
    assert (result.claimed_blocks, result.allocated_blocks) == (0, 3 + 1 + 1 + 1 + 1 + 1)


def test_four_requests_scheduled_asynchronously() -> None:
    # No overheads, a step 10 + tokens, blocks of 4 tokens and plenty of them.
    # A: 4 in, 3 out.  B: at 5, 4 in, 2 out.  C: at 20, 1 in, 5 out, gives up at 60.  D: at 50, 2 in, 1 out.
    result = serve(
        Config(total_kv_blocks=10, block_size=4, max_num_batched_tokens=16, async_scheduling=True),
        AlphaBeta((0, 0, 0), (10, 1, 1)),
        request(0, 3, (None, 4)),
        request(5, 2, (None, 4)),
        request(20, 5, (None, 1), deadline=60),
        request(50, 1, (None, 2)),
    )
    assert result.instances[0].steps == steps(
        # Formed and started at 0; at once the next is formed: A's decode. B, at 5, misses it.
        (0, 14, BatchSums(4, 0, 0, 1, 4 * 6, 4 * 1.5, 0, 4 * 2)),
        # At 14 the next is formed: A and B.
        (14, 25, decodes(1, 4)),
        # At 25 the next is formed: A gets its last token in this step and isn't in it; B decodes, C is admitted.
        (25, 40, BatchSums(4, 1, 5, 2, 4 * 6, 4 * 1.5, 0, 4 * 2)),
        # At 40 the next is formed: C alone.
        (40, 52, BatchSums(1, 1, 4, 2, 1 * 1.5, 0, 0, 1 * 0.5)),
        # At 52 the next is formed: C, and D, which came at 50.
        (52, 63, decodes(1, 1)),
        # At 63 C is late: it has left, and its part in this step with it.
        (63, 75, BatchSums(2, 0, 0, 1, 2 * 3, 2 * 0.5, 0, 2 * 1)),
    )
    assert result.requests == [
        RequestResult(0, 0, "ok", 0, 14, 14 + 11 + 15, [11, 15], 0, 0, 0, 3, 0, 2, 40),
        RequestResult(1, 5, "ok", 0, 35, 35 + 12, [12], 20, 0, 0, 2, 2, 3, 52),
        RequestResult(2, 20, "timeout", 0, 32, 32 + 11, [11], 20, 0, 0, 2, 3, 4, 63),
        RequestResult(3, 50, "ok", 0, 25, 25, [], 13, 0, 0, 1, 5, 5, 75),
    ]
    assert (result.claimed_blocks, result.allocated_blocks) == (0, 2 + 2 + 1 + 1)
