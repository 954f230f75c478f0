"""Requests of Responses: a whole conversation as input items, nothing kept at the provider."""

from __future__ import annotations

import json
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
from llmctl.core.http import Dialect, Endpoint, HttpRequest
from llmctl.wire import WIRES

WIRE = WIRES.load("openai-responses")
HELLO = Message.from_text("user", "hello")
CALL = ToolCall("c1", "weather", '{"city":"Berlin"}')
RESULT = Message("tool", (ToolResult("c1", "weather", "rain"),))
PNG = b"\x89PNG\r\n\x1a\n"


def build(*messages: Message, **more: Any) -> HttpRequest:
    endpoint = Endpoint("https://h.example/v1", {"authorization": "Bearer k"}, dialect=more.pop("dialect", Dialect()))
    return WIRE.build_request(endpoint, ChatRequest("m1", messages or (HELLO,), **more))


def body(*messages: Message, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(build(*messages, **more).body)
    return found


def items(*messages: Message, **more: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = body(*messages, **more)["input"]
    return found


def answered(*output: dict[str, Any]) -> Message:
    """Return an answer with these items as it comes out of the hub."""
    response = collect_response(
        WIRE.parse_response(json.dumps({"status": "completed", "output": output}).encode(), Dialect())
    )
    message = response.message
    return Message(
        "assistant", parts_from_json(parts_to_json(message.parts)), json.loads(json.dumps(dict(message.metadata)))
    )


def reasoning(*summary: str, id: str = "rs_1", encrypted: str | None = "gAAA", **more: Any) -> dict[str, Any]:
    pieces = [{"type": "summary_text", "text": text} for text in summary]
    return {"id": id, "type": "reasoning", "summary": pieces, "encrypted_content": encrypted, **more}


def build_text_item(text: str, **more: Any) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": content, **more}


def called(id: str = "c1", **more: Any) -> dict[str, Any]:
    call = {"id": "fc_1", "type": "function_call", "call_id": id, "name": "weather", "arguments": '{"city":"Berlin"}'}
    return call | more


# ---------------------------------------------------------------- the request around the items


def test_nothing_is_stored_and_reasoning_is_asked_for_encrypted() -> None:
    request = build(Message.from_text("user", "grüß dich"))
    assert (request.method, request.url) == ("POST", "https://h.example/v1/responses")
    assert request.headers["authorization"] == "Bearer k"
    assert request.headers["accept"] == "text/event-stream"
    assert json.loads(request.body) == {
        "model": "m1",
        "input": [{"role": "user", "content": "grüß dich"}],
        "stream": True,
        "store": False,
        "include": ["reasoning.encrypted_content"],
    }
    assert build(stream=False).headers["accept"] == "application/json"


def test_system_prompt_is_instructions_and_a_later_one_an_item() -> None:
    system = Message.from_text("system", "be brief")
    found = body(system, HELLO)
    assert (found["instructions"], found["input"]) == ("be brief", [{"role": "user", "content": "hello"}])
    found = body(system, HELLO, Message.from_text("system", "in verse"), dialect=Dialect(system_role="developer"))
    assert found["input"][1] == {"role": "developer", "content": "in verse"}
    assert "instructions" not in body(Message.from_text("system", ""), HELLO)


@pytest.mark.parametrize(
    ("thinking", "sent"),
    [
        ("none", {"effort": "none"}),
        (0, {"effort": "none"}),
        ("high", {"effort": "high", "summary": "auto"}),
        (1000, {"effort": "low", "summary": "auto"}),
        (100_000, {"effort": "high", "summary": "auto"}),
    ],
)
def test_thinking_is_an_effort_with_its_summary(thinking: Any, sent: dict[str, str]) -> None:
    assert body(thinking=thinking)["reasoning"] == sent
    assert "reasoning" not in body()


def test_tools_are_flat_and_not_strict_unasked() -> None:
    tool = ToolSpec("weather", "tells it", {"type": "object", "properties": {"city": {"type": "string"}}})
    assert body(tools=(tool,))["tools"] == [
        {
            "type": "function",
            "name": "weather",
            "description": "tells it",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
            "strict": False,
        }
    ]


def test_schema_is_strict_where_it_allows_that() -> None:
    closed = {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    text = body(schema=closed)["text"]
    assert text == {"format": {"type": "json_schema", "name": "response", "schema": closed, "strict": True}}
    open_one = {"type": "object", "properties": {"a": {"type": "string"}}}
    assert body(schema=open_one)["text"]["format"]["strict"] is False


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        ({"max_tokens": 5}, {"max_output_tokens": 5}),
        ({"max_completion_tokens": 5}, {"max_output_tokens": 5}),
        ({"max_output_tokens": 7, "max_tokens": 5}, {"max_output_tokens": 7}),
        ({"max_tokens": 5, "max_output_tokens": 7}, {"max_output_tokens": 7}),
        ({"temperature": 0.2}, {"temperature": 0.2}),
        ({"reasoning_effort": "low"}, {"reasoning": {"effort": "low"}}),
        ({"verbosity": "low"}, {"text": {"verbosity": "low"}}),
        ({"response_format": {"type": "json_object"}}, {"text": {"format": {"type": "json_object"}}}),
        ({"tool_choice": "required"}, {"tool_choice": "required"}),
        (
            {"tool_choice": {"type": "function", "function": {"name": "f"}}},
            {"tool_choice": {"type": "function", "name": "f"}},
        ),
        (
            {"include": ["message.output_text.logprobs"]},
            {"include": ["reasoning.encrypted_content", "message.output_text.logprobs"]},
        ),
        ({"store": True}, {"store": True}),
        ({"input": "x", "model": "x", "stream": False, "messages": []}, {"model": "m1", "stream": True}),
    ],
)
def test_options_go_by_their_common_names(options: dict[str, Any], sent: dict[str, Any]) -> None:
    found = body(options=options)
    assert {name: found[name] for name in sent} == sent
    assert not {"max_tokens", "max_completion_tokens", "messages", "verbosity"} & set(found)


def test_options_add_to_what_we_send_by_ourselves() -> None:
    tool = ToolSpec("weather", "", {"type": "object"})
    found = body(tools=(tool,), thinking="low", options={"tools": [{"type": "web_search"}], "reasoning": {"x": 1}})
    assert [one["type"] for one in found["tools"]] == ["function", "web_search"]
    assert found["reasoning"] == {"effort": "low", "summary": "auto", "x": 1}


# ---------------------------------------------------------------- history


def test_call_and_result_are_items_of_their_own() -> None:
    asked = Message("assistant", (Text("one moment"), CALL))
    assert items(HELLO, asked, RESULT) == [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "one moment"},
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"city":"Berlin"}'},
        {"type": "function_call_output", "call_id": "c1", "output": "rain"},
    ]


def test_reasoning_goes_back_unchanged_right_before_what_followed_it() -> None:
    first, second = reasoning("look it up", status="completed"), reasoning(id="rs_2", encrypted="gBBB")
    sent = items(HELLO, answered(first, build_text_item("one moment"), second, called()), RESULT)
    assert sent[1:5] == [first, {"role": "assistant", "content": "one moment"}, second, sent[4]]
    assert sent[4]["type"] == "function_call"


@pytest.mark.parametrize(
    "item",
    [
        reasoning(),
        reasoning("one"),
        reasoning("one", "two"),
        reasoning("one", content=[{"type": "reasoning_text", "text": "three"}]),
        reasoning(encrypted=None, content=[{"type": "reasoning_text", "text": "plain"}]),
    ],
)
def test_reasoning_of_any_shape_survives_the_hub(item: dict[str, Any]) -> None:
    sent = items(HELLO, answered(item, build_text_item("x")), HELLO)[1]
    assert sent == {name: value for name, value in item.items() if value is not None}


def test_reasoning_that_cannot_be_given_back_is_left_out() -> None:
    # Nothing is stored: a summary alone would be looked for under its id, and not found.
    assert [
        item.get("type") for item in items(HELLO, answered(reasoning("s", encrypted=None), build_text_item("x")))
    ] == [None] * 2
    # A call without a result is not sent, and what led to it would stand alone.
    message = answered(reasoning(), build_text_item("x"), reasoning(id="rs_2"), called())
    message = Message("assistant", tuple(part for part in message.parts if not isinstance(part, ToolCall)))
    assert [item.get("id") for item in items(HELLO, message, HELLO)] == [None, "rs_1", None, None]


@pytest.mark.parametrize(
    "thinking",
    [
        Thinking("hm"),
        Thinking("hm", "sig"),
        Thinking("", "sig", {"type": "reasoning.encrypted", "data": "x"}),
        Thinking("", None, {"responses_mark": 3}),
    ],
)
def test_thinking_of_another_provider_is_dropped(thinking: Thinking) -> None:
    assert items(HELLO, Message("assistant", (thinking, Text("hi"))))[1:] == [{"role": "assistant", "content": "hi"}]


def test_items_of_the_provider_go_back_in_their_places() -> None:
    search = {
        "id": "ws_1",
        "type": "web_search_call",
        "status": "completed",
        "action": {"type": "search", "query": "q"},
    }
    message = answered(reasoning(), search, reasoning(id="rs_2", encrypted="gBBB"), build_text_item("found"))
    assert message.metadata["items"] == [search]
    assert [item.get("id") for item in items(HELLO, message, HELLO)] == [None, "rs_1", "ws_1", "rs_2", None, None]


def test_phases_of_texts_go_back() -> None:
    message = answered(
        build_text_item("I look", phase="commentary"), called(), build_text_item("rain", phase="final_answer")
    )
    sent = [item for item in items(HELLO, message, RESULT) if item.get("role") == "assistant"]
    assert [(item["content"], item["phase"]) for item in sent] == [("I look", "commentary"), ("rain", "final_answer")]


def test_extra_fields_of_a_call_are_sent_back() -> None:
    assert items(HELLO, answered(called(namespace="crm")), RESULT)[1]["namespace"] == "crm"


@pytest.mark.parametrize("text", ["", " \n"])
def test_assistant_text_is_never_blank(text: str) -> None:
    assert items(HELLO, Message("assistant", (Text(text),)), HELLO) == [{"role": "user", "content": "hello\n\nhello"}]


# ---------------------------------------------------------------- attachments


def test_files_are_sent_as_what_they_are() -> None:
    files = (
        File("image/png", PNG, name="a.png"),
        File("image/jpeg", url="https://h/x.jpg"),
        File("application/pdf", b"%PDF-1.4", name="a.pdf"),
        File("application/pdf", url="https://h/x.pdf"),
        File("text/csv", b"a,b\n", name="t.csv"),
    )
    content = items(Message("user", (Text("look"), *files)))[0]["content"]
    assert content == [
        {"type": "input_text", "text": "look"},
        {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo=", "detail": "auto"},
        {"type": "input_image", "image_url": "https://h/x.jpg", "detail": "auto"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0xLjQ="},
        {"type": "input_file", "file_url": "https://h/x.pdf"},
        {"type": "input_text", "text": '<file name="t.csv">\na,b\n</file>'},
    ]


def test_files_of_results_follow_the_last_result() -> None:
    result = Message("tool", (ToolResult("c1", "shot", "done"), File("image/png", PNG)))
    sent = items(HELLO, Message("assistant", (CALL, ToolCall("c2", "f", "{}"))), result, RESULT)
    assert [item.get("type") or item["role"] for item in sent[3:]] == ["function_call_output"] * 2 + ["user"]
    assert sent[-1]["content"][0]["type"] == "input_image"


@pytest.mark.parametrize(
    ("kind", "by_url", "taken"),
    [
        ("image/png", False, True),
        ("image/png", True, True),
        ("application/pdf", True, True),
        ("text/plain", False, True),
        ("text/plain", True, False),
        ("audio/mpeg", False, False),
        ("video/mp4", False, False),
    ],
)
def test_wire_says_what_it_takes(kind: str, by_url: bool, taken: bool) -> None:
    assert WIRE.accepts(kind, by_url, Dialect()) is taken


def test_text_by_url_alone_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(UsageError) as caught:
        build(Message("user", (File("text/plain", url="https://h/x.txt"),)))
    assert caught.value.hint


def test_calls_of_other_hosts_are_spelled_as_this_one_takes_them() -> None:
    call = ToolCall("x" * 65, "fs.read", "{}")
    _, made, answered = items(HELLO, Message("assistant", (call,)), Message("tool", (ToolResult(call.id, "", "ok"),)))
    assert (made["name"], len(made["call_id"]) <= 64) == ("fs_read", True)
    assert made["call_id"] == answered["call_id"]


@pytest.mark.parametrize(
    ("model", "asked"),
    [("gpt-5.6-luna", True), ("o3", True), ("openai/gpt-5", True), ("gpt-4.1", False), ("gpt-5-chat-latest", False)],
)
def test_thinking_that_is_to_be_shown_is_asked_for(model: str, asked: bool) -> None:
    request = ChatRequest(model, (HELLO,), shows_thinking=True)
    found = json.loads(WIRE.build_request(Endpoint("https://h.example/v1"), request).body)
    assert found.get("reasoning") == ({"summary": "auto"} if asked else None)


@pytest.mark.parametrize(("wanted", "limit"), [(None, 100), ("none", 100), ("low", 2148), (5000, 5100)])
def test_limit_leaves_room_beside_thinking(wanted: Any, limit: int) -> None:
    assert body(thinking=wanted, options={"max_tokens": 100})["max_output_tokens"] == limit
    assert body(thinking=wanted, options={"max_tokens": 90_000})["max_output_tokens"] == 90_000
