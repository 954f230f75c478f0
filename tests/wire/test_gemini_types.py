"""Bodies that the gemini wire builds, held against the request types of the official ``google-genai`` package."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmctl.core.chat import ChatRequest, File, Message, Text, Thinking, ToolCall, ToolResult, ToolSpec
from llmctl.core.http import Endpoint
from llmctl.core.single_requests import EmbedRequest, ImageRequest
from llmctl.wire import WIRES

types: Any = pytest.importorskip("google.genai.types", reason="the google-genai package is not installed")
pydantic = pytest.importorskip("pydantic")

WIRE = WIRES.load("gemini")
MARK = {"wire": "gemini"}
SIGNATURE = "c2lnbmF0dXJl"
HELLO = Message.from_text("user", "hello")
CALL = ToolCall("call_r_0", "weather", '{"city":"Berlin"}', {"thought_signature": SIGNATURE})
NAMED = ToolCall("call_883", "clock", "{}", {"gemini_id": "call_883"})
RESULTS = Message(
    "tool",
    (ToolResult("call_r_0", "weather", "rain"), ToolResult("call_883", "clock", "none", True), File("image/png", b"x")),
)
PICTURE = {"inlineData": {"mimeType": "image/png", "data": "eA=="}}
WEATHER = ToolSpec("weather", "Tell the weather.", {"type": "object", "properties": {"city": {"type": "string"}}})
SCHEMA = {"$schema": "x", "type": "object", "properties": {"age": {"type": ["integer", "null"]}}}

PLAIN = (Message.from_text("system", "be brief"), HELLO)
TOOLS = (HELLO, Message("assistant", (Text("let me see"), CALL, NAMED)), RESULTS, Message.from_text("user", "so?"))
THOUGHT = (
    HELLO,
    Message(
        "assistant",
        (
            Thinking("hm", SIGNATURE, MARK),
            Thinking("", SIGNATURE, MARK | {"gemini_part": {"executableCode": {"language": "PYTHON", "code": "1"}}}),
            Thinking("", None, MARK | {"gemini_part": {"codeExecutionResult": {"outcome": "OUTCOME_OK"}}}),
            Thinking("", None, MARK | {"gemini_part": PICTURE}),
            Text("one"),
            Text("", {"thought_signature": SIGNATURE}),
        ),
    ),
    HELLO,
)
FILES = (
    Message(
        "user",
        (
            Text("look"),
            File("image/jpeg", b"x"),
            File("image/png", url="https://h/a.png"),
            File("application/pdf", b"%PDF", name="a.pdf"),
            File("application/pdf", url="https://h/a.pdf"),
            File("audio/wav", b"x"),
            File("video/mp4", url="https://h/a.mp4"),
            File("text/markdown", b"# a", name="a.md"),
        ),
    ),
)
#: What other providers leave behind: ids and names that are not taken here, thinking that is not ours, blanks.
SWITCHED = (
    Message.from_text("assistant", "welcome"),
    Message.from_text("system", "be brief"),
    HELLO,
    Message("assistant", (Thinking("claude", "sig", {"wire": "anthropic"}), ToolCall("toolu_1|x", "mcp/read", "{bad"))),
    Message("tool", (ToolResult("toolu_1|x", "mcp/read", ""),)),
    Message("assistant", (ToolCall("toolu_1|x", "mcp/read", "[1]"), ToolCall("2", "9", ""))),
    Message("tool", (ToolResult("toolu_1|x", "mcp/read", "ok"), ToolResult("2", "9", "ok"))),
    Message("assistant", (Thinking("deepseek"), Text(" "))),
    HELLO,
)


def validate(body: dict[str, Any]) -> None:
    """Refuse a field that Google's types do not name, at the top and inside."""
    known = {"contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "safetySettings"}
    assert set(body) <= known
    contents = pydantic.TypeAdapter(list[types.Content]).validate_python(body["contents"])
    assert [content.role for content in contents] == [content["role"] for content in body["contents"]]
    assert all(content.parts for content in contents)
    if "systemInstruction" in body:
        types.Content.model_validate(body["systemInstruction"])
    pydantic.TypeAdapter(list[types.Tool]).validate_python(body.get("tools", []))
    types.GenerationConfig.model_validate(body.get("generationConfig", {}))
    pydantic.TypeAdapter(list[types.SafetySetting]).validate_python(body.get("safetySettings", []))


@pytest.mark.parametrize("model", ["gemini-3.8-flash", "gemini-2.5-flash"])
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("messages", "more"),
    [
        (PLAIN, {}),
        (TOOLS, {"tools": (WEATHER,)}),
        (TOOLS, {"tools": (WEATHER,), "schema": SCHEMA, "thinking": "low"}),
        (THOUGHT, {"thinking": "high"}),
        (THOUGHT, {"thinking": "none", "options": {"tools": [{"googleSearch": {}}, {"codeExecution": {}}]}}),
        (FILES, {"thinking": 3000, "options": {"max_tokens": 10, "stop": "END", "top_p": 0.1, "seed": 1}}),
        (PLAIN, {"schema": SCHEMA, "options": {"top_k": 3, "temperature": 0, "frequency_penalty": 0.5}}),
        (SWITCHED, {}),
    ],
)
def test_body_is_what_google_publishes(
    messages: tuple[Message, ...], more: dict[str, Any], stream: bool, model: str
) -> None:
    request = WIRE.build_request(Endpoint("https://h"), ChatRequest(model, messages, stream=stream, **more))
    validate(json.loads(request.body))


def test_parts_come_out_as_the_package_reads_them() -> None:
    request = WIRE.build_request(Endpoint("https://h"), ChatRequest("gemini-3.8-flash", TOOLS))
    _, model, results, _ = pydantic.TypeAdapter(list[types.Content]).validate_python(
        json.loads(request.body)["contents"]
    )
    assert model.parts[1].thought_signature == b"signature"
    assert model.parts[1].function_call.args == {"city": "Berlin"}
    assert model.parts[2].function_call.id == results.parts[1].function_response.id == "call_883"
    assert results.parts[1].function_response.parts[0].inline_data.data == b"x"


def test_validation_refuses_what_is_wrong() -> None:
    with pytest.raises(pydantic.ValidationError):
        validate({"contents": [{"role": "user", "parts": [{"txt": "a"}]}]})
    with pytest.raises(pydantic.ValidationError):
        validate({"contents": [], "generationConfig": {"maxTokens": 1}})


def test_embeddings_and_pictures_are_what_google_publishes() -> None:
    assert WIRE.embeddings
    assert WIRE.images
    wish = EmbedRequest("gemini-embedding-001", ("a",), {"dimensions": 3, "taskType": "CLUSTERING"})
    [asked] = json.loads(WIRE.embeddings.build_request(Endpoint("https://h"), wish).body)["requests"]
    types.Content.model_validate(asked.pop("content"))
    asked.pop("model")
    types.EmbedContentConfig.model_validate(asked)
    drawing = ImageRequest("gemini-3-pro-image", "a cat", (File("image/png", b"x"),), {"aspect_ratio": "1:1"})
    body = json.loads(WIRE.images.build_request(Endpoint("https://h"), drawing).body)
    pydantic.TypeAdapter(list[types.Content]).validate_python(body["contents"])
    types.GenerateContentConfig.model_validate(body["generationConfig"])


@pytest.mark.parametrize("name", ["openai-chat", "openai-responses", "anthropic"])
@pytest.mark.parametrize("messages", [TOOLS[:3], THOUGHT])
def test_other_wires_are_sent_nothing_of_google(name: str, messages: tuple[Message, ...]) -> None:
    request = WIRES.load(name).build_request(Endpoint("https://h"), ChatRequest("m", messages))
    sent = request.body.decode()
    assert "hello" in sent
    for word in ("gemini", "thought", "executableCode", SIGNATURE):
        assert word not in sent
