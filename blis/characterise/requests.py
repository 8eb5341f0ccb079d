"""The requests of a trace as arrays in order of arrival, whatever kind of trace it is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from blis.trace import MISSING, TextColumn, Trace

__all__ = ["Requests"]

IntArray = npt.NDArray[np.int64]

_TEXTS = ("client_id", "tenant_id", "slo_class", "model", "prefix_group", "session_id")
_PARTS = ("text_tokens", "image_tokens", "audio_tokens", "video_tokens")


class Requests:
    """The requests of a trace in order of arrival; arrays are int64, shape (n,), unless said otherwise.

    ``output_tokens`` is what was planned, or else what was produced; -1 where the trace tells neither. ``parts`` has
    the columns of modalities that occur. ``opening`` (bool) marks the requests that wait for no other: all but later
    rounds of sessions. ``timeout_us`` and ``answered_us`` (the last token) are -1 where there is none.
    """

    def __init__(self, trace: Trace) -> None:
        self._order = np.argsort(trace.column("arrival_time_us"), kind="stable")
        self._trace = trace
        self.arrival_us = self._numbers("arrival_time_us")
        self.input_tokens = self._numbers("input_tokens")
        self.prefix_tokens = np.maximum(self._numbers("prefix_length"), 0)
        prompt, planned = self._numbers("prompt_tokens"), self._numbers("planned_output_tokens")
        self.prompt_tokens = np.where(prompt < 0, self.input_tokens + self.prefix_tokens, prompt)
        self.output_tokens = np.where(planned < 0, self._numbers("output_tokens"), planned)
        self.parts = {name: values for name in _PARTS if (values := self._numbers(name)).max(initial=0) > 0}
        self.reason_ratio: npt.NDArray[np.float64] = trace.column("reason_ratio")[self._order]
        self.client, self.tenant, self.slo_class, self.model, self.prefix, self.session = (
            self._texts(name) for name in _TEXTS
        )
        self.streaming: npt.NDArray[np.bool_] = trace.column("streaming")[self._order]
        self.round_index = self._numbers("round_index")
        self.max_output_tokens = self._numbers("max_output_tokens")
        deadline = self._numbers("deadline_us")
        self.timeout_us = np.where(deadline == MISSING, MISSING, deadline - self.arrival_us)
        self.answered_us = self._numbers("last_chunk_time_us")
        named = np.array([bool(word) for word in self.session.words], np.bool_)
        self.in_session: npt.NDArray[np.bool_] = named[self.session.codes]
        self.opening: npt.NDArray[np.bool_] = ~self.in_session | (self.round_index <= 0)
        self.span_us = self._span_us()

    def __len__(self) -> int:
        """Number of requests."""
        return len(self.arrival_us)

    def _numbers(self, name: str) -> IntArray:
        values: IntArray = self._trace.column(name)[self._order]
        return values

    def _texts(self, name: str) -> TextColumn:
        codes, words = self._trace.categories(name)
        return TextColumn(codes[self._order], words)

    def _span_us(self) -> int:
        """Return the horizon, or the last arrival where there is none or the number of requests came first."""
        last = int(self.arrival_us[-1]) if len(self) else 0
        horizon, limit = (self._trace.header.run.get(name) for name in ("horizon_us", "num_requests"))
        if not isinstance(horizon, int) or (isinstance(limit, int) and len(self) >= limit):
            return last
        return max(horizon, last)
