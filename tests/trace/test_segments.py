"""Prompts beside a trace, in memory and in their file."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blis.errors import TraceError
from blis.request import ClientFacts, Request, Segment, plain
from blis.trace import SegmentTable, Trace
from blis.trace.segments import read_segments, write_segments

SEGMENTS = st.lists(st.tuples(st.none() | st.text(max_size=3), st.integers(0, 2**40)), min_size=1, max_size=4).map(
    tuple
)


def table_of(prompts: dict[int, tuple[Segment, ...]]) -> SegmentTable:
    table = SegmentTable()
    for request_id, segments in prompts.items():
        table.put(request_id, segments)
    return table


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("segments") / "run.segments.jsonl"


@given(st.dictionaries(st.integers(0, 2**62), SEGMENTS))
def test_what_is_read_is_what_was_put(path: Path, prompts: dict[int, tuple[Segment, ...]]) -> None:
    table = table_of(prompts)
    assert len(table) == len(prompts)
    assert list(table.items()) == sorted(prompts.items())
    ids = [*prompts, 2**62 + 1]
    *places, absent = table.places(ids).tolist()
    assert absent == -1
    assert [table.at(place) for place in places] == list(prompts.values())
    assert [int(table.sums()[place]) for place in places] == [sum(n for _, n in s) for s in prompts.values()]
    with open(path, "wb") as file:
        write_segments(file, table)
    assert read_segments(path) == table
    assert table != table_of({**prompts, 2**62 + 1: ((None, 1),)})


def test_more_may_be_put_after_looking() -> None:
    table = table_of({4: ((None, 1),)})
    assert table.places([4, 2]).tolist() == [0, -1]
    table.put(2, (("a", 3),))
    assert table.places([4, 2]).tolist() == [0, 1]


@pytest.mark.parametrize(
    "line",
    [
        "[]",
        "{",
        "3",
        '{"request_id": 1}',
        '{"request_id": -1, "segments": [["a", 1]]}',
        '{"request_id": 1, "segments": []}',
        '{"request_id": 1, "segments": [["a"]]}',
        '{"request_id": 1, "segments": [["a", 1, 2]]}',
        '{"request_id": 1, "segments": [[1, 1]]}',
        '{"request_id": 1, "segments": [["a", -1]]}',
        '{"request_id": 1, "segments": [["a", true]]}',
        '{"request_id": true, "segments": [["a", 1]]}',
        '{"request_id": 1, "segments": {"a": 1}}',
        '{"request_id": 1, "segments": [["a", 99999999999999999999]]}',
    ],
)
def test_broken_lines_are_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "x.segments.jsonl"
    path.write_text(f'{{"request_id": 0, "segments": [[null, 1]]}}\n\n{line}\n')
    with pytest.raises(TraceError, match=r"x\.segments\.jsonl:3: found '.*; allowed is an object such as"):
        read_segments(path)


def test_a_request_has_one_line(tmp_path: Path) -> None:
    path = tmp_path / "x.segments.jsonl"
    path.write_text('{"request_id": 0, "segments": [[null, 1]]}\n' * 2)
    with pytest.raises(TraceError, match=r"x\.segments\.jsonl:2: request_id 0 was there before"):
        read_segments(path)


def test_the_file_comes_and_goes_with_its_trace(tmp_path: Path) -> None:
    columns = {"arrival_time_us": [0, 1], "input_tokens": [4, 5]}
    with_segments = Trace.from_columns(columns, segments=table_of({1: (("a", 5),)}))
    files = with_segments.write(tmp_path / "run")
    assert files.segments.name == "run.segments.jsonl"
    assert Trace.read(tmp_path / "run") == with_segments
    assert Trace.read(tmp_path / "run") != Trace.from_columns(columns)
    Trace.from_columns(columns).write(tmp_path / "run")
    assert not files.segments.exists()
    assert Trace.read(tmp_path / "run").segments is None


GROUP = ClientFacts("c", prefix_group="g", prefix_length=4)
ALONE = ClientFacts("c")


@pytest.mark.parametrize(
    ("client", "own", "segments", "session", "round_index", "told"),
    [
        (ALONE, 9, ((None, 9),), "", 0, True),
        (GROUP, 5, (("g", 4), (None, 5)), "", 0, True),
        (GROUP, 5, (("g", 4), ("s", 5)), "s", 0, True),
        (GROUP, 2, (("g", 4), ("s", 5)), "s", 1, True),
        (GROUP, 5, (("g", 4), (None, 5)), "s", 1, True),
        # A prefix that isn't the client's, or isn't there.
        (GROUP, 5, (("h", 4), (None, 5)), "", 0, False),
        (GROUP, 5, ((None, 9),), "", 0, False),
        (ALONE, 5, (("g", 4), (None, 5)), "", 0, False),
        # Keys that no session has, and sessions that share nothing with their earlier rounds, or nothing new.
        (ALONE, 9, (("", 9),), "", 0, False),
        (ALONE, 9, (("t", 9),), "s", 0, False),
        (ALONE, 5, ((None, 9),), "s", 1, False),
        (ALONE, 9, (("s", 9),), "s", 1, False),
        (ALONE, 9, (("s", 9), (None, 0)), "s", 0, False),
    ],
)
def test_which_prompts_the_columns_tell(
    client: ClientFacts, own: int, segments: tuple[Segment, ...], session: str, round_index: int, told: bool
) -> None:
    request = Request(client, 0, 0, own, 9, segments, 1, session_id=session, round_index=round_index)
    assert plain(request) is told
