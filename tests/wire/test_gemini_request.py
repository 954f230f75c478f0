"""Requests of generateContent: contents, tools, thinking, schema and files, and where they are sent."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmctl.core.chat import ChatRequest, File, Message, Text, Thinking, ToolCall, ToolResult, ToolSpec
from llmctl.core.errors import UsageError
from llmctl.core.http import Dialect, Endpoint, HttpRequest
from llmctl.providers import PROVIDERS
from llmctl.wire import WIRES

WIRE = WIRES.load("gemini")
HELLO = Message.from_text("user", "hello")
MARK = {"wire": "gemini"}
CALL = ToolCall("call_r_0", "weather", '{"city":"Berlin"}', {"thought_signature": "sig"})
WEATHER = ToolSpec("weather", "Tell the weather.", {"$schema": "x", "type": "object", "properties": {}})
SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}, "additionalProperties": False}


def build(
    *messages: Message, model: str = "gemini-3.8-flash", dialect: Dialect | None = None, **more: Any
) -> HttpRequest:
    endpoint = Endpoint("https://h.example/v1beta", {"x-goog-api-key": "k"}, dialect=dialect or Dialect())
    return WIRE.build_request(endpoint, ChatRequest(model, messages or (HELLO,), **more))


def body(*messages: Message, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(build(*messages, **more).body)
    return found


def sent(*messages: Message, **more: Any) -> list[Any]:
    """Return role and parts of each content."""
    return [(content["role"], content["parts"]) for content in body(*messages, **more)["contents"]]


def config(**more: Any) -> dict[str, Any]:
    found: dict[str, Any] = body(**more).get("generationConfig", {})
    return found


# ---------------------------------------------------------------- where it goes


def test_request_names_the_model_in_its_address() -> None:
    request = build(Message.from_text("user", "grüß dich"))
    assert request.url == "https://h.example/v1beta/models/gemini-3.8-flash:streamGenerateContent?alt=sse"
    assert request.headers["x-goog-api-key"] == "k"
    assert request.headers["accept"] == "text/event-stream"
    assert request.body == '{"contents":[{"role":"user","parts":[{"text":"grüß dich"}]}]}'.encode()


def test_whole_answer_is_asked_of_another_operation() -> None:
    request = build(stream=False)
    assert request.url == "https://h.example/v1beta/models/gemini-3.8-flash:generateContent"
    assert request.headers["accept"] == "application/json"


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("models/gemini-2.5-pro", "/models/gemini-2.5-pro"),
        ("tunedModels/mine-1", "/tunedModels/mine-1"),
        ("a b", "/models/a%20b"),
        ("x?key=1", "/models/x%3Fkey%3D1"),
    ],
)
def test_model_stands_where_its_name_says(model: str, path: str) -> None:
    assert build(model=model, stream=False).url == f"https://h.example/v1beta{path}:generateContent"


def test_vertex_has_the_publisher_in_its_address() -> None:
    base = "https://aiplatform.googleapis.com/v1beta1/projects/p/locations/global"
    endpoint = Endpoint(base, {"Authorization": "Bearer t"}, {"a": "b"}, PROVIDERS.load("vertex").dialect)
    chat = ChatRequest("gemini-2.5-flash", (HELLO,))
    url = f"{base}/publishers/google/models/gemini-2.5-flash:streamGenerateContent?alt=sse&a=b"
    assert WIRE.build_request(endpoint, chat).url == url
    tuned = WIRE.build_request(endpoint, ChatRequest("endpoints/123", (HELLO,), stream=False))
    assert tuned.url == f"{base}/endpoints/123:generateContent?a=b"


# ---------------------------------------------------------------- contents


def test_system_text_stands_apart() -> None:
    found = body(Message.from_text("system", "be brief"), HELLO)
    assert found["systemInstruction"] == {"parts": [{"text": "be brief"}]}
    assert [content["role"] for content in found["contents"]] == ["user"]


def test_results_of_a_step_stand_together_behind_their_calls() -> None:
    other = ToolCall("call_7", "clock", "{}", {"gemini_id": "call_7"})
    assert sent(
        HELLO,
        Message("assistant", (Text("let me see"), CALL, other)),
        Message("tool", (ToolResult("call_r_0", "weather", "rain"),)),
        Message("tool", (ToolResult("call_7", "clock", "no clock", is_error=True),)),
        Message.from_text("user", "so?"),
    ) == [
        ("user", [{"text": "hello"}]),
        (
            "model",
            [
                {"text": "let me see"},
                {"functionCall": {"name": "weather", "args": {"city": "Berlin"}}, "thoughtSignature": "sig"},
                {"functionCall": {"id": "call_7", "name": "clock", "args": {}}},
            ],
        ),
        (
            "user",
            [
                {"functionResponse": {"name": "weather", "response": {"output": "rain"}}},
                {"functionResponse": {"id": "call_7", "name": "clock", "response": {"error": "no clock"}}},
            ],
        ),
        ("user", [{"text": "so?"}]),
    ]


def test_id_used_again_belongs_to_the_nearest_call() -> None:
    first, second = ToolCall("c", "a", "{}", {"gemini_id": "x"}), ToolCall("c", "b", "{}", {"gemini_id": "y"})
    found = sent(
        HELLO,
        Message("assistant", (first,)),
        Message("tool", (ToolResult("c", "a", "1"),)),
        Message("assistant", (second,)),
        Message("tool", (ToolResult("c", "b", "2"),)),
    )
    responses = [part["functionResponse"] for _, parts in found for part in parts if "functionResponse" in part]
    assert [(one["id"], one["name"]) for one in responses] == [("x", "a"), ("y", "b")]


def test_signature_goes_back_on_its_own_part() -> None:
    answer = Message(
        "assistant",
        (
            Thinking("hm", None, MARK),
            Thinking("so", "s1", MARK),
            Text("one"),
            Text("two", {"thought_signature": "s2"}),
            Text("", {"thought_signature": "s3"}),
            Thinking("", "s4", MARK | {"gemini_part": {"executableCode": {"code": "1"}}}),
        ),
    )
    assert sent(HELLO, answer)[1][1] == [
        {"text": "hm", "thought": True},
        {"text": "so", "thought": True, "thoughtSignature": "s1"},
        {"text": "one"},
        {"text": "two", "thoughtSignature": "s2"},
        {"text": "", "thoughtSignature": "s3"},
        {"executableCode": {"code": "1"}, "thoughtSignature": "s4"},
    ]


def test_thinking_of_other_providers_is_not_sent() -> None:
    thoughts = (Thinking("claude", "sig", {"wire": "anthropic"}), Thinking("deepseek"))
    assert sent(HELLO, Message("assistant", (*thoughts, Text("hi"))))[1] == ("model", [{"text": "hi"}])
    assert len(sent(HELLO, Message("assistant", thoughts))) == 1


def test_thinking_alone_is_no_answer() -> None:
    assert len(sent(HELLO, Message("assistant", (Thinking("hm", "s", MARK),)))) == 1


@pytest.mark.parametrize(
    ("model", "signed"), [("gemini-3.8-flash", True), ("gemini-flash-latest", True), ("gemini-2.5-pro", False)]
)
def test_call_of_another_provider_needs_no_signature(model: str, signed: bool) -> None:
    calls = Message("assistant", (ToolCall("toolu_1", "a", "{}"), ToolCall("toolu_2", "b", "{}")))
    results = Message("tool", (ToolResult("toolu_1", "a", "1"), ToolResult("toolu_2", "b", "2")))
    found = sent(HELLO, calls, results, HELLO, calls, results, model=model)
    marks = [[part.get("thoughtSignature") for part in parts] for role, parts in found if role == "model"]
    # Only steps of the present turn are looked at, and of several calls only the first.
    assert marks == [[None, None], ["skip_thought_signature_validator" if signed else None, None]]
    assert "id" not in found[1][1][0]["functionCall"]


def test_signature_of_the_compatible_api_is_known() -> None:
    call = ToolCall("c", "a", "{}", {"extra_content": {"google": {"thought_signature": "sig"}}})
    assert sent(HELLO, Message("assistant", (call,)))[1][1][0]["thoughtSignature"] == "sig"


def test_conversation_without_its_beginning_begins_with_the_user() -> None:
    found = sent(Message.from_text("assistant", "welcome"), Message.from_text("assistant", "back"), HELLO)
    assert found[0][0] == "user"
    assert found[1] == ("model", [{"text": "welcome"}, {"text": "back"}])


@pytest.mark.parametrize(
    ("arguments", "args"),
    [
        ("", {}),
        ('{"a":1}', {"a": 1}),
        ('"{\\"a\\":1}"', {"a": 1}),
        ("{bad", {"arguments": "{bad"}),
        ("[1]", {"arguments": [1]}),
    ],
)
def test_arguments_become_an_object(arguments: str, args: dict[str, Any]) -> None:
    found = sent(HELLO, Message("assistant", (ToolCall("c", "a", arguments),)))
    assert found[1][1][0]["functionCall"]["args"] == args


def test_name_of_a_tool_is_made_acceptable_on_both_sides() -> None:
    call = Message("assistant", (ToolCall("c", "9 läuse/x", "{}"),))
    found = sent(HELLO, call, Message("tool", (ToolResult("c", "9 läuse/x", "1"),)))
    names = found[1][1][0]["functionCall"]["name"], found[2][1][0]["functionResponse"]["name"]
    assert names == ("_9_l_use_x", "_9_l_use_x")


# ---------------------------------------------------------------- files


def test_files_go_as_bytes_as_addresses_or_as_text() -> None:
    message = Message(
        "user",
        (
            Text("look"),
            File("image/PNG; x=y", b"png"),
            File("application/pdf", url="https://h/a.pdf"),
            File("audio/wav", b"wav"),
            File("text/markdown", b"# a", name="a.md"),
        ),
    )
    assert sent(message)[0][1] == [
        {"text": "look"},
        {"inlineData": {"mimeType": "image/png", "data": "cG5n"}},
        {"fileData": {"mimeType": "application/pdf", "fileUri": "https://h/a.pdf"}},
        {"inlineData": {"mimeType": "audio/wav", "data": "d2F2"}},
        {"text": '<file name="a.md">\n# a\n</file>'},
    ]


def test_text_by_address_only_is_refused() -> None:
    with pytest.raises(UsageError, match="by URL"):
        build(Message("user", (File("text/plain", url="https://h/a.txt"),)))


@pytest.mark.parametrize(
    ("media_type", "by_url", "taken"),
    [
        ("image/webp", False, True),
        ("image/webp", True, True),
        ("image/gif", False, False),
        ("image/svg+xml", False, True),
        ("image/svg+xml", True, False),
        ("application/pdf", True, True),
        ("video/mp4", True, True),
        ("audio/mpeg", False, True),
        ("audio/mpeg", True, False),
        ("text/html", False, True),
        ("text/html", True, False),
        ("application/zip", False, False),
    ],
)
def test_wire_says_what_it_takes(media_type: str, by_url: bool, taken: bool) -> None:
    assert WIRE.accepts(media_type, by_url, Dialect()) is taken


@pytest.mark.parametrize(("model", "inside"), [("gemini-3.8-flash", True), ("gemini-2.5-flash", False)])
def test_file_of_a_result_goes_inside_it_where_that_is_known(model: str, inside: bool) -> None:
    result = Message("tool", (ToolResult("call_r_0", "weather", "see"), File("image/png", b"x")))
    found = sent(HELLO, Message("assistant", (CALL,)), result, model=model)
    picture = {"inlineData": {"mimeType": "image/png", "data": "eA=="}}
    response = found[2][1][0]["functionResponse"]
    if inside:
        assert response["parts"] == [picture]
        assert len(found) == 3
    else:
        assert "parts" not in response
        assert found[3] == ("user", [picture])


# ---------------------------------------------------------------- tools, schema, thinking, options


def test_tools_are_declared_with_their_schema() -> None:
    found = body(tools=(WEATHER,), options={"tools": [{"googleSearch": {}}]})
    assert found["tools"] == [
        {
            "functionDeclarations": [
                {
                    "name": "weather",
                    "description": "Tell the weather.",
                    "parametersJsonSchema": {"type": "object", "properties": {}},
                }
            ]
        },
        {"googleSearch": {}},
    ]


def test_schema_holds_the_answer() -> None:
    assert config(schema=SCHEMA) == {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA}


def test_schema_with_tools_is_an_instruction_when_both_are_refused() -> None:
    found = body(schema=SCHEMA, tools=(WEATHER,), model="gemini-2.5-flash")
    assert "generationConfig" not in found
    assert "JSON Schema" in found["systemInstruction"]["parts"][0]["text"]
    assert "responseJsonSchema" in config(schema=SCHEMA, tools=(WEATHER,))


@pytest.mark.parametrize(
    ("model", "wanted", "found"),
    [
        ("gemini-3.8-flash", "low", {"thinkingLevel": "low"}),
        ("gemini-flash-latest", "high", {"thinkingLevel": "high"}),
        ("gemini-3-pro-preview", 10_000, {"thinkingLevel": "medium"}),
        ("gemini-2.5-flash", "medium", {"thinkingBudget": 8192}),
        ("gemini-2.5-pro", 4096, {"thinkingBudget": 4096}),
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0}),
        ("gemini-2.5-pro", 0, {"thinkingBudget": 128}),
        ("gemini-3-flash-preview", "none", {"thinkingLevel": "minimal"}),
        ("gemini-3.8-flash", "none", {"thinkingBudget": 0}),
        ("gemini-3.1-pro-preview", "none", {"thinkingLevel": "low"}),
        ("gemini-2.0-flash", "none", None),
        ("gemini-3.8-flash", None, None),
    ],
)
def test_thinking_is_asked_for_as_the_generation_has_it(
    model: str, wanted: str | int | None, found: dict[str, Any] | None
) -> None:
    shown = found and (found if wanted in ("none", 0) else found | {"includeThoughts": True})
    assert config(thinking=wanted, model=model).get("thinkingConfig") == shown


def test_thinking_of_a_model_that_does_not_think_is_refused() -> None:
    with pytest.raises(UsageError, match="does not support thinking"):
        build(thinking="high", model="gemini-2.0-flash")


@pytest.mark.parametrize(("thinking", "limit"), [(None, 100), ("low", 1124), (5000, 5100), ("high", 24_676)])
def test_limit_leaves_room_for_thinking(thinking: str | int | None, limit: int) -> None:
    found = config(thinking=thinking, model="gemini-2.5-flash", options={"max_tokens": 100})
    assert found["maxOutputTokens"] == limit


def test_options_have_their_common_names() -> None:
    options = {
        "temperature": 0,
        "top_p": 0.5,
        "topK": 3,
        "stop": "END",
        "seed": 7,
        "max_tokens": 9,
        "presence_penalty": 1,
        "generationConfig": {"responseLogprobs": True},
        "safetySettings": [{"category": "A", "threshold": "B"}],
        "labels": {"a": "b"},
        "model": "other",
    }
    found = body(options=options)
    assert found["generationConfig"] == {
        "temperature": 0,
        "topP": 0.5,
        "topK": 3,
        "stopSequences": ["END"],
        "seed": 7,
        "maxOutputTokens": 9,
        "presencePenalty": 1,
        "responseLogprobs": True,
    }
    assert found["safetySettings"] == options["safetySettings"]
    assert found["labels"] == {"a": "b"}
    assert "model" not in found


def test_options_of_the_user_win() -> None:
    found = config(thinking="low", options={"thinking_config": {"thinkingBudget": 7}})
    assert found["thinkingConfig"] == {"thinkingBudget": 7}


@pytest.mark.parametrize(
    ("model", "asked"),
    [
        ("gemini-3.8-flash", True),
        ("gemini-2.0-flash", False),
        ("gemma-3-27b", False),
        ("gemini-2.5-flash-image", False),
    ],
)
def test_thinking_that_is_to_be_shown_is_asked_for(model: str, asked: bool) -> None:
    request = ChatRequest(model, (Message.from_text("user", "hello"),), shows_thinking=True)
    found = json.loads(WIRE.build_request(Endpoint("https://h.example/v1"), request).body)
    assert found.get("generationConfig") == ({"thinkingConfig": {"includeThoughts": True}} if asked else None)
