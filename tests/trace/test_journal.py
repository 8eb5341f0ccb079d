from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import orjson
import pytest

from blis.errors import TraceError
from blis.request import ClientFacts
from blis.trace import ChunkTimes, ServerMetrics, Status, Trace, TraceHeader
from blis.trace.journal import Journal, read_journal
from blis.trace.observed import ObservedRow, ObservedRows

CLIENT = ClientFacts("a", "t", "standard", "llama", True, "docs", 48)
CHUNKS = np.array([5000, 5400, 9000])


def row(request_id: int, **changes) -> ObservedRow:
    return ObservedRow(
        request_id=request_id,
        client=CLIENT,
        client_seq=request_id,
        session_id="s-1",
        round_index=2,
        input_tokens=60,
        prompt_tokens=148,
        planned_output_tokens=20,
        max_output_tokens=64,
        parts=(10, 20, 30, 0),
        reason_ratio=0.25,
        deadline_us=-1,
        arrival_time_us=1000,
        send_time_us=1010,
        setup_us=4,
        first_chunk_time_us=5000,
        last_chunk_time_us=9000,
        num_chunks=3,
        output_tokens=20,
        server_input_tokens=148,
        cached_tokens=48,
        status=Status.OK,
        finish_reason="length",
        error_message="",
    )._replace(**changes)


ROWS = [
    row(1),
    row(0, client=replace(CLIENT, streaming=False), parts=None, session_id="", first_chunk_time_us=-1),
    row(4, status=Status.HTTP_ERROR, error_message='HTTP 500: "quoted",\nand a second line', send_time_us=-1),
]


@pytest.fixture
def prefix(tmp_path):
    return tmp_path / "run"


@pytest.fixture
def journal(prefix):
    journal = Journal(prefix, TraceHeader(mode="real", seed=7), with_chunks=True)
    for one in ROWS:
        journal.record(one, CHUNKS)
    journal.record_metrics(1000, 1, {"running": 3.0, "kv_usage": 0.5})
    return journal


def direct(rows=ROWS) -> Trace:
    gathered = ObservedRows()
    for one in rows:
        gathered.record(one, CHUNKS)
    return Trace(TraceHeader(), gathered.columns(), gathered.gaps_us)


def recovered(found) -> Trace:
    return Trace(TraceHeader(), found.rows.columns(), found.rows.gaps_us)


def test_rows_come_back_as_they_were_written(journal):
    found = read_journal(journal.path)
    assert recovered(found) == direct()
    assert found.header == TraceHeader(mode="real", seed=7)
    assert found.rows.own_delays_us.tolist() == [6, 6]
    assert found.rows.chunks() == ChunkTimes.of([1, 4], [CHUNKS, CHUNKS])
    assert found.metrics == ServerMetrics.of([(1000, 1, {"running": 3.0, "kv_usage": 0.5})])
    assert (found.complete, found.broken, found.cut_off) == (False, [], False)


def test_the_last_header_counts(journal):
    journal.write_header(TraceHeader(mode="real", epoch_us=5))
    assert (read_journal(journal.path).header.epoch_us, read_journal(journal.path).complete) == (5, False)
    journal.write_header(TraceHeader(mode="real", epoch_us=6), complete=True)
    assert (read_journal(journal.path).header.epoch_us, read_journal(journal.path).complete) == (6, True)


def test_chunk_times_are_kept_only_for_a_trace_that_has_them(prefix):
    journal = Journal(prefix, TraceHeader(mode="real"))
    journal.record(ROWS[0], CHUNKS)
    found = read_journal(journal.path)
    assert found.rows.chunks() is None
    assert found.metrics is None
    assert found.rows.gaps_us.values.tolist() == [400, 3600]


def test_a_line_that_was_written_in_part_is_left_out_wherever_it_ends(journal):
    journal.record(row(5), CHUNKS)
    text = journal.path.read_bytes()
    start = text.rindex(b"\n", 0, -1) + 1
    for end in [*range(start + 1, len(text) - 1, 9), len(text) - 1]:
        journal.path.write_bytes(text[:end])
        found = read_journal(journal.path)
        whole = end == len(text) - 1
        assert (len(found.rows), found.cut_off, found.broken) == (4 if whole else 3, not whole, [])


def test_broken_lines_are_named_and_cost_no_other(journal):
    lines = journal.path.read_bytes().splitlines(keepends=True)
    cells = orjson.loads(lines[1])

    def changed(**values) -> bytes:
        columns = orjson.loads(lines[0])["columns"]
        return (
            orjson.dumps([[values.get(name, cell) for name, cell in zip(columns, cells[0], strict=True)], []]) + b"\n"
        )

    wrong = [
        b"\0" * 80 + b"\n",
        b"\n",
        b"[]\n",
        b'{"header": "no: header"}\n',
        b'{"metrics": [1, 2]}\n',
        lines[1],
        changed(request_id=9, arrival_time_us=-2),
        changed(request_id=9, send_time_us=1.5),
        changed(request_id=9, output_tokens=1 << 63),
        changed(request_id=9, status="fine"),
        changed(request_id=9, reason_ratio=2.0),
        changed(request_id=9, parts=[1, 2, 3, -4]),
        changed(request_id=-1),
    ]
    journal.path.write_bytes(b"".join([*lines[:2], *wrong, *lines[2:]]))
    found = read_journal(journal.path)
    assert found.broken == list(range(3, 3 + len(wrong)))
    assert recovered(found) == direct()


@pytest.mark.parametrize("text", [b"", b"request_id,client_id\n", b"[1, 2]\n", b'{"columns": []}\n', b"\xff\n"])
def test_what_is_no_journal_is_refused(tmp_path, text):
    path = tmp_path / "some.journal.jsonl"
    path.write_bytes(text)
    with pytest.raises(TraceError, match=r"some\.journal\.jsonl:1: isn't the journal of an observed run"):
        read_journal(path)


def test_a_journal_of_other_columns_is_refused(journal):
    text = journal.path.read_bytes()
    journal.path.write_bytes(text.replace(b'"client_seq"', b'"client_number"', 1))
    with pytest.raises(TraceError, match="written by another version of blis"):
        read_journal(journal.path)


def test_a_journal_that_is_not_there_is_named(tmp_path):
    with pytest.raises(TraceError, match=r"can't read .*run\.journal\.jsonl: No such file"):
        read_journal(tmp_path / "run.journal.jsonl")


def test_what_another_run_left_is_never_overwritten(journal, prefix):
    before = journal.path.read_bytes()
    with pytest.raises(TraceError, match=r"run\.journal\.jsonl is there: .*'blis trace recover .*run\.journal\.jsonl'"):
        Journal(f"{prefix}.parquet", TraceHeader())
    assert journal.path.read_bytes() == before


def test_a_place_that_cannot_be_written_is_noticed_at_once(tmp_path):
    with pytest.raises(TraceError, match=r"can't write .*nowhere/run\.journal\.jsonl: No such file or directory"):
        Journal(tmp_path / "nowhere" / "run", TraceHeader())


def test_a_disk_without_room_is_noticed_at_once(prefix):
    with pytest.raises(TraceError, match=r"MB are free there, and this run needs 500,000,000\.0 MB or more"):
        Journal(prefix, TraceHeader(), expected=10**12)
    assert not list(prefix.parent.iterdir())


def test_a_journal_goes_when_its_trace_is_there(journal):
    journal.discard()
    assert not journal.path.exists()


@contextmanager
def full_at(size: int):
    """Files of this process can't grow beyond ``size`` bytes, as if the disk were full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_fills_up_is_reported_once_and_loses_nothing_when_there_is_room_again(prefix):
    failures: list[str] = []
    journal = Journal(prefix, TraceHeader(mode="real"))
    journal.on_failure = failures.append
    journal.record(ROWS[0], CHUNKS)
    with full_at(journal.path.stat().st_size + 50):
        journal.record(ROWS[1], CHUNKS)
        journal.record(ROWS[2], CHUNKS)
        found = read_journal(journal.path)
        assert (len(found.rows), found.cut_off) == (1, True)
    assert failures == [f"can't write {journal.path}: File too large"]
    journal.record(row(5), CHUNKS)
    assert recovered(read_journal(journal.path)) == direct([*ROWS, row(5)])
    assert len(failures) == 1
    assert journal.close()


def test_what_waits_is_tried_once_more_at_the_end(prefix):
    journal = Journal(prefix, TraceHeader(mode="real"))
    with full_at(journal.path.stat().st_size), pytest.raises(TraceError, match="File too large"):
        journal.record(ROWS[0], CHUNKS)
    assert journal.close()
    assert len(read_journal(journal.path).rows) == 1


def test_what_could_not_be_written_is_told_at_the_end(prefix):
    journal = Journal(prefix, TraceHeader(mode="real"))
    journal.on_failure = lambda _: None
    with full_at(journal.path.stat().st_size + 9):
        journal.record(ROWS[0], CHUNKS)
        assert not journal.close()
    assert read_journal(journal.path).cut_off


def test_a_disk_that_is_full_from_the_start_is_noticed_at_once(prefix):
    with full_at(100), pytest.raises(TraceError, match="File too large"):
        Journal(prefix, TraceHeader(mode="real"))
    assert not list(prefix.parent.iterdir())


_WRITER = """
import numpy as np
from blis.trace import TraceHeader
from blis.trace.journal import Journal
from test_journal import CHUNKS, row

journal = Journal("run", TraceHeader(mode="real", seed=3))
for request_id in range(100_000):
    journal.record(row(request_id), CHUNKS)
    print(request_id, flush=True)
"""


def test_a_process_that_is_killed_loses_no_request_that_was_completed(tmp_path):
    paths = os.pathsep.join((os.getcwd(), os.path.dirname(__file__)))
    writer = subprocess.Popen(
        [sys.executable, "-c", _WRITER],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout is not None
    with writer:
        for line in writer.stdout:
            if line == "200\n":
                os.kill(writer.pid, signal.SIGKILL)
                break
        completed = [*range(201), *map(int, writer.stdout.read().splitlines())]
    assert writer.returncode == -signal.SIGKILL
    found = read_journal(tmp_path / "run.journal.jsonl")
    ids = found.rows.columns().numbers("request_id", 0, len(found.rows)).tolist()
    assert ids[: len(completed)] == completed
    assert len(ids) <= len(completed) + 1
    assert found.header.seed == 3
