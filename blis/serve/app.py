"""The HTTP side: paths, keys and errors as vLLM has them."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable
from functools import partial

import orjson
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from blis.request import ClientFacts, Request
from blis.serve.answers import Answer, Speech, StreamedAnswer, WholeAnswer
from blis.serve.asked import (
    Asked,
    Limits,
    Refusal,
    chat_prompt,
    check_model,
    completion_prompt,
    read_body,
    understand,
)
from blis.serve.faults import Fault, Faults
from blis.serve.live import LiveCluster
from blis.serve.meter import Metrics
from blis.serve.prefixes import Prefixes, Prompt
from blis.serve.tokens import Tokenizer, Words
from blis.serve.wire import FINGERPRINT, Wire

__all__ = ["Front"]

_MOST_BYTES = 1 << 28
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_CLIENT = ClientFacts("http")
_REFUSED = {
    Fault.TOO_MANY_REQUESTS: ("Too many requests (on purpose).", "TooManyRequestsError", 429),
    Fault.SERVER_ERROR: ("Internal server error (on purpose).", "InternalServerError", 500),
}


class Front:
    """Answers HTTP requests by what the cluster simulates.

    ``tokenizer`` and ``prefixes`` tell what prompts are made of; ``key`` is what clients must show, unless it is empty.
    """

    def __init__(
        self, cluster: LiveCluster, limits: Limits, tokenizer: Tokenizer, prefixes: Prefixes, faults: Faults, key: str
    ) -> None:
        self._cluster = cluster
        self._limits = limits
        self._tokenizer = tokenizer
        self._words = Words(tokenizer)
        self._prefixes = prefixes
        self._faults = faults
        self._key = f"Bearer {key}".encode() if key else b""
        self._metrics = Metrics(cluster.meters)
        self._answers: set[Answer] = set()
        self._created = int(time.time())
        self.answered = 0

    def application(self) -> web.Application:
        """Return the application that :mod:`aiohttp` serves."""
        app = web.Application(middlewares=[self._guard], client_max_size=_MOST_BYTES)
        app.add_routes(
            [
                web.post("/v1/completions", partial(self._answer, chat=False)),
                web.post("/v1/chat/completions", partial(self._answer, chat=True)),
                web.get("/v1/models", self._models),
                web.post("/tokenize", self._tokenize),
                web.get("/health", self._health),
                web.get("/metrics", self._scrape),
                web.get("/version", self._version),
            ]
        )
        return app

    def cut(self) -> int:
        """End all answers here and now; return how many there were."""
        answers = list(self._answers)
        for answer in answers:
            answer.cut()
        return len(answers)

    @web.middleware
    async def _guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Let in who has the key, and put errors into vLLM's words."""
        shown = request.headers.get("Authorization", "").encode()
        if self._key and request.path.startswith("/v1") and not hmac.compare_digest(shown, self._key):
            return _json({"error": "Unauthorized"}, 401)
        try:
            return await handler(request)
        except Refusal as refusal:
            return web.Response(body=refusal.body, status=refusal.status, content_type="application/json")
        except web.HTTPError as error:
            allowed = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
            return _json({"detail": error.reason}, error.status, allowed)

    async def _answer(self, http: web.Request, *, chat: bool) -> web.StreamResponse:
        data = await http.read()
        at_us = self._cluster.env.clock_us()
        trouble = self._faults.draw()
        if trouble is not None and trouble.fault in _REFUSED:
            message, kind, status = _REFUSED[trouble.fault]
            raise Refusal(message, None, status, kind)
        body = read_body(data)
        check_model(body, self._limits)
        tokens = (chat_prompt if chat else completion_prompt)(body, self._tokenizer)
        asked = understand(body, tokens, self._limits, chat=chat)
        prompt = self._prefixes.place(tokens)
        output = asked.output(self._limits.natural(prompt.digest))
        identity = http.headers.get("X-Request-Id") or f"{self.answered:016x}"
        wire = Wire(identity, asked.model, chat=chat, prompt_ids=tokens.tolist() if asked.return_ids else None)
        speech = Speech(asked, prompt, output, self._words, wire)
        self.answered += 1
        answer = (StreamedAnswer if asked.stream else WholeAnswer)(speech, trouble)
        return await self._served(http, answer, _request(asked, prompt, output), prompt, at_us)

    async def _served(
        self, http: web.Request, answer: Answer, request: Request, prompt: Prompt, at_us: int
    ) -> web.StreamResponse:
        """Let the cluster serve a request, and give it up if the client goes."""
        call = self._cluster.submit(request, answer, at_us)
        self._answers.add(answer)
        try:
            response = await answer.respond(http)
        except BaseException as error:
            answer.over.cancel()
            self._cluster.abort(call)
            if isinstance(error, ConnectionResetError):
                # It has left just before the answer began, which nobody will see now.
                return web.Response()
            raise
        finally:
            self._answers.discard(answer)
        self._prefixes.answered(prompt, answer.speech.ids())
        return response

    async def _models(self, _: web.Request) -> web.StreamResponse:
        cards = [
            {
                "id": name,
                "object": "model",
                "created": self._created,
                "owned_by": "vllm",
                "root": name,
                "parent": None,
                "max_model_len": self._limits.longest,
            }
            for name in self._limits.names
        ]
        return _json({"object": "list", "data": cards})

    async def _tokenize(self, http: web.Request) -> web.StreamResponse:
        body = read_body(await http.read())
        check_model(body, self._limits)
        tokens = (chat_prompt if "messages" in body else completion_prompt)(body, self._tokenizer)
        longest = self._limits.longest
        return _json({"count": len(tokens), "max_model_len": longest, "tokens": tokens.tolist(), "token_strs": None})

    async def _scrape(self, _: web.Request) -> web.StreamResponse:
        text: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def look() -> None:
            if not text.cancelled():
                text.set_result(self._metrics.text())

        self._cluster.look(look)
        return web.Response(body=await text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _health(self, _: web.Request) -> web.StreamResponse:
        return web.Response()

    async def _version(self, _: web.Request) -> web.StreamResponse:
        return _json({"version": FINGERPRINT})


def _request(asked: Asked, prompt: Prompt, output: int) -> Request:
    size = len(asked.tokens)
    return Request(
        client=_CLIENT,
        client_seq=0,
        arrival_us=0,
        input_tokens=size,
        prompt_tokens=size,
        segments=prompt.segments,
        output_tokens=output,
        max_output_tokens=asked.max_tokens,
        capped=output == asked.max_tokens,
    )


def _json(data: object, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=orjson.dumps(data), status=status, headers=headers, content_type="application/json")
