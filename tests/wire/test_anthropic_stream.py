"""Answers of the Messages API, streamed and whole: blocks, their pieces, counts, errors inside a 200."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from llmctl.core.chat import (
    ChatRequest,
    ChatResponse,
    Finish,
    StreamEvent,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    Unreadable,
    Usage,
    collect_response,
)
from llmctl.core.errors import BudgetError, ConfigError, LlmctlError, NotFoundError, RejectedError, UnavailableError
from llmctl.core.http import Dialect, Endpoint, ServerEvent
from llmctl.wire import WIRES

WIRE = WIRES.load("anthropic")
MARK = {"wire": "anthropic"}
START = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-x",
        "content": [],
        "stop_reason": None,
        "usage": {"input_tokens": 10, "cache_read_input_tokens": 100, "output_tokens": 1},
    },
}
STOP = {"type": "message_stop"}


def block(index: int, content: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    pieces = [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
    end = {"type": "content_block_stop", "index": index}
    return [{"type": "content_block_start", "index": index, "content_block": content}, *pieces, end]


def build_text_delta(text: str) -> dict[str, Any]:
    return {"type": "text_delta", "text": text}


def part(json_text: str) -> dict[str, Any]:
    return {"type": "input_json_delta", "partial_json": json_text}


def ended(reason: str, **usage: Any) -> list[dict[str, Any]]:
    return [{"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": usage}, STOP]


HELLO = block(0, {"type": "text", "text": ""}, build_text_delta("Hel"), build_text_delta("lo"))


def events(*frames: dict[str, Any] | str) -> list[StreamEvent]:
    data = [
        ServerEvent(frame) if isinstance(frame, str) else ServerEvent(json.dumps(frame), frame["type"])
        for frame in frames
    ]
    return list(WIRE.parse_stream(data, Dialect()))


def read(*frames: dict[str, Any] | str) -> ChatResponse:
    return collect_response(events(*frames))


def whole(**answer: Any) -> ChatResponse:
    body = {"type": "message", "id": "msg_1", "model": "claude-x", "role": "assistant"} | answer
    return collect_response(WIRE.parse_response(json.dumps(body).encode(), Dialect()))


# ---------------------------------------------------------------- text, thinking, calls


def test_text_comes_piece_by_piece_and_ends_with_the_last_event() -> None:
    found = events(START, *HELLO, *ended("end_turn", output_tokens=5))
    assert [event.text for event in found if isinstance(event, TextDelta)] == ["Hel", "lo"]
    assert found[-1] == Finish("stop", "end_turn")
    response = collect_response(found)
    assert (response.model, response.response_id, response.message.text) == ("claude-x", "msg_1", "Hello")


def test_pings_and_unknown_kinds_are_passed_over() -> None:
    strange = block(1, {"type": "hologram", "data": 1}, {"type": "hologram_delta", "x": 1})
    found = read({"type": "ping"}, START, {"type": "news", "x": 1}, *HELLO, *strange, *ended("end_turn"))
    assert (found.message.text, found.finish_reason, found.unreadable) == ("Hello", "stop", ())


def test_thinking_keeps_its_signature_and_its_place() -> None:
    thinking = {"type": "thinking", "thinking": "", "signature": ""}
    found = read(
        START,
        *block(
            0, thinking, {"type": "thinking_delta", "thinking": "hm"}, {"type": "signature_delta", "signature": "s1"}
        ),
        *block(1, {"type": "redacted_thinking", "data": "xx"}),
        *block(2, {"type": "text", "text": ""}, build_text_delta("so")),
        *block(3, thinking, {"type": "signature_delta", "signature": "s2"}),
        *block(4, {"type": "tool_use", "id": "t", "name": "n", "input": {}}, part(""), part('{"a"'), part(":1}")),
        *ended("tool_use"),
    )
    assert found.message.parts == (
        Thinking("hm", "s1", MARK),
        Thinking("", None, MARK | {"redacted": "xx"}),
        Text("so"),
        Thinking("", "s2", MARK),
        ToolCall("t", "n", '{"a":1}'),
    )
    assert found.finish_reason == "tool_calls"


def test_empty_thinking_is_nothing_delivered() -> None:
    thinking = {"type": "thinking", "thinking": "", "signature": ""}
    assert not any(isinstance(event, ThinkingDelta) for event in events(START, *block(0, thinking)))


def test_call_without_arguments_has_an_empty_object() -> None:
    found = read(
        START, *block(0, {"type": "tool_use", "id": "t", "name": "n", "input": {}}, part("")), *ended("tool_use")
    )
    assert found.message.tool_calls == (ToolCall("t", "n", "{}"),)


def test_parallel_calls_are_told_apart_by_their_block() -> None:
    first = block(1, {"type": "tool_use", "id": "a", "name": "n", "input": {}}, part('{"x":1}'))
    second = block(2, {"type": "tool_use", "id": "b", "name": "n", "input": {}}, part('{"x":2}'))
    mixed = [*first[:1], *second[:1], *first[1:], *second[1:]]
    found = read(START, *HELLO, *mixed, *ended("tool_use"))
    assert [(call.id, call.arguments) for call in found.message.tool_calls] == [("a", '{"x":1}'), ("b", '{"x":2}')]


def test_whole_answer_gives_the_same_as_a_stream() -> None:
    content = [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "text", "text": "Hello", "citations": None},
        {"type": "tool_use", "id": "t", "name": "n", "input": {"a": "ü"}},
    ]
    found = whole(content=content, stop_reason="tool_use", usage={"input_tokens": 3, "output_tokens": 4})
    assert found.message.parts == (Thinking("hm", "s", MARK), Text("Hello"), ToolCall("t", "n", '{"a":"ü"}'))
    assert (found.finish_reason, found.usage) == ("tool_calls", Usage(3, 4))


def test_citations_are_kept_with_the_message() -> None:
    one, two = {"type": "char_location", "cited_text": "a"}, {"type": "char_location", "cited_text": "b"}
    cited = block(
        0,
        {"type": "text", "text": "", "citations": []},
        {"type": "citations_delta", "citation": one},
        build_text_delta("x"),
        {"type": "citations_delta", "citation": two},
    )
    found = read(START, *cited, *ended("end_turn"))
    assert found.message.metadata == {"citations": [one, two]}
    assert whole(content=[{"type": "text", "text": "x", "citations": [one, two]}]).message.metadata == {
        "citations": [one, two]
    }


def test_work_of_the_providers_own_tools_is_kept_whole() -> None:
    search = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}}
    result = {"type": "web_search_tool_result", "tool_use_id": "s1", "content": [{"url": "https://h"}]}
    citation = {"type": "web_search_result_location", "url": "https://h"}
    found = read(
        START,
        *HELLO,
        *block(
            4, {"type": "text", "text": ""}, {"type": "citations_delta", "citation": citation}, build_text_delta("!")
        ),
        *block(1, search, part('{"query":'), part('"x"}')),
        *block(2, result),
        *block(3, {"type": "compaction", "content": None}, {"type": "compaction_delta", "content": "summary"}),
        *ended("pause_turn"),
    )
    assert found.message.metadata["anthropic_content"] == [
        {"type": "text", "text": "Hello"},
        {"type": "text", "text": "!", "citations": [citation]},
        search | {"input": {"query": "x"}},
        result,
        {"type": "compaction", "content": "summary"},
    ]
    assert (found.message.text, found.message.tool_calls) == ("Hello!", ())
    assert (found.finish_reason, found.raw_finish_reason) == ("incomplete", "pause_turn")


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
        ("pause_turn", "incomplete"),
        ("something_new", "other"),
    ],
)
def test_finish_reason_is_normalized(raw: str, reason: str) -> None:
    found = read(START, *HELLO, *ended(raw))
    assert (found.finish_reason, found.raw_finish_reason) == (reason, raw)


def test_extra_fields_of_a_message_are_kept() -> None:
    change = {
        "type": "message_delta",
        "delta": {"stop_reason": "refusal", "stop_details": {"category": "cyber"}, "container": {"id": "c"}},
        "context_management": {"applied_edits": []},
    }
    found = read(START, *HELLO, change, STOP)
    assert found.message.metadata == {"stop_details": {"category": "cyber"}, "container": {"id": "c"}}


# ---------------------------------------------------------------- counts


def test_later_counts_replace_those_before_and_none_is_lost() -> None:
    found = read(START, *HELLO, *ended("end_turn", output_tokens=50))
    assert found.usage == Usage(input_tokens=110, output_tokens=50, cached_tokens=100)


def test_cut_stream_has_its_usage_so_far() -> None:
    assert read(START, *HELLO).usage == Usage(input_tokens=110, output_tokens=1, cached_tokens=100)


def test_cached_tokens_are_part_of_the_input() -> None:
    usage = {
        "input_tokens": 3,
        "cache_creation_input_tokens": 30,
        "cache_read_input_tokens": 500,
        "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
        "output_tokens": 40,
        "output_tokens_details": {"thinking_tokens": 15},
        "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 1},
    }
    assert whole(content=[{"type": "text", "text": "x"}], usage=usage).usage == Usage(
        input_tokens=533,
        output_tokens=40,
        cached_tokens=500,
        cache_write_tokens=30,
        thinking_tokens=15,
        details={"cache_write_1h_tokens": 20, "web_searches": 2},
    )


def test_runs_beside_the_answer_are_counted_too() -> None:
    runs = [
        {"type": "compaction", "input_tokens": 100, "cache_read_input_tokens": 55_096, "output_tokens": 83},
        {"type": "message", "input_tokens": 181, "output_tokens": 8},
    ]
    found = whole(
        content=[{"type": "text", "text": "x"}], usage={"input_tokens": 181, "output_tokens": 8, "iterations": runs}
    )
    assert found.usage == Usage(input_tokens=55_377, output_tokens=91, cached_tokens=55_096)


@pytest.mark.parametrize("usage", [None, {}, [], "much", {"input_tokens": "three", "output_tokens": -1}])
def test_odd_counts_do_no_harm(usage: Any) -> None:
    found = whole(content=[{"type": "text", "text": "x"}], usage=usage)
    assert found.usage in (None, Usage())


# ---------------------------------------------------------------- ends and errors


def test_stream_without_its_last_event_is_incomplete() -> None:
    complete = [START, *HELLO, *ended("end_turn")]
    for length in range(len(complete)):
        assert read(*complete[:length]).finish_reason is None


def test_nothing_is_waited_for_after_the_last_event() -> None:
    def frames() -> Iterator[ServerEvent]:
        yield from (ServerEvent(json.dumps(frame)) for frame in (START, *HELLO, *ended("end_turn")))
        raise UnavailableError("the connection broke", reason="cut")

    assert collect_response(WIRE.parse_stream(frames(), Dialect())).finish_reason == "stop"


def test_undecodable_event_is_reported_and_skipped() -> None:
    found = read(START, "{half", *HELLO, '[{"type"', *ended("end_turn"))
    assert len(found.unreadable) == 2
    assert (found.message.text, found.finish_reason) == ("Hello", "stop")
    assert not any(isinstance(event, Unreadable) for event in events(START, " ", *ended("end_turn")))


@pytest.mark.parametrize(
    ("kind", "message", "error", "reason", "status"),
    [
        ("overloaded_error", "Overloaded", UnavailableError, "overloaded", 529),
        ("api_error", "Internal server error", UnavailableError, "server_error", 500),
        ("rate_limit_error", "slow down", UnavailableError, "rate_limit", 429),
        ("timeout_error", "too slow", UnavailableError, "server_error", 504),
        ("invalid_request_error", "bad", RejectedError, "invalid_request", 400),
        ("invalid_request_error", "prompt is too long: 3 tokens > 2 maximum", RejectedError, "context_length", 400),
        ("request_too_large", "too much", RejectedError, "too_large", 413),
        ("authentication_error", "invalid x-api-key", ConfigError, "auth", 401),
        ("permission_error", "no", ConfigError, "auth", 403),
        ("not_found_error", "model: claude-sonet", NotFoundError, "model_not_found", 404),
        ("billing_error", "pay", BudgetError, "quota", 402),
        ("brand_new_error", "what", UnavailableError, "server_error", 200),
    ],
)
def test_error_inside_a_stream_has_its_class_and_keeps_what_came(
    kind: str, message: str, error: type[LlmctlError], reason: str, status: int
) -> None:
    frames = [START, *HELLO, {"type": "error", "error": {"type": kind, "message": message}, "request_id": "r"}]
    came: list[StreamEvent] = []
    with pytest.raises(LlmctlError) as raised:
        came.extend(WIRE.parse_stream([ServerEvent(json.dumps(frame), frame["type"]) for frame in frames], Dialect()))
    found = (type(raised.value), raised.value.reason, raised.value.status_code, raised.value.message)
    assert found == (error, reason, status, message)
    assert (collect_response(came).message.text, collect_response(came).finish_reason) == ("Hello", None)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not_json"),
        (b"<html><title>Bad gateway</title>", "not_json"),
        (b'{"type":"message","content":[{"type":"te', "not_json"),
        (b"[]", "not_json"),
        (b"{}", "no_answer"),
        (b'{"type":"message","content":[]}', "no_answer"),
        (b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}', "overloaded"),
        (b'{"error":"upstream failed"}', "server_error"),
    ],
)
def test_body_that_is_no_answer_is_unavailable(body: bytes, reason: str) -> None:
    with pytest.raises(UnavailableError) as raised:
        list(WIRE.parse_response(body, Dialect()))
    assert raised.value.reason == reason


def test_answer_that_stopped_at_once_is_an_answer() -> None:
    found = whole(content=[], stop_reason="end_turn")
    assert (found.message.text, found.finish_reason) == ("", "stop")


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "content_block_delta", "index": None, "delta": None},
        {"type": "content_block_delta", "index": 7, "delta": {"type": "text_delta", "text": 3}},
        {"type": "content_block_delta", "index": 7, "delta": {"type": "signature_delta"}},
        {"type": "content_block_start", "index": [], "content_block": "x"} | {"index": "a"},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": None, "citations": 7}},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "input": [1]}},
        {"type": "content_block_start", "index": {}, "content_block": {"type": {}, "citations": 1.5}},
        {"type": "content_block_delta", "index": [], "delta": {"type": "citations_delta", "citation": {"a": 1}}},
        {"type": "content_block_delta", "index": 9, "delta": {"type": "citations_delta", "citation": {"a": 1}}},
        {"type": "message_delta", "delta": {"stop_reason": []}, "usage": {"output_tokens": 10**30}},
        {"type": "message_start", "message": []},
        {"type": "message_delta", "delta": None, "usage": 3},
    ],
)
def test_misshapen_events_do_no_harm(frame: dict[str, Any]) -> None:
    found = read(START, frame, *HELLO, *ended("end_turn"))
    assert found.message.text.endswith("Hello")
    assert found.finish_reason in ("stop", "tool_calls")
    assert found.usage is not None
    assert found.usage.output_tokens < 10**9


def test_piece_without_a_beginning_is_not_given_back() -> None:
    search = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    stray = {"type": "content_block_delta", "index": 9, "delta": {"type": "input_json_delta", "partial_json": "{}"}}
    answer = read(START, *block(1, search), stray, *HELLO, *ended("end_turn")).message
    sent = json.loads(WIRE.build_request(Endpoint("https://h"), ChatRequest("claude-x", (answer,))).body)
    assert [block["type"] for block in sent["messages"][1]["content"]] == ["server_tool_use", "text"]


def test_call_without_an_id_gets_one() -> None:
    called = block(0, {"type": "tool_use", "name": "t", "input": {}})
    assert [call.id for call in read(START, *called, *ended("tool_use")).message.tool_calls] == ["call_0"]


# ---------------------------------------------------------------- refusals


def refused(status: int, kind: str, message: str, headers: dict[str, str] | None = None) -> LlmctlError:
    body = {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}
    return WIRE.parse_error(status, headers or {}, json.dumps(body).encode())


@pytest.mark.parametrize(
    ("status", "kind", "message", "error", "reason"),
    [
        (400, "invalid_request_error", "prompt is too long: 3 tokens > 2 maximum", RejectedError, "context_length"),
        (400, "invalid_request_error", "messages: at least one message is required", RejectedError, "invalid_request"),
        (400, "invalid_request_error", "Your credit balance is too low to access the API", BudgetError, "quota"),
        (400, "invalid_request_error", "You have reached your specified API usage limits.", BudgetError, "quota"),
        (401, "authentication_error", "invalid x-api-key", ConfigError, "auth"),
        (402, "billing_error", "pay", BudgetError, "quota"),
        (403, "permission_error", "not allowed", ConfigError, "auth"),
        (404, "not_found_error", "model: claude-sonet-4-5", NotFoundError, "model_not_found"),
        (404, "not_found_error", "Not Found", NotFoundError, "not_found"),
        (413, "request_too_large", "Request exceeds the maximum size", RejectedError, "too_large"),
        (429, "rate_limit_error", "This request would exceed the rate limit", UnavailableError, "rate_limit"),
        (429, "rate_limit_error", "You have reached the monthly spend limit of your tier", BudgetError, "quota"),
        (500, "api_error", "Internal server error", UnavailableError, "server_error"),
        (504, "timeout_error", "too slow", UnavailableError, "server_error"),
        (529, "overloaded_error", "Overloaded", UnavailableError, "overloaded"),
    ],
)
def test_refusal_has_its_class(status: int, kind: str, message: str, error: type[LlmctlError], reason: str) -> None:
    found = refused(status, kind, message)
    assert (type(found), found.reason, found.status_code, found.message) == (error, reason, status, message)


def test_wait_is_read_where_there_is_something_to_wait_for() -> None:
    assert refused(429, "rate_limit_error", "slow", {"retry-after": "7"}).retry_after == 7
    assert refused(529, "overloaded_error", "busy", {"retry-after": "3"}).retry_after == 3
    assert refused(401, "authentication_error", "no", {"retry-after": "3"}).retry_after is None
