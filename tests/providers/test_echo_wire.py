"""The echo provider as its own wire reads it: each simulated failure is the error that a real provider causes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmctl.core.chat import ChatRequest, Message, collect_response
from llmctl.core.errors import (
    BudgetError,
    ConfigError,
    NotFoundError,
    RejectedError,
    UnavailableError,
)
from llmctl.core.http import Endpoint, ServerEvent
from llmctl.providers.echo import PROVIDER, respond
from llmctl.wire import WIRES

WIRE = WIRES.load(PROVIDER.wire)


def answer(*, stream: bool = True, **options: Any) -> Any:
    endpoint = Endpoint(PROVIDER.base_url, dialect=PROVIDER.dialect)
    chat = ChatRequest("echo", (Message.from_text("user", "one two three"),), stream=stream, options=options)
    return respond(json.loads(WIRE.build_request(endpoint, chat).body))


def read_response(**options: Any) -> Any:
    frames = (ServerEvent(chunk[6:-2].decode()) for chunk in answer(**options).chunks)
    return collect_response(WIRE.parse_stream(frames, PROVIDER.dialect))


def refused(**options: Any) -> Any:
    got = answer(**options)
    return WIRE.parse_error(got.status, got.headers, b"".join(got.chunks))


def test_answer_is_whole_and_counted() -> None:
    response = read_response(thinking="so so", tool='add {"a": 1}', reply="yes")
    assert response.message.text == "yes"
    assert response.message.thinking == "so so"
    assert [(call.name, call.arguments) for call in response.message.tool_calls] == [("add", '{"a": 1}')]
    assert response.finish_reason == "tool_calls"
    assert (response.usage.input_tokens, response.usage.output_tokens, response.usage.thinking_tokens) == (3, 6, 2)


def test_document_says_the_same_as_the_stream() -> None:
    body = b"".join(answer(stream=False, thinking="so so").chunks)
    assert collect_response(WIRE.parse_response(body, PROVIDER.dialect)) == read_response(thinking="so so")


def test_stream_without_its_end_has_no_finish_reason() -> None:
    response = read_response(end=2)
    assert response.message.text == "one two"
    assert response.finish_reason is None


def test_unreadable_event_is_noticed_and_passed() -> None:
    response = read_response(garbage=1)
    assert len(response.unreadable) == 1
    assert response.message.text == "one two three"


@pytest.mark.parametrize(
    ("fail", "kind", "reason"),
    [
        ("auth", ConfigError, "auth"),
        ("content_filter", RejectedError, "content_filter"),
        ("context_length", RejectedError, "context_length"),
        ("model_not_found", NotFoundError, "model_not_found"),
        ("quota", BudgetError, "quota"),
        ("rate_limit", UnavailableError, "rate_limit"),
        (400, RejectedError, "invalid_request"),
        (401, ConfigError, "auth"),
        (402, BudgetError, "quota"),
        (500, UnavailableError, "server_error"),
        (503, UnavailableError, "overloaded"),
    ],
)
def test_failure_has_its_class_before_and_inside_the_stream(fail: str | int, kind: Any, reason: str) -> None:
    error = refused(fail=fail)
    assert type(error) is kind
    assert error.reason == reason
    with pytest.raises(kind) as caught:
        read_response(fail=fail, error=1)
    assert caught.value.reason == reason


def test_failure_says_when_to_come_back() -> None:
    assert refused(fail=429, retry_after=1.5).retry_after == 1.5


def test_mistyped_option_is_rejected_with_those_there_are() -> None:
    error = refused(fial=503)
    assert type(error) is RejectedError
    assert '"fial"' in error.message
    assert "fail_times" in error.message
