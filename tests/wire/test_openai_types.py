"""Bodies that our wires for OpenAI build, held against the request types of the official ``openai`` package."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from email import message_from_bytes
from typing import Any

import pytest
from typing_extensions import NoExtraItems, is_typeddict

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
)
from llmctl.core.http import Dialect, Endpoint, HttpRequest
from llmctl.core.single_requests import EmbedRequest, ImageRequest
from llmctl.providers import PROVIDERS
from llmctl.wire import WIRES

responses = pytest.importorskip("openai.types.responses.response_create_params", reason="openai is not installed")
chat = pytest.importorskip("openai.types.chat.completion_create_params")
others = pytest.importorskip("openai.types")
pydantic = pytest.importorskip("pydantic")


def close_all() -> None:
    """Make every request type of the package refuse fields that it does not name."""
    modules = [module for name, module in list(sys.modules.items()) if name.startswith("openai.types")]
    for kind in {kind for module in modules for kind in vars(module).values() if is_typeddict(kind)}:
        if getattr(kind, "__extra_items__", NoExtraItems) is NoExtraItems:
            known = getattr(kind, "__pydantic_config__", {})
            kind.__pydantic_config__ = {**known, "extra": "forbid", "arbitrary_types_allowed": True}


close_all()
TYPES = {
    ("openai-responses", True): pydantic.TypeAdapter(responses.ResponseCreateParamsStreaming),
    ("openai-responses", False): pydantic.TypeAdapter(responses.ResponseCreateParamsNonStreaming),
    ("openai-chat", True): pydantic.TypeAdapter(chat.CompletionCreateParamsStreaming),
    ("openai-chat", False): pydantic.TypeAdapter(chat.CompletionCreateParamsNonStreaming),
}
WIRE_NAMES = ("openai-responses", "openai-chat")
OPENAI = PROVIDERS.load("openai").dialect

HELLO = Message.from_text("user", "hello")
CALL = ToolCall("c1", "weather", '{"city":"Berlin"}')
RESULT = Message("tool", (ToolResult("c1", "weather", "rain"),))
WEATHER = ToolSpec("weather", "Tell the weather.", {"type": "object", "properties": {"city": {"type": "string"}}})
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}


def answer_with_everything() -> Message:
    """Return an answer of Responses as it is kept: reasoning, a search, commentary, a call."""
    search = {"id": "ws_1", "type": "web_search_call", "status": "completed"}
    output = [
        {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": "gAAA"},
        search | {"action": {"type": "search", "query": "q"}},
        {
            "id": "rs_2",
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": "hm"}, {"type": "summary_text", "text": "ah"}],
            "encrypted_content": "gBBB",
            "status": None,
        },
        {
            "id": "msg_1",
            "type": "message",
            "phase": "commentary",
            "content": [{"type": "output_text", "text": "one moment", "annotations": [{"type": "url_citation"}]}],
        },
        {"id": "fc_1", "type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"city":"Berlin"}'},
    ]
    body = json.dumps({"status": "completed", "output": output}).encode()
    return collect_response(WIRES.load("openai-responses").parse_response(body, Dialect())).message


CONVERSATIONS: dict[str, tuple[tuple[Message, ...], dict[str, Any]]] = {
    "text": ((HELLO,), {}),
    "system": ((Message.from_text("system", "be brief"), HELLO, Message.from_text("system", "in verse")), {}),
    "options": ((HELLO,), {"options": {"max_tokens": 9, "temperature": 0.2, "top_p": 1, "service_tier": "flex"}}),
    "tools": ((HELLO,), {"tools": (WEATHER, ToolSpec("now", "", {"type": "object", "properties": {}}))}),
    "tool results": ((HELLO, Message("assistant", (Text("wait"), CALL)), RESULT), {"tools": (WEATHER,)}),
    "thinking": ((HELLO,), {"thinking": "high"}),
    "no thinking": ((HELLO,), {"thinking": "none"}),
    "earlier thinking": ((HELLO, answer_with_everything(), RESULT), {"tools": (WEATHER,), "thinking": 4000}),
    "another's thinking": ((HELLO, Message("assistant", (Thinking("hm", "sig"), Text("hi"))), HELLO), {}),
    "images": (
        (Message("user", (Text("look"), File("image/png", b"x"), File("image/jpeg", url="https://h/x.jpg"))),),
        {},
    ),
    "files": (
        (Message("user", (File("application/pdf", b"%PDF", name="a.pdf"), File("text/csv", b"a,b", name="t.csv"))),),
        {},
    ),
    "file of a result": (
        (HELLO, Message("assistant", (CALL,)), Message("tool", (*RESULT.parts, File("image/png", b"x")))),
        {"tools": (WEATHER,)},
    ),
    "schema": ((HELLO,), {"schema": SCHEMA}),
    "loose schema": ((HELLO,), {"schema": {"type": "object", "properties": {"a": {}}}}),
}


def exhaust(value: Any) -> None:
    """Walk through what was validated: lists are checked while they are read.

    Where a part of a request does not fit, a type of answers (which take any field) would do: not here.
    """
    if isinstance(value, pydantic.BaseModel):
        raise ValueError(f"no part of a request: {value!r}")
    if isinstance(value, Mapping):
        for inner in value.values():
            exhaust(inner)
    elif isinstance(value, list | tuple | Iterator) or type(value).__name__ == "ValidatorIterator":
        for inner in value:
            exhaust(inner)


def built(wire: str, messages: tuple[Message, ...], **more: Any) -> dict[str, Any]:
    endpoint = Endpoint("https://h/v1", dialect=OPENAI)
    body: dict[str, Any] = json.loads(
        WIRES.load(wire).build_request(endpoint, ChatRequest("gpt-5.5", messages, **more)).body
    )
    return body


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", CONVERSATIONS)
@pytest.mark.parametrize("wire", WIRE_NAMES)
def test_body_is_what_the_official_types_take(wire: str, name: str, stream: bool) -> None:
    messages, more = CONVERSATIONS[name]
    exhaust(TYPES[wire, stream].validate_python(built(wire, messages, stream=stream, **more)))


@pytest.mark.parametrize(
    ("wire", "spoiled"),
    [
        ("openai-responses", {"max_tokens": 5}),
        ("openai-responses", {"store": []}),
        ("openai-responses", {"input": [{"role": "robot", "content": "x"}]}),
        ("openai-responses", {"input": [{"type": "function_call_output", "call_id": "c1"}]}),
        ("openai-responses", {"text": {"format": {"type": "json_schema", "schema": {}}}}),
        ("openai-chat", {"surplus": 1}),
        ("openai-chat", {"messages": [{"role": "tool", "content": "x"}]}),
        ("openai-chat", {"messages": [{"role": "user", "content": [{"type": "text", "words": "x"}]}]}),
    ],
)
def test_the_official_types_refuse_what_is_wrong(wire: str, spoiled: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"no part|validation error"):
        exhaust(TYPES[wire, True].validate_python(built(wire, (HELLO,)) | spoiled))


@pytest.mark.parametrize("options", [{}, {"dimensions": 256, "encoding_format": "base64"}])
def test_embeddings_are_what_the_official_types_take(options: dict[str, Any]) -> None:
    way = WIRES.load("openai-chat").embeddings
    assert way
    request = EmbedRequest("text-embedding-3-small", ("one", "two"), options)
    body = json.loads(way.build_request(Endpoint("https://h/v1"), request).body)
    pydantic.TypeAdapter(others.EmbeddingCreateParams).validate_python(body)


def test_pictures_are_what_the_official_types_take() -> None:
    built = drawn(ImageRequest("gpt-image-1.5", "a lighthouse", (), {"n": 2, "size": "1024x1024", "quality": "low"}))
    kind = others.image_generate_params.ImageGenerateParamsNonStreaming
    pydantic.TypeAdapter(kind).validate_python(json.loads(built.body))


@pytest.mark.parametrize("count", [1, 2])
def test_changed_pictures_are_a_form_of_what_the_official_types_take(count: int) -> None:
    files = tuple(File("image/png", b"\x89PNG\r\n--x\r\n%d" % number) for number in range(count))
    built = drawn(ImageRequest("gpt-image-1.5", "at night", files, {"n": 2, "size": "1024x1024"}))
    head = f"Content-Type: {built.headers['content-type']}\r\n\r\n".encode()
    fields: dict[str, Any] = {"image": []}
    parts: Any = message_from_bytes(head + built.body).get_payload()
    assert parts
    for part in parts:
        name, data = part.get_param("name", header="content-disposition"), part.get_payload(decode=True)
        if name.startswith("image"):
            assert (part.get_content_type(), name) == ("image/png", "image" if count == 1 else "image[]")
            fields["image"].append(data)
        else:
            fields[name] = int(data) if data.isdigit() else data.decode()
    assert fields.pop("image") == [file.data for file in files]
    kind = others.image_edit_params.ImageEditParamsNonStreaming
    pydantic.TypeAdapter(kind).validate_python(fields | {"image": b"x"})
    assert built == drawn(ImageRequest("gpt-image-1.5", "at night", files, {"n": 2, "size": "1024x1024"}))


def drawn(request: ImageRequest) -> HttpRequest:
    way = WIRES.load("openai-chat").images
    assert way
    return way.build_request(Endpoint("https://h/v1"), request)
