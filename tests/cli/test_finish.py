"""What a turn leaves when it fails, and what finishes it: a prompt without an answer is not sent with the next one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.fakes.openai_server import FakeServer, Reply
from tests.harness import LLMCTL, Llmctl, parse_json, require_failure, require_success, run_on_terminal

REFUSED = Reply(401, {"content-type": "application/json"}, (b'{"error":{"message":"bad key"}}',), length=31)


@pytest.fixture
def llmctl(llmctl: Llmctl, server: FakeServer) -> Llmctl:
    """llmctl with a fake provider as its default."""
    llmctl.env["K"] = "key-0123456789"
    llmctl("connection", "add", "fake", "--base-url", server.url, "-m", "m", "--key-env", "K", "--default", check=True)
    return llmctl


def fail(llmctl: Llmctl, server: FakeServer, *words: str) -> None:
    """Run a turn that the provider refuses."""
    server.answer(REFUSED)
    assert llmctl("chat", *words).returncode == 4


def prompts(body: Any) -> list[str]:
    return [message["content"] for message in body["messages"] if message["role"] == "user"]


def sent(server: FakeServer) -> list[str]:
    """Return the prompts in the last request."""
    return prompts(server.requests[-1].json)


def test_prompt_of_a_failed_turn_is_not_sent_with_the_next(llmctl: Llmctl, server: FakeServer) -> None:
    fail(llmctl, server, "--name", "x", "first")
    fail(llmctl, server, "--name", "x", "second")
    dry = json.loads(llmctl("chat", "--name", "x", "--dry-run", "--json", "third", check=True).stdout)
    assert prompts(dry["body"]) == ["third"]
    llmctl("chat", "--name", "x", "-n", "unlogged", check=True)
    assert sent(server) == ["unlogged"]
    llmctl("chat", "--name", "x", "third", check=True)
    assert sent(server) == ["third"]
    llmctl("chat", "--name", "x", "fourth", check=True)
    assert sent(server) == ["third", "fourth"]


def test_prompt_of_a_failed_turn_is_marked(llmctl: Llmctl, server: FakeServer) -> None:
    fail(llmctl, server, "--name", "x", "first")
    (chat,) = parse_json(llmctl("chats", "list", "--json"))
    assert chat["state"] == "failed"
    llmctl("chat", "--name", "x", "second", check=True)
    (chat,) = parse_json(llmctl("chats", "list", "--json"))
    assert chat["state"] is None
    first, second, _ = parse_json(llmctl("chats", "show", "x", "--json"))["messages"]
    assert ("bad key" in first["error"], second["error"]) == (True, None)
    shown = require_success(llmctl("chats", "show", "x"))
    assert shown.startswith("user (not answered: ")
    assert "\nuser:\nsecond\n" in shown
    assert llmctl("chats", "list").stdout.count("\t") == 5  # a pipe gets the columns that it always got


@pytest.mark.parametrize("words", [["--chat", "x"], ["--chat", "x", "--finish"], ["-c", "--finish"], ["-c"]])
def test_finish_sends_the_prompt_of_a_failed_turn(llmctl: Llmctl, server: FakeServer, words: list[str]) -> None:
    fail(llmctl, server, "--name", "x", "first")
    fail(llmctl, server, "--name", "x", "second")
    llmctl("chat", *words, check=True)
    assert sent(server) == ["second"]
    *_, second, answer = parse_json(llmctl("chats", "show", "x", "--json"))["messages"]
    assert (second["error"], answer["role"]) == (None, "assistant")
    assert "no unfinished turn" in require_failure(llmctl("chat", *words), 2)


def test_added_message_is_sent_although_another_follows(llmctl: Llmctl, server: FakeServer) -> None:
    llmctl("chat", "--name", "x", "first", check=True)
    llmctl("message", "add", "--chat", "x", "added", check=True)
    llmctl("chat", "--name", "x", "second", check=True)
    assert sent(server) == ["first", "added\n\nsecond"]


def test_messages_of_one_turn_are_answered_together(llmctl: Llmctl, server: FakeServer) -> None:
    messages = json.dumps([{"role": "user", "content": text} for text in ("one", "two")])
    server.answer(REFUSED)
    llmctl("chat", "--name", "x", "--messages", "-", input=messages)
    llmctl("chat", "--name", "x", "--finish", check=True)
    assert sent(server) == ["one\n\ntwo"]
    llmctl("chat", "--name", "x", "three", check=True)
    assert sent(server) == ["one\n\ntwo", "three"]


def test_fallback_answers_the_prompt_of_the_first_model(llmctl: Llmctl, server: FakeServer) -> None:
    server.answer(Reply(503, {}, (), length=0))
    llmctl("chat", "--name", "x", "--retries", "0", "--fallback", "echo", "first", check=True)
    llmctl("chat", "--name", "x", "second", check=True)
    assert sent(server) == ["first", "second"]
    assert [row["error"] for row in parse_json(llmctl("chats", "show", "x", "--json"))["messages"]] == [None] * 4


@pytest.mark.parametrize(
    "words", [["--finish"], ["--finish", "hi"], ["-c", "--finish", "hi"], ["-c", "--finish", "-i"]], ids=" ".join
)
def test_finish_needs_a_chat_and_no_prompt(llmctl: Llmctl, words: list[str]) -> None:
    llmctl("chat", "hello", check=True)
    assert "--finish" in require_failure(llmctl("chat", *words), 2)


def test_terminal_opens_the_chat_and_says_what_is_unfinished(llmctl: Llmctl, server: FakeServer) -> None:
    fail(llmctl, server, "--name", "x", "first")
    code, screen = run_on_terminal([*LLMCTL, "chat", "--chat", "x"], llmctl.env, [(">", b"\x04")])
    assert code == 0
    assert "first" in screen
    assert "the last message has no answer; /continue finishes it" in screen
    assert len(server.requests) == 1
    answers = [(">", b"/continue\n"), (">", b"\x04")]
    code, screen = run_on_terminal([*LLMCTL, "chat", "--chat", "x"], llmctl.env, answers)
    assert (code, sent(server)) == (0, ["first"])
    code, screen = run_on_terminal([*LLMCTL, "chat", "--chat", "x"], llmctl.env, answers)
    assert "no unfinished turn" in screen
    assert "/continue finishes" not in screen


def test_terminal_finishes_with_the_flag(llmctl: Llmctl, server: FakeServer) -> None:
    fail(llmctl, server, "--name", "x", "first")
    code, _ = run_on_terminal([*LLMCTL, "chat", "--chat", "x", "--finish"], llmctl.env)
    assert (code, sent(server)) == (0, ["first"])


def test_retry_sends_the_prompt_of_a_failed_turn(llmctl: Llmctl, server: FakeServer) -> None:
    fail(llmctl, server, "--name", "x", "first")
    code, _ = run_on_terminal([*LLMCTL, "chat", "--chat", "x"], llmctl.env, [(">", b"/retry\n"), (">", b"\x04")])
    assert (code, sent(server)) == (0, ["first"])
