"""Answers of generateContent, streamed and whole: hand-written, each showing one thing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmctl.core.chat import ChatResponse, Finish, ResponseBuilder, Text, Thinking, ToolCall, Usage, collect_response
from llmctl.core.errors import IncompleteError, LlmctlError, RejectedError, UnavailableError
from llmctl.core.http import Dialect, ServerEvent
from llmctl.wire import WIRES

WIRE = WIRES.load("gemini")
COUNTS = {"promptTokenCount": 5, "candidatesTokenCount": 3, "totalTokenCount": 8}


def answer(*parts: dict[str, Any], reason: str | None = None, **more: Any) -> dict[str, Any]:
    candidate = {"content": {"role": "model", "parts": list(parts)}} | ({"finishReason": reason} if reason else {})
    return {"candidates": [candidate | more], "modelVersion": "gemini-x", "responseId": "r-1"}


def event(document: Any) -> ServerEvent:
    return ServerEvent(json.dumps(document))


def read(*documents: Any) -> ChatResponse:
    return collect_response(WIRE.parse_stream(map(event, documents), Dialect()))


def whole(document: Any) -> ChatResponse:
    return collect_response(WIRE.parse_response(json.dumps(document).encode(), Dialect()))


def broken_off(*documents: Any, stream: bool = True) -> tuple[ChatResponse, LlmctlError]:
    """Return the events received, and the error that ended them."""
    total = ResponseBuilder()
    body = json.dumps(documents[0]).encode()
    events = WIRE.parse_stream(map(event, documents), Dialect()) if stream else WIRE.parse_response(body, Dialect())
    try:
        for one in events:
            total.add(one)
    except LlmctlError as error:
        return total.build(), error
    pytest.fail("no error")


# ---------------------------------------------------------------- text, thinking, signatures


def test_text_comes_in_pieces_and_ends_with_a_reason() -> None:
    response = read(answer({"text": "Hel"}), answer({"text": "lo"}, reason="STOP") | {"usageMetadata": COUNTS})
    assert response.message.parts == (Text("Hello"),)
    assert (response.finish_reason, response.raw_finish_reason) == ("stop", "STOP")
    assert (response.model, response.response_id) == ("gemini-x", "r-1")
    assert response.usage == Usage(input_tokens=5, output_tokens=3)


def test_stream_without_a_reason_was_cut() -> None:
    assert read(answer({"text": "Hel"})).finish_reason is None
    assert read().finish_reason is None


def test_signed_text_is_a_part_of_its_own() -> None:
    response = read(
        answer({"text": "a"}),
        answer({"text": "b", "thoughtSignature": "s1"}),
        answer({"text": "c"}),
        answer({"text": "", "thoughtSignature": "s2"}, reason="STOP"),
    )
    first, last = {"thought_signature": "s1"}, {"thought_signature": "s2"}
    assert response.message.parts == (Text("a"), Text("b", first), Text("c"), Text("", last))
    assert response.message.text == "abc"


def test_thoughts_are_joined_until_something_else_is_said() -> None:
    thought = {"thought": True}
    response = read(
        answer({"text": "h"} | thought),
        answer({"text": "m"} | thought),
        answer({"text": "!", "thoughtSignature": "s"} | thought),
        answer({"text": "so"} | thought, {"text": "yes"}),
        answer({"text": "wait"} | thought, reason="STOP"),
    )
    mark = {"wire": "gemini"}
    assert response.message.parts == (
        Thinking("hm", None, mark),
        Thinking("!", "s", mark),
        Thinking("so", None, mark),
        Text("yes"),
        Thinking("wait", None, mark),
    )


def test_code_run_by_google_is_kept_unchanged() -> None:
    code = {"executableCode": {"language": "PYTHON", "code": "1"}}
    response = whole(
        answer(code | {"thoughtSignature": "s"}, {"codeExecutionResult": {"output": "1"}}, {"text": "one"})
    )
    first, second, text = response.message.parts
    assert first == Thinking("", "s", {"wire": "gemini", "gemini_part": code})
    assert second.metadata["gemini_part"] == {"codeExecutionResult": {"output": "1"}}
    assert text == Text("one")


# ---------------------------------------------------------------- tool calls


def test_calls_have_stable_ids_of_their_own_where_none_came() -> None:
    found = answer(
        {"functionCall": {"name": "a", "args": {"x": "ü"}}, "thoughtSignature": "s"},
        {"functionCall": {"name": "a"}},
        {"functionCall": {"name": "b", "args": {}, "id": "call_883"}},
        reason="STOP",
    )
    calls = (
        ToolCall("call_r-1_0", "a", '{"x":"ü"}', {"thought_signature": "s"}),
        ToolCall("call_r-1_1", "a", "{}"),
        ToolCall("call_883", "b", "{}", {"gemini_id": "call_883"}),
    )
    assert read(found).message.tool_calls == calls
    assert whole(found).message.tool_calls == calls
    assert read(found).finish_reason == "tool_calls"


def test_calls_in_several_chunks_are_kept_separate() -> None:
    call = {"functionCall": {"name": "a", "args": {}}}
    response = read(answer(call), answer(call), answer({"text": ""}, reason="STOP"))
    assert [one.id for one in response.message.tool_calls] == ["call_r-1_0", "call_r-1_1"]
    assert response.message.parts == response.message.tool_calls


def test_call_with_partial_arguments_is_reported() -> None:
    response = read(answer({"functionCall": {"name": "a", "partialArgs": [{"jsonPath": "$.x"}]}}, reason="STOP"))
    assert response.message.tool_calls == ()
    assert "incomplete tool call" in response.unreadable[0]


# ---------------------------------------------------------------- endings


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("MODEL_ARMOR", "content_filter"),
        ("IMAGE_SAFETY", "content_filter"),
        ("OTHER", "other"),
        ("A_NEW_ONE", "other"),
    ],
)
def test_finish_reasons_have_our_words(word: str, reason: str) -> None:
    response = read(answer({"text": "a"}, reason=word))
    assert (response.finish_reason, response.raw_finish_reason) == (reason, word)


def test_blocked_prompt_is_a_content_filter() -> None:
    blocked = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": 4}}
    for response in (read(blocked), whole(blocked)):
        assert (response.finish_reason, response.raw_finish_reason) == ("content_filter", "PROHIBITED_CONTENT")
        assert response.message.metadata["promptFeedback"] == blocked["promptFeedback"]
        assert response.usage == Usage(input_tokens=4, unknown="output")


def test_held_back_answer_says_why() -> None:
    ratings = [{"category": "HARM_CATEGORY_HARASSMENT", "probability": "HIGH", "blocked": True}]
    response = whole({"candidates": [{"content": {}, "finishReason": "SAFETY", "safetyRatings": ratings}]})
    assert response.message.metadata["safetyRatings"] == ratings
    assert response.message.parts == ()


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("MALFORMED_FUNCTION_CALL", "malformed_tool_call"),
        ("UNEXPECTED_TOOL_CALL", "unexpected_tool_call"),
        ("OTHER", "no_answer"),
    ],
)
def test_answer_of_no_use_is_an_error_with_its_usage(word: str, reason: str, stream: bool) -> None:
    candidate = {"content": {}, "finishReason": word, "finishMessage": "print(x"}
    response, error = broken_off({"candidates": [candidate], "usageMetadata": COUNTS}, stream=stream)
    assert isinstance(error, IncompleteError)
    assert error.reason == reason
    assert error.message == f"the provider gave no usable answer ({word}): print(x"
    assert (response.finish_reason, response.raw_finish_reason) == ("other", word)
    assert response.usage


def test_reason_in_every_chunk_ends_once() -> None:
    chunks = (answer({"text": "a"}, reason="STOP"), answer({"text": "b"}, reason="STOP"))
    events = list(WIRE.parse_stream(map(event, chunks), Dialect()))
    assert [one for one in events if isinstance(one, Finish)] == [Finish("stop", "STOP")]
    assert collect_response(events).message.text == "ab"


def test_connection_that_breaks_after_the_end_loses_nothing() -> None:
    def breaking() -> Iterator[ServerEvent]:
        yield event(answer({"text": "a"}, reason="STOP"))
        raise UnavailableError("cut", reason="cut")

    assert collect_response(WIRE.parse_stream(breaking(), Dialect())).finish_reason == "stop"


def test_connection_that_breaks_before_the_end_is_an_error() -> None:
    def breaking() -> Iterator[ServerEvent]:
        yield event(answer({"text": "a"}))
        raise UnavailableError("cut", reason="cut")

    with pytest.raises(UnavailableError, match="cut"):
        list(WIRE.parse_stream(breaking(), Dialect()))


# ---------------------------------------------------------------- usage and other metadata


def test_usage_counts_thoughts_and_what_tools_read() -> None:
    said = {
        "promptTokenCount": 100,
        "cachedContentTokenCount": 40,
        "toolUsePromptTokenCount": 7,
        "candidatesTokenCount": 10,
        "thoughtsTokenCount": 5,
        "totalTokenCount": 122,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 70}, {"modality": "AUDIO", "tokenCount": 30}],
        "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 9}],
    }
    usage = read(answer({"text": "a"}, reason="STOP") | {"usageMetadata": said}).usage
    details = {"input_audio_tokens": 30, "output_image_tokens": 9}
    assert usage == Usage(107, 15, cached_tokens=40, thinking_tokens=5, details=details)
    assert usage is not None
    assert usage.total_tokens == said["totalTokenCount"]


def test_empty_usage_does_not_reset_earlier_counts() -> None:
    response = read(
        answer({"text": "a"}) | {"usageMetadata": COUNTS},
        answer(reason="STOP") | {"usageMetadata": {"trafficType": "ON_DEMAND"}},
    )
    assert response.usage == Usage(5, 3)
    assert read(answer({"text": "a"}, reason="STOP")).usage is None


@pytest.mark.parametrize(("model", "searches"), [("gemini-3.5-flash", 2), ("gemini-2.5-flash", 1)])
def test_searches_are_counted_as_they_are_billed(model: str, searches: int) -> None:
    found = answer({"text": "a"}, reason="STOP", groundingMetadata={"webSearchQueries": ["", "q", "r"]})
    usage = whole(found | {"modelVersion": model, "usageMetadata": COUNTS}).usage
    assert usage == Usage(5, 3, details={"web_searches": searches})


def test_citations_are_kept_and_grow() -> None:
    response = read(
        answer({"text": "a"}, groundingMetadata={"webSearchQueries": ["q"]}),
        answer(reason="STOP", groundingMetadata={"groundingChunks": [1]}, citationMetadata={"citationSources": [2]}),
    )
    assert response.message.metadata == {
        "groundingMetadata": {"webSearchQueries": ["q"], "groundingChunks": [1]},
        "citationMetadata": {"citationSources": [2]},
    }


def test_only_the_first_candidate_is_the_message() -> None:
    found = answer({"text": "a"}, reason="STOP")
    found["candidates"].append({"index": 1, "content": {"parts": [{"text": "b"}]}, "finishReason": "STOP"})
    assert whole(found).message.text == "a"


# ---------------------------------------------------------------- errors inside a 200, and what is no answer


def test_error_inside_a_stream_keeps_what_came_before() -> None:
    failure = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}
    response, error = broken_off(answer({"text": "Hel"}), failure)
    assert isinstance(error, UnavailableError)
    assert (error.reason, error.status_code) == ("overloaded", 503)
    assert response.message.text == "Hel"
    assert response.finish_reason is None


@pytest.mark.parametrize("listed", [False, True])
def test_error_in_a_whole_answer_has_its_class(listed: bool) -> None:
    failure = {"error": {"code": 400, "message": "The input token count exceeds it", "status": "INVALID_ARGUMENT"}}
    _, error = broken_off([failure] if listed else failure, stream=False)
    assert isinstance(error, RejectedError)
    assert error.reason == "context_length"


def test_error_as_an_array_is_read() -> None:
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7.5s"}]
    body = [{"error": {"code": 429, "message": "Quota", "status": "RESOURCE_EXHAUSTED", "details": details}}]
    error = WIRE.parse_error(429, {}, json.dumps(body).encode())
    assert isinstance(error, UnavailableError)
    assert (error.reason, error.retry_after) == ("rate_limit", 7.5)


def test_stream_as_an_array_is_read() -> None:
    response = whole([answer({"text": "a"}), answer({"text": "b"}, reason="STOP") | {"usageMetadata": COUNTS}])
    assert response.message.text == "ab"
    assert response.finish_reason == "stop"


@pytest.mark.parametrize(
    ("body", "reason"), [(b"<html>", "not_json"), (b"{", "not_json"), (b"{}", "no_answer"), (b"[1]", "not_json")]
)
def test_body_that_is_no_answer_is_unavailable(body: bytes, reason: str) -> None:
    with pytest.raises(UnavailableError) as caught:
        list(WIRE.parse_response(body, Dialect()))
    assert caught.value.reason == reason


def test_event_that_is_no_json_is_reported() -> None:
    events = [event(answer({"text": "a"})), ServerEvent("{bad"), event(answer({"text": "b"}, reason="STOP"))]
    response = collect_response(WIRE.parse_stream(events, Dialect()))
    assert response.message.text == "ab"
    assert len(response.unreadable) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["candidates", "content", "parts", "text", "functionCall", "name", "args", "finishReason",
                         "usageMetadata", "promptTokenCount", "promptFeedback", "thought", "thoughtSignature",
                         "promptTokensDetails", "groundingMetadata", "index", "error"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(JSON, max_size=3))
def test_any_json_is_read_without_a_crash(documents: list[Any]) -> None:
    try:
        read(*documents)
        whole(documents[0] if documents else {})
    except LlmctlError:
        pass
