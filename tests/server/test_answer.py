"""What answers mean: chunks with tokens, counts, finish reasons and errors, as real servers write them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from blis.server.answer import Answer, excerpt, failure_text
from blis.trace.status import Status


def streamed(*events: Any, keep: bool = False) -> Answer:
    """The answer of a stream whose events arrive at 1, 2, 3, ..."""
    answer = Answer(keep)
    for number, event in enumerate(events, 1):
        answer.event(b"", event if isinstance(event, bytes) else orjson.dumps(event), number)
    answer.close_stream()
    return answer


def whole(document: Any) -> Answer:
    answer = Answer(keep=True)
    answer.document(document if isinstance(document, bytes) else orjson.dumps(document), 9)
    return answer


def text(said: str, finish: str | None = None, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "text": said, "finish_reason": finish, **more}]}


def delta(finish: str | None = None, **said: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": said, "finish_reason": finish}]}


def usage(prompt: int, output: int, **more: Any) -> dict[str, Any]:
    return {"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": output, **more}}


def test_completions_of_vllm() -> None:
    """The reason to finish rides on the last text; usage comes in an event without choices."""
    answer = streamed(text("cair"), text(" water"), text("cair", "length"), usage(7, 3), b"[DONE]")
    assert answer.status is None
    assert answer.complete
    assert answer.chunk_ns.tolist() == [1, 2, 3]
    assert (answer.prompt_tokens, answer.output_tokens, answer.finish_reason) == (7, 3, "length")


def test_chat_of_vllm_begins_with_a_role_that_is_no_token() -> None:
    first = delta(role="assistant", content="")
    answer = streamed(first, delta(content=" bot"), delta("length", content="jen"), usage(14, 2), b"[DONE]")
    assert answer.chunk_ns.tolist() == [2, 3]


def test_completions_of_llama_cpp_end_with_an_empty_text() -> None:
    """Its last event has no token, but finish reason and usage, with choices that aren't empty."""
    last = {**text("", "length"), "usage": {"prompt_tokens": 7, "completion_tokens": 2}}
    answer = streamed(text(" wai"), text(" wai"), last, b"[DONE]")
    assert answer.chunk_ns.tolist() == [1, 2]
    assert (answer.output_tokens, answer.finish_reason) == (2, "length")


def test_chat_of_llama_cpp_ends_with_an_empty_delta() -> None:
    answer = streamed(delta(content="a"), delta(content="b"), delta("length"), usage(14, 2), b"[DONE]")
    assert answer.chunk_ns.tolist() == [1, 2]


def test_a_token_without_text_that_ends_the_answer_has_its_time() -> None:
    """An end-of-sequence token is counted by the server, and comes in the event that says why the answer ends."""
    answer = streamed(text("a"), text("b"), text("", "stop"), usage(7, 3), b"[DONE]")
    assert answer.chunk_ns.tolist() == [1, 2, 3]


def test_empty_texts_in_the_middle_are_tokens() -> None:
    """Half of a character is a token already."""
    assert streamed(text(""), text("é"), text("x", "stop"), b"[DONE]").chunk_ns.tolist() == [1, 2, 3]
    assert streamed(delta(content=""), delta("stop", content="é"), b"[DONE]").chunk_ns.tolist() == [1, 2]


def test_reasoning_and_tool_calls_are_tokens() -> None:
    answer = streamed(
        delta(role="assistant"),
        delta(reasoning_content="hm"),
        delta(reasoning="hm", content=None),
        delta(tool_calls=[{"index": 0}]),
        delta("stop", content="x"),
        b"[DONE]",
        keep=True,
    )
    assert answer.chunk_ns.tolist() == [2, 3, 4, 5]
    assert answer.text == "x"


def test_several_tokens_in_a_chunk_are_counted_by_usage() -> None:
    answer = streamed(text("one two three"), text(" four", "length"), usage(5, 4), b"[DONE]")
    assert (len(answer.chunk_ns), answer.output_tokens) == (2, 4)


def test_cached_tokens_and_usage_in_every_chunk() -> None:
    details = {"prompt_tokens_details": {"cached_tokens": 4}}
    early = {**text("a"), "usage": {"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": None}}
    answer = streamed(early, text("b", "length"), usage(5, 2, **details), b"[DONE]")
    assert (answer.prompt_tokens, answer.output_tokens, answer.cached_tokens) == (5, 2, 4)
    nonsense = streamed(text("a", "stop"), {"choices": [], "usage": {"prompt_tokens": "5", "completion_tokens": -1}})
    assert (nonsense.prompt_tokens, nonsense.output_tokens) == (-1, -1)


def test_text_and_token_ids_are_kept_only_when_asked_for() -> None:
    events = (text("a", token_ids=[5]), text("b", "length", token_ids=[6, 7]), b"[DONE]")
    kept, dropped = streamed(*events, keep=True), streamed(*events)
    assert (kept.text, kept.token_ids) == ("ab", [5, 6, 7])
    assert (dropped.text, dropped.token_ids) == ("", [])


@pytest.mark.parametrize(
    ("events", "status", "message"),
    [
        ((text("a"),), Status.TRUNCATED, "without end marker and finish_reason, after 1 chunk with tokens"),
        ((), Status.TRUNCATED, "without an event"),
        ((b"[DONE]",), Status.TRUNCATED, "without any token"),
        ((text("a", "abort"), b"[DONE]"), Status.TRUNCATED, "finish_reason abort"),
        ((text("a"), b"{"), Status.MALFORMED, "event 2 of the stream isn't JSON: {"),
        ((b"null",), Status.MALFORMED, "isn't a completion: null"),
        ((b'{"choices": 3}',), Status.MALFORMED, "isn't a completion"),
        ((b'{"choices": [{"delta": "no"}]}',), Status.MALFORMED, "isn't a completion"),
        (({"error": {"message": "out of memory", "code": 500}},), Status.MALFORMED, "with code 500: out of memory"),
        (({"error": "plain", "error_type": "overloaded"},), Status.MALFORMED, "the answer is an error: plain"),
        (({"error": {"message": "queue is full", "code": 503}},), Status.REJECTED, "code 503: queue is full"),
        (({"error": {"message": "slow down", "code": "429"}},), Status.REJECTED, "code 429: slow down"),
    ],
)
def test_what_is_wrong_with_a_stream(events: tuple[Any, ...], status: Status, message: str) -> None:
    answer = streamed(*events)
    assert answer.status is status
    assert message in answer.message


def test_the_first_thing_that_went_wrong_counts() -> None:
    answer = streamed(b"{", {"error": {"code": 503, "message": "late"}})
    assert (answer.status, "isn't JSON" in answer.message) == (Status.MALFORMED, True)


def test_an_error_event_by_its_name() -> None:
    answer = Answer()
    answer.event(b"error", b"the engine died", 1)
    assert (answer.status, answer.message) == (Status.MALFORMED, "error event in the stream: the engine died")
    answer = Answer()
    answer.event(b"error", b'{"message": "no"}', 1)
    assert (answer.status, answer.message) == (Status.MALFORMED, "the answer is an error: no")


def test_a_null_error_is_none() -> None:
    assert streamed({**text("a", "length"), "error": None}, b"[DONE]").status is None


def test_whole_documents() -> None:
    counts = {"usage": {"prompt_tokens": 14, "completion_tokens": 4}}
    chat = {"choices": [{"message": {"role": "assistant", "content": "hi"}, "finish_reason": "length"}], **counts}
    answer = whole(chat)
    assert (answer.status, answer.text, answer.finish_reason) == (None, "hi", "length")
    assert (answer.prompt_tokens, answer.output_tokens, answer.chunk_ns.tolist()) == (14, 4, [9])
    assert whole({**text("x", "stop", token_ids=[1]), **counts}).token_ids == [1]


@pytest.mark.parametrize(
    ("document", "status", "message"),
    [
        (b"", Status.MALFORMED, "the answer is empty"),
        (b" <!doctype html>", Status.MALFORMED, "the answer is HTML"),
        (b'{"a', Status.MALFORMED, "the answer is not JSON"),
        (b"[]", Status.MALFORMED, "isn't a completion"),
        (b'{"choices": []}', Status.MALFORMED, "isn't a completion"),
        (b'{"choices": [{}]}', Status.MALFORMED, "isn't a completion"),
        (b'{"error": {"message": "no", "code": 503}}', Status.REJECTED, "code 503: no"),
    ],
)
def test_what_is_wrong_with_a_document(document: bytes, status: Status, message: str) -> None:
    answer = whole(document)
    assert answer.status is status
    assert message in answer.message


def test_errors_in_the_words_of_servers() -> None:
    vllm = b'{"error":{"message":"The model `nope` does not exist.","type":"NotFoundError","param":"model","code":404}}'
    assert failure_text(vllm) == "The model `nope` does not exist."
    assert failure_text(b'{"detail":"Not Found"}') == "Not Found"
    assert failure_text(b'{"error": "no"}') == "no"
    assert failure_text(b'{"other": 1}') == '{"other": 1}'
    assert failure_text(b"  <html>\n <b>502</b>") == "<html> <b>502</b>"
    assert failure_text(b"") == ""
    long = excerpt(b"x" * 10_000)
    assert (len(long), long[-3:]) == (300, "...")
