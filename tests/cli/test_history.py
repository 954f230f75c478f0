"""What a chat sends of its past: whoever wrote it, and only what the next model can read."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from llmctl.api.hub import Hub
from llmctl.engine.turn.history import Origin
from llmctl.store.records.types import MessageRow
from tests.cli.test_model_switch import BUSY, sign
from tests.cli.test_wires import connect
from tests.fakes.hosts import HOSTS
from tests.fakes.openai_server import FakeServer
from tests.harness import Llmctl, parse_json, query, require_success

HERE = Origin("anthropic", "claude-4", "https://a.example", "c1")


def answer_row(**columns: Any) -> MessageRow:
    defaults = {"role": "assistant", "type": "chatModel", "provider": "anthropic", "source_id": "c1"}
    return MessageRow(id="m", created_at="", updated_at="", status="completed", **{**defaults, **columns})


@pytest.mark.parametrize(
    ("columns", "origin", "wrote"),
    [
        ({}, {"model": "claude-4", "base_url": "https://a.example"}, True),
        ({"source_id": "c2"}, {"model": "claude-4", "base_url": "https://a.example"}, True),
        ({"provider": "Anthropic"}, {"model": "claude-4", "base_url": "https://a.example"}, True),
        ({}, {"model": "claude-4", "base_url": "https://b.example"}, False),
        ({}, {"model": "claude-4", "base_url": "https://a.example/other"}, False),
        ({}, {"model": "claude-5", "base_url": "https://a.example"}, False),
        ({"provider": "compatible"}, {"model": "claude-4", "base_url": "https://a.example"}, False),
        # Rows of older versions:
        ({"model_id": "claude-4-20250101"}, None, True),
        ({"model_id": None}, None, True),
        ({"model_id": "claude-3"}, None, False),
        ({"model_id": "claude-4", "source_id": "c2"}, None, False),
        ({"model_id": "claude-4", "source_id": "agent", "type": "agent"}, None, True),
        ({"model_id": "claude-4", "provider": "openai"}, None, False),
    ],
)
def test_signatures_are_valid_where_they_were_made(columns: dict[str, Any], origin: Any, wrote: bool) -> None:
    metadata = {"origin": origin} if origin else {}
    assert HERE.wrote(answer_row(**columns), metadata) is wrote


@pytest.mark.parametrize("wire", ["anthropic", "openai-responses", "gemini"])
def test_signature_stays_at_the_host_and_model_that_made_it(llmctl: Llmctl, wire: str) -> None:
    with FakeServer() as server:
        host = HOSTS[wire]
        connect(llmctl, "one", host, server)
        url = server.url.removesuffix("/v1") + "/proxy" + host.path
        flags = ("--provider", host.provider, "--wire", wire, "--model", host.model, "--base-url", url)
        llmctl("connection", "add", "proxy", *flags, "--key-stdin", input="sk-other", check=True)
        llmctl("tool", "add", "weather", "--command", "cat", check=True)
        server.answer(BUSY[wire]({"city": "Rome"}), host.streamed("cold"))
        require_success(llmctl("chat", "-T", "weather:auto", "how is it?"))
        for target, is_sent in (("one", True), ("proxy", False), ("one:another-model-9", False), ("one", True)):
            server.answer(host.streamed("done"))
            require_success(llmctl("chat", "-c", "-m", target, "and now?"))
            body = server.requests[-1].body.decode()
            assert (sign(wire) in body, "Rome" in body, f"looking at {wire}" in body) == (is_sent, True, True), target


@pytest.mark.parametrize("flags", [(), ("--no-stream",)])
def test_written_thinking_is_kept_and_shown_but_never_sent_back(llmctl: Llmctl, flags: tuple[str, ...]) -> None:
    said = "<think>\nhm\n</think>\n\nyes"
    done = llmctl("chat", "-m", "echo", *flags, "-o", f"reply={json.dumps(said)}", "is it?")
    assert done.stdout == said + "\n"
    sent = parse_json(llmctl("chat", "-c", "--dry-run", "--json", "sure?"))["body"]["messages"]
    assert [message["content"] for message in sent] == ["is it?", "yes", "sure?"]


def test_answer_of_nothing_but_thinking_leaves_the_history(llmctl: Llmctl) -> None:
    llmctl("chat", "-m", "echo", "-o", "reply=<think>hm", "is it?", check=True)
    sent = parse_json(llmctl("chat", "-c", "--dry-run", "--json", "well?"))["body"]["messages"]
    assert [message["role"] for message in sent] == ["user"]
    assert "hm" not in json.dumps(sent)


def test_call_that_died_is_told_to_the_model_once(llmctl: Llmctl, env: dict[str, str]) -> None:
    llmctl("tool", "add", "pay", "--command", "sleep 300", check=True)
    with llmctl.start("chat", "-m", "echo", "-T", "pay:auto", "-o", "tool=pay", "pay ann") as running:
        while not query(env, "SELECT 1 FROM sqlite_master WHERE name = 'tool_invocations'") or not query(
            env, "SELECT 1 FROM tool_invocations WHERE status = 'running'"
        ):
            assert running.process.poll() is None
        running.process.kill()
        running.process.wait()
    for _ in range(2):
        done = llmctl("chat", "-c", "-o", "tool=null", "what happened?")
        assert done.returncode == 0, done.stderr
    sent = parse_json(llmctl("chat", "-c", "--dry-run", "--json", "sure?"))["body"]["messages"]
    assert [message["role"] for message in sent[:4]] == ["user", "assistant", "tool", "user"]
    assert sent[1]["tool_calls"][0]["function"]["name"] == "pay"
    assert "whether it had an effect is not known" in sent[2]["content"]
    assert [message["role"] for message in sent].count("tool") == 1


def test_call_that_was_never_approved_is_told_to_the_model(llmctl: Llmctl) -> None:
    llmctl("tool", "add", "pay", "--command", "true", check=True)
    assert llmctl("chat", "-m", "echo", "-T", "pay", "-o", "tool=pay", "pay ann").returncode == 8
    require_success(llmctl("chat", "-c", "-o", "tool=null", "no, wait"))
    sent = parse_json(llmctl("chat", "-c", "--dry-run", "--json", "so?"))["body"]["messages"]
    assert sent[2]["content"] == "The tool 'pay' was not run: the conversation went on without it"


def add_orm_chat(path: str) -> None:
    """Write a chat as ``@node-llm/orm`` does: instructions only in its row, calls only beside the answer."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO chats (id, instructions, provider) VALUES ('orm-1', 'Be nice', 'openai')")
        rows = [("m1", "user", "weather?"), ("m2", "assistant", "It is cold."), ("m3", "user", "thanks")]
        connection.executemany("INSERT INTO messages (id, chat_id, role, content) VALUES (?, 'orm-1', ?, ?)", rows)
        twice = json.dumps(json.dumps({"city": "Rome"}))
        call = "INSERT INTO tool_invocations (id, message_id, tool_call_id, name, arguments, result) VALUES "
        connection.execute(f"{call} ('i1', 'm2', 'call_1', 'weather', ?, 'snow')", (twice,))
        connection.execute(f"{call} ('i2', 'm2', 'call_2', 'weather', '{{}}', NULL)")


EXPECTED = [
    ("system", "Be nice"),
    ("user", "weather?"),
    ("assistant", None),
    ("tool", "snow"),
    ("assistant", None),
    ("tool", "no result was stored"),
    ("assistant", "It is cold."),
]


def test_chat_of_another_program_is_sent_with_its_instructions_and_calls(llmctl: Llmctl, env: dict[str, str]) -> None:
    llmctl("init", "--no-detect", check=True)
    add_orm_chat(env["LLMCTL_DB"])
    flags = ("--chat", "orm-1", "-m", "echo")
    planned = parse_json(llmctl("chat", *flags, "--dry-run", "--json", "go on"))["body"]["messages"]
    assert [(message["role"], message["content"]) for message in planned[:7]] == EXPECTED
    assert planned[2]["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"city":"Rome"}'}
    require_success(llmctl("chat", *flags, "go on"))
    request = parse_json(llmctl("request", "list", "--json"))[0]["id"]
    done = llmctl("request", "curl", request)
    assert "the body differs" not in done.stderr
    assert "Be nice" in done.stdout
    assert "snow" in done.stdout
    require_success(llmctl("request", "replay", request))
    forked = parse_json(llmctl("chats", "fork", "orm-1", "--json"))["id"]
    sent = parse_json(llmctl("chat", "--chat", forked, "-m", "echo", "--dry-run", "--json", "and?"))["body"]["messages"]
    assert [(message["role"], message["content"]) for message in sent[:7]] == EXPECTED


def test_python_sends_the_instructions_of_another_program(llmctl: Llmctl, env: dict[str, str]) -> None:
    llmctl("init", "--no-detect", check=True)
    add_orm_chat(env["LLMCTL_DB"])
    with Hub(env["LLMCTL_DB"], env=env) as hub:
        hub.load_chat("orm-1", model="echo").ask("go on")
    sent = llmctl("request", "curl", query(env, "SELECT id FROM requests WHERE origin = 'llmctl'")[0][0])
    assert sent.stdout.index("Be nice") < sent.stdout.index("snow") < sent.stdout.index("It is cold.")


def test_system_prompt_given_later_replaces_the_instructions(llmctl: Llmctl, env: dict[str, str]) -> None:
    llmctl("init", "--no-detect", check=True)
    add_orm_chat(env["LLMCTL_DB"])
    require_success(llmctl("chat", "--chat", "orm-1", "-m", "echo", "-s", "Be rude", "go on"))
    sent = parse_json(llmctl("chat", "--chat", "orm-1", "-m", "echo", "--dry-run", "--json", "and?"))
    system = [message["content"] for message in sent["body"]["messages"] if message["role"] == "system"]
    assert system == ["Be rude"]
