"""``llmctl proxy``: what other programs send is recorded as if ``chat`` had sent it."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import anthropic_server as anthropic
from tests.fakes.openai_server import CUT, FakeServer, Reply, document, json_reply, refusal, stream
from tests.harness import Llmctl, RunningProcess, parse_json, query, require_failure, require_success, wait_until

KEY = "sk-canary-0123456789abcdef"
SESSION = {"x-claude-code-session-id": "5e55", "user-agent": "claude-cli/2.1.197 (external, cli)"}


class Proxy:
    """A running proxy, and requests through it."""

    def __init__(self, process: RunningProcess, port: int) -> None:
        self.process = process
        self.port = port

    def request(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        data = None if body is None else json.dumps(body).encode()
        connection.request(method, path, data, {"authorization": f"Bearer {KEY}", **(headers or {})})
        response = connection.getresponse()
        found = response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
        connection.close()
        return found

    def chat(self, *turns: tuple[str, str], headers: Mapping[str, str] | None = None, **more: Any) -> str:
        """Send a conversation to Chat Completions and return the answer."""
        messages = [{"role": role, "content": content} for role, content in turns]
        body = {"model": "fake-1", "messages": messages, **more}
        status, _, data = self.request("POST", "/v1/chat/completions", body, headers)
        assert status == 200, data
        return str(json.loads(data)["choices"][0]["message"]["content"])

    def stop(self) -> str:
        """End it, and return what it said."""
        self.process.process.send_signal(signal.SIGINT)
        done = self.process.wait()
        assert done.returncode == -signal.SIGINT, done.stderr
        return done.stderr


@contextmanager
def running(llmctl: Llmctl, server: FakeServer, *arguments: str) -> Iterator[Proxy]:
    behind = llmctl.with_env(OPENAI_BASE_URL=server.url, ANTHROPIC_BASE_URL=server.url.removesuffix("/v1"))
    pipe, writer = os.pipe()
    with behind.start("proxy", "--port", "0", *arguments, stderr=writer) as process:
        os.close(writer)
        with os.fdopen(pipe, "rb", buffering=0) as notes:
            said = b""
            while not (found := re.search(rb"127\.0\.0\.1:(\d+)", said)):
                piece = notes.read(4096)
                assert piece, said
                said += piece
            proxy = Proxy(process, int(found[1]))
            yield proxy
            if process.process.poll() is None:
                proxy.stop()


@contextmanager
def recording(llmctl: Llmctl, *arguments: str) -> Iterator[tuple[Proxy, FakeServer]]:
    with FakeServer() as server, running(llmctl, server, *arguments) as proxy:
        yield proxy, server


def list_messages(env: Mapping[str, str]) -> list[tuple[str, str]]:
    return query(env, "SELECT role, content FROM messages ORDER BY thread_id, seq")


def test_conversation_without_a_name_is_one_chat(llmctl: Llmctl, env: dict[str, str]) -> None:
    with recording(llmctl, "--app", "notebook") as (proxy, server):
        server.answer(*map(document, ("one", "two", "three")))
        turns = [("system", "terse"), ("user", "a")]
        for prompt in ("b", "c", None):
            turns.append(("assistant", proxy.chat(*turns)))
            turns += [("user", prompt)] if prompt else []
    assert list_messages(env) == turns
    chats = parse_json(llmctl("chats", "list", "--json"))
    assert [chat["name"] for chat in chats] == [f"notebook in {Path(llmctl.cwd).name}"]
    requests = query(env, "SELECT status, app, input_tokens, folder, origin FROM requests")
    assert requests == [("completed", "notebook", 7, llmctl.cwd, "proxy")] * 3
    bodies = query(env, "SELECT body, omitted_messages FROM network_calls ORDER BY rowid")
    assert [count for _, count in bodies] == [0, 2, 4]
    assert '"content":"a"' not in bodies[2][0]
    assert require_success(llmctl("chats", "show", chats[0]["id"])).count("three") == 1


def test_key_of_the_program_is_nowhere(llmctl: Llmctl, env: dict[str, str], tmp_path: Path) -> None:
    with recording(llmctl) as (proxy, server):
        server.answer(document(f"you sent {KEY}"))
        proxy.chat(("user", f"my key is {KEY}"), headers={"cookie": KEY, "x-api-key": KEY})
        proxy.request("GET", f"/v1/models?key={KEY}")
        assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
        assert KEY in server.requests[0].body.decode()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert Path(env["LLMCTL_DB"]) in files
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
    assert query(env, "SELECT count(*) FROM requests") == [(2,)]


@pytest.mark.slow
def test_same_question_twice_is_two_chats(llmctl: Llmctl, env: dict[str, str]) -> None:
    with recording(llmctl) as (proxy, _):
        proxy.chat(("user", "spam or ham?"))
        proxy.chat(("user", "spam or ham?"))
    assert query(env, "SELECT count(*) FROM chats") == [(2,)]


@pytest.mark.slow
def test_conversation_that_goes_another_way_is_a_branch(llmctl: Llmctl, env: dict[str, str]) -> None:
    with recording(llmctl) as (proxy, server):
        server.answer(*map(document, ("one", "two", "other")))
        first = (("user", "a"), ("assistant", proxy.chat(("user", "a"))))
        proxy.chat(*first, ("user", "b"))
        proxy.chat(*first, ("user", "c"))
    threads = query(env, "SELECT parent_id IS NOT NULL, parent_seq FROM message_threads ORDER BY rowid")
    assert threads == [(0, None), (1, 2)]
    assert query(env, "SELECT count(*) FROM chats") == [(1,)]


@pytest.mark.slow
def test_agent_session_is_one_chat_and_its_sub_agents_are_threads(llmctl: Llmctl, env: dict[str, str]) -> None:
    tools = [{"name": "Task", "input_schema": {"type": "object"}}]

    def send(proxy: Proxy, system: str, *texts: str, tools: Any = tools) -> None:
        turns = [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(texts)]
        body = {"model": anthropic.MODEL, "max_tokens": 9, "system": system, "messages": turns, "tools": tools}
        status, _, data = proxy.request("POST", "/v1/messages?beta=true", body, SESSION)
        assert status == 200, data

    def say(text: str) -> Reply:
        content = [{"type": "text", "text": text}]
        usage = {"input_tokens": 3, "output_tokens": 2}
        answer = {"id": "m", "type": "message", "role": "assistant", "model": anthropic.MODEL, "usage": usage}
        return json_reply(200, {**answer, "content": content, "stop_reason": "end_turn"})

    with recording(llmctl) as (proxy, server):
        server.answer(*map(say, ("A title", "started", "sub done", "finished")))
        send(proxy, "write titles", "fix the build", tools=[])
        send(proxy, "you code", "fix the build<system-reminder>it is Monday</system-reminder>")
        send(proxy, "you explore", "look for tests")
        send(proxy, "you code", "fix the build", "started", "go on")
    assert query(env, "SELECT count(*) FROM chats") == [(1,)]
    assert query(env, "SELECT count(*) FROM message_threads") == [(3,)]
    shown = require_success(llmctl("chats", "show", _only_chat(llmctl)))
    assert [text for text in ("A title", "started", "sub done", "finished") if text in shown] == ["started", "finished"]
    assert query(env, "SELECT DISTINCT session_key, client FROM requests") == [("5e55", "claude-cli/2.1.197")]


def _only_chat(llmctl: Llmctl) -> str:
    (chat,) = parse_json(llmctl("chats", "list", "--json"))
    return str(chat["id"])


@pytest.mark.slow
def test_recorded_chat_can_be_continued_by_name_but_not_unasked(llmctl: Llmctl, env: dict[str, str]) -> None:
    with recording(llmctl, "--app", "bot") as (proxy, server):
        server.answer(document("Oslo"))
        proxy.chat(("user", "the capital of Norway?"))
    require_failure(llmctl("chat", "-c", "and Sweden?"), 3)
    done = llmctl("chat", "--chat", _only_chat(llmctl), "-m", "echo", "and Sweden?", "--json")
    assert parse_json(done)["chat_id"] == _only_chat(llmctl)
    assert [role for role, _ in list_messages(env)] == ["user", "assistant", "user", "assistant"]


@pytest.mark.slow
def test_stream_passes_in_pieces_and_is_recorded_with_its_times(llmctl: Llmctl, env: dict[str, str]) -> None:
    with recording(llmctl) as (proxy, server):
        server.answer(stream("one two three"))
        body = {"model": "fake-1", "stream": True, "messages": [{"role": "user", "content": "count"}]}
        status, headers, data = proxy.request("POST", "/v1/chat/completions", body)
        assert (status, headers["content-type"].split(";")[0]) == (200, "text/event-stream")
        assert data.endswith(b"data: [DONE]\n\n")
    assert list_messages(env)[-1] == ("assistant", "one two three")
    ((first, total),) = query(env, "SELECT time_to_first_token, duration FROM requests")
    assert first is not None
    assert first <= total


@pytest.mark.slow
def test_stream_that_is_cut_is_incomplete_with_its_text(llmctl: Llmctl, env: dict[str, str]) -> None:
    with recording(llmctl) as (proxy, server):
        server.answer(stream("one two three", hold=2, then=CUT))
        server.release()
        body = {"model": "fake-1", "stream": True, "messages": [{"role": "user", "content": "count"}]}
        with pytest.raises(http.client.IncompleteRead):
            proxy.request("POST", "/v1/chat/completions", body)
    assert query(env, "SELECT status FROM requests") == [("incomplete",)]
    ((role, text),) = list_messages(env)[-1:]
    assert role == "assistant"
    assert text.startswith("one")


@pytest.mark.slow
def test_refusal_is_passed_on_and_recorded(llmctl: Llmctl, env: dict[str, str]) -> None:
    with recording(llmctl) as (proxy, server):
        server.answer(refusal(401, "bad key", code="invalid_api_key"))
        body = {"model": "fake-1", "messages": [{"role": "user", "content": "hi"}]}
        status, _, data = proxy.request("POST", "/v1/chat/completions", body)
        assert (status, json.loads(data)["error"]["message"]) == (401, "bad key")
    assert query(env, "SELECT status, status_code, error_code FROM requests") == [("failed", 401, "config")]
    assert [role for role, _ in list_messages(env)] == ["user"]


@pytest.mark.slow
def test_unknown_endpoint_is_a_row(llmctl: Llmctl, env: dict[str, str]) -> None:
    with recording(llmctl) as (proxy, server):
        server.answer(json_reply(200, {"id": "file-1"}), json_reply(200, {"data": []}), json_reply(200, {"x": 1}))
        proxy.request("POST", "/v1/files", {"a": 1})
        proxy.request("GET", "/v1/models")
        proxy.request("POST", "/v1/chat/completions", {"no": "messages"})
    rows = query(env, "SELECT type, status, cost, parameters FROM requests ORDER BY rowid")
    assert [row[:3] for row in rows] == [
        ("other", "completed", None),
        ("other", "completed", 0.0),
        ("other", "completed", None),
    ]
    assert "no messages" in json.loads(rows[2][3])["unparsed"]


def test_cost_limit_refuses_in_the_words_of_the_protocol(llmctl: Llmctl, env: dict[str, str]) -> None:
    require_success(
        llmctl("model", "price", f"anthropic:{anthropic.MODEL}", "--set", "input=1", "--set", "output=1000")
    )
    with recording(llmctl, "--max-cost", "0.05") as (proxy, server):
        body = {"model": anthropic.MODEL, "max_tokens": 1000, "messages": [{"role": "user", "content": "hi"}]}
        status, headers, data = proxy.request("POST", "/v1/messages", body, {"anthropic-version": "2023-06-01"})
        assert (status, headers["x-should-retry"]) == (402, "false")
        assert json.loads(data)["error"]["type"] == "billing_error"
        assert "--max-cost" in json.loads(data)["error"]["message"]
        assert server.requests == []
        status, _, _ = proxy.request("POST", "/v1/messages", {**body, "max_tokens": 10}, SESSION)
        assert status != 402
    assert query(env, "SELECT count(*), count(reserved_cost) FROM requests") == [(1, 0)]


@pytest.mark.slow
def test_app_with_a_key_uses_the_key_of_a_connection(llmctl: Llmctl, env: dict[str, str]) -> None:
    with FakeServer() as other:
        own = llmctl.with_env(MY_KEY="sk-connection-9876543210")
        arguments = ("--provider", "compatible", "--base-url", other.url, "--model", "fake-1", "--key-env", "MY_KEY")
        require_success(own("connection", "add", "work", *arguments))
        made = parse_json(
            own("proxy", "app", "add", "bot", "--key", "--connection", "work", "--models", "fake-*", "--json")
        )
        with recording(own) as (proxy, server):
            secret = {"authorization": f"Bearer {made['key']}"}
            proxy.chat(("user", "hi"), headers=secret)
            assert other.requests[0].headers["authorization"] == "Bearer sk-connection-9876543210"
            assert server.requests == []
            turn = {"messages": [{"role": "user", "content": "hi"}]}
            for headers, model, path, status in (
                ({"authorization": "Bearer llmctl-wrong"}, "fake-1", "/v1/chat/completions", 401),
                (secret, "gpt-5", "/v1/chat/completions", 403),
                ({}, "fake-1", "/c/work/v1/chat/completions", 403),
            ):
                assert proxy.request("POST", path, {"model": model, **turn}, headers)[0] == status
            assert len(other.requests) == 1
    assert made["key"] not in require_success(own("proxy", "app", "list", "--json"))
    assert query(env, "SELECT app, connection FROM requests") == [("bot", "work")]


@pytest.mark.slow
def test_key_of_an_app_never_leaves_this_machine(llmctl: Llmctl) -> None:
    made = parse_json(llmctl("proxy", "app", "add", "bot", "--key", "--json"))
    assert require_success(llmctl("proxy", "app", "edit", "bot", "--key", "--quiet")).startswith("llmctl-")
    made = parse_json(llmctl("proxy", "app", "edit", "bot", "--key", "--json"))
    with recording(llmctl) as (proxy, server):
        body = {"model": "fake-1", "messages": [{"role": "user", "content": "hi"}]}
        headers = {"authorization": f"Bearer {made['key']}"}
        assert proxy.request("POST", "/v1/chat/completions", body, headers)[0] == 403
        path = f"/v1beta/models/g:generateContent?key={made['key']}"
        assert proxy.request("POST", path, {"contents": []}, {"authorization": ""})[0] == 403
        assert server.requests == []


@pytest.mark.slow
def test_expect_is_answered_here(llmctl: Llmctl) -> None:
    with recording(llmctl) as (proxy, server):
        body = {"model": "fake-1", "messages": [{"role": "user", "content": "hi"}]}
        assert proxy.request("POST", "/v1/chat/completions", body, {"expect": "100-continue"})[0] == 200
        assert "expect" not in server.requests[0].headers


@pytest.mark.slow
def test_stream_without_usage_stays_reserved_under_a_limit(llmctl: Llmctl, env: dict[str, str]) -> None:
    require_success(llmctl("model", "price", "openai:fake-1", "--set", "input=1", "--set", "output=1000"))
    with recording(llmctl, "--max-cost", "0.015") as (proxy, server):
        server.answer(stream("one two", then=CUT))
        body = {"model": "fake-1", "stream": True, "max_tokens": 10, "messages": [{"role": "user", "content": "hi"}]}
        with pytest.raises(http.client.IncompleteRead):
            proxy.request("POST", "/v1/chat/completions", body)
        wait_until(lambda: query(env, "SELECT status FROM requests") != [("pending",)])  # recorded by another process
        assert proxy.request("POST", "/v1/chat/completions", body)[0] == 402
        assert proxy.request("POST", "/v1/embeddings", {"model": "fake-1", "input": "x"})[0] in (200, 402)
    assert query(env, "SELECT count(*) FROM requests WHERE reserved_cost > 0")[0][0] >= 1


@pytest.mark.slow
def test_odd_request_costs_only_itself(llmctl: Llmctl, env: dict[str, str]) -> None:
    with recording(llmctl) as (proxy, _):
        turns = {"model": "fake-1", "messages": [{"role": "user", "content": "hi"}]}
        odd = {**turns, "metadata": {"user_id": "[" * 100_000}}
        assert proxy.request("POST", "/v1/chat/completions", odd)[0] == 200
        proxy.chat(("user", "and this one"))
    assert query(env, "SELECT count(*) FROM requests") == [(2,)]
    assert ("user", "and this one") in list_messages(env)


@pytest.mark.slow
def test_require_key_serves_nobody_without_one(llmctl: Llmctl) -> None:
    with recording(llmctl, "--require-key") as (proxy, server):
        assert proxy.request("POST", "/v1/chat/completions", {"model": "m", "messages": []})[0] == 401
        assert server.requests == []


@pytest.mark.slow
def test_no_log_keeps_no_text(llmctl: Llmctl, env: dict[str, str], tmp_path: Path) -> None:
    with recording(llmctl, "--no-log") as (proxy, server):
        server.answer(document("the answer is hidden-42"))
        proxy.chat(("user", "a question about hidden-42"))
    assert query(env, "SELECT input_tokens, chat_id FROM requests") == [(7, None)]
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"hidden-42" in path.read_bytes()]


@pytest.mark.slow
def test_subscription_costs_nothing_and_shows_the_list_price(llmctl: Llmctl, env: dict[str, str]) -> None:
    require_success(llmctl("model", "price", "openai:fake-1", "--set", "input=1", "--set", "output=1"))
    with recording(llmctl) as (proxy, _):
        proxy.chat(("user", "hi"), headers={"authorization": "Bearer sk-ant-oat01-0123456789"})
    ((cost, listed, billing),) = query(env, "SELECT cost, list_cost, billing FROM requests")
    assert (cost, billing) == (0.0, "subscription")
    assert listed > 0


def test_command_runs_behind_the_proxy_and_gives_its_exit_code(llmctl: Llmctl, env: dict[str, str]) -> None:
    code = "import os, sys; print(os.environ['ANTHROPIC_BASE_URL'], os.environ['OPENAI_BASE_URL']); sys.exit(7)"
    done = llmctl("proxy", "--", sys.executable, "-c", code)
    assert done.returncode == 7, done.stderr
    first, second = done.stdout.split()
    assert second == f"{first}/v1"
    assert "0 requests" in done.stderr
    assert query(env, "SELECT type, status FROM jobs WHERE type = 'proxy'") == [("proxy", "completed")]


@pytest.mark.slow
def test_codex_gets_its_base_url_as_an_argument(llmctl: Llmctl, tmp_path: Path) -> None:
    program = tmp_path / "codex"
    program.write_text('#!/bin/sh\nfor word in "$@"; do echo "$word"; done\n')
    program.chmod(0o755)
    done = llmctl("proxy", "--", str(program), "exec", "hi")
    words = require_success(done).splitlines()
    assert (words[0], words[2:]) == ("-c", ["exec", "hi"])
    assert re.fullmatch(r'openai_base_url="http://127\.0\.0\.1:\d+/v1"', words[1])


@pytest.mark.slow
def test_env_and_status_tell_of_the_running_proxy(llmctl: Llmctl) -> None:
    require_success(llmctl("init", "--no-detect", "--no-prisma"))
    assert "no proxy is running" in require_failure(llmctl("proxy", "env"), 3)
    with recording(llmctl, "--app", "a b") as (proxy, _):
        (status,) = parse_json(llmctl("proxy", "status", "--json"))
        assert (status["port"], status["app"]) == (proxy.port, "a b")
        variables = parse_json(llmctl("proxy", "env", "--json"))
        assert variables["OPENAI_BASE_URL"] == f"http://127.0.0.1:{proxy.port}/v1"
        line = f"export ANTHROPIC_BASE_URL=http://127.0.0.1:{proxy.port}/a/x\n"
        assert line in require_success(llmctl("proxy", "env", "--app", "x"))
        fish = require_success(llmctl("proxy", "env", "fish"))
        assert f"set -gx OLLAMA_HOST http://127.0.0.1:{proxy.port}\n" in fish
    assert parse_json(llmctl("proxy", "status", "--json")) == []


@pytest.mark.slow
def test_path_names_the_app(llmctl: Llmctl, env: dict[str, str]) -> None:
    with recording(llmctl) as (proxy, server):
        body = {"model": "fake-1", "messages": [{"role": "user", "content": "hi"}]}
        proxy.request("POST", "/a/notes/v1/chat/completions", body)
        assert server.requests[0].path == "/v1/chat/completions"
    assert query(env, "SELECT app FROM requests") == [("notes",)]
    groups = parse_json(llmctl("stats", "--group-by", "app,project", "--json"))["groups"]
    assert [(group["app"], group["project"], group["requests"]) for group in groups] == [("notes", llmctl.cwd, 1)]
    assert len(parse_json(llmctl("chats", "list", "--app", "notes", "--json"))) == 1
    assert parse_json(llmctl("chats", "list", "--app", "other", "--json")) == []


@pytest.mark.slow
def test_proxy_behind_a_proxy_is_no_loop(llmctl: Llmctl, env: dict[str, str]) -> None:
    own = "http://127.0.0.1:9"
    inner = llmctl.with_env(LLMCTL_PROXY=own, OPENAI_BASE_URL=f"{own}/v1", LLMCTL_OFFLINE="1")
    code = "import os, urllib.request as u; u.urlopen(os.environ['OPENAI_BASE_URL'] + '/models')"
    done = inner("proxy", "--", sys.executable, "-c", code)
    assert "HTTP Error 502" in done.stderr  # the provider itself, which nobody reaches from here


def test_taken_port_is_unavailable(llmctl: Llmctl) -> None:
    with FakeServer() as server:
        assert "address already in use" in require_failure(llmctl("proxy", "--port", str(server.port)), 6)


@pytest.mark.slow
def test_killed_proxy_loses_nothing(llmctl: Llmctl, env: dict[str, str]) -> None:
    with FakeServer() as server:
        server.answer(stream("one two three four", hold=2))
        with running(llmctl, server) as proxy:
            body = {"model": "fake-1", "stream": True, "messages": [{"role": "user", "content": "count"}]}
            connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=300)
            connection.request("POST", "/v1/chat/completions", json.dumps(body))
            assert b"one" in connection.getresponse().read1()
            proxy.process.kill()
        server.release()
        with running(llmctl, server) as proxy:
            proxy.chat(("user", "again"))
    rows = query(env, "SELECT status, error_reason FROM requests ORDER BY rowid")
    assert sorted(rows, key=str) == [("completed", None), ("interrupted", "interrupted")]
    assert ("user", "count") in list_messages(env)
    assert any(role == "assistant" and text.startswith("one") for role, text in list_messages(env))
    assert not list(Path(env["LLMCTL_DB"] + ".proxy").glob("*/*.exchange"))


def test_list_of_commands_shows_the_proxy(llmctl: Llmctl) -> None:
    assert "--max-cost" in require_success(llmctl("proxy", "run", "--help"))
    assert "status" in require_success(llmctl("proxy", "--help"))
    assert "no such" in llmctl("proxy", "sttus").stderr.lower() or "status" in llmctl("proxy", "sttus").stderr
