"""Answers of Ollama's own API: lines of JSON, whole answers, errors. https://docs.ollama.com/api/streaming"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from llmctl.core.chat import ChatResponse, StreamEvent, Text, Thinking, ToolCall, Usage, collect_response
from llmctl.core.errors import ConfigError, LlmctlError, NotFoundError, RejectedError, UnavailableError
from llmctl.core.http import Dialect, ServerEvent
from llmctl.transport.sse import parse_ndjson
from llmctl.wire import WIRES

WIRE = WIRES.load("ollama")
MARK = {"wire": "ollama"}
TIMES = {"total_duration": 9, "load_duration": 1, "prompt_eval_duration": 2, "eval_duration": 3}


def line(**message: Any) -> dict[str, Any]:
    said = {"role": "assistant", "content": ""} | message
    return {"model": "qwen3:8b", "created_at": "2026-01-02T03:04:05.678Z", "message": said, "done": False}


def end(reason: str | None = "stop", **more: Any) -> dict[str, Any]:
    told = {"done": True} | ({"done_reason": reason} if reason else {})
    return line() | told | {"prompt_eval_count": 26, "eval_count": 298} | TIMES | more


HELLO = (line(content="Hel"), line(content="lo"))


def raw(*lines: dict[str, Any] | str) -> bytes:
    return "".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in lines).encode()


def events(body: bytes, size: int = 1 << 20) -> list[StreamEvent]:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return list(WIRE.parse_stream(parse_ndjson(pieces), Dialect()))


def read(*lines: dict[str, Any] | str) -> ChatResponse:
    return collect_response(events(raw(*lines)))


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_lines_are_read_however_they_were_cut(size: int) -> None:
    found = collect_response(events(raw(line(content="grüß "), line(content="dich 👋"), end()), size))
    assert (found.message.text, found.model, found.finish_reason) == ("grüß dich 👋", "qwen3:8b", "stop")
    assert found.usage == Usage(26, 298)


def test_thinking_and_calls_have_their_parts() -> None:
    found = read(
        line(thinking="I "),
        line(thinking="ask"),
        line(tool_calls=[{"function": {"name": "weather", "arguments": {"city": "Köln"}}}]),
        line(tool_calls=[{"id": "call_x", "function": {"index": 1, "name": "now", "arguments": {}}}]),
        line(thinking="again", content="so"),
        end(),
    )
    assert found.message.parts == (
        Thinking("I ask", None, MARK),
        ToolCall("call_0", "weather", '{"city":"Köln"}'),
        ToolCall("call_x", "now", "{}"),
        Thinking("again", None, MARK),
        Text("so"),
    )
    assert (found.finish_reason, found.raw_finish_reason) == ("tool_calls", "stop")


@pytest.mark.parametrize(
    ("raw_reason", "reason"), [("stop", "stop"), ("length", "length"), ("load", "incomplete"), (None, "stop")]
)
def test_finish_reason_is_normalized(raw_reason: str | None, reason: str) -> None:
    assert read(*HELLO, end(raw_reason)).finish_reason == reason


def test_stream_without_its_last_line_is_incomplete() -> None:
    assert read(*HELLO).finish_reason is None
    assert read(*HELLO, line() | {"done": "yes"}).finish_reason is None


def test_nothing_is_waited_for_after_the_last_line() -> None:
    def frames() -> Iterator[ServerEvent]:
        yield from parse_ndjson([raw(*HELLO, end())])
        raise UnavailableError("the connection broke", reason="cut")

    assert collect_response(WIRE.parse_stream(frames(), Dialect())).finish_reason == "stop"


def test_missing_counts_are_none() -> None:
    last = {name: value for name, value in end().items() if name not in ("prompt_eval_count", "eval_count")}
    assert read(*HELLO, last).usage is None
    assert read(*HELLO, {**last, "eval_count": 3}).usage == Usage(0, 3, unknown="input")


def test_undecodable_line_is_reported_and_skipped() -> None:
    found = read("{half", *HELLO, end())
    assert len(found.unreadable) == 1
    assert (found.message.text, found.finish_reason) == ("Hello", "stop")


@pytest.mark.parametrize(
    "odd",
    [
        {"message": None},
        {"message": {"content": 3, "thinking": [], "tool_calls": {"a": 1}}},
        {"message": {"tool_calls": [None, {}, {"function": "x"}]}},
        {"model": 3},
    ],
)
def test_misshapen_lines_do_no_harm(odd: dict[str, Any]) -> None:
    assert read(odd, *HELLO, end()).message.text == "Hello"


def test_whole_answer_gives_the_same_as_a_stream() -> None:
    answer = end() | {"message": {"role": "assistant", "content": "Hello", "thinking": "hm"}}
    found = collect_response(WIRE.parse_response(json.dumps(answer).encode(), Dialect()))
    assert found.message.parts == (Thinking("hm", None, MARK), Text("Hello"))
    assert (found.finish_reason, found.usage) == ("stop", Usage(26, 298))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(b"", "not_json"), (b"<html>", "not_json"), (b'{"model":"x"', "not_json"), (b"{}", "no_answer")],
)
def test_body_that_is_no_answer_is_unavailable(answer: bytes, reason: str) -> None:
    with pytest.raises(UnavailableError) as raised:
        list(WIRE.parse_response(answer, Dialect()))
    assert raised.value.reason == reason


def test_error_of_a_line_keeps_what_came_before() -> None:
    came: list[StreamEvent] = []
    body = raw(*HELLO, {"error": "an error was encountered while running the model"})
    with pytest.raises(UnavailableError, match="encountered") as raised:
        came.extend(WIRE.parse_stream(parse_ndjson([body]), Dialect()))
    assert raised.value.reason == "server_error"
    assert collect_response(came).message.text == "Hello"


@pytest.mark.parametrize(
    ("status", "message", "error", "reason"),
    [
        (404, "model 'qwen9' not found", NotFoundError, "model_not_found"),
        (400, '"llama3" does not support thinking', RejectedError, "invalid_request"),
        (400, "the input length exceeds the context length", RejectedError, "context_length"),
        (500, "the prompt is too long", RejectedError, "context_length"),
        (401, "unauthorized", ConfigError, "auth"),
        (429, "you have reached your hourly usage limit", UnavailableError, "rate_limit"),
        (503, "server busy, please try again. maximum pending requests exceeded", UnavailableError, "overloaded"),
        (500, "llama runner process has terminated", UnavailableError, "server_error"),
    ],
)
def test_refusal_has_its_class(status: int, message: str, error: type[LlmctlError], reason: str) -> None:
    found = WIRE.parse_error(status, {}, json.dumps({"error": message}).encode())
    assert (type(found), found.reason, found.status_code, found.message) == (error, reason, status, message)


def test_hints_name_the_command_that_fixes_it() -> None:
    missing = WIRE.parse_error(404, {}, b'{"error":"model \\"qwen9:8b\\" not found, try pulling it first"}')
    assert missing.hint == "ollama pull qwen9:8b"
    long = WIRE.parse_error(400, {}, b'{"error":"the input length exceeds the context length"}')
    assert "num_ctx" in str(long.hint)
