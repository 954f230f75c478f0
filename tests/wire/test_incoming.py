"""Requests that other programs wrote are read as the conversation that they carry."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

import pytest

from llmctl.core.chat import (
    ChatRequest,
    File,
    Message,
    ResponseBuilder,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    ToolSpec,
)
from llmctl.core.http import Dialect, Endpoint
from llmctl.wire import WIRES
from llmctl.wire.incoming import READERS, Operation, identify, parse_request
from tests.wire.recordings import load_exchanges, needs_recordings

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
CONVERSATION = (
    Message.from_text("system", "Be terse."),
    Message("user", (Text("What is this?"), File("image/png", PNG))),
    Message("assistant", (Text("I look."), ToolCall("c1", "weather", '{"city": "Oslo"}'))),
    Message("tool", (ToolResult("c1", "weather", "rain"),)),
    Message.from_text("assistant", "It rains."),
    Message.from_text("user", "Thanks 🎈"),
)


def describe(message: Message) -> Any:
    """Return what a reader of a conversation sees: no ids, which some protocols do not have."""
    values: list[Any] = [message.role, message.text]
    values += [(call.name, json.loads(call.arguments)) for call in message.tool_calls]
    values += [(part.name, part.content) for part in message.parts if isinstance(part, ToolResult)]
    values += [(part.media_type, part.data, part.url) for part in message.parts if isinstance(part, File)]
    return values


def send_and_read(wire: str, request: ChatRequest) -> ChatRequest:
    sent = WIRES.load(wire).build_request(Endpoint("http://host/v1"), request)
    url = urlsplit(sent.url)
    headers = {name.lower(): value for name, value in sent.headers.items()}
    operation = identify(sent.method, url.path, headers)
    assert (operation.wire, operation.kind) == (wire, "chat"), url.path
    return parse_request(operation, sent.body)


@pytest.mark.parametrize("wire", READERS.names())
def test_conversation_is_read_as_it_was_written(wire: str) -> None:
    tools = (ToolSpec("weather", "Tell the weather.", PARAMETERS),)
    request = ChatRequest("some-model", CONVERSATION, stream=True, tools=tools, options={"temperature": 0.5})
    seen = send_and_read(wire, request)
    assert list(map(describe, seen.messages)) == list(map(describe, CONVERSATION))
    assert seen.model == "some-model"
    assert [(tool.name, tool.description) for tool in seen.tools] == [("weather", "Tell the weather.")]
    assert seen.options["temperature"] == 0.5


@pytest.mark.parametrize("wire", READERS.names())
def test_calls_are_answered_in_order_where_a_protocol_has_no_ids(wire: str) -> None:
    calls = (ToolCall("a", "count", '{"n": 1}'), ToolCall("b", "count", '{"n": 2}'))
    results = (Message("tool", (ToolResult("a", "count", "one"),)), Message("tool", (ToolResult("b", "count", "two"),)))
    request = ChatRequest("m", (Message.from_text("user", "count"), Message("assistant", calls), *results))
    answer, *answered = send_and_read(wire, request).messages[1:]
    found = [part for message in answered for part in message.parts if isinstance(part, ToolResult)]
    assert [part.content for part in found] == ["one", "two"]
    assert [part.call_id for part in found] == [call.id for call in answer.tool_calls]
    assert len({part.call_id for part in found}) == 2


ANSWERS = {
    "openai-chat": (
        {"choices": [{"message": {"role": "assistant", "content": "hi", "reasoning_content": "hm"}}]},
        lambda answer: {"messages": [answer["choices"][0]["message"]]},
    ),
    "openai-responses": (
        {
            "status": "completed",
            "output": [
                {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "sealed"},
                {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]},
                {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
            ],
        },
        lambda answer: {"input": answer["output"]},
    ),
    "anthropic": (
        {
            "type": "message",
            "role": "assistant",
            "stop_reason": "tool_use",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "sealed"},
                {"type": "redacted_thinking", "data": "xx"},
                {"type": "text", "text": "hi"},
                {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}},
            ],
        },
        lambda answer: {"messages": [{"role": "assistant", "content": answer["content"]}]},
    ),
    "gemini": (
        {
            "candidates": [
                {
                    "finishReason": "STOP",
                    "content": {
                        "role": "model",
                        "parts": [
                            {"text": "hm", "thought": True},
                            {"text": "hi"},
                            {"functionCall": {"id": "g1", "name": "f", "args": {"a": 1}}, "thoughtSignature": "sealed"},
                        ],
                    },
                }
            ]
        },
        lambda answer: {"contents": [answer["candidates"][0]["content"]]},
    ),
    "ollama": (
        {"message": {"role": "assistant", "content": "hi", "thinking": "hm"}, "done": True, "done_reason": "stop"},
        lambda answer: {"messages": [answer["message"]]},
    ),
}


@pytest.mark.parametrize("wire", READERS.names())
def test_answer_in_a_request_equals_the_answer_when_it_came(wire: str) -> None:
    answer, build_body = ANSWERS[wire]
    builder = ResponseBuilder()
    for event in WIRES.load(wire).parse_response(json.dumps(answer).encode(), Dialect()):
        builder.add(event)
    came = builder.build().message
    assert came.text == "hi"
    (again,) = parse_request(Operation(wire, "chat"), json.dumps(build_body(answer)).encode()).messages
    assert again == came


def test_anthropic_turn_with_results_and_text_becomes_separate_messages() -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
    body = {
        "model": "m",
        "system": [
            {"type": "text", "text": "one", "cache_control": {"type": "ephemeral"}},
            {"type": "text", "text": "two"},
        ],
        "messages": [
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "look", "input": {}}]},
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "seen"}, image]},
                    {"type": "text", "text": "go on"},
                ],
            },
        ],
    }
    system, _, result, user = parse_request(Operation("anthropic", "chat"), json.dumps(body).encode()).messages
    assert system.text == "one\n\ntwo"
    assert result.parts[0] == ToolResult("t1", "look", "seen")
    assert isinstance(result.parts[1], File)
    assert user == Message.from_text("user", "go on")


def test_cache_marks_do_not_change_what_is_read() -> None:
    block: dict[str, Any] = {"type": "text", "text": "hello"}
    marked = {**block, "cache_control": {"type": "ephemeral"}}
    for role in ("user", "assistant"):
        plain, other = (
            parse_request(
                Operation("anthropic", "chat"), json.dumps({"messages": [{"role": role, "content": [one]}]}).encode()
            )
            for one in (block, marked)
        )
        assert plain == other


def test_responses_items_of_agents_are_read() -> None:
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "run it"}]},
        {"type": "custom_tool_call", "call_id": "c1", "name": "apply_patch", "input": "*** Begin Patch"},
        {"type": "custom_tool_call_output", "call_id": "c1", "output": "done"},
        {"type": "local_shell_call", "call_id": "c2", "action": {"command": ["ls"]}},
        {"type": "local_shell_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "a b"}]},
        {"type": "message", "role": "developer", "content": "be quick"},
    ]
    body = json.dumps({"model": "m", "instructions": "You code.", "input": items}).encode()
    messages = parse_request(Operation("openai-responses", "chat"), body).messages
    assert [message.role for message in messages] == [
        "system",
        "user",
        "assistant",
        "tool",
        "assistant",
        "tool",
        "system",
    ]
    assert [call.name for message in messages for call in message.tool_calls] == ["apply_patch", "local_shell_call"]
    assert [message.stored_text for message in messages if message.role == "tool"] == ["done", "a b"]


@pytest.mark.parametrize("wire", READERS.names())
@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "{",
        '{"messages": 3, "contents": 3, "input": [3]}',
        '{"messages": [{"no": "role"}], "contents": [7], "input": [7]}',
    ],
)
def test_body_of_another_shape_is_a_value_error(wire: str, body: str) -> None:
    with pytest.raises(ValueError, match="the body is not"):
        parse_request(Operation(wire, "chat"), body.encode())


@pytest.mark.parametrize(
    ("method", "path", "headers", "expected"),
    [
        ("POST", "/v1/chat/completions", {}, ("openai-chat", "chat")),
        ("POST", "/api/v1/chat/completions", {}, ("openai-chat", "chat")),
        ("POST", "/openai/deployments/d/chat/completions", {}, ("openai-chat", "chat")),
        ("POST", "/v1/responses", {}, ("openai-responses", "chat")),
        ("GET", "/v1/responses", {}, ("openai-chat", "other")),
        ("POST", "/v1/embeddings", {}, ("openai-chat", "embedding")),
        ("GET", "/v1/models", {}, ("openai-chat", "models")),
        ("GET", "/v1/models", {"anthropic-version": "2023-06-01"}, ("anthropic", "models")),
        ("GET", "/v1/models", {"x-goog-api-key": "k"}, ("gemini", "models")),
        ("POST", "/v1/messages", {}, ("anthropic", "chat")),
        ("POST", "/v1/messages/count_tokens", {}, ("anthropic", "count")),
        ("POST", "/v1/messages/batches", {}, ("anthropic", "other")),
        ("POST", "/v1beta/models/gemini-x:streamGenerateContent", {}, ("gemini", "chat")),
        ("POST", "/v1/models/gemini-x:countTokens", {}, ("gemini", "count")),
        ("POST", "/api/chat", {}, ("ollama", "chat")),
        ("GET", "/api/tags", {}, ("ollama", "models")),
        ("POST", "/api/pull", {}, ("ollama", "other")),
        ("HEAD", "/", {}, ("openai-chat", "other")),
    ],
)
def test_path_and_headers_tell_the_protocol(
    method: str, path: str, headers: dict[str, str], expected: tuple[str, str]
) -> None:
    found = identify(method, path, headers)
    assert (found.wire, found.kind) == expected


def test_thinking_of_other_programs_is_kept() -> None:
    message = {"role": "assistant", "content": "hi", "reasoning_content": "hm"}
    body = json.dumps({"model": "m", "messages": [message]}).encode()
    (answer,) = parse_request(Operation("openai-chat", "chat"), body).messages
    assert answer.parts == (Thinking("hm"), Text("hi"))


@needs_recordings
@pytest.mark.parametrize("api", ["openai-chat", "openai-responses", "anthropic-messages", "gemini"])
def test_recorded_requests_are_read(api: str) -> None:
    read = 0
    for exchange in load_exchanges(api):
        sent = exchange["request"]
        headers = {name.lower(): value for name, value in sent["headers"].items()}
        operation = identify(sent["method"], urlsplit(sent["url"]).path, headers)
        if operation.kind != "chat":
            continue
        request = parse_request(operation, json.dumps(sent["json"]).encode())
        assert request.messages, exchange["id"]
        for message in request.messages:
            is_cut = "TRUNCATED_BASE64" in json.dumps(sent["json"])
            assert message.role != "user" or message.parts or is_cut, exchange["id"]
        read += 1
    assert read > 40
