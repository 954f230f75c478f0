"""Requests of Chat Completions: what is asked, in the words of each dialect."""

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
from llmctl.core.http import Dialect, Endpoint, HttpRequest, ServerEvent
from llmctl.providers import PROVIDERS
from llmctl.wire import WIRES

WIRE = WIRES.load("openai-chat")
HELLO = Message.from_text("user", "hello")
CALL = ToolCall("c1", "weather", '{"city":"Berlin"}')


def build(*messages: Message, dialect: Dialect | None = None, **more: Any) -> HttpRequest:
    endpoint = Endpoint("https://h.example/v1", {"authorization": "Bearer k"}, dialect=dialect or Dialect())
    return WIRE.build_request(endpoint, ChatRequest("m1", messages or (HELLO,), **more))


def body(*messages: Message, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(build(*messages, **more).body)
    return found


def sent(*messages: Message, **dialect: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = body(*messages, dialect=Dialect(**dialect))["messages"]
    return found


# ---------------------------------------------------------------- the request around the messages


def test_request_is_compact_json_posted_to_the_chat_path() -> None:
    request = build(Message.from_text("user", "grüß dich"))
    assert (request.method, request.url) == ("POST", "https://h.example/v1/chat/completions")
    assert request.headers == {
        "content-type": "application/json",
        "accept": "text/event-stream",
        "authorization": "Bearer k",
    }
    assert (
        request.body
        == (
            '{"model":"m1","messages":[{"role":"user","content":"grüß dich"}],"stream":true,'
            '"stream_options":{"include_usage":true}}'
        ).encode()
    )


@pytest.mark.parametrize(
    ("base", "query", "path", "url"),
    [
        ("https://h/v1/", {}, "/chat/completions", "https://h/v1/chat/completions"),
        ("https://h/v1", {"api-version": "2024 05"}, "/c", "https://h/v1/c?api-version=2024+05"),
        ("https://h/models?api-version=1", {"b": "2"}, "/c", "https://h/models/c?api-version=1&b=2"),
        ("https://h", {}, "/deployments/{model}/c", "https://h/deployments/a%2Fb/c"),
    ],
)
def test_url_is_base_path_and_query(base: str, query: dict[str, str], path: str, url: str) -> None:
    endpoint = Endpoint(base, {}, query, Dialect(chat_path=path))
    assert WIRE.build_request(endpoint, ChatRequest("a/b", (HELLO,))).url == url


def test_headers_of_the_endpoint_win() -> None:
    endpoint = Endpoint("https://h", {"content-type": "application/json; charset=utf-8"})
    assert WIRE.build_request(endpoint, ChatRequest("m", (HELLO,))).headers["content-type"].endswith("utf-8")


def test_usage_in_streams_is_asked_for_where_the_dialect_wants_it() -> None:
    assert body()["stream_options"] == {"include_usage": True}
    assert "stream_options" not in body(dialect=Dialect(stream_usage=False))
    whole = body(stream=False)
    assert whole["stream"] is False
    assert "stream_options" not in whole


def test_options_pass_through_as_typed() -> None:
    options = {"temperature": 1, "top_p": 0.10, "stop": ["a", "b"], "seed": None, "made_up": {"x": [1]}}
    found = body(options=options)
    assert {name: found[name] for name in options} == options
    assert b'"temperature":1,"top_p":0.1,' in build(options=options).body


def test_max_tokens_takes_the_dialects_name() -> None:
    assert body(options={"max_tokens": 5})["max_tokens"] == 5
    found = body(options={"max_tokens": 5}, dialect=Dialect(max_tokens_field="max_completion_tokens"))
    assert found["max_completion_tokens"] == 5
    assert "max_tokens" not in found


def test_options_win_over_the_dialect_but_not_over_the_request() -> None:
    dialect = Dialect(extra={"store": False, "user": "x"})
    found = body(options={"user": "me", "model": "other", "stream": False, "messages": []}, dialect=dialect)
    assert (found["store"], found["user"], found["model"], found["stream"]) == (False, "me", "m1", True)
    assert found["messages"]


def test_tools_are_functions() -> None:
    schema = {"type": "object", "properties": {}}
    assert body(tools=(ToolSpec("f", "does f", schema), ToolSpec("g", "", schema)))["tools"] == [
        {"type": "function", "function": {"name": "f", "description": "does f", "parameters": schema}},
        {"type": "function", "function": {"name": "g", "parameters": schema}},
    ]
    assert "tools" not in body()


CLOSED = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        (CLOSED, True),
        (CLOSED | {"required": []}, False),
        ({"type": "object", "properties": {}, "required": []}, False),
        (CLOSED | {"properties": {"a": {"type": "array", "items": CLOSED}}}, True),
        (CLOSED | {"properties": {"a": {"type": "array", "items": CLOSED | {"required": []}}}}, False),
        ({"type": "object"}, False),
        (CLOSED | {"properties": {"a": {"anyOf": [CLOSED, {"type": "object"}]}}}, False),
    ],
)
def test_schema_is_strict_only_where_strict_mode_takes_it(schema: dict[str, Any], strict: bool) -> None:
    named = body(schema=schema)["response_format"]["json_schema"]
    assert named["schema"] == schema
    assert named.get("strict", False) is strict
    assert named["name"]


@pytest.mark.parametrize(
    ("field", "wanted", "found"),
    [
        ("reasoning_effort", "low", {"reasoning_effort": "low"}),
        ("reasoning_effort", "none", {"reasoning_effort": "none"}),
        ("reasoning_effort", 0, {"reasoning_effort": "none"}),
        ("reasoning_effort", 1000, {"reasoning_effort": "low"}),
        ("reasoning_effort", 8192, {"reasoning_effort": "medium"}),
        ("reasoning_effort", 32000, {"reasoning_effort": "high"}),
        ("reasoning", "high", {"reasoning": {"effort": "high"}}),
        ("reasoning", "none", {"reasoning": {"effort": "none"}}),
        ("reasoning", 2000, {"reasoning": {"max_tokens": 2000}}),
        ("thinking", "medium", {"thinking": {"type": "enabled"}}),
        ("thinking", "none", {"thinking": {"type": "disabled"}}),
        ("enable_thinking", 500, {"enable_thinking": True}),
        ("enable_thinking", "none", {"enable_thinking": False}),
        (None, "none", {}),
        ("reasoning_effort", None, {}),
    ],
)
def test_thinking_is_asked_for_in_the_dialects_field(field: str | None, wanted: Any, found: dict[str, Any]) -> None:
    asked = body(thinking=wanted, dialect=Dialect(thinking_field=field))
    names = ("reasoning_effort", "reasoning", "thinking", "enable_thinking")
    assert {name: asked[name] for name in names if name in asked} == found


def test_thinking_that_cannot_be_asked_for_is_refused() -> None:
    with pytest.raises(UsageError, match='does not support thinking "high"'):
        build(thinking="high", dialect=Dialect(thinking_field=None))


def test_thinking_option_of_the_user_wins() -> None:
    assert body(thinking="low", options={"reasoning_effort": "xhigh"})["reasoning_effort"] == "xhigh"


def test_lone_surrogates_do_not_stop_a_request() -> None:
    assert b"a?b" in build(Message.from_text("user", "a\udcffb")).body


# ---------------------------------------------------------------- messages


def test_system_takes_the_dialects_role() -> None:
    assert sent(Message.from_text("system", "be kind"), HELLO)[0] == {"role": "system", "content": "be kind"}
    assert sent(Message.from_text("system", "be kind"), HELLO, system_role="developer")[0]["role"] == "developer"


def test_tool_calls_and_results_keep_their_ids() -> None:
    assert sent(
        HELLO,
        Message("assistant", (Text("Let me look."), CALL)),
        Message("tool", (ToolResult("c1", "weather", "15 °C"),)),
    )[1:] == [
        {
            "role": "assistant",
            "content": "Let me look.",
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Berlin"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "15 °C"},
    ]


@pytest.mark.parametrize("text", ["", "  \n"])
def test_assistant_text_is_never_empty(text: str) -> None:
    with_call, alone = Message("assistant", (Text(text), CALL)), Message("assistant", (Text(text),))
    found = sent(HELLO, with_call, alone, HELLO)
    assert found[1]["content"] is None
    assert found[1]["tool_calls"]
    assert [message["role"] for message in found] == ["user", "assistant", "user"]


def test_message_that_holds_nothing_is_left_out() -> None:
    empty = (Message("assistant", ()), Message("assistant", (Thinking("hm"),)), Message.from_text("system", ""))
    assert sent(*empty, Message("user", ()), HELLO, thinking_replay_field="reasoning_content") == [
        {"role": "user", "content": "hello"}
    ]


def test_tool_call_without_arguments_sends_an_object() -> None:
    (call,) = sent(Message("assistant", (ToolCall("c", "f", ""),)))[0]["tool_calls"]
    assert call["function"]["arguments"] == "{}"


DETAIL = {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0}
SEALED = {"type": "reasoning.encrypted", "data": "gAAA", "id": "rs_1", "index": 1}


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        (None, {"content": "4"}),
        ("reasoning_content", {"content": "4", "reasoning_content": "hm."}),
        ("reasoning", {"content": "4", "reasoning": "hm."}),
        (
            "reasoning_details",
            {"content": "4", "reasoning_details": [DETAIL | {"text": "hm.", "signature": "sig"}, SEALED]},
        ),
        ("extra_content", {"content": "4"}),
        (
            "content",
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "hm."}]},
                    {"type": "text", "text": "4"},
                ]
            },
        ),
    ],
)
def test_thinking_is_given_back_as_the_dialect_wants_it(field: str | None, fields: dict[str, Any]) -> None:
    parts = (Thinking("hm.", "sig", DETAIL), Thinking("", None, SEALED), Text("4"))
    assert sent(Message("assistant", parts), thinking_replay_field=field) == [{"role": "assistant"} | fields]


def test_thinking_details_come_back_as_they_came() -> None:
    details = [
        {"type": "reasoning.summary", "summary": "I looked.", "format": "openai-responses-v1", "index": 0},
        {"type": "reasoning.encrypted", "data": "gAAA", "id": "rs_1", "format": "openai-responses-v1", "index": 0},
        {"type": "reasoning.text", "text": "hm", "signature": "sig", "id": "t", "format": None, "index": 1},
    ]
    choice = {"delta": {"content": "4", "reasoning": "I looked.hm", "reasoning_details": details}}
    parts = collect_response(
        WIRE.parse_stream([ServerEvent(json.dumps({"choices": [choice]}))], Dialect())
    ).message.parts
    kept = parts_from_json(json.loads(json.dumps(parts_to_json(parts))))
    (message,) = sent(Message("assistant", kept), thinking_replay_field="reasoning_details")
    assert message["reasoning_details"] == details


def test_thinking_without_details_is_given_back_as_text() -> None:
    (message,) = sent(Message("assistant", (Thinking("hm"), Text("4"))), thinking_replay_field="reasoning_details")
    assert message == {"role": "assistant", "content": "4", "reasoning": "hm"}


def test_signatures_are_given_back_only_where_the_dialect_says_so() -> None:
    extra = {"google": {"thought_signature": "sig"}}
    parts = (Thinking("", "sig", {"extra_content": extra}), ToolCall("c", "f", "{}", {"extra_content": extra}))
    (message,) = sent(Message("assistant", parts), thinking_replay_field="extra_content")
    assert message["extra_content"] == extra
    assert message["tool_calls"][0]["extra_content"] == extra
    assert "extra_content" not in json.dumps(sent(Message("assistant", parts)))


# ---------------------------------------------------------------- attachments


def attached(*files: File) -> Any:
    return sent(Message("user", (Text("look"), *files)))[0]["content"]


@pytest.mark.parametrize(
    ("file", "part"),
    [
        (File("image/png", b"\x89PNG"), {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}}),
        (File("image/png", url="https://h/a.png"), {"type": "image_url", "image_url": {"url": "https://h/a.png"}}),
        (
            File("application/pdf", b"%PDF", name="a.pdf"),
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERg=="}},
        ),
        (
            File("application/pdf", url="https://h/a.pdf"),
            {"type": "file", "file": {"filename": "file.pdf", "file_data": "https://h/a.pdf"}},
        ),
        (File("audio/mpeg", b"ID3"), {"type": "input_audio", "input_audio": {"data": "SUQz", "format": "mp3"}}),
        (File("audio/x-wav", b"RIFF"), {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}),
        (File("video/mp4", b"x"), {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,eA=="}}),
    ],
)
def test_file_is_attached_in_its_kinds_form(file: File, part: dict[str, Any]) -> None:
    assert attached(file) == [{"type": "text", "text": "look"}, part]


@pytest.mark.parametrize(
    ("provider", "part"),
    [
        ("mistral", {"type": "document_url", "document_url": "data:application/pdf;base64,JVBERg=="}),
        ("perplexity", {"type": "file_url", "file_url": {"url": "JVBERg=="}}),
    ],
)
def test_pdf_is_attached_as_the_provider_takes_it(provider: str, part: dict[str, Any]) -> None:
    asked = Message("user", (Text("look"), File("application/pdf", b"%PDF", name="a.pdf")))
    assert body(asked, dialect=PROVIDERS.load(provider).dialect)["messages"][0]["content"][1] == part


@pytest.mark.parametrize(
    ("provider", "media_type", "by_url", "taken"),
    [
        ("openai", "image/png", True, True),
        ("openai", "image/heic", False, False),
        ("openai", "video/mp4", False, False),
        ("openai", "audio/wav", False, True),
        ("openai", "audio/wav", True, False),
        ("openai", "application/pdf", True, False),
        ("mistral", "application/pdf", True, True),
        ("groq", "application/pdf", False, False),
        ("deepseek", "image/png", False, False),
        ("deepseek", "text/plain", False, True),
        ("deepseek", "text/plain", True, False),
        ("openrouter", "video/mp4", True, True),
        ("compatible", "audio/flac", False, True),
        ("compatible", "application/zip", False, False),
    ],
)
def test_wire_says_which_files_a_provider_takes(provider: str, media_type: str, by_url: bool, taken: bool) -> None:
    assert WIRE.accepts(media_type, by_url, PROVIDERS.load(provider).dialect) is taken


@pytest.mark.parametrize(
    "media_type", ["text/plain", "text/x-python; charset=utf-8", "application/json", "image/svg+xml"]
)
def test_text_file_is_inlined(media_type: str) -> None:
    assert attached(File(media_type, b"\xef\xbb\xbfgr\xc3\xbc\xc3\x9f", name="a.txt")) == (
        'look\n\n<file name="a.txt">\ngrüß\n</file>'
    )


@pytest.mark.parametrize("media_type", ["audio/mpeg", "text/plain"])
def test_file_that_only_has_a_url_is_refused_where_bytes_are_needed(media_type: str) -> None:
    with pytest.raises(UsageError, match="by URL") as raised:
        attached(File(media_type, url="https://h/a"))
    assert raised.value.hint


def test_files_of_tool_results_follow_after_the_last_result() -> None:
    picture = File("image/png", url="https://h/a.png")
    found = sent(
        Message("assistant", (CALL, ToolCall("c2", "f", "{}"))),
        Message("tool", (ToolResult("c1", "weather", "see below"), picture)),
        Message("tool", (ToolResult("c2", "f", ""),)),
        Message.from_text("assistant", "nice"),
    )
    assert [message["role"] for message in found] == ["assistant", "tool", "tool", "user", "assistant"]
    assert found[3]["content"] == [{"type": "image_url", "image_url": {"url": "https://h/a.png"}}]
    assert [message["role"] for message in sent(Message("tool", (ToolResult("c1", "f", ""), picture)))] == [
        "tool",
        "user",
    ]


# ---------------------------------------------------------------- schemas for hosts that take none


SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


def test_host_without_schemas_is_promised_an_object_and_told_the_schema() -> None:
    found = body(
        Message.from_text("system", "be brief"), HELLO, dialect=Dialect(schema_mode="json_object"), schema=SCHEMA
    )
    assert found["response_format"] == {"type": "json_object"}
    system = found["messages"][0]["content"]
    assert system.startswith("be brief\n\n")
    assert system.endswith(json.dumps(SCHEMA, separators=(",", ":")))


def test_host_without_schema_fields_gets_an_instruction_only() -> None:
    found = body(dialect=Dialect(schema_mode="none"), schema=SCHEMA)
    assert "response_format" not in found
    assert [message["role"] for message in found["messages"]] == ["system", "user"]
    assert "JSON" in found["messages"][0]["content"]


@pytest.mark.parametrize(("limit", "sent_limit"), [(500, 8500), (8000, 16000), (9000, 9000)])
def test_limit_has_room_for_a_budget_of_thinking(limit: int, sent_limit: int) -> None:
    dialect = Dialect(thinking_field="reasoning")
    found = body(dialect=dialect, thinking=8000, options={"max_tokens": limit})
    assert (found["reasoning"], found["max_tokens"]) == ({"max_tokens": 8000}, sent_limit)


def test_calls_of_other_hosts_are_spelled_as_this_one_takes_them() -> None:
    call = ToolCall("toolu_" + "x" * 60, "fs.read:all", "{}")
    result = Message("tool", (ToolResult(call.id, call.name, "ok"),))
    for takes, most in ((".{1,40}", 40), ("[a-zA-Z0-9]{9}", 9)):
        _, made, answered = sent(HELLO, Message("assistant", (call,)), result, tool_call_ids=takes)
        asked = made["tool_calls"][0]
        assert asked["function"]["name"] == "fs_read_all"
        assert asked["id"] == answered["tool_call_id"]
        assert len(asked["id"]) <= most
    assert sent(HELLO, Message("assistant", (call,)), result)[1]["tool_calls"][0]["id"] == call.id


@pytest.mark.parametrize(("provider", "id"), [("openai", "x" * 41), ("azure", "x" * 41), ("mistral", "call_1")])
def test_ids_that_a_provider_refuses_are_not_sent_to_it(provider: str, id: str) -> None:
    dialect = PROVIDERS.load(provider).dialect
    made = body(HELLO, Message("assistant", (ToolCall(id, "t", "{}"),)), dialect=dialect)["messages"][1]
    assert made["tool_calls"][0]["id"] not in (id, "")


@pytest.mark.parametrize(("provider", "limit"), [("openai", 2148), ("groq", 100)])
def test_limit_leaves_room_beside_thinking_where_it_counts_against_it(provider: str, limit: int) -> None:
    dialect = PROVIDERS.load(provider).dialect
    assert body(thinking="low", options={"max_tokens": 100}, dialect=dialect)[dialect.max_tokens_field] == limit
