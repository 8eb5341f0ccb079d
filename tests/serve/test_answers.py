"""What clients of the server see: lengths, times, caching, failures on purpose, and ends before the end."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from typing import Any

import aiohttp
import pytest
from asking import PLAIN, Asker, deployment, serving

from blis.errors import BlisError
from blis.serve import Fault, Server, parse_faults

LONG = list(range(100, 612))


def text(event: Any) -> str:
    choice = event["choices"][0]
    return str(choice["text"] if "text" in choice else choice["delta"]["content"])


def test_lengths() -> None:
    async def ask(asker: Asker) -> None:
        usage = (await asker.complete("a", 7))["usage"]
        assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (1, 7, 8)
        _, unasked = await asker.post("/v1/completions", prompt="a", ignore_eos=True)
        assert unasked["usage"]["completion_tokens"] == 16
        bounded, free = [], []
        for number in range(60):
            _, answer = await asker.post("/v1/completions", prompt=[50, number], max_tokens=20, min_tokens=4)
            bounded.append((answer["usage"]["completion_tokens"], answer["choices"][0]["finish_reason"]))
            message = {"role": "user", "content": str(number)}
            _, answer = await asker.post("/v1/chat/completions", messages=[message])
            assert answer["choices"][0]["finish_reason"] == "stop"
            free.append(answer["usage"]["completion_tokens"])
        assert {reason == "length" for count, reason in bounded if count == 20} == {True}
        assert {reason for count, reason in bounded if count < 20} == {"stop"}
        assert min(bounded)[0] == 4
        assert 7 < sum(free) / 60 < 14, "exponential of mean 10"

    serving(ask, deployment((0, 0, 0), (1, 0, 0)), answer_tokens=10)


def test_a_stream_says_what_a_document_says_and_no_token_twice() -> None:
    async def ask(asker: Asker) -> None:
        whole = (await asker.complete(LONG, 30))["choices"][0]["text"]
        events, _ = await asker.stream("/v1/completions", prompt=LONG, max_tokens=30, ignore_eos=True)
        assert "".join(map(text, events[:-1])) == whole
        assert [event["choices"][0]["finish_reason"] for event in events[:-1]][-1] == "length"
        assert events[-1] == "[DONE]"
        assert not any("usage" in event for event in events[:-1])

    serving(ask)


def test_tokens_come_when_their_steps_end() -> None:
    # Steps of 20 ms; the prefill is one of them.
    async def ask(asker: Asker) -> list[float]:
        start = asyncio.get_running_loop().time()
        _, times = await asker.stream("/v1/completions", prompt=LONG, max_tokens=8, ignore_eos=True)
        return [at - start for at in times[:-1]]

    times = serving(ask, deployment((0, 0, 0), (20_000, 0, 0)))
    late = [at - 0.020 * number for number, at in enumerate(times, 1)]
    assert len(times) == 8
    assert min(late) >= 0
    assert sorted(late)[4] < 0.1


def test_overheads_behind_a_step_delay_its_token() -> None:
    # Queueing of 10 ms; each token is reported 4 ms later than the step before would have it.
    async def ask(asker: Asker) -> list[float]:
        start = asyncio.get_running_loop().time()
        _, times = await asker.stream("/v1/completions", prompt=LONG, max_tokens=5, ignore_eos=True)
        return [at - start for at in times[:-1]]

    times = serving(ask, deployment((10_000, 0, 4_000), (10_000, 0, 0)))
    late = [at - 0.010 - 0.014 * number for number, at in enumerate(times, 1)]
    assert min(late) >= 0
    assert sorted(late)[2] < 0.1


def test_time_may_pass_faster() -> None:
    async def ask(asker: Asker) -> float:
        start = time.monotonic()
        await asker.complete(LONG, 100)
        return time.monotonic() - start

    assert 0.1 <= serving(ask, deployment((0, 0, 0), (20_000, 0, 0)), speed=20) < 1.5


def test_prompts_that_are_known_need_less_time_and_are_counted() -> None:
    # A prefill takes 100 µs per token that isn't in the cache.
    async def ask(asker: Asker) -> None:
        took, cached = [], []
        for _ in range(2):
            start = time.monotonic()
            usage = (await asker.complete(LONG, 1))["usage"]
            took.append(time.monotonic() - start)
            cached.append(usage["prompt_tokens_details"]["cached_tokens"])
        # The last block is computed again, so that there is something to go on from.
        assert cached == [0, 496]
        assert took[0] >= 0.0512
        found = await asker.metrics()
        assert found["time_to_first_token_seconds_sum"] == pytest.approx(0.0512 + 0.0016)
        assert found["prefix_cache_queries_total"] == 1024
        assert found["prefix_cache_hits_total"] == 496

    serving(ask, deployment((0, 0, 0), (0, 100, 0)))


def test_a_conversation_finds_its_questions_and_answers_in_the_cache() -> None:
    async def ask(asker: Asker) -> None:
        messages = [{"role": "user", "content": "tell me " * 20}]
        known = 0
        for _ in range(3):
            body = {"messages": messages, "max_tokens": 50, "ignore_eos": True}
            status, answer = await asker.post("/v1/chat/completions", **body)
            assert status == 200
            usage = answer["usage"]
            assert known - 16 <= usage["prompt_tokens_details"]["cached_tokens"] <= known
            known = usage["total_tokens"]
            messages += [answer["choices"][0]["message"], {"role": "user", "content": "go on"}]
        messages[0] = {"role": "user", "content": "Tell me " * 20}
        _, answer = await asker.post("/v1/chat/completions", messages=messages, max_tokens=1)
        assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] == 0, "it begins differently"

    serving(ask)


def test_metrics_of_a_run() -> None:
    async def ask(asker: Asker) -> None:
        before = await asker.metrics()
        assert before["num_requests_running"] == before["kv_cache_usage_perc"] == 0
        streams = [
            asyncio.create_task(asker.stream("/v1/completions", prompt=[n] * 64, max_tokens=200, ignore_eos=True))
            for n in range(1, 6)
        ]
        await asyncio.sleep(0.05)
        during = await asker.metrics()
        assert (during["num_requests_running"], during["num_requests_waiting"]) == (4, 1)
        # Four prompts of four blocks each, and the blocks of their tokens so far.
        assert 16 / 1000 <= during["kv_cache_usage_perc"] <= 68 / 1000
        assert during["prompt_tokens_total"] == 256
        assert 8 <= during["generation_tokens_total"] < 800
        await asyncio.gather(*streams)
        after = await asker.metrics()
        assert (after["prompt_tokens_total"], after["generation_tokens_total"]) == (320, 1000)
        assert after["request_success_total|length"] == 5
        for name, count in (
            ("time_to_first_token_seconds", 5),
            ("inter_token_latency_seconds", 995),
            ("request_time_per_output_token_seconds", 5),
            ("e2e_request_latency_seconds", 5),
            ("request_queue_time_seconds", 5),
        ):
            assert after[f"{name}_count"] == count
        assert after["inter_token_latency_seconds_sum"] == pytest.approx(995 * 0.002)
        assert after["inter_token_latency_seconds_bucket|0.01"] == 995
        assert after["cache_config_info|16|1000"] == 1
        assert after["num_requests_running"] == after["kv_cache_usage_perc"] == 0

    serving(ask, {**PLAIN, "max_num_seqs": 4})


def test_a_client_that_leaves_makes_room() -> None:
    async def ask(asker: Asker) -> None:
        body = {"prompt": LONG, "max_tokens": 5000, "ignore_eos": True}
        for streaming in (True, False):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await asker.post("/v1/completions", **body, stream=streaming)
        for _ in range(100):
            found = await asker.metrics()
            if not found["num_requests_running"]:
                break
            await asyncio.sleep(0.01)
        assert found["num_requests_running"] == found["kv_cache_usage_perc"] == 0
        assert found["request_success_total|abort"] == 2

    serving(ask)


def test_requests_that_admission_turns_away() -> None:
    for latency in (0, 3_000):
        bucket = {"policy": "token-bucket", "capacity": 600, "refill_rate": 1, "latency_us": latency}

        async def ask(asker: Asker) -> list[tuple[int, Any]]:
            body = {"prompt": LONG, "max_tokens": 2, "ignore_eos": True}
            return [await asker.post("/v1/completions", **body) for _ in range(2)]

        (first, _), (second, document) = serving(ask, {**PLAIN, "admission": bucket})
        assert (first, second) == (200, 429)
        assert document["error"]["code"] == 429


def test_requests_that_fit_only_another_instance() -> None:
    pools = [{"name": "small", "total_kv_blocks": 20}, {"name": "large", "total_kv_blocks": 100}]
    spec = {key: value for key, value in PLAIN.items() if key != "total_kv_blocks"} | {"pools": pools}

    async def ask(asker: Asker) -> list[int]:
        answers = [await asker.post("/v1/completions", prompt=LONG, max_tokens=2) for _ in range(2)]
        assert (await asker.metrics())["prompt_tokens_total|#1"] == 512
        return [status for status, _ in answers]

    assert serving(ask, spec) == [400, 200], "round robin tries the small one first"


def test_faults_come_at_their_rates_and_are_what_they_are_called() -> None:
    rates = parse_faults("429=0.1,500=0.1,hang=0.1,disconnect=0.2,malformed=0.2")

    async def one(asker: Asker, number: int) -> str:
        streaming = bool(number % 2)
        body = {"prompt": [number], "max_tokens": 10, "ignore_eos": True, "stream": streaming}
        try:
            async with asyncio.timeout(1.5), asker.session.post("/v1/completions", json=body) as answer:
                if answer.status != 200:
                    return str((await answer.json())["error"]["code"])
                data = await answer.read()
                lines = [line[6:] for line in data.split(b"\n\n") if line] if streaming else [data]
                try:
                    documents = [json.loads(line) for line in lines if line != b"[DONE]"]
                except json.JSONDecodeError:
                    return "malformed"
                assert sum(document["choices"][0]["text"].count(" ") for document in documents) == 10
                return "ok"
        except TimeoutError:
            return "hang"
        except aiohttp.ClientError:
            return "disconnect"

    async def ask(asker: Asker) -> Counter[str]:
        return Counter(await asyncio.gather(*(one(asker, number) for number in range(200))))

    seen = serving(ask, deployment((0, 0, 0), (100, 0, 0)), faults=rates, seed=3)
    for name, want in (("429", 20), ("500", 20), ("hang", 20), ("disconnect", 40), ("malformed", 40), ("ok", 60)):
        assert abs(seen[name] - want) < 4 * want**0.5 * 0.95, seen
    assert sum(seen.values()) == 200


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("5xx=0.1", "unknown fault '5xx'"),
        ("hang", "hang= must be followed by a rate such as 0.05; found nothing"),
        ("hang=lots", "found 'lots'"),
        ("hang=0.1,hang=0.2", "given twice"),
    ],
)
def test_faults_that_are_misspelt(text: str, words: str) -> None:
    with pytest.raises(BlisError, match=words):
        parse_faults(text)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"faults": {Fault.HANG: 0.6, Fault.MALFORMED: 0.6}}, "add up to 1.2"),
        ({"faults": {Fault.HANG: -0.1}}, "must be from 0 to 1"),
        ({"speed": 0.0}, "--speed: must be a number > 0, found 0"),
        ({"answer_tokens": 0.0}, "--answer-tokens"),
        ({"port": 1 << 16}, "--port"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(BlisError, match=words):
        Server(PLAIN, **settings)


def test_a_port_that_is_taken() -> None:
    async def ask(asker: Asker) -> None:
        port = int(asker.server.url.rpartition(":")[2])
        with pytest.raises(BlisError, match=f"can't listen at 127.0.0.1:{port}: "):
            async with Server(PLAIN, port=port):
                pass

    serving(ask)


def test_stopping_ends_what_is_under_way_in_good_order() -> None:
    async def ask(asker: Asker) -> None:
        stream = asyncio.create_task(asker.stream("/v1/completions", prompt=LONG, max_tokens=5000, ignore_eos=True))
        whole = asyncio.create_task(asker.post("/v1/completions", prompt=LONG, max_tokens=5000, ignore_eos=True))
        await asyncio.sleep(0.05)
        assert await asker.server.stop() == 2
        events, _ = await stream
        assert events[-1] == "[DONE]"
        assert events[-2]["choices"][0]["finish_reason"] == "abort"
        status, document = await whole
        assert (status, document["error"]["message"]) == (503, "The server is shutting down.")
        with pytest.raises(aiohttp.ClientConnectorError):
            await asker.session.get("/health")

    serving(ask)
