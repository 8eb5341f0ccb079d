"""Flags that say which server to observe, and how to speak to it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from blis.cli.flags import micros
from blis.errors import BlisError, Problem, SpecError
from blis.spec.overrides import COMMAND_LINE
from blis.spec.words import shown

if TYPE_CHECKING:
    from blis.spec.server import ServerSpec

__all__ = ["ServerFlags", "load"]

_SERVER = "Server (flags override --server-config)"
_SENDING = "Sending"

_FLAG_OF = {
    "url": "--server-url",
    "type": "--server-type",
    "api": "--api-type",
    "model": "--model",
    "api_key": "--api-key",
    "headers": "--header",
    "extra_body": "--extra-body",
    "tokenizer": "--tokenizer",
    "timeout": "--timeout",
    "inactivity_timeout": "--inactivity-timeout",
    "connect_timeout": "--connect-timeout",
    "max_concurrency": "--max-concurrency",
    "connections": "--connections",
    "retries": "--retry",
    "prewarm": "--prewarm",
    "prometheus_urls": "--prometheus-url",
}
"""What a key of a server's spec is called on the command line."""
_TIMES = ("timeout", "inactivity_timeout", "connect_timeout")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFlags:
    """Which server, and how; None where a flag wasn't given."""

    server_url: Annotated[
        str | None, Option(metavar="URL", help="The server, such as http://localhost:8000.", rich_help_panel=_SERVER)
    ] = None
    server_config: Annotated[
        str | None,
        Option(metavar="FILE", help="A YAML file that says all this; flags win over it.", rich_help_panel=_SERVER),
    ] = None
    server_type: Annotated[
        str | None,
        Option(
            metavar="TYPE",
            help="vllm, sglang, tgi, llama.cpp or openai (any other). Default: auto, by what /v1/models says.",
            rich_help_panel=_SERVER,
        ),
    ] = None
    api_type: Annotated[
        str | None, Option(metavar="API", help="completion (the default) or chat.", rich_help_panel=_SERVER)
    ] = None
    model: Annotated[
        str | None,
        Option(metavar="NAME", help="Model to ask for. Default: the first of /v1/models.", rich_help_panel=_SERVER),
    ] = None
    api_key: Annotated[
        str | None,
        Option(
            metavar="SOURCE",
            help="Where the API key is: env:NAME or a file. Default: the environment variable BLIS_API_KEY, if set.",
            rich_help_panel=_SERVER,
        ),
    ] = None
    header: Annotated[
        list[str] | None,
        Option(
            metavar="NAME: VALUE", help="Header for every request; may be given repeatedly.", rich_help_panel=_SERVER
        ),
    ] = None
    extra_body: Annotated[
        str | None,
        Option(
            metavar="JSON",
            help='Added to every request\'s body, such as {"temperature": 0}; null takes a key out.',
            rich_help_panel=_SERVER,
        ),
    ] = None
    tokenizer: Annotated[
        str | None,
        Option(
            metavar="FILE",
            help="The model's tokenizer.json, for prompts of exact length where the server takes only text.",
            rich_help_panel=_SERVER,
        ),
    ] = None
    prometheus_url: Annotated[
        list[str] | None,
        Option(
            metavar="URL",
            help="The server's /metrics, read every second; may be given repeatedly, for each replica.",
            rich_help_panel=_SERVER,
        ),
    ] = None
    timeout: Annotated[
        str | None,
        Option(
            metavar="TIME",
            help="A request may take this long from its send: 30s, 2min. Default: 10min.",
            rich_help_panel=_SENDING,
        ),
    ] = None
    inactivity_timeout: Annotated[
        str | None,
        Option(
            metavar="TIME",
            help="A request is given up when nothing arrives for this long. Default: 2min.",
            rich_help_panel=_SENDING,
        ),
    ] = None
    connect_timeout: Annotated[
        str | None,
        Option(metavar="TIME", help="Opening a connection may take this long. Default: 10s.", rich_help_panel=_SENDING),
    ] = None
    max_concurrency: Annotated[
        int | None,
        Option(
            metavar="N",
            help="Most requests under way at once; others wait, which counts as schedule delay. Default: no limit.",
            rich_help_panel=_SENDING,
        ),
    ] = None
    connections: Annotated[
        int | None,
        Option(metavar="N", help="Connections to open before the first request. Default: 0.", rich_help_panel=_SENDING),
    ] = None
    retry: Annotated[
        int | None,
        Option(
            metavar="N",
            help="Send a request again up to N times when the server is too busy (429, 503), after a pause that grows "
            "or that Retry-After asks for. Default: 0.",
            rich_help_panel=_SENDING,
        ),
    ] = None
    prewarm: Annotated[
        float | None,
        Option(
            metavar="SECONDS",
            help="Before the run, send small requests one by one for this long, unrecorded. Default: 0.",
            rich_help_panel=_SENDING,
        ),
    ] = None


def load(flags: ServerFlags) -> ServerSpec:
    """Return the server that the flags describe.

    Raises:
        BlisError: file or flags are wrong, or name no server.
    """
    from blis.spec.server import load_server, server_from_dict

    given = _given(flags)
    if flags.server_config is None and "url" not in given:
        raise BlisError("no server: give --server-url URL, such as http://localhost:8000, or --server-config FILE")
    try:
        spec = server_from_dict({"url": "http://localhost", **given}, COMMAND_LINE)
    except SpecError as error:
        raise SpecError([_renamed(problem) for problem in error.problems]) from None
    return spec if flags.server_config is None else load_server(flags.server_config, given)


def _renamed(problem: Problem) -> Problem:
    key = re.split(r"[.\[]", problem.path)[0]
    place = f"{_FLAG_OF.get(key, key)} {problem.path.removeprefix(key).lstrip('.')}".rstrip()
    return Problem(COMMAND_LINE, None, place, problem.message)


def _given(flags: ServerFlags) -> dict[str, Any]:
    """Return the flags that were given, as a server's spec has them."""
    values: dict[str, Any] = {
        "url": flags.server_url,
        "type": flags.server_type,
        "api": flags.api_type,
        "model": flags.model,
        "api_key": flags.api_key,
        "headers": _headers(flags.header or ()),
        "extra_body": None if flags.extra_body is None else _json_object(flags.extra_body),
        "tokenizer": flags.tokenizer,
        "max_concurrency": flags.max_concurrency,
        "connections": flags.connections,
        "retries": flags.retry,
        "prewarm": None if flags.prewarm is None else round(flags.prewarm * 1e6),
        "prometheus_urls": flags.prometheus_url,
    }
    for name in _TIMES:
        text = getattr(flags, name)
        values[name] = None if text is None else micros(text)
    return {key: value for key, value in values.items() if value not in (None, {}, [])}


def _headers(lines: Iterable[str]) -> dict[str, str]:
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            # Without the line itself, which may be a secret.
            raise SpecError([Problem(COMMAND_LINE, None, "--header", "must be written 'Name: value', with a colon")])
        headers[name.strip()] = value.strip()
    return headers


def _json_object(text: str) -> dict[str, Any]:
    import orjson

    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        message = f"isn't JSON: {error}; found {shown(text)}"
        raise SpecError([Problem(COMMAND_LINE, None, "--extra-body", message)]) from None
    if not isinstance(value, dict):
        message = f'must be a JSON object such as {{"temperature": 0}}, found {shown(text)}'
        raise SpecError([Problem(COMMAND_LINE, None, "--extra-body", message)])
    return value
