"""Defects that an earlier implementation of the same rules had, each with a case in which it would show."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_cases import Served, caches, config, gaps, outcomes, request, run, steps


def test_two_arrivals_of_one_microsecond_start_one_chain_of_steps() -> None:
    # Two chains would give each its own steps, or steps that overlap.
    cluster, served = run(config(beta=(10, 0, 1)), request(output=3), request(output=3))
    assert steps(cluster) == [10, 22, 34]
    assert outcomes(served) == [("ok", 10, 34, 0, 3)] * 2


def test_arrivals_at_the_microsecond_a_batch_empties_start_one_chain() -> None:
    cluster, served = run(config(beta=(10, 0, 1)), request(output=1), request(10, output=2), request(10, output=2))
    assert steps(cluster) == [10, 20, 32]
    assert outcomes(served)[1:] == [("ok", 10, 22, 0, 2)] * 2


def test_waiting_requests_start_when_the_batch_empties() -> None:
    # Nothing ever arrives after the first microsecond: only the end of a step can start the others.
    _, served = run(config(max_num_seqs=1), *(request(output=1) for _ in range(4)))
    assert [s.e2e_us for s in served] == [10, 20, 30, 40]


def test_waiting_requests_start_when_the_batch_empties_by_a_deadline() -> None:
    _, served = run(config(max_num_seqs=1), request(output=50, deadline=15), request(output=1))
    assert outcomes(served) == [("timeout", 10, 20, 0, 2), ("ok", 30, 30, 20, 1)]


def test_waiting_requests_start_when_the_blocking_head_gives_up() -> None:
    # Eight blocks of a token. A holds 2 at first, so B, at the head, finds no 7; C, behind it, needs only 1.
    # B gives up at 25, and C is admitted at 30.
    cluster, served = run(
        config(8, block_size=1),
        request(0, 2, 4),
        request(1, 7, 1, deadline=25),
        request(2, 1, 1),
    )
    assert outcomes(served) == [
        ("ok", 10, 40, 0, 4),
        ("timeout", None, None, None, 0),
        ("ok", 38, 38, 28, 1),
    ]
    assert steps(cluster) == [10, 20, 30, 40]


def test_waiting_requests_start_after_the_only_running_one_preempts_itself() -> None:
    # Two blocks of 2 tokens. At 10 the first needs another, preempts itself, and its step is empty; the second decodes,
    # and when it has left, at 30, only the preempted one is there.
    cluster, served = run(
        config(2, block_size=2, preemption="priority"),
        request(0, 2, 2, slo_class="batch"),
        request(0, 2, 2, slo_class="critical"),
    )
    assert steps(cluster) == [10, 20, 30, 40, 50]
    assert served == [Served("ok", 0, 40, 50, 30, 2, 1, 0), Served("ok", 0, 10, 20, 0, 2, 0, 0)]


def test_a_preempted_sequence_is_not_visited_again_in_its_step() -> None:
    # Three blocks of 2 tokens; a step 10 + 5 per prefill token + 1 per decode. A holds one block, B two.
    # At 35, A needs a second block: B is preempted, and one of its blocks is left. Visited again, B would prefill 2
    # tokens in it, and the step would take 21.
    cluster, served = run(
        config(3, beta=(10, 5, 1), block_size=2),
        request(0, 2, 3),
        request(0, 3, 3),
    )
    # Only A decodes, twice: B's 3 tokens need two blocks. A ends at 57, and B starts again.
    assert steps(cluster)[:3] == [35, 46, 57]
    assert [s.preemptions for s in served] == [0, 1]
    assert served[1].scheduling_delay_us == 57


def test_there_is_no_itl_after_the_last_token() -> None:
    cluster, served = run(config(beta=(10, 2, 0)), request(0, 5, 4), request(100, 3, 1), request(200, 1, 0))
    # One step of 20 for the prompt, three of 10: no fourth, whose duration would be 10 too.
    assert outcomes(served) == [("ok", 20, 50, 0, 4), ("ok", 16, 16, 0, 1), ("ok", 12, 12, 0, 0)]
    assert cluster.itl == gaps(10, 10, 10)
    assert steps(cluster) == [20, 30, 40, 50, 116, 212]


@pytest.mark.parametrize(
    ("prompt", "output", "blocks"),
    [(4, 0, 1), (4, 1, 2), (4, 4, 2), (4, 5, 3), (3, 1, 1), (3, 2, 2), (1, 7, 2), (1, 8, 3), (8, 8, 4)],
)
def test_a_token_that_fills_a_block_is_stored_once(prompt: int, output: int, blocks: int) -> None:
    cluster, _ = run(config(20, block_size=4), request(0, prompt, output))
    assert caches(cluster) == (0, blocks)
    assert cluster.instances[0].scheduler.kv.free == 20


@pytest.mark.parametrize("chunk", [0, 1, 3, 4, 5, 8])
def test_identities_of_blocks_are_right_after_chunked_prefill(chunk: int) -> None:
    # Blocks of 4 tokens; the first computes 12 shared tokens and 2 of its own in chunks.
    cluster, served = run(
        config(block_size=4, long_prefill_token_threshold=chunk),
        request(0, (("p", 12), (None, 2)), 1),
        # The same 12 tokens, and others.
        request(1000, (("p", 12), (None, 3)), 1),
        # All of the same prefix, and more of it than the first had.
        request(2000, (("p", 20),), 1),
        # The first 6 of them, then others: one block is the same throughout.
        request(3000, (("p", 6), ("q", 8)), 1),
        # Others in front: the rest counts for nothing.
        request(4000, (("q", 4), ("p", 12)), 1),
    )
    assert [s.cached_tokens for s in served] == [0, 12, 12, 4, 0]
    assert caches(cluster)[0] == 3 + 3 + 1


def test_no_request_is_lost_when_the_last_tokens_block_cannot_be_had() -> None:
    # Three blocks of 2 tokens. A: 2 in, 3 out; its last token would open a third block at 30. B: at 15, 1 in, 3 out,
    # takes the one that was left at 20.
    cluster, served = run(config(3, block_size=2), request(0, 2, 3), request(15, 1, 3))
    assert outcomes(served) == [("ok", 10, 30, 0, 3), ("ok", 15, 35, 5, 3)]
    # A's 2, B's 1, and one for B's third token at 40.
    assert caches(cluster) == (0, 4)
    # With one block more A's last token has its own.
    cluster, _ = run(config(4, block_size=2), request(0, 2, 3), request(15, 1, 3))
    assert caches(cluster) == (0, 5)


def test_itls_of_a_preempted_attempt_do_not_count() -> None:
    # Four blocks of one token, a step 10 + 1 per decode: at 22, B, which has an ITL of 12, gives way.
    cluster, served = run(config(4, beta=(10, 0, 1), block_size=1), request(output=3), request(output=3))
    assert steps(cluster) == [10, 22, 33, 43, 54, 65]
    assert served == [Served("ok", 0, 10, 33, 0, 3, 0, 0), Served("ok", 0, 43, 65, 33, 3, 1, 0)]
    assert cluster.itl == gaps(12, 11, 11, 11)


SCRIPT = """
import sys
from pathlib import Path

import orjson

import blis
from blis.metrics import summarize

trace = blis.simulate(sys.argv[1], {"instances": 3, "routing": {"policy": "weighted", "scorers": {
    "queue-depth": 0.1, "kv-utilization": 0.7, "load-balance": 0.3, "prefix-affinity": 0.2, "active-requests": 0.13}}})
trace.write(Path(sys.argv[2]) / "trace")
(Path(sys.argv[2]) / "summary.json").write_bytes(orjson.dumps(summarize(trace).to_dict()))
"""


def test_nothing_hangs_on_the_order_of_hashes(tmp_path: Path, repository: Path) -> None:
    """Sums over sets and maps keyed by text would differ in their last digits from one process to the next."""
    found = []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        folder.mkdir()
        subprocess.run(
            [sys.executable, "-c", SCRIPT, str(repository / "specs" / "demo.yaml"), str(folder)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=repository,
            check=True,
            timeout=120,
        )
        files = {path.name: path.read_bytes() for path in folder.iterdir() if "provenance" not in path.name}
        assert len(files) == 4
        found.append(files)
    assert found[0] == found[1]


def test_a_head_that_waits_in_chunks_starts_when_a_decode_evicts_what_it_would_have_claimed() -> None:
    # Eleven blocks of a token, chunks of 3. B's prompt of 9 is half computed and cached when A's decodes push it out;
    # to claim those blocks and add a chunk would take more than are free. Each decode evicts a cached block, until so
    # little is left that a chunk fits: no run of decodes may sleep through that.
    cluster, served = run(
        config(11, block_size=1, long_prefill_token_threshold=3),
        request(0, 1, 6),
        request(0, (("p", 9),), 2),
        request(0, (("p", 3),), 1),
    )
    assert outcomes(served) == [("ok", 10, 60, 0, 6), ("ok", 80, 90, 60, 2), ("ok", 10, 10, 0, 1)]
    assert [s.preemptions for s in served] == [0, 2, 0]
    assert caches(cluster) == (8, 25)
