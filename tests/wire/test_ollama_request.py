"""Requests of Ollama's own API: chat, embeddings, the list of models. https://docs.ollama.com/api"""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmctl.core.chat import ChatRequest, File, Message, Text, Thinking, ToolCall, ToolResult, ToolSpec, Usage
from llmctl.core.errors import LlmctlError, UnavailableError, UsageError
from llmctl.core.http import Dialect, Endpoint, HttpRequest
from llmctl.core.single_requests import EmbedRequest
from llmctl.providers import PROVIDERS, select_wire
from llmctl.wire import WIRES

WIRE = WIRES.load("ollama")
HELLO = Message.from_text("user", "hello")
CALL = ToolCall("call_0", "weather", '{"city":"Berlin"}')
MARK = {"wire": "ollama"}


def build(*messages: Message, **more: Any) -> HttpRequest:
    endpoint = Endpoint("http://localhost:11434/v1")
    return WIRE.build_request(endpoint, ChatRequest("qwen3:8b", messages or (HELLO,), **more))


def body(*messages: Message, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(build(*messages, **more).body)
    return found


def sent(*messages: Message) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = body(*messages)["messages"]
    return found


def test_request_is_posted_to_the_chat_path_and_nothing_is_cut_silently() -> None:
    request = build(Message.from_text("system", "be brief"), HELLO)
    assert (request.method, request.url) == ("POST", "http://localhost:11434/api/chat")
    assert json.loads(request.body) == {
        "model": "qwen3:8b",
        "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}],
        "stream": True,
        "truncate": False,
        "shift": False,
    }


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("http://h:11434", "http://h:11434/api/chat"),
        ("http://h:11434/v1/", "http://h:11434/api/chat"),
        ("https://ollama.com/api", "https://ollama.com/api/chat"),
        ("https://h/ollama/v1?a=b", "https://h/ollama/api/chat?a=b"),
    ],
)
def test_base_url_may_be_the_host_or_an_api_path(base: str, url: str) -> None:
    assert WIRE.build_request(Endpoint(base), ChatRequest("m", (HELLO,))).url == url


def test_options_go_where_they_belong() -> None:
    options = {
        "num_ctx": 32768,
        "max_tokens": 9,
        "stop": "END",
        "temperature": 0,
        "keep_alive": "1h",
        "truncate": True,
        "options": {"seed": 1},
        "model": "other",
    }
    found = body(options=options)
    assert found["options"] == {"num_ctx": 32768, "num_predict": 9, "stop": ["END"], "temperature": 0, "seed": 1}
    assert (found["keep_alive"], found["truncate"], found["model"]) == ("1h", True, "qwen3:8b")
    assert "options" not in body()


@pytest.mark.parametrize(
    ("wanted", "think"), [("none", False), (0, False), ("low", "low"), (9000, "medium"), (99_999, "high")]
)
def test_thinking_is_asked_for_by_level(wanted: str | int, think: Any) -> None:
    assert body(thinking=wanted)["think"] == think
    assert "think" not in body()


def test_schema_is_the_format_and_tools_are_functions() -> None:
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}}
    found = body(schema=schema, tools=(ToolSpec("now", "Tell the time.", {"type": "object"}),))
    assert found["format"] == schema
    parameters = {"type": "object", "properties": {}}
    function = {"name": "now", "description": "Tell the time.", "parameters": parameters}
    assert found["tools"] == [{"type": "function", "function": function}]


def test_calls_and_results_are_sent_by_name_with_arguments_as_objects() -> None:
    found = sent(
        HELLO,
        Message("assistant", (Thinking("ask", None, MARK), CALL, ToolCall("x", "now", '"{\\"a\\":1}"'))),
        Message("tool", (ToolResult("call_0", "weather", "rain"), File("image/png", b"x"))),
        Message("tool", (ToolResult("x", "now", ""),)),
    )
    assert found[1:] == [
        {
            "role": "assistant",
            "content": "",
            "thinking": "ask",
            "tool_calls": [
                {"type": "function", "function": {"name": "weather", "arguments": {"city": "Berlin"}}},
                {"type": "function", "function": {"name": "now", "arguments": {"a": 1}}},
            ],
        },
        {"role": "tool", "tool_name": "weather", "content": "rain"},
        {"role": "tool", "tool_name": "now", "content": ""},
        {"role": "user", "content": "", "images": ["eA=="]},
    ]


def test_thinking_of_others_and_empty_messages_are_left_out() -> None:
    foreign = Message("assistant", (Thinking("theirs", "sig", {"wire": "anthropic"}), Text("hi")))
    assert sent(HELLO, foreign, Message.from_text("assistant", " "), Message.from_text("user", "")) == [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "hi"},
    ]


def test_pictures_stand_apart_and_text_is_inlined() -> None:
    message = Message("user", (Text("look"), File("image/jpeg", b"x"), File("text/csv", b"a,b", name="t.csv")))
    assert sent(message) == [
        {"role": "user", "content": 'look\n\n<file name="t.csv">\na,b\n</file>', "images": ["eA=="]}
    ]


@pytest.mark.parametrize(
    ("media_type", "by_url", "taken"),
    [
        ("image/png", False, True),
        ("image/png", True, False),
        ("text/plain", False, True),
        ("application/pdf", False, False),
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


@pytest.mark.parametrize(
    ("base", "wire"),
    [
        ("http://localhost:11434/v1", "ollama"),
        ("https://ollama.com/v1", "ollama"),
        ("http://localhost:8080/v1", "openai-chat"),
        ("http://gpu.example:11434/v1", "openai-chat"),
    ],
)
def test_own_api_is_chosen_where_ollama_itself_answers(base: str, wire: str) -> None:
    assert select_wire(PROVIDERS.load("ollama"), "qwen3:8b", base) == wire


# ---------------------------------------------------------------- models and embeddings


def test_models_are_parsed_with_their_features() -> None:
    request = WIRE.build_models_request(Endpoint("http://localhost:11434/v1"))
    assert (request.method, request.url) == ("GET", "http://localhost:11434/api/tags")
    details = {"family": "qwen3", "parameter_size": "8.2B", "quantization_level": "Q4_K_M"}
    listing = {"models": [{"name": "qwen3:8b", "model": "qwen3:8b", "size": 5, "details": details}, {"name": 3}, "x"]}
    assert WIRE.parse_models(json.dumps(listing).encode()) == [
        {"id": "qwen3:8b", "family": "qwen3", "parameters": "8.2B", "quantization": "Q4_K_M", "size_bytes": 5}
    ]
    assert WIRE.parse_models(b'{"models":null}') == []


@pytest.mark.parametrize("answer", [b"", b"<html>", b"{}", b'{"error":"no"}'])
def test_list_that_is_none_is_unavailable(answer: bytes) -> None:
    with pytest.raises(UnavailableError):
        WIRE.parse_models(answer)


def test_embeddings_are_one_vector_a_text() -> None:
    assert WIRE.embeddings
    asked = EmbedRequest("nomic-embed-text", ("a", "b"), {"dimensions": 2, "num_ctx": 9})
    request = WIRE.embeddings.build_request(Endpoint("http://localhost:11434/v1"), asked)
    assert request.url == "http://localhost:11434/api/embed"
    assert json.loads(request.body) == {
        "model": "nomic-embed-text",
        "input": ["a", "b"],
        "truncate": False,
        "dimensions": 2,
        "options": {"num_ctx": 9},
    }
    answer = {"model": "nomic-embed-text", "embeddings": [[0.5, 1], [2, 3]], "prompt_eval_count": 4}
    found = WIRE.embeddings.parse_response(json.dumps(answer).encode(), asked)
    assert (found.vectors, found.usage, found.model) == (((0.5, 1), (2, 3)), Usage(4), "nomic-embed-text")


@pytest.mark.parametrize("answer", [b"{}", b'{"embeddings":[[1]]}', b'{"error":"boom"}', b"no"])
def test_missing_vectors_are_an_error(answer: bytes) -> None:
    assert WIRE.embeddings
    with pytest.raises(LlmctlError):
        WIRE.embeddings.parse_response(answer, EmbedRequest("m", ("a", "b")))
