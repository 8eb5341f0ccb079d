"""Server-sent events against a plain reading of the standard, cut at every point."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blis.server.sse import Event, EventStream

PIECES = [
    b"data: a", b"data:b", b"data", b"data:", b"data:  two spaces", b": comment", b":", b"event: error", b"event",
    b"id: 1", b"retry: 10", b"nonsense", b"dat", b" data: x", b"data: \xe2\x82\xac", b"\n", b"\r", b"\r\n", b"\n\n",
    b"\r\n\r\n", b"\n\r", b"data: {\"x\": 1}\n\n", b"data: [DONE]\n\n",
]  # fmt: skip


def plain(stream: bytes) -> list[Event]:
    """The standard's algorithm, step by step, on a stream that is there as a whole."""
    text = stream.decode().removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    events, data, name = [], "", ""
    for line in text.split("\n")[:-1]:
        if line == "":
            if data:
                events.append((name.encode(), data.removesuffix("\n").encode()))
            data = name = ""
        elif not line.startswith(":"):
            field, colon, value = line.partition(":")
            value = value[1:] if colon and value.startswith(" ") else value
            if field == "data":
                data += value + "\n"
            elif field == "event":
                name = value
    return events


def cut(stream: bytes, points: list[int]) -> list[Event]:
    parser = EventStream()
    ends = [0, *sorted(points), len(stream)]
    return [event for start, end in pairwise(ends) for event in parser.feed(stream[start:end])]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\n", [(b"", b"a")]),
        (b"data: a\ndata: b\n\n", [(b"", b"a\nb")]),
        (b"data:a\r\n\r\ndata:  b\r\rdata: c\n\n", [(b"", b"a"), (b"", b" b"), (b"", b"c")]),
        (b"data\n\n", [(b"", b"")]),
        (b"event: error\ndata: x\n\ndata: y\n\n", [(b"error", b"x"), (b"", b"y")]),
        (b"event: lonely\n\ndata: y\n\n", [(b"", b"y")]),
        (b": keep-alive\n\n\n\nid: 3\nretry: 5\ndata: y\n\n", [(b"", b"y")]),
        (b"\xef\xbb\xbfdata: y\n\n", [(b"", b"y")]),
        (b"data: never dispatched\n", []),
        (b"data: never ended", []),
        (b"", []),
    ],
)
def test_known_streams(stream: bytes, events: list[Event]) -> None:
    assert EventStream().feed(stream) == events
    assert plain(stream) == events


def test_a_stream_split_at_every_point_gives_the_same_events() -> None:
    stream = (
        b'\xef\xbb\xbfdata: {"a": 1}\n\n: hm\r\n\r\nevent: e\rdata:x\rdata: y\r\rdata: {"b": 2}\n\ndata: [DONE]\n\n'
    )
    whole = EventStream().feed(stream)
    assert whole == plain(stream)
    assert len(whole) == 4
    for point in range(len(stream) + 1):
        assert cut(stream, [point]) == whole
    assert cut(stream, list(range(len(stream)))) == whole


@settings(max_examples=60)
@given(st.lists(st.sampled_from(PIECES), max_size=20), st.lists(st.integers(0, 200), max_size=8), st.booleans())
def test_any_stream_however_cut(pieces: list[bytes], points: list[int], bom: bool) -> None:
    stream = (b"\xef\xbb\xbf" if bom else b"") + b"".join(pieces)
    assert cut(stream, [min(point, len(stream)) for point in points]) == plain(stream)


def test_long_lines_cost_time_in_proportion() -> None:
    """A megabyte in 64-byte pieces is put together once, not once per piece."""
    line = b"x" * 1_000_000
    assert cut(b"data: " + line + b"\n\n", list(range(0, 1_000_000, 64))) == [(b"", line)]
