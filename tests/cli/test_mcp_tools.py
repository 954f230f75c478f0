"""MCP servers: one odd tool, result or message never costs more than itself; files reach the model."""

from __future__ import annotations

import base64
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.openai_server import FakeServer, Reply, event
from tests.harness import Llmctl, Result, query, query_dicts, run_on_terminal

pytestmark = pytest.mark.slow

pytest.importorskip("mcp")

SERVER = os.path.join(os.path.dirname(os.path.dirname(__file__)), "tools", "mcp_server.py")
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def tool(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "inputSchema": {"type": "object", "properties": {}}, **more}


@pytest.fixture
def spec_file(tmp_path: Path) -> Path:
    return tmp_path / "spec.json"


def add(llmctl: Llmctl, spec_file: Path, *flags: str, name: str = "s", **spec: Any) -> Result:
    spec_file.write_text(json.dumps({"tools": [tool("t")], **spec}))
    return llmctl("tool", "add", name, "--mcp", f"{sys.executable} {SERVER} {spec_file}", *flags)


def call(llmctl: Llmctl, *calls: str, grant: str = "s:auto") -> list[tuple[str, str]]:
    done = llmctl("chat", "-m", "echo", "-o", "tool=" + "\n".join(calls), "-T", grant, "--json", "hi", check=True)
    assert "Traceback" not in done.stderr
    return [(one["status"], one["result"]) for one in done.json["tool_calls"]]


def names(env: Mapping[str, str]) -> list[str]:
    return [name for (name,) in query(env, "SELECT name FROM tools ORDER BY rowid")]


def test_tool_that_cannot_be_used_is_named_and_the_others_are_added(
    llmctl: Llmctl, env: Mapping[str, str], spec_file: Path
) -> None:
    odd = [
        {"name": "typed", "inputSchema": {"properties": {"x": {"type": "any"}}}},
        {"name": "list", "inputSchema": ["x"]},
        {"name": "array", "inputSchema": {"type": "array"}},
        {"inputSchema": {}},
        "text",
    ]
    more = [{"name": "bare", "description": 7, "outputSchema": "x", "annotations": 3}]
    done = add(llmctl, spec_file, tools=[*odd, tool("good"), *more])
    assert (done.returncode, names(env)) == (0, ["s_good", "s_bare"]), done.stderr
    for name in ("s_typed", "s_list", "s_array", "inputSchema", "text"):
        assert name in done.stderr
    done = add(llmctl, spec_file, name="o", tools=odd)
    assert (done.returncode, names(env)) == (2, ["s_good", "s_bare"]), done.stderr
    assert 'cannot use the tool "o_typed"' in done.stderr


def test_names_that_become_the_same_get_numbers(llmctl: Llmctl, env: Mapping[str, str], spec_file: Path) -> None:
    long = "x" * 70
    add(llmctl, spec_file, tools=[tool(name) for name in ("a.b", "a_b", "a b", long, long + "y")])
    assert names(env) == ["s_a_b", "s_a_b_2", "s_a_b_3", "s_" + "x" * 62, "s_" + "x" * 60 + "_2"]
    results = call(llmctl, "s_a_b", "s_a_b_2", "s_a_b_3")
    assert [json.loads(text)["name"] for _, text in results] == ["a.b", "a_b", "a b"]


def test_odd_result_costs_no_more_than_itself(llmctl: Llmctl, spec_file: Path) -> None:
    parts = [{"type": "widget", "x": 1}, {"type": "text", "text": "42"}]
    add(llmctl, spec_file, "--timeout", "5", result={"content": parts})
    assert call(llmctl, "s_t") == [("completed", '[widget of an unknown type] {"type":"widget","x":1}\n42')]
    add(llmctl, spec_file, result={"content": parts[1:], "isError": "x"})
    assert call(llmctl, "s_t") == [("failed", "Error executing tool 's_t': 42")]
    add(llmctl, spec_file, result={"isError": True})
    assert call(llmctl, "s_t")[0][0] == "failed"
    add(llmctl, spec_file, "--timeout", "1", result=[])
    assert call(llmctl, "s_t")[0][0] == "failed"


def test_invalid_notifications_are_ignored(llmctl: Llmctl, spec_file: Path) -> None:
    notifications = [
        {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": 3}},
        {"jsonrpc": "2.0", "method": "notifications/progress", "params": "x"},
        {"jsonrpc": "2.0", "method": 7},
        "text",
    ]
    add(llmctl, spec_file, notifications=notifications)
    done = llmctl("tool", "invoke", "s_t", check=True)
    assert done.stderr == ""


def test_image_of_a_tool_reaches_the_model_and_is_kept(
    llmctl: Llmctl, env: Mapping[str, str], spec_file: Path, server: FakeServer
) -> None:
    image = {"type": "image", "data": base64.b64encode(PNG).decode(), "mimeType": "image/png"}
    blob = {"uri": "file:///tmp/notes.txt", "blob": base64.b64encode(b"from a file").decode(), "mimeType": "text/plain"}
    add(llmctl, spec_file, result={"content": [image, {"type": "resource", "resource": blob}, image]})
    llmctl("connection", "add", "fake", "--provider", "compatible", "--base-url", server.url, "--model", "m")
    called = {"index": 0, "id": "c1", "function": {"name": "s_t", "arguments": "{}"}}
    delta = {"choices": [{"index": 0, "delta": {"tool_calls": [called]}, "finish_reason": "tool_calls"}]}
    server.answer(Reply(200, {"content-type": "text/event-stream"}, (event(delta), event("[DONE]")), chunked=True))
    done = llmctl("chat", "-m", "fake", "-T", "s:auto", "--json", "look", check=True)
    text = done.json["tool_calls"][0]["result"]
    assert "[image, image/png, 70 bytes]" in text
    kept = query_dicts(env, "SELECT name, media_type, content FROM attachments ORDER BY rowid")
    assert [(row["name"], row["content"]) for row in kept] == [("image.png", PNG), ("notes.txt", b"from a file")]
    assert query(env, "SELECT count(*) FROM message_attachments") == [(3,)]
    llmctl("chat", "-c", "and again?", check=True)
    for request in server.requests[1:]:
        assert request.body.decode().count(base64.b64encode(PNG).decode()) == 2
        assert "from a file" in request.body.decode()
    assert len(server.requests) == 3
    add(llmctl, spec_file, result={"content": [image]})
    assert [status for status, _ in call(llmctl, "s_t", "\ns_t")] == ["completed", "completed"]


def test_image_of_a_call_is_kept_while_an_earlier_call_waits(
    llmctl: Llmctl, env: Mapping[str, str], spec_file: Path, server: FakeServer
) -> None:
    """Both results reach the model in the order of the calls, the image with its own."""
    image = {"type": "image", "data": base64.b64encode(PNG).decode(), "mimeType": "image/png"}
    add(llmctl, spec_file, result={"content": [image]})
    llmctl("connection", "add", "fake", "--provider", "compatible", "--base-url", server.url, "--model", "m")
    functions = [{"name": name, "arguments": "{}"} for name in ("time", "s_t")]
    called = [{"index": n, "id": f"c{n + 1}", "function": one} for n, one in enumerate(functions)]
    delta = {"choices": [{"index": 0, "delta": {"tool_calls": called}, "finish_reason": "tool_calls"}]}
    server.answer(Reply(200, {"content-type": "text/event-stream"}, (event(delta), event("[DONE]")), chunked=True))
    assert llmctl("chat", "-m", "fake", "-T", "time", "-T", "s:auto", "look").returncode == 8
    waiting = llmctl("tool", "pending", "--columns", "id").stdout.strip()
    llmctl("tool", "approve", waiting, "--continue", check=True)
    assert query(env, "SELECT count(*) FROM message_attachments") == [(1,)]
    sent = server.requests[1].json["messages"]
    assert [message["tool_call_id"] for message in sent if message["role"] == "tool"] == ["c1", "c2"]
    assert base64.b64encode(PNG).decode() in server.requests[1].body.decode()


def test_server_that_crashed_is_started_again_by_the_next_call(llmctl: Llmctl, spec_file: Path) -> None:
    add(llmctl, spec_file, crash=True)
    first, second = call(llmctl, "s_t", "\ns_t")
    assert first[0] == "failed"
    told = "the MCP server ended: ValueError: out of cheese; it may have done what it was asked before it ended"
    assert first[1] == f"Error executing tool 's_t': {told}"
    assert second[0] == "completed"


@pytest.mark.parametrize("hint", ["readOnlyHint", "idempotentHint", "destructiveHint"])
def test_call_during_which_the_server_ended_is_made_again_where_that_is_safe(
    hint: str, llmctl: Llmctl, spec_file: Path
) -> None:
    add(llmctl, spec_file, crash=True, tools=[tool("t", annotations={hint: True})])
    [(status, _)] = call(llmctl, "s_t")
    assert status == ("failed" if hint == "destructiveHint" else "completed")


def test_time_limit_of_a_server_is_kept(llmctl: Llmctl, spec_file: Path) -> None:
    add(llmctl, spec_file, delay=60, linger=60)
    started = time.monotonic()
    done = llmctl("tool", "invoke", "s_t", "--timeout", "0.5")
    assert (done.returncode, done.stderr) == (6, "llmctl: no result within 0.5 s\n")
    assert time.monotonic() - started < 30


def test_tools_of_a_server_are_granted_and_removed_together(
    llmctl: Llmctl, env: Mapping[str, str], spec_file: Path
) -> None:
    add(llmctl, spec_file, tools=[tool("a"), tool("b"), tool("bc")])
    assert [status for status, _ in call(llmctl, "s_a\ns_b")] == ["completed", "completed"]
    assert call(llmctl, "s_b\ns_a", grant="s_b*:auto")[0][0] == "completed"
    done = llmctl("chat", "-m", "echo", "-T", "s:deny", "-T", "s_a:auto", "-o", "tool=s_a\ns_b", "--json", "hi")
    assert [one["status"] for one in done.json["tool_calls"]] == ["completed", "denied"]
    assert llmctl("chat", "-m", "echo", "-T", "x_*", "hi").returncode == 3
    llmctl("agent", "create", "clerk", "--model", "echo", "--tool", "s:auto", check=True)
    assert len(llmctl("agent", "show", "clerk", "--json", check=True).json["tools"]) == 3
    llmctl("agent", "detach", "clerk", "s_b*", check=True)
    assert len(llmctl("agent", "show", "clerk", "--json", check=True).json["tools"]) == 1
    llmctl("tool", "remove", "s", check=True)
    assert names(env) == []


@pytest.mark.parametrize("again", ["add", "refresh"])
def test_changes_of_a_server_are_taken_over(
    llmctl: Llmctl, env: Mapping[str, str], spec_file: Path, again: str
) -> None:
    add(llmctl, spec_file, tools=[tool("a"), tool("b"), tool("c")])
    llmctl("tool", "edit", "s_b", "--name", "own", "--deny", "*", check=True)
    changed = tool("b", description="New")
    new = [tool("a"), changed, tool("d"), {"name": "odd", "inputSchema": {"type": "array"}}]
    spec_file.write_text(json.dumps({"tools": new}))
    done = llmctl("tool", "refresh", "s") if again == "refresh" else add(llmctl, spec_file, tools=new)
    assert done.returncode == 0, done.stderr
    for line in ('added tool "s_d"', 'changed tool "own": description', 'removed tool "s_c"', '"s_odd"'):
        assert line in done.stderr
    assert names(env) == ["s_a", "own", "s_d"]
    assert llmctl("tool", "invoke", "own").returncode == 10
    assert "nothing has changed" in llmctl("tool", "refresh", "s", check=True).stderr
    assert llmctl("tool", "refresh", "nope").returncode == 3


def test_variable_that_is_not_set_is_named(llmctl: Llmctl, spec_file: Path) -> None:
    done = add(llmctl, spec_file, "--env", "FOO")
    assert (done.returncode, "FOO" in done.stderr, "connection" in done.stderr) == (4, True, False), done.stderr
    assert "--env FOO=" in done.stderr


def test_removing_asks_on_a_terminal(llmctl: Llmctl, env: Mapping[str, str], spec_file: Path, tmp_path: Path) -> None:
    add(llmctl, spec_file)
    command = [sys.executable, "-m", "llmctl", "tool", "remove", "s_t"]
    assert run_on_terminal(command, env, [("[y/N]", b"n\n")])[0] == 10
    assert names(env) == ["s_t"]
    assert run_on_terminal([*command, "--yes"], env)[0] == 0
    assert names(env) == []
    llmctl("connection", "add", "work", "--provider", "ollama", "--model", "m", check=True)
    command = [sys.executable, "-m", "llmctl", "connection", "remove", "work"]
    assert run_on_terminal(command, env, [("[y/N]", b"n\n")])[0] == 10
    assert run_on_terminal(command, env, [("[y/N]", b"y\n")])[0] == 0
    assert llmctl("connection", "show", "work").returncode == 3
