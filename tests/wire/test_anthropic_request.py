"""Requests of the Messages API: what is asked, in the words of each generation, whatever history came before."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from llmctl.core.chat import (
    ChatRequest,
    File,
    Message,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    ToolSpec,
    collect_response,
    parts_from_json,
    parts_to_json,
)
from llmctl.core.errors import UsageError
from llmctl.core.http import Dialect, Endpoint, HttpRequest, ServerEvent
from llmctl.wire import WIRES
from llmctl.wire.anthropic.request import parse_model_name, reduce_schema

WIRE = WIRES.load("anthropic")
HELLO = Message.from_text("user", "hello")
CALL = ToolCall("toolu_1", "weather", '{"city":"Berlin"}')
MARK = {"wire": "anthropic"}
WEATHER = ToolSpec("weather", "Tell the weather.", {"type": "object", "properties": {"city": {"type": "string"}}})


def build(*messages: Message, model: str = "claude-haiku-4-5", **more: Any) -> HttpRequest:
    endpoint = Endpoint("https://h.example", {"x-api-key": "k"})
    return WIRE.build_request(endpoint, ChatRequest(model, messages or (HELLO,), **more))


def body(*messages: Message, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(build(*messages, **more).body)
    return found


def turns(*messages: Message, **more: Any) -> list[tuple[str, list[dict[str, Any]]]]:
    return [(turn["role"], turn["content"]) for turn in body(*messages, **more)["messages"]]


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


# ---------------------------------------------------------------- the request around the messages


def test_request_is_json_posted_with_key_and_version() -> None:
    request = build(Message.from_text("system", "be brief"), HELLO)
    assert (request.method, request.url) == ("POST", "https://h.example/v1/messages")
    assert request.headers == {
        "content-type": "application/json",
        "accept": "text/event-stream",
        "anthropic-version": "2023-06-01",
        "x-api-key": "k",
    }
    assert json.loads(request.body) == {
        "model": "claude-haiku-4-5",
        "messages": [{"role": "user", "content": [text("hello")]}],
        "stream": True,
        "system": "be brief",
        "max_tokens": 32000,
    }


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("https://h", "https://h/v1/messages"),
        ("https://h/v1/", "https://h/v1/messages"),
        ("https://h/anthropic", "https://h/anthropic/v1/messages"),
        ("https://h/v1?a=b", "https://h/v1/messages?a=b"),
    ],
)
def test_base_url_may_end_with_the_version_or_without(base: str, url: str) -> None:
    assert WIRE.build_request(Endpoint(base), ChatRequest("m", (HELLO,))).url == url


def test_headers_of_the_connection_win_and_betas_are_joined() -> None:
    endpoint = Endpoint("https://h", {"Anthropic-Version": "2026-10-21", "Anthropic-Beta": "mine-2026"})
    thought = Message("assistant", (Thinking("t", "sig", MARK), Text("a")))
    request = WIRE.build_request(endpoint, ChatRequest("claude-opus-5-5", (HELLO, thought, HELLO)))
    assert request.headers["anthropic-version"] == "2026-10-21"
    assert request.headers["anthropic-beta"] == "mine-2026,thinking-binding-controls-2026-08-01"


def test_options_of_the_user_win_and_have_their_usual_names() -> None:
    options = {"max_tokens": 5, "stop": "END", "temperature": 0.5, "model": "other", "top_k": 3}
    found = body(options=options)
    assert found["model"] == "claude-haiku-4-5"
    assert (found["max_tokens"], found["stop_sequences"], found["temperature"], found["top_k"]) == (5, ["END"], 0.5, 3)
    assert "stop" not in found
    assert body(options={"stop": ["a", "b"]})["stop_sequences"] == ["a", "b"]


@pytest.mark.parametrize(
    ("wanted", "mark"),
    [
        (True, {"type": "ephemeral"}),
        ("true", {"type": "ephemeral"}),
        ("1h", {"type": "ephemeral", "ttl": "1h"}),
        (False, None),
        ("false", None),
    ],
)
def test_cache_is_marked_when_asked_for(wanted: Any, mark: Any) -> None:
    found = body(options={"cache": wanted})
    assert found.get("cache_control") == mark
    assert "cache" not in found


@pytest.mark.parametrize(
    ("model", "limit"),
    [
        ("claude-3-haiku-20240307", 4096),
        ("claude-3-5-haiku-latest", 8192),
        ("claude-opus-4-1-20250805", 32_000),
        ("claude-sonnet-5-5", 32_000),
        ("glm-5", 8192),
    ],
)
def test_max_tokens_is_always_sent_and_within_what_the_model_takes(model: str, limit: int) -> None:
    assert body(model=model)["max_tokens"] == limit


@pytest.mark.parametrize(
    ("model", "family", "version"),
    [
        ("claude-3-7-sonnet-20250219", "sonnet", (3, 7)),
        ("claude-opus-4-20250514", "opus", (4, 0)),
        ("claude-sonnet-4@20250514", "sonnet", (4, 0)),
        ("us.anthropic.claude-opus-4-6-v1:0", "opus", (4, 6)),
        ("anthropic/claude-4.6-opus", "opus", (4, 6)),
        ("claude-haiku-4-5-20251001", "haiku", (4, 5)),
        ("claude-fable-5-1", "fable", (5, 1)),
        ("claude-sonnet-5", "sonnet", (5, 0)),
        ("claude-mythos-preview", "mythos", (5, 0)),
        ("claude-2.1", "", (2, 1)),
        ("deepseek-v4", "", (0, 0)),
    ],
)
def test_generation_is_read_off_the_name(model: str, family: str, version: tuple[int, int]) -> None:
    assert (parse_model_name(model).family, parse_model_name(model).version) == (family, version)


# ---------------------------------------------------------------- thinking


@pytest.mark.parametrize(
    ("model", "wanted", "thinking", "effort"),
    [
        ("claude-haiku-4-5", "low", {"type": "enabled", "budget_tokens": 2048}, None),
        ("claude-haiku-4-5", 5000, {"type": "enabled", "budget_tokens": 5000}, None),
        ("claude-haiku-4-5", 7, {"type": "enabled", "budget_tokens": 1024}, None),
        ("claude-haiku-4-5", "none", None, None),
        ("kimi-k3", "medium", {"type": "enabled", "budget_tokens": 12288}, None),
        ("claude-opus-4-6", "high", {"type": "adaptive"}, "high"),
        ("claude-opus-4-6", 5000, {"type": "enabled", "budget_tokens": 5000}, None),
        ("claude-opus-4-7", "medium", {"type": "adaptive", "display": "summarized"}, "medium"),
        ("claude-sonnet-5", 2000, {"type": "adaptive", "display": "summarized"}, "low"),
        ("claude-sonnet-5", 50_000, {"type": "adaptive", "display": "summarized"}, "high"),
        ("claude-opus-4-8", "none", None, None),
        ("claude-sonnet-5", "none", {"type": "disabled"}, None),
        ("claude-sonnet-5", 0, {"type": "disabled"}, None),
        ("claude-sonnet-5-5", "none", {"type": "between_tools"}, None),
        ("claude-opus-5-5", None, None, None),
    ],
)
def test_thinking_is_asked_as_each_generation_wants_it(
    model: str, wanted: str | int | None, thinking: Any, effort: str | None
) -> None:
    found = body(model=model, thinking=wanted)
    assert found.get("thinking") == thinking
    assert found.get("output_config") == ({"effort": effort} if effort else None)


@pytest.mark.parametrize(
    ("model", "options", "wanted", "limit"),
    [
        ("claude-haiku-4-5", {}, 2000, 32_000),
        ("claude-haiku-4-5", {"max_tokens": 500}, 2000, 2500),
        ("claude-haiku-4-5", {}, 40_000, 64_000),
        ("claude-haiku-4-5", {"max_tokens": 2001}, 2000, 2001),
        ("kimi-k3", {}, 20_000, 28_192),
    ],
)
def test_limit_leaves_room_beside_the_budget_of_thinking(
    model: str, options: dict[str, Any], wanted: int, limit: int
) -> None:
    found = body(model=model, options=options, thinking=wanted)
    assert found["max_tokens"] == limit > found["thinking"]["budget_tokens"]


def test_effort_and_output_config_of_the_user_are_joined_with_ours() -> None:
    options = {"effort": "max", "output_config": {"task_budget": {"type": "tokens", "total": 20_000}}}
    found = body(model="claude-opus-5-5", thinking="low", schema={"type": "object", "properties": {}}, options=options)
    assert found["output_config"]["effort"] == "max"
    assert set(found["output_config"]) == {"effort", "format", "task_budget"}
    assert "effort" not in found


def test_thinking_is_given_back_as_it_came() -> None:
    answer = Message(
        "assistant",
        (Thinking("so", "sig1", MARK), Thinking("", "sig2", MARK), Thinking("", None, MARK | {"redacted": "xx"}), CALL),
    )
    stored = Message("assistant", parts_from_json(json.loads(json.dumps(parts_to_json(answer.parts)))))
    found = turns(HELLO, stored, Message("tool", (ToolResult("toolu_1", "weather", "rain"),)))
    assert found[1][1][:3] == [
        {"type": "thinking", "thinking": "so", "signature": "sig1"},
        {"type": "thinking", "thinking": "", "signature": "sig2"},
        {"type": "redacted_thinking", "data": "xx"},
    ]


@pytest.mark.parametrize(
    "foreign",
    [
        Thinking("deepseek thought this"),
        Thinking("openrouter", "sig", {"type": "reasoning.text", "format": "anthropic-claude-v1"}),
        Thinking("", "gemini-signature", {"extra_content": {}}),
        Thinking("cut before its signature", None, MARK),
    ],
)
def test_thinking_of_others_and_unsigned_thinking_is_dropped(foreign: Thinking) -> None:
    found = turns(HELLO, Message("assistant", (foreign, Text("hi"))), HELLO)
    assert found[1] == ("assistant", [text("hi")])


def test_answer_of_thinking_alone_is_left_out() -> None:
    assert turns(HELLO, Message("assistant", (Thinking("t", "sig", MARK),)), HELLO) == [
        ("user", [text("hello"), text("hello")])
    ]


def test_changed_history_drops_bound_thinking_instead_of_being_refused() -> None:
    answer = Message("assistant", (Thinking("t", "sig", MARK), Text("a")))
    found = body(HELLO, answer, HELLO, model="claude-sonnet-5-5")
    assert found["thinking"] == {"type": "adaptive", "block_binding": {"prefix_mismatch_behavior": "drop_block"}}
    found = body(HELLO, answer, HELLO, model="claude-sonnet-5-5", thinking="low")
    assert found["thinking"]["display"] == "summarized"
    assert found["thinking"]["block_binding"] == {"prefix_mismatch_behavior": "drop_block"}
    assert "thinking" not in body(HELLO, answer, HELLO, model="claude-opus-5")
    assert "anthropic-beta" not in build(HELLO, model="claude-sonnet-5-5").headers


def test_thinking_budget_is_not_sent_in_a_turn_started_by_another_model() -> None:
    results = Message("tool", (ToolResult("toolu_1", "weather", "rain"),))
    assert "thinking" not in body(HELLO, Message("assistant", (CALL,)), results, thinking="low")
    ours = Message("assistant", (Thinking("t", "sig", MARK), CALL))
    assert "thinking" in body(HELLO, ours, results, thinking="low")
    assert "thinking" not in body(HELLO, Message("assistant", (CALL,)), results, HELLO, thinking="low")
    assert "thinking" in body(HELLO, Message.from_text("assistant", "hi"), HELLO, thinking="low")


# ---------------------------------------------------------------- turns


def test_messages_of_one_side_make_one_turn() -> None:
    found = turns(
        HELLO,
        Message.from_text("user", "are you there?"),
        Message.from_text("assistant", "a"),
        Message.from_text("assistant", "b"),
    )
    assert found == [("user", [text("hello"), text("are you there?")]), ("assistant", [text("a"), text("b")])]


def test_parallel_results_share_a_turn_and_come_first() -> None:
    calls = Message("assistant", (Text("let me see"), CALL, ToolCall("toolu_2", "weather", "{}")))
    one = Message("tool", (ToolResult("toolu_1", "weather", "rain"),))
    two = Message("tool", (ToolResult("toolu_2", "weather", "no city", is_error=True),))
    found = turns(HELLO, calls, one, two, Message.from_text("user", "so?"))
    assert found[1:] == [
        (
            "assistant",
            [
                text("let me see"),
                {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Berlin"}},
                {"type": "tool_use", "id": "toolu_2", "name": "weather", "input": {}},
            ],
        ),
        (
            "user",
            [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": "rain"},
                {"type": "tool_result", "tool_use_id": "toolu_2", "content": "no city", "is_error": True},
                text("so?"),
            ],
        ),
    ]


def test_results_come_first_whatever_was_said_before_them() -> None:
    result = Message("tool", (ToolResult("toolu_1", "weather", "rain"),))
    found = turns(HELLO, Message("assistant", (CALL,)), Message.from_text("user", "wait"), result)
    assert [block["type"] for block in found[2][1]] == ["tool_result", "text"]


def test_system_messages_anywhere_make_the_system_text() -> None:
    found = body(
        Message.from_text("system", "one"),
        HELLO,
        Message.from_text("assistant", "a"),
        Message.from_text("system", "two"),
        HELLO,
    )
    assert found["system"] == "one\n\ntwo"
    assert [turn["role"] for turn in found["messages"]] == ["user", "assistant", "user"]
    assert "system" not in body(Message.from_text("system", "  "), HELLO)


def test_conversation_begins_with_the_user() -> None:
    assert [role for role, _ in turns(Message.from_text("assistant", "welcome"), HELLO)] == [
        "user",
        "assistant",
        "user",
    ]


@pytest.mark.parametrize("blank", ["", " \n\t"])
def test_blank_text_is_left_out(blank: str) -> None:
    found = turns(
        HELLO, Message("assistant", (Text(blank), CALL)), Message("tool", (ToolResult("toolu_1", "w", blank),))
    )
    assert [block["type"] for block in found[1][1]] == ["tool_use"]
    assert found[2][1] == [{"type": "tool_result", "tool_use_id": "toolu_1"}]
    assert turns(HELLO, Message.from_text("assistant", blank), HELLO) == [("user", [text("hello"), text("hello")])]


def test_failure_without_words_has_some() -> None:
    failed = Message("tool", (ToolResult("toolu_1", "weather", "", is_error=True),))
    assert turns(HELLO, Message("assistant", (CALL,)), failed)[2][1][0]["content"] == "failed"


@pytest.mark.parametrize(
    ("arguments", "input"),
    [
        ('{"a":1}', {"a": 1}),
        ("", {}),
        ('"{\\"a\\":1}"', {"a": 1}),
        ("[1]", {"arguments": [1]}),
        ("null", {"arguments": None}),
        ('{"a":', {"arguments": '{"a":'}),
    ],
)
def test_arguments_are_an_object_whatever_they_were(arguments: str, input: Any) -> None:
    results = Message("tool", (ToolResult("c", "t", "ok"),))
    assert turns(HELLO, Message("assistant", (ToolCall("c", "t", arguments),)), results)[1][1][0]["input"] == input


@pytest.mark.parametrize("id", ["call_0|fc_1", "fc." + "x" * 70, "übergang", "a b", "", "c" * 65])
def test_ids_that_are_not_taken_are_replaced_alike_in_call_and_result(id: str) -> None:
    found = turns(
        HELLO, Message("assistant", (ToolCall(id, "t", "{}"),)), Message("tool", (ToolResult(id, "t", "ok"),))
    )
    sent = found[1][1][0]["id"]
    assert re.fullmatch("[a-zA-Z0-9_-]{1,64}", sent)
    assert found[2][1][0]["tool_use_id"] == sent


def test_id_that_a_provider_used_again_is_sent_as_two() -> None:
    step = (Message("assistant", (ToolCall("call_0", "t", "{}"),)), Message("tool", (ToolResult("call_0", "t", "ok"),)))
    found = turns(HELLO, *step, *step, *step)
    sent = [block["id"] for role, content in found for block in content if block["type"] == "tool_use"]
    answered = [block["tool_use_id"] for role, content in found for block in content if block["type"] == "tool_result"]
    assert sent == answered == ["call_0", "call_0_2", "call_0_3"]


def test_names_of_earlier_calls_are_made_acceptable() -> None:
    call = Message("assistant", (ToolCall("c", "mcp.files/read", "{}"),))
    found = body(HELLO, call, Message("tool", (ToolResult("c", "mcp.files/read", "ok"),)))
    assert found["messages"][1]["content"][0]["name"] == "mcp_files_read"
    assert found["tools"] == [{"name": "mcp_files_read", "input_schema": {"type": "object"}}]
    assert found["tool_choice"] == {"type": "none"}


def test_tools_are_offered_as_they_are() -> None:
    found = body(tools=(WEATHER, ToolSpec("now", "", {})))
    assert found["tools"] == [
        {"name": "weather", "description": "Tell the weather.", "input_schema": WEATHER.parameters},
        {"name": "now", "input_schema": {"type": "object", "properties": {}}},
    ]
    assert "tool_choice" not in found


def test_blocks_of_the_providers_own_tools_are_given_back() -> None:
    kept = [
        {"type": "text", "text": "I look it up.", "citations": None},
        {"type": "text", "text": ""},
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}},
        {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
        {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Berlin"}},
        {"type": "tool_use", "id": "unanswered", "name": "weather", "input": {}},
    ]
    answer = Message("assistant", (Text("I look it up."), CALL), {"anthropic_content": kept})
    found = turns(HELLO, answer, Message("tool", (ToolResult("toolu_1", "weather", "rain"),)))
    assert found[1][1] == [kept[0], kept[2], kept[3], kept[4]]


# ---------------------------------------------------------------- attachments


@pytest.mark.parametrize(
    ("file", "block"),
    [
        (
            File("image/png", b"\x89PNG"),
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw=="}},
        ),
        (
            File("image/webp", url="https://h/a.webp"),
            {"type": "image", "source": {"type": "url", "url": "https://h/a.webp"}},
        ),
        (
            File("application/pdf", b"%PDF", name="a.pdf"),
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="},
                "title": "a.pdf",
            },
        ),
        (
            File("application/pdf", url="https://h/a.pdf"),
            {"type": "document", "source": {"type": "url", "url": "https://h/a.pdf"}},
        ),
        (
            File("text/csv; charset=utf-8", "ä,b".encode(), name="t.csv"),
            {
                "type": "document",
                "source": {"type": "text", "media_type": "text/plain", "data": "ä,b"},
                "title": "t.csv",
            },
        ),
        (File("text/plain", b" ", name="e.txt"), text('<file name="e.txt">\n \n</file>')),
    ],
)
def test_file_is_a_block_of_its_kind(file: File, block: dict[str, Any]) -> None:
    assert turns(Message("user", (Text("look"), file)))[0][1] == [text("look"), block]


@pytest.mark.parametrize(
    ("media_type", "by_url", "taken"),
    [
        ("image/jpeg", False, True),
        ("image/jpg", False, True),
        ("image/gif", True, True),
        ("image/tiff", False, False),
        ("image/svg+xml", False, True),
        ("application/pdf", True, True),
        ("text/plain", False, True),
        ("text/plain", True, False),
        ("audio/mpeg", False, False),
        ("video/mp4", True, False),
    ],
)
def test_what_is_taken_is_said_before_any_call(media_type: str, by_url: bool, taken: bool) -> None:
    assert WIRE.accepts(media_type, by_url, Dialect()) is taken
    file = File(media_type, None if by_url else b"x", "https://h/x" if by_url else None, "x")
    if taken:
        build(Message("user", (file,)))
    else:
        with pytest.raises(UsageError):
            build(Message("user", (file,)))


def test_file_of_a_tool_is_a_part_of_its_result() -> None:
    result = Message("tool", (ToolResult("toolu_1", "weather", "a map"), File("image/png", b"x")))
    block = turns(HELLO, Message("assistant", (CALL,)), result)[2][1][0]
    assert [part["type"] for part in block["content"]] == ["text", "image"]


# ---------------------------------------------------------------- structured output

SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "age": {"type": "integer", "minimum": 0},
        "tags": {"type": "array", "items": {"oneOf": [{"type": "string"}, {"type": "null"}]}, "minItems": 2},
    },
    "required": ["age"],
    "additionalProperties": True,
}


def test_schema_goes_in_its_field_in_the_part_of_the_language_that_is_taken() -> None:
    found = body(schema=SCHEMA)["output_config"]["format"]
    assert found["type"] == "json_schema"
    assert found["schema"] == {
        "type": "object",
        "properties": {
            "age": {"type": "integer", "description": '{"minimum":0}'},
            "tags": {
                "type": "array",
                "items": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                "description": '{"minItems":2}',
            },
        },
        "required": ["age"],
        "additionalProperties": False,
    }


def test_schema_is_reduced_below_definitions_and_keeps_its_descriptions() -> None:
    schema = {"$defs": {"n": {"type": "string", "description": "A name", "maxLength": 9}}, "$ref": "#/$defs/n"}
    assert reduce_schema(schema)["$defs"]["n"] == {"type": "string", "description": 'A name\n\n{"maxLength":9}'}
    assert schema["$defs"]["n"]["maxLength"] == 9


def test_older_models_answer_through_a_forced_tool() -> None:
    found = body(model="claude-3-5-haiku-latest", schema=SCHEMA)
    assert found["tools"][0]["input_schema"] == SCHEMA
    assert found["tool_choice"] == {"type": "tool", "name": found["tools"][0]["name"]}
    assert body(model="claude-3-5-haiku-latest", schema=SCHEMA, tools=(WEATHER,))["tool_choice"] == {"type": "any"}
    thinking = body(model="claude-3-7-sonnet-latest", schema=SCHEMA, thinking="low")
    assert thinking["tool_choice"] == {"type": "auto"}


def test_answer_through_the_forced_tool_is_text() -> None:
    name = body(model="claude-3-5-haiku-latest", schema=SCHEMA)["tools"][0]["name"]
    block = {"type": "tool_use", "id": "t", "name": name, "input": {"age": 3}}
    answer = {"type": "message", "role": "assistant", "content": [block], "stop_reason": "tool_use"}
    response = collect_response(WIRE.parse_response(json.dumps(answer).encode(), Dialect()))
    assert (response.message.text, response.message.tool_calls, response.finish_reason) == ('{"age":3}', (), "stop")
    frames = [
        {"type": "content_block_start", "index": 0, "content_block": block | {"input": {}}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": '{"age"'}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": ":3}"}},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}},
        {"type": "message_stop"},
    ]
    streamed = collect_response(WIRE.parse_stream([ServerEvent(json.dumps(frame)) for frame in frames], Dialect()))
    assert (streamed.message.text, streamed.finish_reason) == ('{"age":3}', "stop")


def test_schema_that_no_tool_can_hold_is_an_instruction() -> None:
    found = body(model="claude-3-5-haiku-latest", schema={"type": "array", "items": {"type": "string"}})
    assert "tools" not in found
    assert '"array"' in found["system"]


# ---------------------------------------------------------------- models


def test_models_are_asked_for_at_once_and_read() -> None:
    request = WIRE.build_models_request(Endpoint("https://h", {"x-api-key": "k"}, {"a": "b"}))
    assert (request.method, request.url) == ("GET", "https://h/v1/models?a=b&limit=1000")
    assert request.headers["anthropic-version"] == "2023-06-01"
    listing = {"data": [{"type": "model", "id": "claude-x", "display_name": "Claude X"}], "has_more": False}
    assert WIRE.parse_models(json.dumps(listing).encode()) == [{"id": "claude-x", "name": "Claude X"}]


@pytest.mark.parametrize(("model", "asked"), [("claude-sonnet-5-5", True), ("claude-opus-4-8", False)])
def test_thinking_that_is_to_be_shown_is_asked_for(model: str, asked: bool) -> None:
    request = ChatRequest(model, (Message.from_text("user", "hello"),), shows_thinking=True)
    found = json.loads(WIRE.build_request(Endpoint("https://h.example/v1"), request).body)
    assert found.get("thinking") == ({"type": "adaptive", "display": "summarized"} if asked else None)


def test_limit_leaves_room_beside_thinking_of_no_fixed_size() -> None:
    request = ChatRequest(
        "claude-sonnet-5-5", (Message.from_text("user", "hello"),), thinking="low", options={"max_tokens": 100}
    )
    found = json.loads(WIRE.build_request(Endpoint("https://h.example/v1"), request).body)
    assert found["max_tokens"] == 2148
