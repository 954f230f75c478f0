"""Ollama's own API on the command line: lines of JSON from a loopback stand-in."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes.openai_server import FakeServer, Reply, Step, json_reply
from tests.harness import Llmctl


def lines(*messages: dict[str, Any] | None, last: dict[str, Any] | None = None) -> Reply:
    """Return a streamed answer, a line for each message, and the last one with its counts."""
    told = [
        {"model": "qwen3:8b", "message": {"role": "assistant", **(message or {})}, "done": False}
        for message in messages
    ]
    told.append(last or {"model": "qwen3:8b", "message": {"role": "assistant", "content": ""}, "done": True,
                         "done_reason": "stop", "prompt_eval_count": 7, "eval_count": 3})  # fmt: skip
    steps: tuple[Step, ...] = tuple(json.dumps(line).encode() + b"\n" for line in told)
    return Reply(200, {"content-type": "application/x-ndjson"}, steps, chunked=True)


@pytest.fixture
def server(env: dict[str, str], llmctl: Llmctl) -> Iterator[FakeServer]:
    with FakeServer() as running:
        flags = ("--provider", "ollama", "--wire", "ollama", "--model", "qwen3:8b", "--base-url", running.url)
        assert llmctl("connection", "add", "local", *flags, "--default").returncode == 0
        yield running


def test_turn_is_streamed_and_stored(server: FakeServer, llmctl: Llmctl, env: dict[str, str]) -> None:
    server.answer(lines({"thinking": "let me see"}, {"content": "It "}, {"content": "rains."}))
    done = llmctl("chat", "weather?", "-o", "num_ctx=32768", "--thinking", "low", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["content"], found["thinking"], found["model"]) == ("It rains.", "let me see", "qwen3:8b")
    assert (found["usage"]["input_tokens"], found["usage"]["output_tokens"]) == (7, 3)
    asked = server.requests[0]
    assert (asked.path, asked.json["options"], asked.json["think"]) == ("/api/chat", {"num_ctx": 32768}, "low")
    with sqlite3.connect(env["LLMCTL_DB"]) as hub:
        assert hub.execute("SELECT status, input_tokens, output_tokens FROM requests").fetchall() == [
            ("completed", 7, 3)
        ]


def test_whole_answer_and_its_error_are_read_too(server: FakeServer, llmctl: Llmctl) -> None:
    message = {"role": "assistant", "content": "whole"}
    server.answer(json_reply(200, {"model": "qwen3:8b", "message": message, "done": True, "done_reason": "stop"}))
    assert llmctl("chat", "--no-stream", "hi").stdout == "whole\n"
    server.answer(json_reply(404, {"error": "model 'qwen3:8b' not found"}))
    done = llmctl("chat", "hi")
    assert done.returncode == 3
    assert "ollama pull qwen3:8b" in done.stderr


def test_error_in_a_line_has_the_exit_code_of_its_class(server: FakeServer, llmctl: Llmctl) -> None:
    server.answer(lines({"content": "It ra"}, last={"error": "the model runner stopped"}))
    done = llmctl("chat", "weather?")
    assert (done.returncode, done.stdout.strip()) == (6, "It ra")


def test_limit_of_the_user_in_the_servers_own_word_is_no_break(server: FakeServer, llmctl: Llmctl) -> None:
    last = {"model": "qwen3:8b", "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "length"}
    server.answer(lines({"content": "one two"}, last=last), lines({"content": "one two"}, last=last))
    assert llmctl("chat", "count", "-o", "num_predict=2").returncode == 0
    assert llmctl("chat", "count").returncode == 12


def test_models_come_from_the_tags(server: FakeServer, llmctl: Llmctl) -> None:
    server.answer(json_reply(200, {"models": [{"name": "qwen3:8b", "model": "qwen3:8b", "size": 5}]}))
    done = llmctl("connection", "models", "local", "--json")
    assert [model["id"] for model in json.loads(done.stdout)] == ["qwen3:8b"]
    assert server.requests[-1].path == "/api/tags"


def test_texts_are_embedded_for_nothing(server: FakeServer, llmctl: Llmctl, env: dict[str, str]) -> None:
    server.answer(json_reply(200, {"model": "nomic-embed-text", "embeddings": [[1, 2]], "prompt_eval_count": 2}))
    done = llmctl("embed", "one", "--max-cost", "0", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["embeddings"][0]["embedding"] == [1.0, 2.0]
    [asked] = server.requests
    assert (asked.path, asked.json["model"], asked.json["input"]) == ("/api/embed", "nomic-embed-text", ["one"])
    with sqlite3.connect(env["LLMCTL_DB"]) as hub:
        assert hub.execute("SELECT type, input_tokens, cost FROM requests").fetchall() == [("embedding", 2, 0.0)]
