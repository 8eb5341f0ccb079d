"""What is found out about a server before the first request."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faulty_server import Exchange, FaultyServer, running

from blis.errors import BlisError
from blis.observation import observe
from blis.server.streams import WORDS

VLLM = {"id": "tiny", "object": "model", "owned_by": "vllm", "max_model_len": 4096}
SPEC = {
    "num_requests": 1,
    "clients": [
        {
            "id": "a",
            "rate": 200.0,
            "arrival": {"process": "constant"},
            "input_distribution": {"type": "constant", "params": {"value": 100}},
            "output_distribution": {"type": "constant", "params": {"value": 3}},
        }
    ],
}


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with running() as found:
        found.answer = Exchange.good
        yield found


def facts(server: FaultyServer, warnings: list[str], **settings: Any) -> dict[str, Any]:
    trace = observe(SPEC, {"url": server.url, **settings}, warn=warnings.append)
    assert trace.column("status").tolist() == ["ok"]
    assert trace.header.server is not None
    return trace.header.server


def test_vllm_is_recognised_and_asked_for_its_tokens(server: FaultyServer) -> None:
    server.get = {
        "/v1/models": {"data": [VLLM]},
        "/version": {"version": "0.32.0"},
        "/tokenize": {"count": 300, "tokens": list(range(500, 800))},
    }
    warnings: list[str] = []
    found = facts(server, warnings)
    assert warnings == []
    assert found.pop("rtt_us") > 0
    assert found == {
        "url": server.url,
        "api": "completion",
        "type": "vllm",
        "model": "tiny",
        "max_model_len": 4096,
        "version": "0.32.0",
        "prompts": "token ids",
        "output_length": "forced",
    }
    prompt = server.received[-1][2]["prompt"]
    assert len(prompt) == 100
    assert set(prompt) <= set(range(500, 800))


def test_llama_cpp_has_its_context_per_slot(server: FaultyServer) -> None:
    card = {"id": "tiny", "owned_by": "llamacpp", "meta": {"n_ctx": 2048}}
    props = {"default_generation_settings": {"n_ctx": 256}, "total_slots": 8, "build_info": "b1"}
    server.get = {"/v1/models": {"data": [card]}, "/props": props, "/tokenize": {"tokens": list(range(100))}}
    found = facts(server, [])
    assert (found["type"], found["version"], found["max_model_len"], found["slots"]) == ("llama.cpp", "b1", 256, 8)


def test_words_are_scaled_by_what_the_server_counts(server: FaultyServer) -> None:
    """Words differ in how many tokens they have, which mustn't be taken for a chat template."""

    def length(word: str) -> int:
        return 1 if word < "c" or len(word) < 4 else 3

    async def counting(x: Exchange) -> None:
        words = [word for message in x.body["messages"] for word in message["content"].split()]
        counts = {"prompt_tokens": 11 + sum(map(length, words)), "completion_tokens": 3}
        if x.streaming:
            x.begin()
            x.event(x.token(1, "length"))
            x.event({"choices": [], "usage": counts})
            x.raw(b"0\r\n\r\n")
        else:
            x.whole(json.dumps({"choices": x.document["choices"], "usage": counts}).encode())

    server.answer = counting
    warnings: list[str] = []
    trace = observe(SPEC, {"url": server.url, "api": "chat"}, warn=warnings.append)
    assert warnings == []
    assert trace.header.server is not None
    mean = sum(map(length, WORDS)) / len(WORDS)
    assert trace.header.server["tokens_per_word"] == pytest.approx(mean, rel=0.05)
    assert trace.header.server["prompt_overhead_tokens"] == 11
    assert int(trace.column("server_input_tokens")[0]) == pytest.approx(100, rel=0.2)


def test_several_models_one_of_which_has_to_be_chosen(server: FaultyServer) -> None:
    server.get = {"/v1/models": {"data": [VLLM, {**VLLM, "id": "other", "max_model_len": 8}]}}
    warnings: list[str] = []
    assert facts(server, warnings)["model"] == "tiny"
    assert any("2 models; the first, tiny," in text for text in warnings)
    found = facts(server, [], model="other")
    assert (found["model"], found["max_model_len"]) == ("other", 8)


def test_a_server_that_names_no_model_is_an_error_unless_one_is_given(server: FaultyServer) -> None:
    server.get = {}
    with pytest.raises(BlisError, match=r"/v1/models names no model \(HTTP 404: Not Found\); give --model"):
        facts(server, [])
    assert facts(server, [], model="m")["model"] == "m"


def test_warming_up_sends_requests_that_nobody_records(server: FaultyServer) -> None:
    found = observe(SPEC, {"url": server.url, "type": "vllm", "prewarm": "100ms"}, warn=lambda _: None)
    assert len(found) == 1
    assert len(server.received) > 1
    assert "stream" not in server.received[0][2]
    ids = [headers["X-Request-Id"] for _, headers, _ in server.received]
    assert len(set(ids)) == len(ids)


def test_a_tokenizer_file_gives_prompts_of_exact_length(server: FaultyServer, tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    vocabulary = {word: number for number, word in enumerate(["[UNK]", *WORDS[:200]])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    path = tmp_path / "tokenizer.json"
    tokenizer.save(str(path))
    facts(server, [], tokenizer=str(path))
    assert len(server.received[-1][2]["prompt"].split()) == 100
    facts(server, [], tokenizer=str(path), type="vllm")
    assert len(server.received[-1][2]["prompt"]) == 100


def test_a_tokenizer_file_that_is_none(server: FaultyServer, tmp_path: Path) -> None:
    (tmp_path / "no.json").write_text("{}")
    with pytest.raises(BlisError, match="--tokenizer"):
        facts(server, [], tokenizer=str(tmp_path / "no.json"))


def test_vllm_tells_its_blocks_on_its_page_of_metrics(server: FaultyServer) -> None:
    page = b'vllm:cache_config_info{block_size="32",num_gpu_blocks="4096"} 1.0\nvllm:num_requests_running 0\n'
    server.get = {"/v1/models": {"data": [VLLM]}, "/metrics": page}
    found = facts(server, [])
    assert (found["block_size"], found["num_gpu_blocks"], found["max_model_len"]) == (32, 4096, 4096)
    assert "metrics" not in found


def test_sglang_tells_its_limits_in_its_own_words(server: FaultyServer) -> None:
    said = {"version": "0.5.23", "tp_size": 2, "max_running_requests": 128, "other": [1]}
    page = b"sglang:page_size 64\nsglang:num_pages 7021\nsglang:context_len 32768\nsglang:num_running_reqs 0\n"
    server.get = {
        "/v1/models": {"data": [{"id": "m", "owned_by": "sglang"}]},
        "/server_info": said,
        "/metrics": page,
        "/tokenize": {"tokens": list(range(100))},
    }
    found = facts(server, [])
    expected = {"type": "sglang", "version": "0.5.23", "tp": 2, "max_num_seqs": 128}
    expected |= {"block_size": 64, "num_gpu_blocks": 7021, "max_model_len": 32768}
    assert {name: found[name] for name in expected} == expected
