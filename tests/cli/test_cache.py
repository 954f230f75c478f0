"""The cache: equal requests use the answer in the ledger, cost nothing and say so; what may not be used never is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from llmctl import Hub
from tests.fakes.hosts import HOSTS, ProviderHost
from tests.fakes.openai_server import (
    CUT,
    HOLD,
    FakeServer,
    Reply,
    Request,
    delta,
    document,
    ending,
    event,
    refusal,
    stream,
    thought,
)
from tests.harness import (
    LLMCTL,
    Llmctl,
    Result,
    RunInProcess,
    parse_json,
    query,
    query_dicts,
    require_failure,
    require_success,
    run_on_terminal,
    run_python,
)

KEY = "sk-test-0123456789abcdef"
CHAT = ("chat", "--no-stdin")


@pytest.fixture(autouse=True)
def connection(llmctl_in_process: RunInProcess, server: FakeServer) -> None:
    """A default connection to the stand-in, with a price: 1 dollar for a million tokens."""
    run = llmctl_in_process
    flags = ("--provider", "openai", "--wire", "openai-chat", "--base-url", server.url, "--model", "m1", "--default")
    assert run("connection", "add", "work", *flags, "--key-stdin", input=KEY).returncode == 0
    assert run("model", "price", "openai:m1", "--set", "input=1", "--set", "output=1").returncode == 0


def ask(run: RunInProcess, *words: str, env: Mapping[str, str] | None = None) -> dict[str, Any]:
    found: dict[str, Any] = parse_json(run(*CHAT, "--json", *words, **({"env": env} if env else {})))
    return found


def last_request(env: Mapping[str, str]) -> dict[str, Any]:
    return query_dicts(env, "SELECT * FROM requests ORDER BY rowid DESC LIMIT 1")[0]


def set_age(env: Mapping[str, str], days: int) -> None:
    query(env, "UPDATE requests SET created_at = strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now', ?)", f"{-days} days")


def test_equal_request_is_answered_from_the_ledger(
    llmctl_in_process: RunInProcess, server: FakeServer, env: dict[str, str]
) -> None:
    first = ask(llmctl_in_process, "--cache", "hello")
    again = ask(llmctl_in_process, "--cache", "hello")
    assert len(server.requests) == 1
    assert (first["cached"], "cached_from" in first) == (False, False)
    assert (again["content"], again["cost"], again["usage"]["total_tokens"]) == ("echo: hello", 0.0, 0)
    assert (again["cached"], again["cached_from"]) == (True, first["request_id"])
    assert again["saved_cost"] == first["cost"] == pytest.approx(9e-6)
    assert 0 <= again["age_s"] < 300
    row = last_request(env)
    assert (row["cached_from"], row["cost"], row["saved_cost"]) == (first["request_id"], 0.0, first["cost"])
    assert (row["cache_key"], row["input_tokens"], row["status"]) == (None, 0, "completed")
    assert query(env, "SELECT count(*) FROM network_calls") == [(1,)]
    third = ask(llmctl_in_process, "--cache", "hello")
    assert third["cached_from"] == first["request_id"], "the paid request, not another use of it"
    assert "cached" not in ask(llmctl_in_process, "hello")
    assert len(server.requests) == 2


def test_flag_alone_does_not_take_the_prompt(llmctl_in_process: RunInProcess, server: FakeServer) -> None:
    for words in (("--cache", "hello"), ("hello", "--cache"), ("--cache=7d", "hello"), ("--cache=", "hello")):
        assert llmctl_in_process(*CHAT, *words).stdout == "echo: hello\n"
    assert len(server.requests) == 1
    error = require_failure(llmctl_in_process(*CHAT, "--cache=soon", "hello"), 2)
    assert error.startswith('llmctl: --cache must be on, off or a time such as 12h or 7d, got "soon"\n')
    assert "--cache[=TTL]" in llmctl_in_process("chat", "--help").stdout


def test_answer_expires_only_where_a_time_is_given(
    llmctl_in_process: RunInProcess, server: FakeServer, env: dict[str, str]
) -> None:
    ask(llmctl_in_process, "--cache", "hello")
    set_age(env, 8)
    assert ask(llmctl_in_process, "--cache", "hello")["cached"]
    assert ask(llmctl_in_process, "--cache=9d", "hello")["cached"]
    assert not ask(llmctl_in_process, "--cache=7d", "hello")["cached"]
    assert len(server.requests) == 2
    assert llmctl_in_process("cache", "explain", "last").stdout.startswith("miss: expired")
    assert ask(llmctl_in_process, "--cache=7d", "hello")["cached"], "the new answer is the one from now on"


def test_answer_from_the_future_is_not_used(
    llmctl_in_process: RunInProcess, server: FakeServer, env: dict[str, str]
) -> None:
    ask(llmctl_in_process, "--cache", "hello")
    set_age(env, -1)
    assert not ask(llmctl_in_process, "--cache", "hello")["cached"]


def test_refresh_asks_again_and_keeps_the_new_answer(
    llmctl_in_process: RunInProcess, server: FakeServer, env: dict[str, str]
) -> None:
    server.answer(stream("one"), stream("two"))
    assert [ask(llmctl_in_process, flag, "hi")["content"] for flag in ("--cache", "--refresh", "--cache")] == [
        "one",
        "two",
        "two",
    ]
    error = require_failure(llmctl_in_process(*CHAT, "--refresh", "--cached-only", "hi"), 2)
    assert error.startswith("llmctl: --refresh and --cached-only cannot be combined\n")


DONE = event("[DONE]")
FILTERED = Reply(
    200,
    {"content-type": "text/event-stream"},
    (delta("no"), event({"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "content_filter"}]}), DONE),
    chunked=True,
)
LONG = Reply(
    200,
    {"content-type": "text/event-stream"},
    (delta("cut"), event({"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]}), DONE),
    chunked=True,
)


@pytest.mark.parametrize(
    ("reply", "flags"),
    [
        (refusal(400, "bad"), ()),
        (stream("half of it", then=CUT), ()),
        (FILTERED, ()),
        (LONG, ()),
        (stream(f"the key is {KEY}"), ()),
        (stream("not json"), ("--schema", "name, age int")),
        (stream("kept from the hub"), ("--no-log",)),
        (stream("no row"), ("--no-persist", "requests")),
    ],
    ids=["refused", "cut", "filtered", "long", "redacted", "schema", "no-log", "no-requests"],
)
def test_what_is_not_a_whole_answer_is_never_used(
    reply: Reply, flags: tuple[str, ...], llmctl_in_process: RunInProcess, server: FakeServer
) -> None:
    flags = (*flags, "--cache", "--retries", "0", "hello")
    server.answer(reply)
    llmctl_in_process(*CHAT, *flags)
    server.answer(reply)
    llmctl_in_process(*CHAT, *flags)
    assert len(server.requests) == 2


def test_long_answer_is_used_where_the_user_set_the_limit(llmctl_in_process: RunInProcess, server: FakeServer) -> None:
    server.answer(LONG)
    for cached in (False, True):
        assert ask(llmctl_in_process, "--cache", "-o", "max_tokens=1", "hello")["cached"] is cached


def test_answers_of_the_providers_own_tools_are_not_used(llmctl_in_process: RunInProcess, server: FakeServer) -> None:
    flags = ("--cache", "-o", 'tools:=[{"type": "web_search"}]', "news?")
    for _ in range(2):
        done = llmctl_in_process(*CHAT, *flags)
        assert 'not cached: answers with "web_search" depend on the day' in done.stderr
    assert len(server.requests) == 2
    done = llmctl_in_process(*CHAT, "--cached-only", *flags[1:])
    assert (done.returncode, 'answers with "web_search" depend on the day' in done.stderr) == (3, True)


def test_only_stored_answers_need_neither_network_nor_key(
    llmctl_in_process: RunInProcess, server: FakeServer, env: dict[str, str]
) -> None:
    flags = ("--base-url", "https://api.example", "--provider", "openai", "--key-env", "MY_KEY", "--model", "m1")
    assert llmctl_in_process("connection", "add", "far", *flags).returncode == 0
    done = llmctl_in_process(*CHAT, "--connection", "far", "--cached-only", "--json", "hello")
    assert (done.returncode, done.error["reason"], done.error["code"]) == (3, "cache_miss", "not-found")
    ask(llmctl_in_process, "--cache", "hello")
    assert ask(llmctl_in_process, "--cached-only", "hello")["content"] == "echo: hello"
    done = llmctl_in_process(*CHAT, "--cached-only", "hello there")
    assert (done.returncode, done.stdout, len(server.requests)) == (3, "", 1)


@pytest.mark.parametrize("name", HOSTS)
def test_hit_replays_thinking_and_tool_calls(
    name: str, llmctl_in_process: RunInProcess, server: FakeServer, env: dict[str, str], tmp_path: Path
) -> None:
    host: ProviderHost = HOSTS[name]
    run = llmctl_in_process
    base = server.url.removesuffix("/v1") + host.path
    flags = ("--provider", host.provider, "--wire", host.wire, "--model", host.model, "--base-url", base)
    assert run("connection", "add", "other", *flags, "--key-stdin", input=KEY).returncode == 0
    assert run(
        "tool", "add", "weather", "--schema", "{}", "--command", f"sh -c 'echo >> {tmp_path}/runs; echo 7'"
    ).stdout
    server.answer(host.calls("weather", {"city": "Oslo"}), host.streamed("it is cold"))
    asked = ("--connection", "other", "-T", "weather:auto", "--cache", "so?")
    first, again = ask(run, *asked), ask(run, *asked)
    assert len(server.requests) == 2
    assert again["content"] == first["content"] == "it is cold"
    assert again["tool_calls"][0]["arguments"] == first["tool_calls"][0]["arguments"]
    assert (tmp_path / "runs").read_text() == "\n\n", "the answer is stored, the tool runs again"
    columns = "content, content_raw, thinking_text, finish_reason, role"
    rows = [
        query(env, f"SELECT {columns} FROM messages WHERE thread_id = ? ORDER BY seq", turn["thread_id"])
        for turn in (first, again)
    ]
    assert rows[0] == rows[1]


def test_hit_replays_thinking(llmctl_in_process: RunInProcess, server: FakeServer) -> None:
    steps = (thought("let me see"), delta("yes"), *ending("yes"))
    server.answer(Reply(200, {"content-type": "text/event-stream"}, steps, chunked=True))
    answers = [ask(llmctl_in_process, "--cache", "so?") for _ in range(2)]
    assert [answer["thinking"] for answer in answers] == ["let me see"] * 2
    lines = llmctl_in_process(*CHAT, "--jsonl", "--cache", "so?").lines
    assert [line["type"] for line in lines] == ["start", "thinking", "text", "done"]
    assert lines[-1]["cached"]


def test_message_serves_where_streams_are_not_kept(
    llmctl_in_process: RunInProcess, server: FakeServer, env: dict[str, str]
) -> None:
    ask(llmctl_in_process, "--cache", "--no-persist", "streams", "hello")
    assert query(env, "SELECT count(*) FROM response_streams") == [(0,)]
    assert ask(llmctl_in_process, "--cache", "hello")["content"] == "echo: hello"
    assert len(server.requests) == 1


def test_stats_and_report_count_what_was_saved(
    llmctl_in_process: RunInProcess, server: FakeServer, tmp_path: Path
) -> None:
    first = ask(llmctl_in_process, "--cache", "hello")
    for _ in range(2):
        ask(llmctl_in_process, "--cache", "hello")
    found = parse_json(llmctl_in_process("stats", "--json"))
    assert (found["requests"], found["cached_requests"], found["cost"]) == (3, 2, first["cost"])
    assert (found["saved_cost"], found["total_tokens"]) == (2 * first["cost"], first["usage"]["total_tokens"])
    assert llmctl_in_process("report", "--output", str(tmp_path / "r.html")).returncode == 0
    assert "2 stored answers saved" in (tmp_path / "r.html").read_text()


def test_fork_uses_the_answer_of_its_original(llmctl_in_process: RunInProcess, server: FakeServer) -> None:
    run = llmctl_in_process
    ask(run, "--name", "one", "--cache", "hello")
    fork = parse_json(run("chats", "fork", "one", "--name", "two", "--json"))
    ask(run, "--name", "one", "--cache", "and then?")
    assert ask(run, "--chat", fork["id"], "--cache", "and then?")["cached"]
    assert len(server.requests) == 2


def test_environment_setting_and_file_turn_the_cache_on(
    llmctl_in_process: RunInProcess, server: FakeServer, tmp_path: Path
) -> None:
    run = llmctl_in_process
    ask(run, "--cache", "hello")
    (tmp_path / "p.toml").write_text('prompt = "hello"\ncache = "7d"\n')
    assert parse_json(run("run", str(tmp_path / "p.toml"), "--no-stdin", "--json"))["cached"]
    assert run("settings", "set", "cache", "7d").returncode == 0
    assert ask(run, "hello")["cached"]
    assert "cached" not in ask(run, "--cache=off", "hello")
    assert run("settings", "set", "cache", "off").returncode == 0
    assert "cached" not in ask(run, "hello")
    error = require_failure(run("settings", "set", "cache", "soon"), 2)
    assert error.startswith('llmctl: cache must be on, off or a time such as 12h or 7d, got "soon"\n')


def test_retry_asks_again(llmctl: Llmctl, server: FakeServer) -> None:
    server.answer(stream("one"), stream("two"))
    ask_again = [(">", b"hello\n"), (">", b"/retry\n"), (">", b"\x04")]
    code, screen = run_on_terminal([*LLMCTL, "chat", "--cache"], llmctl.env | {"TERM": "dumb"}, ask_again)
    assert (code, len(server.requests)) == (0, 2), screen
    assert parse_json(llmctl(*CHAT, "--cache", "--json", "hello"))["content"] == "two"
    assert llmctl("request", "show", "last", "--stream").stdout.count('"content": "two"') == 1


def test_variable_turns_the_cache_on(llmctl: Llmctl, server: FakeServer) -> None:
    for value, cached in (("on", False), ("7d", True), ("off", None)):
        found = parse_json(llmctl.with_env(LLMCTL_CACHE=value)(*CHAT, "--json", "hello"))
        assert found.get("cached") is cached
    error = require_failure(llmctl.with_env(LLMCTL_CACHE="soon")(*CHAT, "hello"), 2)
    assert error.startswith("llmctl: LLMCTL_CACHE must be on, off or a time")


def test_keyword_of_python(server: FakeServer, env: dict[str, str]) -> None:
    with Hub(env["LLMCTL_DB"], env=env) as hub:
        first = hub.create_chat(connection="work").ask("hello", cache=True)
        again = hub.create_chat(connection="work").ask("hello", cache="7d")
        plain = hub.create_chat(connection="work").ask("hello")
    assert (first.content, again.content, len(server.requests)) == ("echo: hello", "echo: hello", 2)
    assert (first.cached, again.cached, again.cached_from) == (False, True, first.request_id)
    assert "cached" not in plain.as_dict()
    assert again.as_dict()["saved_cost"] == first.cost


def test_deletion_takes_the_answer_along(
    llmctl_in_process: RunInProcess, server: FakeServer, env: dict[str, str]
) -> None:
    run = llmctl_in_process
    first = ask(run, "--cache", "hello there")
    assert run("chats", "delete", first["chat_id"], "--yes").returncode == 0
    assert not ask(run, "--cache", "hello there")["cached"]
    assert run("db", "scrub", "-", input="hello there").returncode == 0
    assert query(env, "SELECT count(*) FROM requests WHERE cache_key IS NOT NULL") == [(0,)]
    assert not ask(run, "--cache", "hello there")["cached"]
    assert len(server.requests) == 3


def test_imported_answer_is_not_used(
    llmctl_in_process: RunInProcess, server: FakeServer, env: dict[str, str], tmp_path: Path
) -> None:
    run = llmctl_in_process
    ask(run, "--cache", "hello")
    assert run("export", "--all", "--output", str(tmp_path / "hub.jsonl")).returncode == 0
    other = {**env, "LLMCTL_DB": str(tmp_path / "other.db")}
    assert run("import", str(tmp_path / "hub.jsonl"), env=other).returncode == 0
    assert query(other, "SELECT count(*), count(cache_key) FROM requests") == [(1, 0)]
    assert run("import", str(tmp_path / "hub.jsonl")).returncode == 0
    assert ask(run, "--cache", "hello")["cached"], "an import does not take this hub's own away"


def test_clear_forgets_answers_and_keeps_rows(
    llmctl_in_process: RunInProcess, server: FakeServer, env: dict[str, str]
) -> None:
    run = llmctl_in_process
    ask(run, "--cache", "old")
    set_age(env, 40)
    ask(run, "--cache", "new")
    ask(run, "--cache", "new")
    status = parse_json(run("cache", "status", "--json"))
    assert (status["answers"], status["hits"], status["saved_cost"]) == (2, 1, pytest.approx(9e-6))
    assert run("cache", "clear", "--older-than", "30d").stderr == "llmctl: forgot 1 answer\n"
    assert ask(run, "--cache", "new")["cached"]
    assert run("cache", "clear").stderr == "llmctl: forgot 1 answer\n"
    assert parse_json(run("cache", "status", "--json"))["answers"] == 0
    assert query(env, "SELECT count(*) FROM requests") == [(4,)]
    assert not ask(run, "--cache", "new")["cached"]


@pytest.mark.parametrize(
    ("flags", "reason", "line"),
    [
        (("--cache", "goodbye"), "miss: new prompt: no earlier request had the same messages", '+        "goodbye"'),
        (("--cache", "-o", "temperature=1", "hello"), "miss: options differ: temperature", '+    "temperature": 1'),
        (("--refresh", "hello"), "miss: refreshed: --refresh asks again", ""),
        (("hello",), "unused: no cache was asked for; equal to the request before it", ""),
        (("--cache", "hello"), "hit: an equal request was answered before (request {first})", ""),
    ],
)
def test_explain_says_why(
    flags: tuple[str, ...], reason: str, line: str, llmctl_in_process: RunInProcess, server: FakeServer
) -> None:
    first = ask(llmctl_in_process, "--cache", "hello")
    ask(llmctl_in_process, *flags)
    shown = llmctl_in_process("cache", "explain", "last").stdout
    assert shown.splitlines()[0] == reason.format(first=first["request_id"])
    assert line.strip('+" ') in shown
    found = parse_json(llmctl_in_process("cache", "explain", "last", "--json"))
    assert found["compared_with"] == (None if found["result"] == "hit" else first["request_id"])


def test_explain_says_that_the_request_before_failed(llmctl_in_process: RunInProcess, server: FakeServer) -> None:
    server.answer(refusal(400, "bad"))
    llmctl_in_process(*CHAT, "--cache", "hello")
    ask(llmctl_in_process, "--cache", "hello")
    assert llmctl_in_process("cache", "explain", "last").stdout.startswith("miss: was incomplete")


def test_embeddings_are_used_again(llmctl_in_process: RunInProcess, env: dict[str, str]) -> None:
    run = llmctl_in_process
    words = ("embed", "-m", "echo", "hello", "there", "--json")
    assert "cached" not in parse_json(run(*words))
    first, again = (parse_json(run(*words, "--cache")) for _ in range(2))
    assert (first["cached"], again["cached"], again["cached_requests"]) == (False, True, 1)
    assert (again["embeddings"], again["usage"]["input_tokens"]) == (first["embeddings"], 0)
    assert last_request(env)["cached_from"] == first["request_id"]
    done = run("embed", "-m", "echo", "other", "--cached-only", "--json")
    assert (done.returncode, done.error["reason"]) == (3, "cache_miss")
    assert run("embed", "-m", "echo", "hello", "there", "--cached-only", "--no-log").returncode in (0, 2)


def test_equal_rows_of_a_map_make_one_call(
    llmctl_in_process: RunInProcess, server: FakeServer, env: dict[str, str], tmp_path: Path
) -> None:
    run = llmctl_in_process
    table = tmp_path / "words.txt"
    table.write_text("one\ntwo\none\none\ntwo\n")
    words = ("map", str(table), "{{ line }}", "--connection", "work", "--cache", "--output", str(tmp_path / "o.jsonl"))
    for _ in range(2):
        assert run(*words).returncode == 0
        rows = [parse_json_line(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
        assert [row["output"] for row in rows] == ["echo: one", "echo: two", "echo: one", "echo: one", "echo: two"]
        assert all(row["request_id"] for row in rows)
    assert len(server.requests) == 2
    counted = "SELECT count(*), count(cached_from), count(cache_key), sum(cost > 0) FROM requests"
    assert query(env, counted) == [(10, 8, 2, 2)]
    assert query(env, "SELECT count(*) FROM network_calls") == [(2,)]
    assert ask(run, "--cache", "two")["cached"], "a chat uses the answer of a map"
    table.write_text("one\nthree\n")
    done = run(*words[:-3], "--cached-only", "--output", str(tmp_path / "o.jsonl"))
    assert (done.returncode, len(server.requests)) == (14, 2)
    rows = [parse_json_line(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert [row["status"] for row in rows] == ["completed", "failed"]


def parse_json_line(line: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(line)
    return found


def test_equal_request_that_died_is_passed_over(llmctl: Llmctl, server: FakeServer, env: dict[str, str]) -> None:
    server.answer(stream("never comes", hold=1))
    with llmctl.start(*CHAT, "--cache", "hello") as first:
        server.wait_for(1)
        first.kill()
    assert parse_json(llmctl(*CHAT, "--cache", "--json", "hello"))["content"] == "echo: hello"


def test_waiting_for_an_equal_request_has_a_limit(llmctl: Llmctl, server: FakeServer) -> None:
    server.answer(stream("late answer", hold=1))
    with llmctl.start(*CHAT, "--cache", "hello") as first:
        server.wait_for(1)
        done = llmctl(*CHAT, "--cache", "--timeout", "0.3", "--json", "hello")
        assert (done.returncode, done.error["reason"], len(server.requests)) == (6, "timeout", 1)
        assert "asks the same and runs" in done.error["message"]
        server.release()
        assert first.wait().stdout == "late answer\n"


@pytest.mark.slow
def test_equal_requests_at_the_same_time_make_one_call(llmctl: Llmctl, server: FakeServer, env: dict[str, str]) -> None:
    server.answer(stream("one answer", insert={0: HOLD}))
    running = [llmctl.start(*CHAT, "--cache", "hello") for _ in range(16)]
    server.wait_for(1)
    server.release()
    assert [process.wait().stdout for process in running] == ["one answer\n"] * 16
    assert len(server.requests) == 1
    rows = query_dicts(env, "SELECT cached_from, cost, saved_cost FROM requests")
    assert sorted(row["cached_from"] is None for row in rows) == [False] * 15 + [True]


def test_chat_without_a_cache_loads_nothing_of_it(env: dict[str, str]) -> None:
    code = """
import os, sys
from llmctl.cli.main import main
sys.argv = ["llmctl", "chat", "--no-stdin", "-m", "echo", "hi"]
os._exit = lambda code: None
main()
print(sorted({"llmctl.engine.turn.cache", "llmctl.wire.canonical"} & set(sys.modules)))
"""
    done = run_python(code, env=env)
    assert done.stdout.splitlines()[-1] == "[]"


def correct_answers(run: RunInProcess, server: FakeServer, tmp_path: Path, *rows: str) -> Result:
    """Map rows to a number; the first answer to each is "none", and the one to a correction is right."""

    def reply(request: Request) -> Reply:
        return document("none" if len(request.json["messages"]) == 1 else '{"n": 1}')

    server.answer(*[reply] * 10)
    (tmp_path / "in.txt").write_text("".join(f"{row}\n" for row in rows))
    words = ("map", str(tmp_path / "in.txt"), "{{ line }}", "--connection", "work", "--schema", "n int", "--fix", "1")
    return run(*words, "--cache")


def test_correction_of_a_map_uses_a_stored_answer(
    llmctl_in_process: RunInProcess, server: FakeServer, tmp_path: Path, env: dict[str, str]
) -> None:
    for calls in (3, 5):  # the equal row asks the first question again, since its answer is not usable
        done = correct_answers(llmctl_in_process, server, tmp_path, "one", "one")
        require_success(done)
        assert [row["data"] for row in done.lines] == [{"n": 1}, {"n": 1}]
        assert len(server.requests) == calls
    assert query(env, "SELECT DISTINCT status FROM map_items") == [("completed",)]


def test_correction_that_is_too_long_fails_its_row_alone(
    llmctl_in_process: RunInProcess, server: FakeServer, tmp_path: Path
) -> None:
    """It is refused before it is sent, and the answer to the other row is kept."""

    def reply(request: Request) -> Reply:
        said = request.json["messages"][-1]["content"]
        return document("word " * 128_010 if said == "long" else '{"n": 1}')

    server.answer(*[reply] * 10)
    (tmp_path / "in.txt").write_text("long\nshort\n")
    words = ("map", str(tmp_path / "in.txt"), "{{ line }}", "-m", "work:gpt-4o", "--schema", "n int", "--fix", "1")
    done = llmctl_in_process(*words, "-P", "1")
    assert done.returncode == 14, done.stderr
    assert [row["status"] for row in done.lines] == ["failed", "completed"]
    assert done.lines[0]["error"]["code"] == "rejected"
    assert len(server.requests) == 2
