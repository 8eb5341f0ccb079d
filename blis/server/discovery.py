"""What a server says about itself before a run: its kind, model and limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from blis.errors import BlisError
from blis.server.answer import failure_text
from blis.server.pool import ConnectError, Pool, Response
from blis.server.prometheus import page_facts
from blis.server.requests import Dialect, head
from blis.spec.server import ServerSpec

__all__ = ["DIALECTS", "Discovered", "SetUp", "discover", "json_object"]

DIALECTS = {
    "vllm": Dialect(token_prompts=True, min_tokens=True, ignore_eos=True, returns_ids=True),
    "sglang": Dialect(token_prompts=True, min_tokens=True, ignore_eos=True),
    "llama.cpp": Dialect(token_prompts=True, ignore_eos=True),
    "tgi": Dialect(),
    "openai": Dialect(),
}
"""What each kind of server takes; ``openai`` is any server that is none of the others."""

_OWNERS = {"vllm": "vllm", "sglang": "sglang", "llamacpp": "llama.cpp"}
_WITH_METRICS = ("vllm", "sglang")
"""Kinds of servers that have facts on their page of metrics, at the address of the API itself."""
_ABOUT = {"vllm": "/version", "sglang": "/server_info", "llama.cpp": "/props", "tgi": "/info"}


@dataclass(frozen=True, slots=True)
class Discovered:
    """What is known of a server; ``facts`` go into a trace's header."""

    type: str
    model: str
    reached: bool
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def dialect(self) -> Dialect:
        """What it takes."""
        return DIALECTS[self.type]


class SetUp:
    """Requests before the run, whose times don't matter. ``headers`` are sent with each of them."""

    def __init__(self, pool: Pool, headers: Mapping[str, str]) -> None:
        self.pool = pool
        self._headers = dict(headers)

    async def get(self, path: str) -> Response:
        """GET a path; raises :class:`ConnectError` where there is no answer."""
        return await self.pool.fetch(head(self.pool.address, "GET", path, self._headers))

    async def post(self, path: str, body: Mapping[str, Any], timeout_s: float = 60.0) -> Response:
        """POST JSON to a path; raises :class:`ConnectError` where there is no answer."""
        data = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
        headers = {**self._headers, "Content-Type": "application/json", "Content-Length": str(len(data))}
        return await self.pool.fetch(head(self.pool.address, "POST", path, headers) + data, timeout_s)


async def discover(spec: ServerSpec, setup: SetUp, warn: Callable[[str], None]) -> Discovered:
    """Ask the server what it is and serves, and measure the round trip to it.

    A server that can't be reached is warned about; the requests of the run will say so one by one.

    Raises:
        BlisError: it serves no model that can be found out, and the spec names none.
    """
    facts: dict[str, Any] = {"url": str(setup.pool.address), "api": spec.api}
    kind: str = "openai" if spec.type == "auto" else spec.type
    try:
        facts["rtt_us"] = await setup.pool.round_trip_us()
        response = await setup.get("/v1/models")
    except ConnectError as error:
        warn(f"{error}; requests are sent nevertheless, and will fail unless that changes")
        return Discovered(kind, spec.model, False, {**facts, "type": kind, "model": spec.model})
    models = _models(response)
    if not models and not spec.model:
        raise BlisError(
            f"{setup.pool.address}/v1/models names no model (HTTP {response.status}:"
            f" {failure_text(response.content)}); give --model{', and the key by --api-key' * _refused(response)}"
        )
    card = next((model for model in models if model["id"] == spec.model), models[0] if models else {})
    model = spec.model or str(card["id"])
    if not spec.model and len(models) > 1:
        warn(f"the server has {len(models)} models; the first, {model}, is asked for: --model chooses another")
    if spec.type == "auto":
        kind = _OWNERS.get(str(card.get("owned_by", "")).lower(), "openai")
    pages = spec.prometheus_urls or ([f"{setup.pool.address}/metrics"] if kind in _WITH_METRICS else [])
    for url in pages[:1]:
        try:
            facts |= await page_facts(url)
        except ConnectError as error:
            if spec.prometheus_urls:
                warn(f"{url}: {error}; it is asked again every second during the run")
    facts |= {"type": kind, "model": model, **_limits(card), **await _about(kind, setup)}
    return Discovered(kind, model, True, facts)


def _refused(response: Response) -> bool:
    return response.status in (401, 403)


def _models(response: Response) -> list[dict[str, Any]]:
    found = json_object(response).get("data")
    if not isinstance(found, list):
        return []
    return [model for model in found if isinstance(model, dict) and isinstance(model.get("id"), str)]


def _limits(card: Mapping[str, Any]) -> dict[str, Any]:
    meta = card.get("meta")
    length = card.get("max_model_len") or (meta.get("n_ctx") if isinstance(meta, dict) else None)
    return {"max_model_len": length} if isinstance(length, int) else {}


async def _about(kind: str, setup: SetUp) -> dict[str, Any]:
    """Return what the server tells at an address of its own kind: its version, and sometimes limits."""
    if kind not in _ABOUT:
        return {}
    try:
        said = json_object(await setup.get(_ABOUT[kind]))
    except ConnectError:
        return {}
    facts = {"version": said.get("version", said.get("build_info"))}
    settings = said.get("default_generation_settings")
    if isinstance(settings, dict):
        # llama.cpp has a context per slot.
        facts |= {"max_model_len": settings.get("n_ctx"), "slots": said.get("total_slots")}
    names = {"max_total_tokens": "max_model_len", "tp_size": "tp", "max_running_requests": "max_num_seqs"}
    facts |= {name: said[key] for key, name in names.items() if key in said}
    return {key: value for key, value in facts.items() if isinstance(value, int | str)}


def json_object(response: Response) -> dict[str, Any]:
    """Return the object in an answer, empty where it is none."""
    if response.status != 200:
        return {}
    try:
        found = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
