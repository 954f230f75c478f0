"""What has to hold on every wire alike: what is kept of a request, and what a hostile host makes of it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.hosts import HOSTS, ProviderHost
from tests.fakes.openai_server import CUT, RESET, FakeServer, Reply, page, refusal
from tests.harness import Llmctl, parse_json, query

KEY = "sk-test-0123456789abcdef"


@pytest.fixture(params=HOSTS)
def host(request: pytest.FixtureRequest) -> ProviderHost:
    return HOSTS[request.param]


@pytest.fixture
def server(host: ProviderHost, llmctl: Llmctl) -> Iterator[FakeServer]:
    """A stand-in behind a default connection ``work`` over the wire."""
    with FakeServer() as running:
        connect(llmctl, "work", host, running)
        yield running


def connect(llmctl: Llmctl, name: str, host: ProviderHost, server: FakeServer) -> None:
    base = server.url.removesuffix("/v1") + host.path
    flags = ("--provider", host.provider, "--wire", host.wire, "--model", host.model, "--base-url", base)
    done = llmctl("connection", "add", name, *flags, "--default", "--key-stdin", input=KEY)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_request_with_tools_and_schema_is_rebuilt_and_sent_again(
    host: ProviderHost, server: FakeServer, llmctl: Llmctl, tmp_path: Path
) -> None:
    (tmp_path / "w.json").write_text(json.dumps({"type": "object", "properties": {"city": {"type": "string"}}}))
    llmctl("tool", "add", "weather", "--type", "command", "--schema", "w.json", "--command", "cat", check=True)
    (tmp_path / "note.txt").write_text("it is cold")
    flags = ("-T", "weather:auto", "--schema", "name, age int", "-s", "be brief", "-a", "note.txt", "--json")
    planned = parse_json(llmctl("chat", *flags, "--dry-run", "who?"))
    assert server.requests == []
    answer = '{"name":"Ada","age":36}'
    server.answer(host.calls("weather", {"city": "Røros"}), host.streamed(answer), host.whole(answer))
    assert parse_json(llmctl("chat", *flags, "who?"))["data"] == {"name": "Ada", "age": 36}
    parse_json(llmctl("chat", "-c", *flags[:4], "--no-stream", "and she?", "--json"))
    assert planned["body"] == server.requests[0].json

    ledger = parse_json(llmctl("request", "list", "--json"))[::-1]
    assert len(ledger) == 3
    for row, sent in zip(ledger, server.requests[:3], strict=True):
        done = llmctl("request", "curl", row["id"])
        assert (done.returncode, done.stderr, KEY in done.stdout) == (0, "", False)
        words = shlex.split(done.stdout)
        assert words[words.index("--data-raw") + 1].encode() == sent.body
        read = parse_json(llmctl("request", "show", row["id"], "--reparse", "--json"))["reparsed"]
        assert (read["differs"], read["error"]) == (False, None)

    changed = json.dumps({"type": "object", "properties": {"town": {"type": "string"}}})
    llmctl("tool", "edit", "weather", "--schema", changed, check=True)
    done = llmctl("request", "curl", ledger[1]["id"])
    assert (done.stderr, shlex.split(done.stdout)[-1].encode()) == ("", server.requests[1].body)
    llmctl("tool", "edit", "weather", "--schema", "w.json", check=True)

    server.answer(host.streamed(answer))
    assert parse_json(llmctl("request", "replay", ledger[1]["id"], "--json"))["data"] == {"name": "Ada", "age": 36}
    assert server.requests[3].body == server.requests[1].body


def test_replay_shows_what_the_model_would_call(host: ProviderHost, server: FakeServer, llmctl: Llmctl) -> None:
    llmctl("tool", "add", "weather", "--type", "command", "--schema", "{}", "--command", "cat", check=True)
    server.answer(host.calls("weather", {"city": "Oslo"}), host.streamed("cold"), host.calls("weather", {"city": "X"}))
    assert llmctl("chat", "-T", "weather:auto", "so?").stdout == "cold\n"
    first = parse_json(llmctl("request", "list", "--json"))[1]
    done = llmctl("request", "replay", first["id"], "--json")
    assert (done.returncode, "replay runs no tools" in done.stderr) == (8, True)
    assert json.loads(done.stdout)["tool_calls"][0]["arguments"] == {"city": "X"}
    llmctl("tool", "remove", "weather", check=True)
    assert llmctl("request", "replay", first["id"]).returncode == 3


def without_end(reply: Reply, host: ProviderHost, *then: Any) -> Reply:
    """Return a streamed answer as far as its text, and what follows instead of its end."""
    return replace(reply, steps=(*reply.steps[: -host.end_events], *then), chunked=True)


@pytest.mark.slow
def test_error_inside_a_successful_response_is_an_error(
    host: ProviderHost, server: FakeServer, llmctl: Llmctl, env: dict[str, str]
) -> None:
    """Each stands for one attempt; nothing is tried again, so that each is seen."""
    said = host.streamed("said so far")
    empty = Reply(200, {"content-type": "application/json"}, (), length=0)
    bad = Reply(200, {"content-type": "application/json"}, (b'{"choi',), length=6)
    # What comes, flags, exit code, reason, stdout.
    cases: list[tuple[Reply, tuple[str, ...], int, str, str]] = [
        (Reply(200, said.headers, (host.broken("Oops"),), chunked=True), (), 6, "server_error", ""),
        (without_end(said, host, host.broken("Oops")), (), 6, "server_error", "said so far"),
        (host.broken_whole("Oops"), ("--no-stream",), 6, "server_error", ""),
        (host.broken_whole("Oops"), (), 6, "server_error", ""),
        (page(), (), 6, "not_json", ""),
        (page(), ("--no-stream",), 6, "not_json", ""),
        (empty, (), 6, "empty", ""),
        (empty, ("--no-stream",), 6, "empty", ""),
        (bad, ("--no-stream",), 6, "not_json", ""),
        (without_end(said, host, RESET), (), 12, "reset", "said so far"),
        (without_end(said, host, CUT), (), 12, "cut", "said so far"),
        (without_end(said, host), (), 12, "cut", "said so far"),
        (Reply(200, said.headers, (CUT,), chunked=True), (), 6, "cut", ""),
    ]
    seen = []
    for reply, flags, *_ in cases:
        server.answer(reply)
        done = llmctl("chat", "--retries", "0", *flags, "hi")
        [(reason, status)] = query(
            env, "SELECT error_reason, status FROM requests ORDER BY created_at DESC, rowid DESC LIMIT 1"
        )
        seen.append((done.returncode, reason, done.stdout.strip(), status != "completed"))
    assert seen == [(code, reason, text, True) for _, _, code, reason, text in cases]


@pytest.mark.slow
def test_attempts_are_rows_with_their_ids_and_limits(
    host: ProviderHost, server: FakeServer, llmctl: Llmctl, env: dict[str, str]
) -> None:
    limits = {
        "retry-after": "0", "x-request-id": "req-1", "x-ratelimit-remaining-requests": "0",
        "anthropic-ratelimit-tokens-remaining": "7", "x-ratelimit-reset-tokens": "6m0s",
    }  # fmt: skip
    said = host.streamed("at last")
    server.answer(
        refusal(429, headers=limits), refusal(503), replace(said, headers={**said.headers, "retry-after": "3600"})
    )
    done = llmctl("chat", "hi")
    assert (done.returncode, done.stdout) == (0, "at last\n")
    assert done.stderr.count("retrying in") == 2
    [row] = parse_json(llmctl("request", "list", "--json"))
    calls = parse_json(llmctl("request", "show", row["id"], "--http", "--json"))["network_calls"]
    assert [(call["attempt"], call["status"], call["status_code"]) for call in calls] == [
        (1, "error", 429),
        (2, "error", 503),
        (3, "success", 200),
    ]
    assert calls[0]["provider_request_id"] == "req-1"
    assert limits.items() <= calls[0]["response_headers"].items()
    assert KEY not in json.dumps(calls)


@pytest.mark.slow
def test_connection_test_distinguishes_failures(host: ProviderHost, server: FakeServer, llmctl: Llmctl) -> None:
    server.answer(
        host.models(host.model),
        host.models("another"),
        refusal(401, "no such key"),
        refusal(429, "You exceeded your current quota", code="insufficient_quota", type="insufficient_quota"),
        refusal(402, "no credit"),
        page(),
    )
    seen = []
    for _ in range(6):
        done = llmctl("connection", "test", "work", "--json")
        error = json.loads(done.stderr)["error"] if done.returncode else {}
        seen.append((done.returncode, error.get("reason"), bool(error.get("hint")) or not error))
    llmctl("connection", "edit", "work", "--base-url", "http://127.0.0.1:1", check=True)
    done = llmctl("connection", "test", "work", "--json")
    seen.append((done.returncode, json.loads(done.stderr)["error"]["reason"], True))
    assert seen == [
        (0, None, True),
        (3, "model_not_found", True),
        (4, "auth", True),
        (7, "quota", True),
        (7, "quota", True),
        (6, "not_json", True),
        (6, "refused", True),
    ]


def test_others_take_over_in_their_order_across_wires(llmctl: Llmctl, env: dict[str, str]) -> None:
    with FakeServer() as openai, FakeServer() as anthropic, FakeServer() as gemini:
        hosts = {"openai-chat": openai, "anthropic": anthropic, "gemini": gemini}
        for wire, server in hosts.items():
            connect(llmctl, wire, HOSTS[wire], server)
        openai.answer(HOSTS["openai-chat"].streamed("begun"), refusal(503), refusal(503), refusal(503))
        anthropic.answer(refusal(429, "slow down", {"retry-after": "3600"}))
        gemini.answer(HOSTS["gemini"].streamed("at last"))
        assert llmctl("chat", "-m", "openai-chat", "--name", "n", "hello").returncode == 0
        done = llmctl("chat", "--name", "n", "--fallback", "anthropic", "--fallback", "gemini", "and now?", "--json")
        found = parse_json(done)
        assert (found["content"], found["connection"]) == ("at last", "gemini")
        assert "begun" in gemini.requests[0].body.decode()
    tried = "SELECT r.connection, r.status, count(c.id) FROM requests r JOIN network_calls c ON c.request_id = r.id"
    assert query(env, tried + " GROUP BY r.id ORDER BY r.created_at, r.rowid") == [
        ("openai-chat", "completed", 1),
        ("openai-chat", "failed", 3),
        ("anthropic", "failed", 1),  # asked to wait for an hour, it is not waited for
        ("gemini", "completed", 1),
    ]
    assert query(env, "SELECT role, content FROM messages WHERE chat_id IS NOT NULL ORDER BY seq") == [
        ("user", "hello"),
        ("assistant", "begun"),
        ("user", "and now?"),
        ("assistant", "at last"),
    ]
