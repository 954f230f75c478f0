"""Anthropic on the command line: a conversation with a loopback stand-in, from the flags to the rows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes import anthropic_server as anthropic
from tests.fakes import openai_server as openai
from tests.fakes.openai_server import CUT, FakeServer, json_reply
from tests.harness import Llmctl, query

KEY = "sk-ant-test-0123456789abcdef"


@pytest.fixture
def server(env: dict[str, str]) -> Iterator[FakeServer]:
    """A stand-in at the address that Anthropic's own variable names."""
    with FakeServer() as running:
        env |= {"ANTHROPIC_BASE_URL": running.url.removesuffix("/v1"), "ANTHROPIC_API_KEY": KEY}
        env |= {"LLMCTL_MODEL": "anthropic:claude-haiku-4-5"}
        yield running


def test_turn_with_thinking_is_stored_and_given_back(server: FakeServer, llmctl: Llmctl, env: dict[str, str]) -> None:
    server.answer(
        anthropic.stream(
            anthropic.thinking(0, "let me see", "sig-1"), anthropic.text(1, "It ", "rains."), anthropic.end()
        )
    )
    done = llmctl("chat", "weather?", "-s", "be brief", "--thinking", "2000", "--show-thinking", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["content"], found["thinking"], found["finish_reason"]) == ("It rains.", "let me see", "stop")
    assert (found["provider"], found["model"]) == ("anthropic", anthropic.MODEL)
    assert found["usage"] == {
        "input_tokens": 240,
        "output_tokens": 50,
        "total_tokens": 290,
        "cached_tokens": 200,
        "cache_write_tokens": 30,
        "thinking_tokens": 0,
    }
    first = server.requests[0]
    assert (first.path, first.headers["x-api-key"]) == ("/v1/messages", KEY)
    assert first.json["thinking"] == {"type": "enabled", "budget_tokens": 2000}
    assert first.json["system"] == "be brief"
    assert query(env, "SELECT thinking_text, thinking_signature FROM messages WHERE role = 'assistant'") == [
        ("let me see", "sig-1")
    ]
    assert query(env, "SELECT input_tokens, output_tokens, cached_tokens, cache_write_tokens FROM requests") == [
        (240, 50, 200, 30)
    ]
    assert query(env, "SELECT count(*) FROM network_calls WHERE request_headers LIKE '%sk-ant%'") == [(0,)]

    server.answer(anthropic.stream(anthropic.text(0, "Still."), anthropic.end()))
    assert llmctl("chat", "-c", "and now?").stdout == "Still.\n"
    assert server.requests[1].json["messages"][1] == {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "let me see", "signature": "sig-1"},
            {"type": "text", "text": "It rains."},
        ],
    }


def test_call_is_a_row_and_its_result_goes_back(server: FakeServer, llmctl: Llmctl, env: dict[str, str]) -> None:
    called = [anthropic.thinking(0, "ask", "sig-1"), anthropic.call(1, "toolu_1", "weather", '{"city"', ':"Berlin"}')]
    server.answer(
        anthropic.stream(*called, anthropic.end("tool_use")),
        anthropic.stream(anthropic.text(0, "It rains."), anthropic.end()),
    )
    done = llmctl("chat", "weather?", "--json")
    assert done.returncode == 0, done.stderr
    assert query(env, "SELECT tool_call_id, name, arguments FROM tool_invocations") == [
        ("toolu_1", "weather", '{"city":"Berlin"}')
    ]
    _, answer, result = server.requests[1].json["messages"]
    assert answer["content"] == [
        {"type": "thinking", "thinking": "ask", "signature": "sig-1"},
        {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Berlin"}},
    ]
    assert [block["tool_use_id"] for block in result["content"]] == ["toolu_1"]
    assert json.loads(done.stdout)["usage"]["input_tokens"] == 480


def test_conversation_started_on_another_provider_continues(
    server: FakeServer, llmctl: Llmctl, env: dict[str, str]
) -> None:
    id = "call:1|" + "x" * 80
    call = {"index": 0, "id": id, "function": {"name": "fs.read", "arguments": '{"path":"a"}'}}
    with FakeServer() as other:
        other.answer(
            openai.Reply(
                200,
                {"content-type": "text/event-stream"},
                (
                    openai.thought("theirs"),
                    chunk({"tool_calls": [call]}),
                    chunk({}, "tool_calls"),
                    openai.event("[DONE]"),
                ),
                chunked=True,
            ),
            openai.stream("the end"),
        )
        assert llmctl("connection", "add", "work", "--base-url", other.url, "--model", "gpt").returncode == 0
        assert llmctl("chat", "-m", "work", "first").returncode == 0
    server.answer(anthropic.stream(anthropic.text(0, "gladly"), anthropic.end()))
    done = llmctl("chat", "-c", "-m", "anthropic:claude-haiku-4-5", "second")
    assert (done.returncode, done.stdout) == (0, "gladly\n"), done.stderr
    asked = server.requests[0].json
    assert [turn["role"] for turn in asked["messages"]] == ["user", "assistant", "user", "assistant", "user"]
    (called,), (answered,) = asked["messages"][1]["content"], asked["messages"][2]["content"]
    assert re.fullmatch("[a-zA-Z0-9_-]{1,64}", called["id"])
    assert (called["name"], called["input"], answered["tool_use_id"]) == ("fs_read", {"path": "a"}, called["id"])
    assert [tool["name"] for tool in asked["tools"]] == ["fs_read"]


def chunk(delta: dict[str, Any], reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return openai.event({"id": "c", "model": "gpt", "choices": [choice]})


def test_overload_is_waited_for(server: FakeServer, llmctl: Llmctl, env: dict[str, str]) -> None:
    server.answer(
        anthropic.refusal(529, "overloaded_error", "Overloaded", {"retry-after": "0"}),
        anthropic.stream(anthropic.text(0, "here"), anthropic.end()),
    )
    done = llmctl("chat", "hello")
    assert (done.returncode, done.stdout) == (0, "here\n")
    assert query(env, "SELECT attempt, status, status_code FROM network_calls ORDER BY attempt") == [
        (1, "error", 529),
        (2, "success", 200),
    ]


@pytest.mark.parametrize(
    ("kind", "code", "reason"),
    [("overloaded_error", 6, "overloaded"), ("invalid_request_error", 5, "invalid_request")],
)
def test_error_inside_a_stream_has_the_exit_code_of_its_class(
    server: FakeServer, llmctl: Llmctl, env: dict[str, str], kind: str, code: int, reason: str
) -> None:
    server.answer(anthropic.stream(anthropic.text(0, "It ", "ra"), [anthropic.failure(kind, "no more")]))
    done = llmctl("chat", "weather?", "--json")
    assert done.returncode == code, done.stderr
    assert json.loads(done.stderr.splitlines()[-1])["error"]["reason"] == reason
    assert query(env, "SELECT content FROM messages WHERE role = 'assistant'") == [("It ra",)]
    # What it took until then is billed.
    assert query(env, "SELECT input_tokens, cached_tokens FROM requests") == [(240, 200)]


def test_cut_stream_is_incomplete_and_its_text_is_kept(server: FakeServer, llmctl: Llmctl, env: dict[str, str]) -> None:
    server.answer(anthropic.stream(anthropic.text(0, "It ", "ra"), [CUT]))
    done = llmctl("chat", "weather?")
    assert (done.returncode, done.stdout.strip()) == (12, "It ra")
    assert query(env, "SELECT status FROM requests") == [("incomplete",)]


def test_models_are_listed(server: FakeServer, llmctl: Llmctl) -> None:
    listing = {
        "data": [{"type": "model", "id": anthropic.MODEL, "display_name": "Claude Haiku 4.5"}],
        "has_more": False,
    }
    server.answer(lambda request: json_reply(200, listing))
    assert llmctl("connection", "add", "anthropic", "--model", "claude-haiku-4-5").returncode == 0
    done = llmctl("connection", "models", "anthropic", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["id"] == anthropic.MODEL
    assert server.requests[-1].path == "/v1/models?limit=1000"


@pytest.mark.parametrize(
    ("model", "code"),
    [("claude-haiku-4-5", 0), (anthropic.MODEL, 0), ("claude-haiku-4-5-latest", 0), ("claude-haiko", 3)],
)
def test_connection_is_tested_with_dated_models(server: FakeServer, llmctl: Llmctl, model: str, code: int) -> None:
    server.answer(lambda request: json_reply(200, {"data": [{"type": "model", "id": anthropic.MODEL}]}))
    assert llmctl("connection", "add", "anthropic", "--model", model).returncode == 0
    done = llmctl("connection", "test", "anthropic")
    assert done.returncode == code, done.stderr
