"""Answers as vLLM words them, streamed and whole."""

from __future__ import annotations

import sys
import time
from typing import Any

import orjson

__all__ = ["DONE", "FINGERPRINT", "Wire", "event"]

# The package itself stands above all layers, so that nothing here imports it.
FINGERPRINT = f"blis-{sys.modules['blis'].__version__}"
"""What names this server in answers."""
_MARK = "@@"


def event(data: object) -> bytes:
    """Return a server-sent event that holds ``data`` as JSON."""
    return b"data: %b\n\n" % orjson.dumps(data)


DONE = b"data: [DONE]\n\n"
"""The event that ends a stream."""


class Wire:
    """Writes one answer: events of a stream or a document, of completions or of a chat.

    ``prompt_ids`` are returned where the client asked for token ids.
    """

    def __init__(self, identity: str, model: str, *, chat: bool, prompt_ids: list[int] | None = None) -> None:
        self._chat = chat
        self._prompt_ids = prompt_ids
        self._frame: dict[str, Any] = {
            "id": f"{'chatcmpl' if chat else 'cmpl'}-{identity}",
            "object": "chat.completion.chunk" if chat else "text_completion",
            "created": int(time.time()),
            "model": model,
        }
        self._around: list[bytes] = []

    def role(self) -> bytes:
        """Return the event that begins the stream of a chat, no token, but who speaks; nothing for completions."""
        if not self._chat:
            return b""
        choice = {"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}
        return event({**self._frame, "choices": [choice], "prompt_token_ids": self._prompt_ids, "prompt_text": None})

    def chunk(
        self, text: str, ids: list[int] | None, finish: str | None = None, usage: dict[str, Any] | None = None
    ) -> bytes:
        """Return the event of one token or several; ``usage`` where the client wants it with each."""
        if finish or ids or usage:
            return self._chunk(text, ids, finish, usage)
        # All events but the last are alike but for the text, which is of plain letters.
        if not self._around:
            self._around = self._chunk(_MARK, None, None, None).split(_MARK.encode())
        before, after = self._around
        return before + text.encode() + after

    def _chunk(self, text: str, ids: list[int] | None, finish: str | None, usage: dict[str, Any] | None) -> bytes:
        choice: dict[str, Any] = {"index": 0}
        if self._chat:
            choice |= {"delta": {"content": text}, "logprobs": None, "finish_reason": finish}
            if finish:
                choice["stop_reason"] = None
        else:
            choice |= {"text": text, "logprobs": None, "finish_reason": finish, "stop_reason": None}
            choice["prompt_token_ids"], self._prompt_ids = self._prompt_ids, None
        choice["token_ids"] = ids
        body = {**self._frame, "choices": [choice]}
        return event(body if usage is None else body | {"usage": usage})

    def usage(self, usage: dict[str, Any]) -> bytes:
        """Return the event of the counts that ends a stream whose client asked for it."""
        return event({**self._frame, "choices": [], "usage": usage, "system_fingerprint": FINGERPRINT})

    def whole(self, text: str, ids: list[int] | None, finish: str, usage: dict[str, Any]) -> bytes:
        """Return the document of an answer that isn't streamed."""
        ends = {"logprobs": None, "finish_reason": finish, "stop_reason": None, "token_ids": ids}
        if self._chat:
            message = {"role": "assistant", "content": text, "refusal": None, "annotations": None, "audio": None}
            message |= {"function_call": None, "reasoning": None}
            choice = {"index": 0, "message": message, **ends, "routed_experts": None}
            more = {"prompt_logprobs": None, "prompt_token_ids": self._prompt_ids, "prompt_text": None}
        else:
            choice = {"index": 0, "text": text, **ends, "prompt_logprobs": None}
            choice |= {"prompt_token_ids": self._prompt_ids, "routed_experts": None}
            more = {}
        body = {
            **self._frame,
            "object": "chat.completion" if self._chat else "text_completion",
            "choices": [choice],
            "service_tier": None,
            "system_fingerprint": FINGERPRINT,
            "usage": usage | {"completion_tokens_details": None},
            **more,
            "kv_transfer_params": None,
            "ec_transfer_params": None,
            "metrics": None,
        }
        return orjson.dumps(body)
