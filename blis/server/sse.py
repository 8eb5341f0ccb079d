"""Server-sent events, as the WHATWG HTML standard reads them (section 9.2, "Server-sent events")."""

from __future__ import annotations

__all__ = ["Event", "EventStream"]

Event = tuple[bytes, bytes]
"""Type and data of an event; the type is empty where the stream gave none. Both are UTF-8, not yet decoded."""

_BOM = b"\xef\xbb\xbf"


class EventStream:
    r"""Turns the bytes of a stream, however they are cut, into events.

    Lines end with LF, CR or CRLF and may be of any length; lines of data are joined by LF; comments, ids, retry times
    and unknown fields mean nothing here; an event without data is none, and one without the empty line after it never
    happens.

    >>> stream = EventStream()
    >>> stream.feed(b'data: {"text":'), stream.feed(b' "a"}\n\n: still there\n\ndata:[DONE]\r\n\r')
    ([], [(b'', b'{"text": "a"}'), (b'', b'[DONE]')])
    """

    __slots__ = ("_after_cr", "_data", "_first_line", "_name", "_partial")

    def __init__(self) -> None:
        self._partial: list[bytes] = []
        self._data: list[bytes] = []
        self._name = b""
        self._first_line = True
        self._after_cr = False

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that ``data`` completes."""
        if self._after_cr and data:
            self._after_cr = False
            if data.startswith(b"\n"):
                data = data[1:]
        if b"\r" in data:
            # A CR is a line's end at once; a LF that comes with the next bytes belongs to it.
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        elif not self._partial and data.startswith(b"data: ") and data.find(b"\n") == len(data) - 2:
            # By far the most frequent: one event of one line, whole.
            if data.endswith(b"\n\n") and not self._data and not self._name:
                self._first_line = False
                return [(b"", data[6:-2])]
        *lines, rest = data.split(b"\n")
        if lines and self._partial:
            lines[0] = b"".join((*self._partial, lines[0]))
            self._partial.clear()
        if rest:
            self._partial.append(rest)
        events: list[Event] = []
        for line in lines:
            self._read(line, events)
        return events

    def _read(self, line: bytes, events: list[Event]) -> None:
        if self._first_line:
            self._first_line = False
            line = line.removeprefix(_BOM)
        if not line:
            if self._data:
                events.append((self._name, b"\n".join(self._data)))
                self._data.clear()
            self._name = b""
            return
        field, _, value = line.partition(b":")
        if field == b"data":
            self._data.append(value.removeprefix(b" "))
        elif field == b"event":
            self._name = value.removeprefix(b" ")
