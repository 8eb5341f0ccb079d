"""What an OpenAI-compatible server says in the body of an answer, streamed or whole."""

from __future__ import annotations

from array import array
from typing import Any

import orjson

from blis.trace.status import Status

__all__ = ["Answer", "excerpt", "failure_text"]

_MOST_TEXT = 300
_TOO_BUSY = ("429", "503")
_ABORTED = ("abort", "error")


class Answer:
    """The meaning of one answer, gathered event by event, or from a whole document.

    A chunk counts where it carries a token: text, reasoning or a tool call, or the empty text that servers send for a
    token which completes no character. ``chunk_ns`` are their times of arrival (of :func:`time.monotonic_ns`).
    Token counts are the server's own, -1 where it gave none; so are ``token_ids``, kept like ``text`` only if
    ``keep`` is set. ``status`` is None until something went wrong.
    """

    __slots__ = (
        "_last_empty_ns",
        "cached_tokens",
        "characters",
        "chunk_ns",
        "done",
        "events",
        "finish_reason",
        "keep",
        "message",
        "output_tokens",
        "prompt_tokens",
        "status",
        "texts",
        "token_ids",
    )

    def __init__(self, keep: bool = False) -> None:
        self.keep = keep
        self.chunk_ns = array("q")
        self.events = 0
        self.characters = 0
        self.done = False
        self.finish_reason = ""
        self.prompt_tokens = self.output_tokens = self.cached_tokens = -1
        self.status: Status | None = None
        self.message = ""
        self.texts: list[str] = []
        self.token_ids: list[int] = []
        self._last_empty_ns = -1

    @property
    def text(self) -> str:
        """The answer's text, without reasoning; empty unless it was to be kept."""
        return "".join(self.texts)

    @property
    def complete(self) -> bool:
        """Whether a stream said that it is over: by its end marker after something, or by a reason to finish."""
        return bool(self.finish_reason) or (self.done and bool(self.chunk_ns))

    def fail(self, status: Status, message: str) -> None:
        """Note what went wrong, unless something did before."""
        if self.status is None:
            self.status, self.message = status, message

    def event(self, name: bytes, data: bytes, at_ns: int) -> None:
        """Take one event of a stream, arrived at ``at_ns``."""
        self.events += 1
        if data == b"[DONE]":
            self.done = True
            return
        try:
            chunk = orjson.loads(data)
        except orjson.JSONDecodeError:
            if name == b"error":
                self.fail(Status.MALFORMED, f"error event in the stream: {excerpt(data)}")
            else:
                self.fail(Status.MALFORMED, f"event {self.events} of the stream isn't JSON: {excerpt(data)}")
            return
        try:
            if chunk.get("error") or name == b"error":
                self._error(chunk)
                return
            if usage := chunk.get("usage"):
                self._count(usage)
            if choices := chunk.get("choices"):
                self._chunk(choices[0], at_ns)
        except (AttributeError, TypeError, LookupError, ValueError):
            self.fail(Status.MALFORMED, f"event {self.events} of the stream isn't a completion: {excerpt(data)}")

    def document(self, data: bytes, at_ns: int) -> None:
        """Take a whole answer, arrived at ``at_ns``."""
        try:
            body = orjson.loads(data)
        except orjson.JSONDecodeError:
            what = "HTML" if data.lstrip()[:1] == b"<" else "not JSON"
            self.fail(Status.MALFORMED, f"the answer is {what}: {excerpt(data)}" if data else "the answer is empty")
            return
        try:
            if body.get("error"):
                self._error(body)
                return
            choice = body["choices"][0]
            if usage := body.get("usage"):
                self._count(usage)
            message = choice.get("message")
            self._keep(choice["text"] if message is None else message.get("content"), choice)
            self._finish(choice.get("finish_reason"))
            self.chunk_ns.append(at_ns)
            self.done = True
        except (AttributeError, TypeError, LookupError, ValueError):
            self.fail(Status.MALFORMED, f"the answer isn't a completion: {excerpt(data)}")

    def close_stream(self) -> None:
        """Take note that a stream has come to its end, and in good order as far as HTTP goes."""
        if self.output_tokens > len(self.chunk_ns) and self._last_empty_ns > 0:
            # The last token, an end-of-sequence say, came without text in the chunk that says why the answer ends.
            self.chunk_ns.append(self._last_empty_ns)
        if not self.complete:
            if self.done:
                self.fail(Status.TRUNCATED, "the stream ended without any token")
            elif not self.events:
                self.fail(Status.TRUNCATED, "the stream ended without an event")
            else:
                chunks = len(self.chunk_ns)
                had = f"{chunks} chunk{'' if chunks == 1 else 's'} with tokens"
                self.fail(Status.TRUNCATED, f"the stream ended without end marker and finish_reason, after {had}")

    def _chunk(self, choice: dict[str, Any], at_ns: int) -> None:
        finish = choice.get("finish_reason")
        delta = choice.get("delta")
        if delta is None:
            text = choice.get("text")
            carries = text or (text == "" and not finish)
        else:
            text = delta.get("content")
            carries = (
                text
                or delta.get("reasoning_content")
                or delta.get("reasoning")
                or delta.get("tool_calls")
                or (text == "" and not finish and "role" not in delta)
            )
        if carries:
            self.chunk_ns.append(at_ns)
        self._keep(text, choice)
        if finish:
            self._finish(finish)
            if not carries:
                self._last_empty_ns = at_ns

    def _keep(self, text: str | None, choice: dict[str, Any]) -> None:
        if text:
            self.characters += len(text)
            if self.keep:
                self.texts.append(text)
        if self.keep and (ids := choice.get("token_ids")):
            self.token_ids += ids

    def _finish(self, reason: object) -> None:
        if not isinstance(reason, str):
            return
        self.finish_reason = reason
        if reason in _ABORTED:
            self.fail(Status.TRUNCATED, f"the server gave up the answer: finish_reason {reason}")

    def _count(self, usage: dict[str, Any]) -> None:
        prompt, output = usage.get("prompt_tokens"), usage.get("completion_tokens")
        if type(prompt) is int and prompt >= 0:
            self.prompt_tokens = prompt
        if type(output) is int and output >= 0:
            self.output_tokens = output
        if details := usage.get("prompt_tokens_details"):
            cached = details.get("cached_tokens")
            if type(cached) is int and cached >= 0:
                self.cached_tokens = cached

    def _error(self, body: dict[str, Any]) -> None:
        """Take an error that came with status 200; servers that are too busy say so in this way too."""
        error = body.get("error")
        code = error.get("code") if isinstance(error, dict) else None
        text = failure_text(body)
        if str(code) in _TOO_BUSY:
            self.fail(Status.REJECTED, f"the answer is an error with code {code}: {text}")
        else:
            self.fail(Status.MALFORMED, f"the answer is an error{'' if code is None else f' with code {code}'}: {text}")


def failure_text(body: bytes | dict[str, Any]) -> str:
    """Return what a server says about an error: its own message where it is found, else the start of the body."""
    if isinstance(body, bytes):
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError:
            return excerpt(body)
    else:
        document = body
    if isinstance(document, dict):
        error = document.get("error", document)
        found = error if isinstance(error, str) else None
        if isinstance(error, dict):
            found = next((error[key] for key in ("message", "detail") if isinstance(error.get(key), str)), None)
        if found is not None:
            return excerpt(found.encode())
    return excerpt(body if isinstance(body, bytes) else orjson.dumps(body, default=str))


def excerpt(data: bytes) -> str:
    """Return the start of ``data`` as one line of text."""
    text = " ".join(data[: 4 * _MOST_TEXT].decode("utf-8", "replace").split())
    return text if len(text) <= _MOST_TEXT else text[: _MOST_TEXT - 3] + "..."
