"""Real coding agents behind the proxy, offline: an upstream on loopback answers them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.fakes import npm
from tests.fakes.hosts import HOSTS
from tests.fakes.openai_server import FakeServer, Reply, Request, event, json_reply
from tests.harness import Llmctl, Result, parse_json, query, require_success

pytestmark = pytest.mark.optin

ANSWER = "Hello from loopback."


def answer(request: Request) -> Reply:
    if request.method != "POST":
        return Reply(200, {"content-type": "application/json"}, (), length=0)
    if request.path.endswith("/responses"):
        return stream_items()
    if request.path.startswith("/v1/messages?"):
        return HOSTS["anthropic"].streamed(ANSWER)
    return json_reply(200, {"input_tokens": 5})


def stream_items() -> Reply:
    """Return an answer as Codex wants it: each text belongs to an item that was announced."""
    text = {"type": "output_text", "text": ANSWER, "annotations": []}
    item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [text]}
    response = {"id": "resp_1", "model": "gpt-5", "status": "completed", "output": [item]}
    usage = {"input_tokens": 50, "output_tokens": 7, "total_tokens": 57}
    started = {**item, "content": [], "status": "in_progress"}
    place = {"output_index": 0, "item_id": "msg_1", "content_index": 0}
    events = [
        {"type": "response.created", "response": {**response, "status": "in_progress", "output": []}},
        {"type": "response.output_item.added", "output_index": 0, "item": started},
        {"type": "response.output_text.delta", **place, "delta": ANSWER},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": {**response, "usage": usage}},
    ]
    steps = tuple(event(one, one["type"]) for one in events)
    return Reply(200, {"content-type": "text/event-stream"}, steps, chunked=True)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    return folder


def run_agent(llmctl: Llmctl, project: Path, server: FakeServer, package: str, *words: str, **env: str) -> Result:
    binaries = npm.packages(package, runs_scripts=True) / "node_modules" / ".bin"
    if not binaries.joinpath(words[0]).exists():
        npm.skip(f"{package} has no program {words[0]}")
    variables = {name: value for name, value in llmctl.env.items() if name != "PYTEST_CURRENT_TEST"}
    own = Llmctl({**variables, **env, "PATH": f"{binaries}:{os.environ['PATH']}"}, str(project))
    server.answer(*[answer] * 20)
    root = server.url.removesuffix("/v1")
    result = own.with_env(OPENAI_BASE_URL=server.url, ANTHROPIC_BASE_URL=root)("proxy", "--", *words)
    server._answers.clear()
    return result


def test_claude_code_session_is_one_chat(llmctl: Llmctl, env: dict[str, str], project: Path) -> None:
    settings = {"ANTHROPIC_API_KEY": "sk-ant-canary-0123456789", "DISABLE_AUTOUPDATER": "1"}
    settings["CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC"] = "1"
    package = "@anthropic-ai/claude-code@2.1.197"
    with FakeServer() as server:
        for words in (("-p", "say hello"), ("-c", "-p", "and again")):
            done = run_agent(llmctl, project, server, package, "claude", *words, **settings)
            assert ANSWER in require_success(done)
            assert 'chat "claude in shop"' in done.stderr
    (chat,) = parse_json(llmctl("chats", "list", "--json"))
    roles = query(env, "SELECT role, count(*) FROM messages WHERE role <> 'system' GROUP BY role ORDER BY role")
    assert roles == [("assistant", 2), ("user", 2)]
    ((threads, bodies),) = query(env, "SELECT count(DISTINCT thread_id), count(DISTINCT session_key) FROM requests")
    assert (threads, bodies) == (1, 1)
    shown = require_success(llmctl("chats", "show", chat["id"]))
    assert shown.count(ANSWER) == 2
    assert "sk-ant-canary" not in Path(env["LLMCTL_DB"]).read_bytes().decode("latin-1")


def test_codex_falls_back_from_its_websocket(
    llmctl: Llmctl, env: dict[str, str], project: Path, tmp_path: Path
) -> None:
    home = tmp_path / "codex"
    home.mkdir()
    (home / "auth.json").write_text('{"OPENAI_API_KEY": "sk-canary-0123456789abcdef"}')
    with FakeServer() as server:
        words = ("codex", "exec", "--skip-git-repo-check", "say hello")
        done = run_agent(llmctl, project, server, "@openai/codex@0.171.0", *words, CODEX_HOME=str(home))
        assert ANSWER in require_success(done)
        assert [request.method for request in server.requests if request.path.endswith("/responses")] == ["POST"]
    (chat,) = parse_json(llmctl("chats", "list", "--json"))
    assert chat["name"] == "codex in shop"
    assert ANSWER in require_success(llmctl("chats", "show", chat["id"]))
