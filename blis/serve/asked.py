"""What a body asks for, checked as vLLM checks it, with its messages."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from blis.serve.tokens import Tokenizer

__all__ = ["Asked", "Limits", "Refusal", "chat_prompt", "check_model", "completion_prompt", "read_body", "understand"]

_DEFAULT_TOKENS = 16
_KINDS: dict[type, tuple[str, str]] = {
    int: ("int_type", "Input should be a valid integer"),
    float: ("float_type", "Input should be a valid number"),
    bool: ("bool_type", "Input should be a valid boolean"),
    str: ("string_type", "Input should be a valid string"),
    dict: ("dict_type", "Input should be a valid dictionary"),
    list: ("list_type", "Input should be a valid list"),
}


class Refusal(Exception):
    """An answer that is an error: HTTP status, and what vLLM puts into its body."""

    def __init__(self, message: str, param: str | None = None, status: int = 400, kind: str = "BadRequestError"):
        super().__init__(message)
        self.status = status
        self.body = orjson.dumps({"error": {"message": message, "type": kind, "param": param, "code": status}})


@dataclass(frozen=True, slots=True)
class Limits:
    """What is possible.

    ``names`` are those of the model, ``longest`` the tokens of prompt plus output, ``answer_tokens`` how many an answer
    has on average where nothing is said about it.
    """

    names: tuple[str, ...]
    longest: int
    answer_tokens: float

    def natural(self, digest: int) -> int:
        """Return after how many tokens the answer to a prompt would end by itself: exponential, by the prompt's hash.

        ``digest`` is evenly spread over 64 bits.
        """
        return max(1, math.ceil(-math.log((digest + 1) / 2**64) * self.answer_tokens))


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it is understood: its prompt's tokens, how many are allowed and wanted, how to answer."""

    model: str
    tokens: array[int]
    max_tokens: int
    min_tokens: int
    ignore_eos: bool
    stream: bool
    include_usage: bool
    continuous_usage: bool
    return_ids: bool

    def output(self, natural: int) -> int:
        """Return how many tokens the answer has, if it would end by itself after ``natural``."""
        return self.max_tokens if self.ignore_eos else min(max(natural, self.min_tokens), self.max_tokens)


def read_body(data: bytes) -> dict[str, Any]:
    """Return the object in a body.

    Raises:
        Refusal: there is none.
    """
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        found = {"type": "json_invalid", "loc": f"body.{error.pos}", "msg": "JSON decode error"}
        raise _invalid(found, f"body.{error.pos}") from None
    if not isinstance(body, dict):
        raise _invalid({"type": "dict_type", "loc": "body", "msg": "Input should be a valid dictionary"}, "body")
    return body


def understand(body: Mapping[str, Any], tokens: array[int], limits: Limits, *, chat: bool) -> Asked:
    """Return what ``body`` asks for beside the prompt, which has these ``tokens``.

    Raises:
        Refusal: it asks for what can't be, or what isn't simulated.
    """
    _check_prompt(tokens, limits)
    rest = limits.longest - len(tokens)
    most = _value(body, "max_completion_tokens", int) if chat else None
    if most is None:
        most = _value(body, "max_tokens", int)
    if most is None:
        most = rest if chat else min(_DEFAULT_TOKENS, rest)
    least = _value(body, "min_tokens", int) or 0
    _check_lengths(len(tokens), most, least, limits)
    if (temperature := _value(body, "temperature", float)) is not None and temperature < 0:
        raise _bad(f"temperature must be non-negative, got {float(temperature)}.", "temperature", float(temperature))
    if (_value(body, "n", int) or 1) != 1:
        raise Refusal("n must be 1: this server simulates one answer to each prompt.", "n")
    stream = bool(_value(body, "stream", bool))
    options = _value(body, "stream_options", dict)
    if options is not None and not stream:
        raise _bad("Stream options can only be defined when `stream=True`.", "stream_options")
    continuous = bool(_value(options or {}, "continuous_usage_stats", bool))
    return Asked(
        model=_value(body, "model", str) or limits.names[0],
        tokens=tokens,
        max_tokens=most,
        min_tokens=least,
        ignore_eos=bool(_value(body, "ignore_eos", bool)),
        stream=stream,
        include_usage=bool(_value(options or {}, "include_usage", bool)),
        continuous_usage=continuous,
        return_ids=bool(_value(body, "return_token_ids", bool)),
    )


def check_model(body: Mapping[str, Any], limits: Limits) -> None:
    """Make sure that the model asked for, if any, is there.

    Raises:
        Refusal: it isn't.
    """
    model = _value(body, "model", str)
    if model and model not in limits.names:
        message = f"The model `{model}` does not exist. Valid aliases: {', '.join(limits.names)}."
        raise Refusal(message, "model", 404, "NotFoundError")


def completion_prompt(body: Mapping[str, Any], tokenizer: Tokenizer) -> array[int]:
    """Return the tokens of a completion's prompt: a text or token ids, by itself or alone in a list.

    Raises:
        Refusal: it is empty, something else, or several.
    """
    prompt = body.get("prompt")
    if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int):
        if len(prompt) > 1:
            raise Refusal("one prompt per request: this server simulates no batches of them.", "prompt")
        prompt = prompt[0]
    if prompt is None or prompt == "" or prompt == []:
        raise _bad("Either prompt or prompt_embeds must be provided and non-empty.", "prompt")
    if isinstance(prompt, str):
        return array("I", tokenizer.encode(prompt))
    try:
        tokens = array("I", prompt)
    except (TypeError, OverflowError):
        raise _wrong("prompt", list, prompt) from None
    if (largest := max(tokens)) >= tokenizer.vocabulary:
        raise Refusal(f"Token id {largest} is out of vocabulary")
    return tokens


def chat_prompt(body: Mapping[str, Any], tokenizer: Tokenizer) -> array[int]:
    """Return the tokens of a conversation.

    Raises:
        Refusal: there is none, or something else than text in it.
    """
    messages = _value(body, "messages", list)
    if not messages:
        raise _bad("messages must be provided and non-empty.", "messages")
    turns = []
    for number, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise _wrong(f"messages.{number}", dict, message)
        turns.append((message["role"], _text(message.get("content"), number)))
    return array("I", tokenizer.encode_chat(turns))


def _text(content: Any, number: int) -> str:
    """Return the text of a message's content: text, parts of text, or nothing where a tool was called."""
    if content is None or isinstance(content, str):
        return content or ""
    parts = content if isinstance(content, list) else [content]
    texts = [part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str)]
    if len(texts) < len(parts):
        raise Refusal("only text: this server simulates no images, audio or video.", f"messages.{number}.content")
    return " ".join(texts)


def _check_prompt(tokens: array[int], limits: Limits) -> None:
    count = len(tokens)
    if not count:
        raise Refusal("The decoder prompt cannot be empty", "prompt")
    if count >= limits.longest:
        raise _bad(
            f"This model's maximum context length is {limits.longest} tokens. However, your prompt contains {count}"
            " input tokens, which exceeds this limit even without any output tokens. Please reduce the length of the"
            " input prompt.",
            "input_tokens",
            count,
        )


def _check_lengths(prompt: int, most: int, least: int, limits: Limits) -> None:
    if most < 1:
        raise _bad(f"max_tokens must be at least 1, got {most}.", "max_tokens", most)
    if most > limits.longest:
        raise _bad(
            f"max_tokens={most} cannot be greater than max_model_len={limits.longest}. Please request fewer output"
            " tokens.",
            "max_tokens",
            most,
        )
    if prompt + most > limits.longest:
        raise _bad(
            f"This model's maximum context length is {limits.longest} tokens. However, you requested {most} output"
            f" tokens and your prompt contains {prompt} input tokens, for a total of {prompt + most} tokens. Please"
            " reduce the length of the input prompt or the number of requested output tokens.",
            "input_tokens",
            prompt,
        )
    if least < 0:
        raise _bad(f"min_tokens must be greater than or equal to 0, got {least}.", "min_tokens", least)
    if least > most:
        raise Refusal(f"min_tokens must be less than or equal to max_tokens={most}, got {least}.")


def _value(body: Mapping[str, Any], name: str, kind: type) -> Any:
    """Return a field of the body, None where it is absent or null."""
    value = body.get(name)
    if value is None or type(value) is kind or (kind is float and type(value) is int):
        return value
    raise _wrong(name, kind, value)


def _bad(message: str, param: str, value: object = None) -> Refusal:
    details = f"parameter={param}" if value is None else f"parameter={param}, value={value}"
    return Refusal(f"{message} ({details})", param)


def _wrong(name: str, kind: type, value: object) -> Refusal:
    what, message = _KINDS[kind]
    shown = repr(value)
    found = {"type": what, "loc": f"body.{name}", "msg": message, "input": shown[:80]}
    return _invalid(found, f"body.{name}")


def _invalid(found: dict[str, str], param: str) -> Refusal:
    return Refusal(f"1 validation error:\n  {found}", param, kind="Bad Request")
