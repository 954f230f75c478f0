"""Whole answers and lists of models: hand-written, each showing one thing that some host does."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmctl.core.chat import ChatResponse, Text, Thinking, ToolCall, Usage, UsageReport, collect_response
from llmctl.core.errors import ConfigError, LlmctlError, RejectedError, UnavailableError
from llmctl.core.http import Dialect, Endpoint
from llmctl.wire import WIRES

WIRE = WIRES.load("openai-chat")


def answer(message: dict[str, Any], reason: Any = "stop", **more: Any) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant"} | message, "finish_reason": reason}
    return json.dumps({"id": "r1", "model": "m1", "choices": [choice]} | more).encode()


def read(body: bytes, dialect: Dialect | None = None) -> ChatResponse:
    return collect_response(WIRE.parse_response(body, dialect or Dialect()))


def test_answer_gives_the_events_of_a_stream() -> None:
    response = read(answer({"content": "hello"}, usage={"prompt_tokens": 1, "completion_tokens": 2}))
    assert response.message.parts == (Text("hello"),)
    assert (response.model, response.response_id, response.usage) == ("m1", "r1", Usage(1, 2))
    assert (response.finish_reason, response.raw_finish_reason) == ("stop", "stop")


def test_white_space_before_the_answer_is_passed_over() -> None:
    assert read(b"\n         \n" * 30 + answer({"content": "x"})).message.text == "x"


def test_thinking_comes_before_text_whatever_the_order_of_fields() -> None:
    assert read(answer({"content": "4", "reasoning_content": "hm"})).message.parts == (Thinking("hm"), Text("4"))


def test_tool_calls_that_share_an_index_are_each_a_call() -> None:
    one = {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}
    response = read(answer({"content": None, "tool_calls": [one, one | {"id": "b"}]}, "tool_calls"))
    assert [call.id for call in response.message.tool_calls] == ["a", "b"]
    same = read(answer({"content": None, "tool_calls": [one, one]}, "tool_calls"))
    assert len(same.message.tool_calls) == 2


def test_tool_call_without_arguments_has_empty_ones() -> None:
    response = read(answer({"content": None, "tool_calls": [{"id": "a", "function": {"name": "f"}}]}))
    assert response.message.tool_calls == (ToolCall("a", "f", "{}"),)
    assert response.finish_reason == "tool_calls"


@pytest.mark.parametrize("reason", ["", None])
def test_answer_that_is_whole_needs_no_finish_reason(reason: str | None) -> None:
    response = read(answer({"content": "x", "audio": {"data": "", "id": ""}, "function_call": None}, reason))
    assert (response.finish_reason, response.raw_finish_reason) == ("stop", None)


def test_delta_beside_the_message_is_ignored() -> None:
    choice = {"index": 0, "finish_reason": "stop", "message": {"content": "x"}, "delta": {"content": ""}}
    assert read(json.dumps({"choices": [choice]}).encode()).message.text == "x"


def test_empty_answer_is_an_answer() -> None:
    response = read(answer({"content": ""}))
    assert response.message.parts == ()
    assert response.finish_reason == "stop"


@pytest.mark.parametrize("body", [b"<!DOCTYPE html><title>Hi</title>", b"", b"oops", answer({"content": "x"})[:-5]])
def test_body_that_is_no_answer_is_unavailable(body: bytes) -> None:
    with pytest.raises(UnavailableError) as raised:
        read(body)
    assert raised.value.reason == "not_json"
    assert raised.value.status_code == 200
    assert raised.value.hint


def test_page_is_named_by_its_title() -> None:
    with pytest.raises(UnavailableError, match='HTML page: "Sign in"'):
        read(b"\n <html><head><title>Sign\nin</title></head></html>")


@pytest.mark.parametrize("body", [b"{}", b'{"choices": []}', b'{"id": "x", "choices": null}'])
def test_json_without_an_answer_is_unavailable(body: bytes) -> None:
    with pytest.raises(UnavailableError) as raised:
        read(body)
    assert raised.value.reason == "no_answer"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"error": {"message": "no", "code": 400}}, RejectedError),
        ({"error": {"message": "no", "code": 502}, "choices": []}, UnavailableError),
        ({"error": "no", "code": "invalid_api_key"}, ConfigError),
        ([{"error": {"message": "no", "code": 400, "status": "INVALID_ARGUMENT"}}], RejectedError),
        ({"choices": [{"error": {"message": "no", "code": 502}, "finish_reason": "error"}]}, UnavailableError),
        ({"detail": "no"}, UnavailableError),
    ],
)
def test_error_in_a_200_has_its_class(body: Any, kind: type[LlmctlError]) -> None:
    with pytest.raises(kind, match="no") as raised:
        read(json.dumps(body).encode())
    assert type(raised.value) is kind
    assert raised.value.status_code is not None


def test_error_in_a_200_leaves_the_usage_on_the_bill() -> None:
    body = {"error": {"message": "no", "code": 502}, "usage": {"prompt_tokens": 3}}
    events = WIRE.parse_response(json.dumps(body).encode(), Dialect())
    assert next(events) == UsageReport(Usage(3, unknown="output"))
    with pytest.raises(UnavailableError):
        next(events)


@given(st.binary(max_size=200))
def test_bytes_of_any_kind_are_read_without_an_accident(body: bytes) -> None:
    with pytest.raises(LlmctlError):
        read(body)


def test_echo_speaks_the_same_wire() -> None:
    echo = WIRES.load("echo")
    assert echo.name == "echo"
    assert collect_response(echo.parse_response(answer({"content": "x"}), Dialect())).message.text == "x"


# ---------------------------------------------------------------- lists of models


def test_models_are_asked_below_the_base_url() -> None:
    endpoint = Endpoint(
        "https://h.example/v1/", {"authorization": "Bearer k"}, {"v": "1"}, Dialect(models_path="/list")
    )
    request = WIRE.build_models_request(endpoint)
    assert (request.method, request.url) == ("GET", "https://h.example/v1/list?v=1")
    assert request.headers["authorization"] == "Bearer k"
    assert request.body == b""


def test_models_are_converted_to_common_fields() -> None:
    entry = {"id": "a/b", "name": "B", "context_length": 8192, "created": 1, "owned_by": "a", "pricing": {"x": 1}}
    found = WIRE.parse_models(json.dumps({"object": "list", "data": [entry, {"id": "c"}]}).encode())
    assert found == [{"id": "a/b", "name": "B", "context_tokens": 8192, "created": 1, "owned_by": "a"}, {"id": "c"}]


@pytest.mark.parametrize(
    "body", [[{"id": "a"}], {"data": [{"id": "a"}]}, {"models": [{"name": "models/a"}]}, {"data": [{"id": "a"}, {}, 7]}]
)
def test_models_are_found_in_lists_of_any_shape(body: Any) -> None:
    assert WIRE.parse_models(json.dumps(body).encode()) == [{"id": "a"}]


@pytest.mark.parametrize("body", [b"<html>", b"", b'{"error": {"message": "no"}}', b"17"])
def test_models_that_are_no_list_are_unavailable(body: bytes) -> None:
    with pytest.raises(UnavailableError):
        WIRE.parse_models(body)


def test_host_without_models_has_an_empty_list() -> None:
    assert WIRE.parse_models(b'{"object": "list", "data": []}') == []
