"""Answers have the form of a real vLLM's: version 0.32, asked for the same, as recorded in tests/data/vllm_answers."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from asking import Asker, serving

IDS = [5, 6, 7, 8, 9]
CHAT = [{"role": "user", "content": "hello"}]
USAGE = {"include_usage": True}


@pytest.fixture(scope="module")
def recorded(repository: Path) -> dict[str, list[Any]]:
    """Documents and events by what was asked, in order, each parsed."""
    found: dict[str, list[Any]] = {}
    for path in sorted((repository / "tests/data/vllm_answers").iterdir()):
        name = path.stem
        for line in path.read_text().splitlines():
            if line.startswith("=== "):
                name = line[4:]
            elif line.startswith(("data: ", "{")):
                data = line.removeprefix("data: ")
                found.setdefault(name, []).append("[DONE]" if data == "[DONE]" else json.loads(data))
    return found


def form(value: Any) -> Any:
    """Keys and types of a document, in order, and the texts that are always the same."""
    if isinstance(value, dict):
        return {key: value[key] if key in ("object", "finish_reason") else form(value[key]) for key in value}
    if isinstance(value, list):
        return [form(value[0])] if value else []
    return value if value == "[DONE]" else type(value).__name__


def forms(events: list[Any]) -> list[Any]:
    """The forms of a stream's events, like ones in a row once: tokens share an event where the machine was late."""
    return [kind for kind, _ in groupby(map(form, events))]


def documents(*bodies: tuple[str, dict[str, Any]]) -> list[Any]:
    """What the server answers, one after the other: documents, or events of streams."""

    async def ask(asker: Asker) -> list[Any]:
        answers: list[Any] = []
        for path, body in bodies:
            if body.get("stream"):
                answers += (await asker.stream(path, **body))[0]
            else:
                answers.append((await asker.post(path, **body))[1])
        return answers

    return serving(ask, model="tiny-llama")


def without_details(answers: list[Any]) -> list[Any]:
    """Take out how many tokens were cached, which a real server says only when it is told to."""
    for answer in answers:
        if isinstance(answer, dict) and (answer.get("usage") or {}).get("prompt_tokens_details"):
            del answer["usage"]["prompt_tokens_details"]
    return answers


def test_a_stream_of_a_completion(recorded: dict[str, list[Any]]) -> None:
    body = {"prompt": IDS, "max_tokens": 6, "stream": True, "stream_options": USAGE, "ignore_eos": True}
    got = without_details(documents(("/v1/completions", body)))
    assert forms(got) == forms(recorded["completions-stream"])
    assert got[-2]["usage"] == {"prompt_tokens": 5, "total_tokens": 11, "completion_tokens": 6}


def test_a_stream_of_a_chat(recorded: dict[str, list[Any]]) -> None:
    body = {"messages": CHAT, "max_tokens": 4, "stream": True, "stream_options": USAGE, "ignore_eos": True}
    got = without_details(documents(("/v1/chat/completions", body)))
    assert forms(got) == forms(recorded["chat-stream"])
    assert got[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}


def test_usage_with_every_chunk(recorded: dict[str, list[Any]]) -> None:
    options = {**USAGE, "continuous_usage_stats": True}
    body = {"prompt": IDS, "max_tokens": 3, "stream": True, "stream_options": options, "ignore_eos": True}
    got = without_details(documents(("/v1/completions", body)))
    assert forms(got) == forms(recorded["continuous usage"])
    counts = [event["usage"]["completion_tokens"] for event in got[:-1]]
    assert counts[-2:] == [3, 3]
    assert counts[:-1] == sorted(set(counts))


def test_whole_answers(recorded: dict[str, list[Any]]) -> None:
    completion, chat = documents(
        ("/v1/completions", {"prompt": IDS, "max_tokens": 3, "ignore_eos": True, "return_token_ids": True}),
        ("/v1/chat/completions", {"messages": CHAT, "max_tokens": 4, "ignore_eos": True}),
    )
    for got, want in ((completion, recorded["completions-ids"]), (chat, recorded["chat"])):
        assert list(got) == list(want[0])
        assert {k: list(v) for k, v in got.items() if isinstance(v, dict)}["usage"] == list(want[0]["usage"])
        assert form(got["choices"]) == form(want[0]["choices"])
    assert completion["choices"][0]["prompt_token_ids"] == IDS
    assert len(completion["choices"][0]["token_ids"]) == completion["usage"]["completion_tokens"] == 3


@pytest.mark.parametrize(
    ("name", "status", "body"),
    [
        ("wrong model", 404, {"prompt": IDS, "model": "nope"}),
        ("too long (max_tokens 5000 > 4096)", 400, {"prompt": IDS, "max_tokens": 5000}),
        ("prompt too long", 400, {"prompt": [7] * 4200, "max_tokens": 2}),
        ("prompt too long, stream", 400, {"prompt": [7] * 4200, "max_tokens": 2, "stream": True}),
        ("max_tokens 0", 400, {"prompt": IDS, "max_tokens": 0}),
        ("bad param", 400, {"prompt": IDS, "temperature": -1.0}),
        ("token id out of vocab", 400, {"prompt": [999999]}),
        ("empty prompt", 400, {"prompt": ""}),
        ("min_tokens>max_tokens", 400, {"prompt": IDS, "max_tokens": 2, "min_tokens": 5}),
        ("stream_options without stream", 400, {"prompt": IDS, "stream_options": USAGE}),
    ],
)
def test_errors_are_word_for_word_the_same(
    recorded: dict[str, list[Any]], name: str, status: int, body: dict[str, Any]
) -> None:
    limits = {"model": "llama-3.1-8b", "hardware": "H100", "max_model_len": 4096}

    async def ask(asker: Asker) -> tuple[int, Any]:
        return await asker.post("/v1/completions", **body)

    assert serving(ask, limits, model="tiny-llama") == (status, recorded[name][0])


def test_paths_methods_and_bodies_that_are_wrong(recorded: dict[str, list[Any]]) -> None:
    async def ask(asker: Asker) -> None:
        async with asker.session.get("/nope") as answer:
            assert (answer.status, await answer.json()) == (404, recorded["no path"][0])
        async with asker.session.get("/v1/completions") as answer:
            assert (answer.status, await answer.json()) == (405, recorded["GET completions"][0])
            assert answer.headers["Allow"] == "POST"
        async with asker.session.post("/v1/completions", data=b'{"model":x') as answer:
            assert answer.status == 400
            assert form(await answer.json()) == form(recorded["bad json"][0])
        for path, body, param in (
            ("/v1/completions", {"prompt": IDS, "max_tokens": "5"}, "body.max_tokens"),
            ("/v1/completions", {"prompt": [1, "a"]}, "body.prompt"),
            ("/v1/completions", {"prompt": {"a": 1}}, "body.prompt"),
            ("/v1/completions", {"prompt": ["a", "b"]}, "prompt"),
            ("/v1/completions", {"prompt": " \n"}, "prompt"),
            ("/v1/completions", {"prompt": IDS, "n": 2}, "n"),
            ("/v1/completions", {"prompt": IDS, "min_tokens": -1}, "min_tokens"),
            ("/v1/completions", {"prompt": IDS, "stream": "yes"}, "body.stream"),
            ("/v1/chat/completions", {"prompt": IDS}, "messages"),
            ("/v1/chat/completions", {"messages": ["hi"]}, "body.messages.0"),
            ("/v1/chat/completions", {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
             "messages.0.content"),
        ):  # fmt: skip
            status, document = await asker.post(path, **body)
            assert (status, document["error"]["param"]) == (400, param)
            assert document["error"]["message"]
        status, document = await asker.post("/v1/completions", prompt=[1] * 15_990, max_tokens=20)
        assert status == 400
        assert "15990 input tokens, for a total of 16010 tokens" in document["error"]["message"]

    serving(ask)


def test_what_the_server_says_of_itself() -> None:
    async def ask(asker: Asker) -> None:
        async with asker.session.get("/v1/models") as answer:
            card = (await answer.json())["data"][0]
        assert (card["id"], card["owned_by"], card["max_model_len"]) == ("my-model", "vllm", 16_000)
        async with asker.session.get("/health") as answer:
            assert (answer.status, await answer.text()) == (200, "")
        async with asker.session.get("/version") as answer:
            assert (await answer.json())["version"].startswith("blis-")
        _, one = await asker.post("/tokenize", prompt="The quick brown fox")
        _, other = await asker.post("/tokenize", messages=[{"role": "user", "content": "The quick brown fox"}])
        assert one["count"] == len(one["tokens"]) == 6
        assert other["tokens"][1:-2] == one["tokens"], "a turn has a token before and one behind, then the answer's"
        usage = (await asker.complete("The quick brown fox", 1))["usage"]
        assert usage["prompt_tokens"] == 6

    serving(ask, model="my-model")


def test_who_may_ask() -> None:
    async def ask(asker: Asker) -> list[int]:
        statuses = []
        for header in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer s3cret"}):
            async with asker.session.get("/v1/models", headers=header) as answer:
                statuses.append(answer.status)
        async with asker.session.get("/metrics") as answer:
            return [*statuses, answer.status]

    assert serving(ask, key="s3cret") == [401, 401, 200, 200]
