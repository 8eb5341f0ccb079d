"""A real server: where it is, what it speaks, and how patient to be with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from blis.errors import Problem
from blis.spec.fields import Count, Micros, Name, PositiveCount, PositiveMicros, Text, unit
from blis.spec.located import load_yaml, nowhere, read_text
from blis.spec.strict import Finding, StrictModel, validate

__all__ = ["API_KEY_VARIABLE", "ServerSpec", "load_server", "server_from_dict"]

API_KEY_VARIABLE = "BLIS_API_KEY"
"""Environment variable that holds the API key where the spec doesn't say where it is."""

_LINE_ENDS = "\r\n\0"


class ServerSpec(StrictModel):
    """An OpenAI-compatible server, and how it is spoken to.

    The API key itself is no part of this: ``api_key`` says where it is, as ``env:NAME`` or as the path of a file.
    """

    url: Name = Field(
        description="Where the server is, such as http://localhost:8000.", examples=["http://localhost:8000"]
    )
    type: Literal["auto", "vllm", "sglang", "tgi", "llama.cpp", "openai"] = Field(
        default="auto",
        description="Kind of server, which decides how prompts are written and output lengths forced; auto asks it.",
        examples=["vllm"],
    )
    api: Literal["completion", "chat"] = Field(
        default="completion", description="/v1/completions or /v1/chat/completions.", examples=["chat"]
    )
    model: Text = Field(
        default="",
        description="Model asked for by clients that name none; empty asks the server.",
        examples=["meta-llama/Llama-3.1-8B-Instruct"],
    )
    api_key: Text = Field(
        default="",
        description=f"Where the API key is: env:NAME, or a file. Empty: {API_KEY_VARIABLE} where that is set.",
        examples=["env:MY_KEY", "keys/server.txt"],
    )
    headers: dict[str, Text] = Field(
        default_factory=dict, description="Headers sent with every request.", examples=[{"X-Team": "serving"}]
    )
    extra_body: dict[str, Any] = Field(
        default_factory=dict,
        description="Added to every request's body; null takes a key out.",
        examples=[{"temperature": 0.7}],
    )
    tokenizer: Text = Field(
        default="",
        description="A tokenizer.json, for prompts of exact length where they must be text.",
        examples=["tokenizer.json"],
    )
    timeout: PositiveMicros = Field(
        default=600_000_000, description="A request may take this long from its send.", examples=["2min"]
    )
    inactivity_timeout: PositiveMicros = Field(
        default=120_000_000, description="A request is given up when nothing arrives for this long.", examples=["30s"]
    )
    connect_timeout: PositiveMicros = Field(
        default=10_000_000, description="Opening a connection may take this long.", examples=["5s"]
    )
    max_concurrency: PositiveCount | None = Field(
        default=None,
        description="Most requests under way at once; others wait, which counts as schedule delay.",
        examples=[256],
        json_schema_extra=unit("requests"),
    )
    connections: Count = Field(
        default=0,
        description="Connections opened before the first request.",
        examples=[64],
        json_schema_extra=unit("connections"),
    )
    retries: Count = Field(
        default=0,
        description="How often a request is sent again that the server was too busy for (429, 503).",
        examples=[3],
        json_schema_extra=unit("times"),
    )
    prewarm: Micros = Field(
        default=0,
        description="Before the run, send small requests one by one for this long, unrecorded.",
        examples=["10s"],
    )
    prometheus_urls: tuple[Name, ...] = Field(
        default=(),
        description="Pages of the server's metrics, for every replica one.",
        examples=[["http://localhost:8000/metrics"]],
    )

    @classmethod
    def across(cls, raw: Mapping[str, Any]) -> Iterator[Finding]:
        """Headers fit on a line each."""
        headers = raw.get("headers")
        if not isinstance(headers, Mapping):
            return
        for name, value in headers.items():
            if not str(name).strip() or ":" in str(name) or any(letter in f"{name}{value}" for letter in _LINE_ENDS):
                yield ("headers", str(name)), "isn't a header: a name without ':' and a value on one line are needed"


def load_server(path: str | Path, overrides: Mapping[str, Any] | None = None) -> ServerSpec:
    """Read a server's YAML file; ``overrides`` replace its keys, except where they are None.

    Raises:
        SpecError: with everything that is wrong.
    """
    problems: list[Problem] = []
    data, locate = load_yaml(read_text(path), str(path), problems)
    if isinstance(data, Mapping):
        data = {**data, **_given(overrides)}
    return validate(ServerSpec, data, locate, str(path), problems=problems)


def server_from_dict(data: Mapping[str, Any], file: str = "<server>") -> ServerSpec:
    """Return the server that plain data describes; keys whose value is None count as left out.

    >>> server_from_dict({"url": "http://localhost:8000", "timeout": "30s"}).timeout
    30000000

    Raises:
        SpecError: with everything that is wrong.
    """
    return validate(ServerSpec, _given(data), nowhere, file)


def _given(data: Mapping[str, Any] | None) -> dict[str, Any]:
    return {key: value for key, value in (data or {}).items() if value is not None}
