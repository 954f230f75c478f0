"""A key is used and never stored: not in the hub, its log, a spool, an error, a preview or the screen."""

from __future__ import annotations

import json
import os
import resource
import sqlite3
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.acceptance.hub_file import HubFile
from tests.fakes.hosts import HOSTS
from tests.fakes.openai_server import (
    CUT,
    HOLD,
    FakeServer,
    Reply,
    delta,
    document,
    event,
    json_reply,
    redirect,
    refusal,
    stream,
)
from tests.harness import Llmctl, Result

#: Keys in the format of a provider, and in no known format.
KEYS = ["sk-proj-Canary0123456789abcdefXYZ", "zq9Kx7.plain+canary/5511=="]


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    """The key that cannot be recognized by its format; a test may ask for both."""
    return str(getattr(request, "param", KEYS[1]))


of_both_shapes = pytest.mark.parametrize("key", KEYS, ids=["shaped", "shapeless"], indirect=True)


@pytest.fixture
def keyed(llmctl: Llmctl, key: str) -> Llmctl:
    return llmctl.with_env(FAKE_KEY=key)


@pytest.fixture
def keeper(hub: HubFile) -> Iterator[None]:
    """Keep the write-ahead log from being checkpointed, so that it can be inspected."""
    with closing(sqlite3.connect(hub.path)) as connection:
        connection.execute("SELECT count(*) FROM chats").fetchone()
        yield


def assert_nowhere(key: str, home: str, *runs: Result) -> None:
    """Search for the key, in any encoding, in every file and in all output."""
    spellings = {key, quote(key, safe=""), b64encode(key.encode()).decode(), b64encode(f"user:{key}".encode()).decode()}
    for run in runs:
        for spelling in spellings:
            assert spelling not in run.stdout + run.stderr
    for folder, _, names in os.walk(home):
        for name in names:
            with open(os.path.join(folder, name), "rb") as file:
                data = file.read()
            for spelling in spellings:
                assert spelling.encode() not in data, name


def halves(text: str) -> list[bytes]:
    """Events of a few characters each."""
    return [delta(text[place : place + 5]) for place in range(0, len(text), 5)]


def leaking_replies(key: str) -> dict[str, Reply]:
    """Return replies that contain the key in every way a server may send it back."""
    answer = f"your key is {key}, isn't it?"
    split = stream("", insert={0: b"".join(halves(answer))})
    one = delta(answer)
    torn = Reply(
        200, {"content-type": "text/event-stream"}, (one[:90], HOLD, one[90:], *stream("").steps), chunked=True
    )
    error = {"error": {"message": f"bad key {key}", "type": "invalid_request_error", "code": "invalid_api_key"}}
    return {
        "in the answer": stream(answer),
        "in one event": stream("", insert={0: one}),
        "over several events": split,
        "in a document": document(answer),
        "in pieces of an event": torn,
        "in an error": refusal(401, f"incorrect key {key} provided"),
        "in an error that is text": Reply(
            401, {"content-type": "text/plain"}, (f"no: {key}".encode(),), length=4 + len(key)
        ),
        "in an error event": stream("one two", then=event(error)),
        "in a page": Reply(200, {"content-type": "text/html"}, (f"<html><title>{key}</title>".encode(), CUT)),
        "in garbage": stream("one two", insert={1: f"data: {{oh {key}\n\n".encode()}),
        "in a header": stream(
            "one", headers={"x-debug": f"Bearer {key}", "x-request-id": key, "set-cookie": f"k={key}"}
        ),
        "in a tool call": stream("", insert={0: event(tool_call(key))}),
        "over a tool call's pieces": stream("", insert={0: b"".join(tool_call_pieces(key))}),
        "in thinking": stream("", insert={0: event(choice({"reasoning_content": answer}))}),
        "in a redirect": redirect(f"http://127.0.0.2:9/v1?key={quote(key, safe='')}"),
        "in a model's name": json_reply(404, {"error": {"message": f"model {key} not found", "code": key}}),
    }


def choice(delta: dict[str, object]) -> dict[str, object]:
    return {"id": "cmpl-1", "model": "fake-1", "choices": [{"index": 0, "delta": delta}]}


def tool_call_pieces(key: str) -> list[bytes]:
    """Events of a few characters of arguments each."""
    text = f'{{"key":"{key}"}}'
    pieces = [{"index": 0, "function": {"arguments": text[place : place + 5]}} for place in range(0, len(text), 5)]
    pieces[0] |= {"id": "call_1", "function": {"name": "look", "arguments": text[:5]}}
    return [event(choice({"tool_calls": [piece]})) for piece in pieces]


def tool_call(key: str) -> dict[str, object]:
    call = {"index": 0, "id": "call_1", "function": {"name": "look", "arguments": f'{{"key":"{key}"}}'}}
    return choice({"tool_calls": [call]})


FORMS: dict[str, list[tuple[str, ...]]] = {KEYS[0]: [("--jsonl", "--debug")], KEYS[1]: [(), ("--json", "--debug")]}


@of_both_shapes
@pytest.mark.parametrize("place", list(leaking_replies("")))
def test_key_that_a_server_sends_back_is_struck_out(
    keyed: Llmctl, server: FakeServer, hub: HubFile, key: str, place: Any, keeper: None
) -> None:
    server.release()
    server.answer(*[leaking_replies(key)[place]] * 2)
    words = ("chat", "--retries", "0", "--show-thinking", "--max-steps", "1")
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(lambda form: keyed(*words, *form, "hi"), FORMS[key]))
    assert all(request.headers["authorization"] == f"Bearer {key}" for request in server.requests)
    assert len({run.returncode for run in runs}) == 1
    assert runs[0].returncode in (0, 3, 4, 5, 6, 8, 12), runs
    assert_nowhere(key, keyed.cwd, *runs)
    if place == "over several events" and key == KEYS[1]:
        assert runs[0].stdout == "your key is [redacted], isn't it?\n"


@pytest.mark.parametrize("place", ["over several events", "in pieces of an event", "in one event"])
def test_key_sent_back_to_a_turn_that_is_killed_is_struck_out(
    keyed: Llmctl, server: FakeServer, hub: HubFile, key: str, place: str, keeper: None
) -> None:
    reply = leaking_replies(key)[place]
    steps = reply.steps[:-3] if HOLD in reply.steps else (*reply.steps[:-3], HOLD)
    server.answer(Reply(200, reply.headers, steps, chunked=True))
    running = keyed.start("chat", "hi")
    server.wait_for(1)
    if place != "in pieces of an event":
        running.wait_for_output("isn't it?")
    done = running.kill()
    if place != "over several events":  # there each event has a piece, and the hub has each event until it is read
        assert_nowhere(key, keyed.cwd, done)
    after = keyed("chat", "-c", "go on")
    assert after.returncode == 0, after
    assert_nowhere(key, keyed.cwd, after)


def test_placeholder_keys_of_local_servers_are_not_redacted_from_answers(
    llmctl: Llmctl, server: FakeServer, hub: HubFile
) -> None:
    for word in ("ollama", "lm-studio", "x", "none"):
        server.answer(stream("ollama or lm-studio or none, a x"))
        done = llmctl.with_env(FAKE_KEY=word)("chat", "hi")
        assert done.stdout == "ollama or lm-studio or none, a x\n"
    assert {content for role, _, content in hub.messages_by_role if role == "assistant"} == {
        "ollama or lm-studio or none, a x"
    }


# --- ways to give a key ---------------------------------------------------------------------------------------------


def test_key_in_the_environment_goes_to_the_server_alone(
    keyed: Llmctl, server: FakeServer, hub: HubFile, key: str, keeper: None
) -> None:
    runs = [
        keyed("chat", *words, "hi") for words in ((), ("--json",), ("--dry-run",), ("--dry-run", "--json"), ("-c",))
    ]
    assert [run.returncode for run in runs] == [0] * 5, runs
    assert len(server.requests) == 3
    assert all(request.headers["authorization"] == f"Bearer {key}" for request in server.requests)
    assert "[redacted]" in runs[2].stdout
    assert_nowhere(key, keyed.cwd, *runs)


def test_key_in_a_header_goes_to_the_server_alone(
    keyed: Llmctl, server: FakeServer, hub: HubFile, key: str, keeper: None
) -> None:
    hub.connect("headed", server.url, provider="compatible", headers={"X-Custom": "env:FAKE_KEY", "X-Plain": "yes"})
    runs = [keyed("chat", "-m", "headed", *words, "hi") for words in ((), ("--dry-run", "--json"))]
    assert server.requests[0].headers["x-custom"] == key
    assert "authorization" not in server.requests[0].headers
    assert (runs[1].json["headers"]["X-Plain"], runs[1].json["headers"]["X-Custom"]) == ("yes", "[redacted]")
    assert_nowhere(key, keyed.cwd, *runs)


@pytest.mark.parametrize("where", ["query", "userinfo"])
def test_key_in_a_url_is_shown_nowhere(
    keyed: Llmctl, server: FakeServer, hub: HubFile, key: str, where: str, keeper: None
) -> None:
    spelled = quote(key, safe="")
    url = {
        "query": f"http://127.0.0.1:{server.port}/v1?key={spelled}&x=1",
        "userinfo": f"http://user:{spelled}@127.0.0.1:{server.port}/v1",
    }[where]
    llmctl = keyed.with_env(
        FAKE_KEY=None, OPENAI_API_BASE=url, OPENAI_API_KEY="sk-other-0123456789abcdef", LLMCTL_MODEL=None
    )
    server.answer(refusal(500, f"no such path /v1?key={spelled}"), refusal(500, f"no {key}"))
    forms = (("--retries", "0"), ("--retries", "0", "--json", "--debug"), (), ("--dry-run", "--json"))
    runs = [llmctl("chat", "-m", "openai:gpt-x", *words, "hi") for words in forms]
    assert_nowhere(key, keyed.cwd, *runs)
    assert_nowhere("sk-other-0123456789abcdef", keyed.cwd, *runs)
    if where == "query":
        assert server.requests[0].path == f"/v1/chat/completions?key={spelled}&x=1"
        assert runs[2].returncode == 0
        assert runs[3].json["url"].endswith("/chat/completions?key=[redacted]&x=1")


@of_both_shapes
@pytest.mark.parametrize("form", ["api_key={}", "api_key:={}", 'extra:={{"api_key":"{}"}}', "headers:=[", "{}"])
def test_key_in_an_option_is_not_kept(
    keyed: Llmctl, server: FakeServer, hub: HubFile, key: str, form: str, keeper: None
) -> None:
    given = form.format(key)
    runs = [keyed("chat", "-o", given, *words, "hi") for words in (("--json", "--debug"), ("--dry-run",))]
    assert_nowhere(key, keyed.cwd, *runs)
    if form.startswith("api_key="):
        assert server.requests[0].json["api_key"] == key


UNKNOWN_SHAPE = "hunter2 battery 5511"


@pytest.mark.parametrize(
    "option",
    [
        *(f"{name}={UNKNOWN_SHAPE}" for name in ("api_key", "password", "secretKey", "openaiApiKey", "X-Auth-Key")),
        f'extra:={{"deep": [{{"access_token": "{UNKNOWN_SHAPE}"}}]}}',
        f'tools:=[{{"type": "mcp", "server_url": "https://x.example", "authorization": "{UNKNOWN_SHAPE}"}}]',
    ],
)
def test_secret_of_an_option_is_sent_and_kept_nowhere(
    keyed: Llmctl, server: FakeServer, hub: HubFile, option: str, tmp_path: Path
) -> None:
    """It serves one turn; no door stores it."""
    server.answer(stream(f"you said {UNKNOWN_SHAPE}"))
    (tmp_path / "file.toml").write_text(f'prompt = "hi"\noptions = {{ api_key = "{UNKNOWN_SHAPE}" }}\n')
    runs = [keyed("chat", "-o", option, *words, "hi") for words in (("--json", "--name", "c"), ("--dry-run",))]
    runs += [keyed("run", "--dry-run", str(tmp_path / "file.toml")), keyed("request", "curl", "last")]
    assert UNKNOWN_SHAPE.encode() in server.requests[0].body
    assert [done.returncode for done in runs] == [0] * 4, runs
    (tmp_path / "file.toml").unlink()
    doors = (
        ["agent", "create", "clerk", "-m", "echo", "-o", option],
        ["chats", "edit", "c", "-o", option],
        ["connection", "add", "other", "--base-url", server.url, "-o", option],
        ["connection", "edit", "fake", "-o", option],
        ["model", "alias", "fast", "fake:m", "-o", option],
    )
    runs += [keyed(*door) for door in doors]
    assert [done.returncode for done in runs[4:]] == [2] * len(doors), runs[4:]
    assert_nowhere(UNKNOWN_SHAPE, keyed.cwd, *runs)


def test_key_of_a_command_or_a_file_is_not_kept(
    keyed: Llmctl, server: FakeServer, hub: HubFile, key: str, tmp_path: Path, keeper: None
) -> None:
    secret = tmp_path / "key.txt"
    secret.write_text(f"{key}\n")
    secret.chmod(0o600)
    hub.connect("filed", server.url, key=f"file:{secret}")
    hub.connect("commanded", server.url, key=f"command:cat {secret}")
    hub.connect("failing", server.url, key=f"command:cat {secret} >&2; exit 3")
    for name in ("filed", "commanded"):
        done = keyed("chat", "-m", name, "hi")
        assert done.returncode == 0, done
        assert server.requests[-1].headers["authorization"] == f"Bearer {key}"
        assert_nowhere(key, keyed.cwd, done)
    assert keyed("chat", "-m", "failing", "hi").returncode == 4


def test_key_that_no_header_can_carry_is_not_quoted(llmctl: Llmctl, server: FakeServer, hub: HubFile) -> None:
    for wrong in ("zq9Kx7-plain\ncanary-5511", "zq9Kx7-plaın-canary-5511"):
        done = llmctl.with_env(FAKE_KEY=wrong)("chat", "--debug", "hi")
        assert done.returncode == 4
        assert "canary" not in done.stderr
    assert server.requests == []


# --- other hosts ----------------------------------------------------------------------------------------------------


def test_redirect_to_another_host_gets_no_key_and_is_refused(
    keyed: Llmctl, server: FakeServer, hub: HubFile, key: str
) -> None:
    with FakeServer() as other:
        for status in (301, 302, 307, 308):
            server.answer(redirect(f"{other.url}/chat/completions", status))
            done = keyed("chat", "hi")
            assert done.returncode == 6
            assert done.stderr.startswith(f'llmctl: 127.0.0.1:{server.port} redirects to "127.0.0.1:{other.port}"')
        assert other.requests == []
    assert len(server.requests) == 4
    assert_nowhere(key, keyed.cwd, done)


def test_key_of_one_provider_never_reaches_the_host_of_another(
    llmctl: Llmctl, server: FakeServer, hub: HubFile
) -> None:
    """Every provider's own variable is set; each connection leads to a host that is not the provider's."""
    keys = {
        name: f"sk-{name.lower()}-0123456789abcdef" for name in ("OPENAI_API_KEY", "GROQ_API_KEY", "MISTRAL_API_KEY")
    }
    other = llmctl.with_env(**keys)
    for provider in ("groq", "mistral", "openai", "compatible"):
        hub.connect(f"my-{provider}", server.url, provider=provider, model="m")
        done = other("chat", "-m", f"my-{provider}", "hi")
        assert done.returncode in (0, 4), done
    sent = str([dict(request.headers) for request in server.requests])
    assert not any(value in sent for value in keys.values())


def test_key_named_for_another_providers_host_is_refused(llmctl: Llmctl, hub: HubFile) -> None:
    hub.connect("wrong", "https://api.groq.com/openai/v1", provider="groq", key="env:OPENAI_API_KEY")
    done = llmctl.with_env(OPENAI_API_KEY="sk-openai-0123456789abcdef", LLMCTL_OFFLINE="1")("chat", "-m", "wrong", "hi")
    assert done.returncode == 4
    assert "OPENAI_API_KEY is the key of openai" in done.stderr
    assert_nowhere("sk-openai-0123456789abcdef", llmctl.cwd, done)


# --- modes ----------------------------------------------------------------------------------------------------------


def modes(folder: str) -> dict[str, int]:
    found: dict[str, Any] = {}
    for path, folders, names in os.walk(folder):
        found |= {
            os.path.join(path, name): os.stat(os.path.join(path, name)).st_mode & 0o777 for name in folders + names
        }
    return found


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077], ids=oct)
def test_files_are_for_their_owner_alone_whatever_the_umask(llmctl_without_hub: Llmctl, home: str, umask: int) -> None:
    running = llmctl_without_hub.start("chat", "-m", "echo", "-o", "delay=0.05", "a few words to say", umask=umask)
    running.wait_for_output("few")
    found = modes(home)
    running.wait()
    assert any(name.endswith("-wal") for name in found)
    assert {mode for name, mode in found.items() if ".db" in name} == {0o600}
    below = {name: mode for name, mode in found.items() if ".db" not in name}
    assert below
    for name, mode in below.items():
        assert mode == (0o700 if os.path.isdir(os.path.join(home, name)) else 0o600), name


@pytest.mark.parametrize("mode", [0o660, 0o640, 0o600, 0o666])
def test_existing_hub_keeps_mode_and_group(llmctl: Llmctl, hub: HubFile, mode: int) -> None:
    os.chmod(hub.path, mode)
    if os.getuid() == 0:
        os.chown(hub.path, 0, 12345)
    before = os.stat(hub.path)
    running = llmctl.start("chat", "-m", "echo", "-o", "delay=0.05", "a few words to say", umask=0o077)
    running.wait_for_output("few")
    log = os.stat(f"{hub.path}-wal")
    assert running.wait().returncode == 0
    after = os.stat(hub.path)
    assert (after.st_mode, after.st_gid) == (before.st_mode, before.st_gid)
    assert (log.st_mode & 0o777, log.st_gid) == (mode, before.st_gid)


def test_key_sent_back_to_a_hub_that_takes_no_more_is_not_in_the_spool(
    keyed: Llmctl, server: FakeServer, hub: HubFile, key: str
) -> None:
    server.answer(stream(f"one two {key} {key[:-1]}", hold=2))
    running = keyed.start("chat", "hi")
    running.wait_for_output("two")
    size = os.path.getsize(f"{hub.path}-wal")
    resource.prlimit(running.pid, resource.RLIMIT_FSIZE, (size, size))
    server.release()
    done = running.wait()
    assert (done.returncode, done.stdout) == (13, f"one two [redacted] {key[:-1]}\n")
    assert hub.list_side_files()[-1] == "hub.db.spool"
    assert_nowhere(key, keyed.cwd, done)
    assert_nowhere(key, keyed.cwd, keyed("chat", "-c", "on"))


def spread_key(value: Any, key: str) -> Any:
    """Return a JSON value with the key after every string in it, but those that say what it is."""
    kept = ("type", "object", "role", "event", "status", "finish_reason", "stop_reason", "finishReason", "done_reason")
    match value:
        case dict():
            return {name: item if name in kept else spread_key(item, key) for name, item in value.items()}
        case list():
            return [spread_key(item, key) for item in value]
        case str():
            return f"{value}{key}" if not value.startswith("{") else json.dumps(spread_key(json.loads(value), key))
    return value


def leaking(reply: Reply, key: str, *, escaped: bool) -> Reply:
    """Return an answer that repeats the key in all its fields, once in the characters of JSON's escapes."""
    spelled = "".join(f"\\u{ord(character):04x}" for character in key) if escaped else json.dumps(key)[1:-1]

    def leak(step: Any) -> Any:
        lines = step.decode().splitlines(keepends=True) if isinstance(step, bytes) else ()
        return b"".join(leak_line(line).encode() for line in lines) if lines else step

    def leak_line(line: str) -> str:
        lead, brace, rest = line.partition("{")
        if not brace:
            return line
        text = json.dumps(spread_key(json.loads(brace + rest), "CANARY")).replace("CANARY", spelled)
        return lead + text + rest[len(rest.rstrip("\n")) :]

    steps = tuple(map(leak, reply.steps))
    headers = {**reply.headers, "x-echo": key}
    length = sum(map(len, steps)) if reply.length is not None else None
    return replace(reply, steps=steps, headers=headers, length=length)


@pytest.mark.slow
@pytest.mark.parametrize("escaped", [False, True], ids=["plain", "escaped"])
@pytest.mark.parametrize("wire", list(HOSTS))
def test_key_in_every_field_of_an_answer_is_kept_nowhere(
    keyed: Llmctl, server: FakeServer, hub: HubFile, key: str, wire: str, escaped: bool, keeper: None
) -> None:
    host = HOSTS[wire]
    url = f"http://127.0.0.1:{server.port}{host.path}"
    hub.connect("leaky", url, provider=host.provider, model=host.model, wire=wire, key="env:FAKE_KEY")
    keyed("tool", "add", "lookup", "--type", "command", "--command", "echo", "--schema", "{}", check=True)
    replies = (host.calls("lookup", {"a": "b"}), host.streamed("one two"), host.whole("three"))
    server.answer(*(leaking(reply, key, escaped=escaped) for reply in replies))
    first = keyed("chat", "-m", "leaky", "-T", "lookup:auto", "--jsonl", "--show-thinking", "hi")
    second = keyed("chat", "-m", "leaky", "-c", "--json", "--retries", "0", "--debug", "on")
    assert len(server.requests) >= 2
    assert first.returncode in (0, 12), first
    words = (("export", "--all"), ("request", "list", "--json"), ("chats", "show", "last", "--json", "--all"))
    shown = [keyed(*command) for command in words]
    assert_nowhere(key, keyed.cwd, first, second, *shown)
    if escaped:
        assert_nowhere("".join(f"\\u{ord(character):04x}" for character in key), keyed.cwd, first, second, *shown)
    hub.assert_sound()
