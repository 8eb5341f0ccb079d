"""The bytes of a request to an OpenAI-compatible server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from blis.request import Request
from blis.server.address import Address
from blis.server.prompts import Prompt, Prompts

__all__ = ["PATHS", "Dialect", "RequestWriter", "head"]

PATHS = {"completion": "/v1/completions", "chat": "/v1/chat/completions"}


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a kind of server takes beyond what all do.

    ``token_prompts``: arrays of token ids as prompts of completions; ``min_tokens`` and ``ignore_eos``: fields of
    these names, by which the length of an output is forced; ``returns_ids``: ``return_token_ids``.
    """

    token_prompts: bool = False
    min_tokens: bool = False
    ignore_eos: bool = False
    returns_ids: bool = False


class RequestWriter:
    """Writes requests: head and body, for one server, model and API.

    ``extra`` goes into every body, over what is there already; None as a value takes a key out. ``run`` begins the
    ``X-Request-Id`` by which servers log requests; the request's id ends it.
    """

    def __init__(
        self,
        address: Address,
        api: str,
        dialect: Dialect,
        prompts: Prompts,
        *,
        model: str,
        headers: Mapping[str, str],
        extra: Mapping[str, Any],
        run: str,
    ) -> None:
        self.prompts = prompts
        self._dialect = dialect
        self._model = model
        self._extra = dict(extra)
        shared = {"Content-Type": "application/json", **headers}
        self._head = (
            head(address, "POST", PATHS[api], shared).removesuffix(b"\r\n") + b"X-Request-Id: %b-" % run.encode()
        )

    def write(self, request: Request) -> tuple[bytes, Prompt]:
        """Return the whole request, and what is to be remembered of its prompt."""
        prompt = self.prompts.make(request)
        body = self._body(request, prompt.fields)
        data = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
        start = b"%b%d\r\nContent-Length: %d\r\n\r\n" % (self._head, request.request_id, len(data))
        return start + data, prompt._replace(fields={})

    def _body(self, request: Request, prompt: Mapping[str, Any]) -> dict[str, Any]:
        tokens = max(request.output_tokens, 1)
        body = {"model": request.client.model or self._model, **prompt, "max_tokens": tokens}
        if self._dialect.min_tokens:
            body["min_tokens"] = tokens
        if self._dialect.ignore_eos:
            body["ignore_eos"] = True
        if self._dialect.returns_ids and request.session_id:
            body["return_token_ids"] = True
        if request.client.streaming:
            body["stream"] = True
            body["stream_options"] = {"include_usage": True}
        for key, value in self._extra.items():
            if value is None:
                body.pop(key, None)
            else:
                body[key] = value
        return body


def head(address: Address, method: str, path: str, headers: Mapping[str, str]) -> bytes:
    """Return a request's head, the empty line that ends it included; the body's length is for the caller to add."""
    lines = [f"{method} {address.prefix}{path} HTTP/1.1", f"Host: {address.authority}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
