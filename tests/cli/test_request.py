"""``llmctl request`` on the command line: the ledger, what was sent, what came."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import pytest

from llmctl.core.stored_values import dumps
from llmctl.engine.connections import trust
from llmctl.store.opening import open_hub
from llmctl.store.records import connections
from tests.fakes.hub_builder import HubBuilder
from tests.fakes.openai_server import CUT, FakeServer, refusal, stream
from tests.harness import Llmctl, parse_json, require_success

KEY = "sk-test-0123456789abcdef"


@pytest.fixture
def server(env: dict[str, str]) -> Iterator[FakeServer]:
    """A server behind the connection ``work``, whose key is in the environment."""
    with FakeServer() as running, closing(open_hub(env["LLMCTL_DB"], "create")) as database:
        data = dumps({"base_url": running.url, "key": "env:WORK_KEY"})
        HubBuilder(database).connection("work", provider="openai", model_id="gpt-5", data=data)
        trust.add(database, connections.get(database, "work"), env)
        env["WORK_KEY"] = KEY
        env.pop("PYTEST_CURRENT_TEST", None)
        yield running


def curl_body(command: str) -> dict[str, Any]:
    words = shlex.split(command)
    body: dict[str, Any] = json.loads(words[words.index("--data-raw") + 1])
    return body


def test_list_filters(hub: HubBuilder, llmctl: Llmctl) -> None:
    chat = hub.chat("fix")
    hub.turn(chat, "a", "b")
    hub.turn(chat, "a", "b", status="failed", model="sonnet", provider="Anthropic", error="no")
    hub.turn(hub.chat(), "a", "b", status="incomplete")
    for flags, statuses in (
        ([], ["incomplete", "failed", "completed"]),
        (["--chat", "fix"], ["failed", "completed"]),
        (["--failed"], ["failed"]),
        (["--status", "incomplete"], ["incomplete"]),
        (["--model", "sonnet"], ["failed"]),
        (["--provider", "anthropic"], ["failed"]),
        (["--limit", "1"], ["incomplete"]),
        (["--since", "2999-01-01"], []),
    ):
        assert require_success(llmctl("request", "list", "--columns", "status", *flags)).split() == statuses, flags
    found = parse_json(llmctl("request", "list", "--json", "--failed"))
    assert (found[0]["chat"], found[0]["attempts"], found[0]["references"]) == ("fix", 1, {})


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["list", "--status", "nope"], 2, 'no status "nope"'),
        (["list", "--failed", "--status", "completed"], 2, "cannot be combined"),
        (["list", "--chat", "nope"], 3, 'no chat "nope"'),
        (["show", "nope"], 3, 'no request "nope"'),
        (["curl", "nope"], 3, 'no request "nope"'),
        (["replay", "nope"], 3, 'no request "nope"'),
    ],
)
def test_what_is_not_there_is_said(
    hub: HubBuilder, llmctl: Llmctl, arguments: list[str], code: int, words: str
) -> None:
    done = llmctl("request", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr


def test_show_has_attempts_stream_and_what_is_read_in_it(server: FakeServer, llmctl: Llmctl) -> None:
    server.answer(refusal(500, "try later"), stream("one two"))
    require_success(llmctl("chat", "-m", "work", "hi"))
    (row,) = parse_json(llmctl("request", "list", "--json"))
    found = parse_json(llmctl("request", "show", row["id"], "--http", "--stream", "--reparse", "--json"))
    assert [(call["attempt"], call["status"], call["status_code"]) for call in found["network_calls"]] == [
        (1, "error", 500),
        (2, "success", 200),
    ]
    assert "[redacted]" in found["network_calls"][0]["request_headers"].values()
    assert KEY not in str(found)
    assert found["stream"]["raw_output"].startswith("data: {")
    assert (found["reparsed"]["content"], found["reparsed"]["differs"]) == ("one two", False)
    assert require_success(llmctl("request", "show", row["id"], "--stream")) == found["stream"]["raw_output"]


def test_reparse_reports_differences_to_the_hub(hub: HubBuilder, llmctl: Llmctl) -> None:
    turn = hub.turn(hub.chat(), "a", "one two", input_tokens=10, finish_reason="stop", response_model="gpt-5")
    raw = hub.database.value("SELECT raw_output FROM {response_streams}").replace("two", "three").replace(":10", ":11")
    hub.database.execute("UPDATE {response_streams} SET raw_output = ?", (raw,))
    found = parse_json(llmctl("request", "show", turn["request"], "--reparse", "--json"))["reparsed"]
    assert found["content"] == "onethree"
    assert set(found["differences"]) >= {"input_tokens", "content"}
    assert found["differs"] is True


def test_curl_rebuilds_the_body_byte_for_byte_without_the_key(server: FakeServer, llmctl: Llmctl) -> None:
    server.answer(stream("one"), stream("two"), stream("three"))
    require_success(
        llmctl("chat", "-m", "work", "--name", "fix", "-s", "be terse", "-o", "temperature=0.5", 'it\'s "this" & $that')
    )
    require_success(llmctl("chat", "--name", "fix", "second\nline", "--no-stream"))
    require_success(llmctl("chat", "--name", "fix", "third"))
    for row, sent in zip(reversed(parse_json(llmctl("request", "list", "--json"))), server.requests, strict=True):
        done = llmctl("request", "curl", row["id"])
        assert (done.returncode, done.stderr) == (0, "")
        assert curl_body(done.stdout) == sent.json
        assert shlex.quote(sent.body.decode()) in done.stdout
        assert KEY not in done.stdout
        assert "Bearer $WORK_KEY" in done.stdout
        assert f"{server.url}/chat/completions" in done.stdout


def test_curl_can_be_pasted_into_a_shell(server: FakeServer, llmctl: Llmctl, env: Mapping[str, str]) -> None:
    require_success(llmctl("chat", "-m", "work", 'it\'s "this" & $that `x`'))
    (row,) = parse_json(llmctl("request", "list", "--json"))
    script = require_success(llmctl("request", "curl", row["id"]))
    done = subprocess.run(["bash", "-c", script], env=dict(env), capture_output=True, text=True)
    if "command not found" in done.stderr:
        pytest.skip("no curl on this machine")
    first, second = server.requests
    assert (second.body, second.path) == (first.body, first.path)
    assert second.headers["authorization"] == first.headers["authorization"] == f"Bearer {KEY}"


def test_curl_has_the_calls_that_never_ran_with_what_the_model_was_told(llmctl: Llmctl) -> None:
    llmctl("chat", "-m", "echo", "--name", "a", "look", "-o", 'tool=f {"a":1}', "--max-steps", "1")
    require_success(llmctl("chat", "--name", "a", "never mind", "-o", "tool=null"))
    last = parse_json(llmctl("request", "list", "--json"))[0]
    done = llmctl("request", "curl", last["id"])
    assert "echo answers inside llmctl" in done.stderr
    assert "the body differs" not in done.stderr
    told = "The tool 'f' was not run: the conversation went on without it"
    assert [m["content"] for m in curl_body(done.stdout)["messages"]] == ["look", None, told, "never mind"]


def test_curl_says_when_the_body_is_not_what_was_sent(hub: HubBuilder, llmctl: Llmctl) -> None:
    turn = hub.turn(hub.chat(), "a", "b", parameters=dumps({"seqs": [[1, 1]], "stream": True}))
    hub.database.execute("UPDATE {network_calls} SET body_hash = 'x', omitted_messages = 1")
    done = llmctl("request", "curl", turn["request"])
    assert done.returncode == 0
    assert "the body differs from what was sent" in done.stderr
    assert curl_body(done.stdout)["messages"] == [{"role": "user", "content": "a"}]


def test_curl_of_a_deleted_chat_is_not_found(llmctl: Llmctl) -> None:
    require_success(llmctl("chat", "-m", "echo", "--name", "a", "hi"))
    require_success(llmctl("chats", "delete", "a", "--yes"))
    (row,) = parse_json(llmctl("request", "list", "--json"))
    done = llmctl("request", "curl", row["id"])
    assert (done.returncode, done.stdout) == (3, "")


def test_replay_is_a_new_row_and_leaves_the_chat_alone(
    server: FakeServer, llmctl: Llmctl, env: Mapping[str, str]
) -> None:
    server.answer(stream("one"), stream("two"), stream("three"))
    require_success(llmctl("chat", "-m", "work", "--name", "fix", "-s", "be terse", "-o", "temperature=0.5", "first"))
    require_success(llmctl("chat", "--name", "fix", "second"))
    require_success(llmctl("connection", "edit", "work", "-o", "top_p=0.1"))  # options of a later day are not sent
    before = parse_json(llmctl("chats", "show", "fix", "--json", "--all"))
    (_, first) = parse_json(llmctl("request", "list", "--json"))
    assert require_success(llmctl("request", "replay", first["id"])) == "three\n"
    assert server.requests[2].body == server.requests[0].body
    rows = parse_json(llmctl("request", "list", "--json"))
    assert len(rows) == 3
    assert (rows[0]["references"], rows[0]["chat_id"]) == ({"replay_of": first["id"]}, None)
    assert parse_json(llmctl("chats", "show", "fix", "--json", "--all")) == before


def test_replay_on_another_model(server: FakeServer, llmctl: Llmctl) -> None:
    require_success(llmctl("chat", "-m", "work", "say this"))
    (row,) = parse_json(llmctl("request", "list", "--json"))
    found = parse_json(llmctl("request", "replay", row["id"], "-m", "echo", "--json"))
    assert (found["content"], found["provider"], found["chat_id"]) == ("say this", "echo", None)


def test_replay_fails_with_the_code_of_its_class(server: FakeServer, llmctl: Llmctl) -> None:
    require_success(llmctl("chat", "-m", "work", "hi"))
    (row,) = parse_json(llmctl("request", "list", "--json"))
    server.answer(refusal(401), stream("one two", then=CUT))
    assert llmctl("request", "replay", row["id"]).returncode == 4
    done = llmctl("request", "replay", row["id"])
    assert done.returncode == 12
    statuses = require_success(llmctl("request", "list", "--columns", "status")).split()
    assert statuses == ["incomplete", "failed", "completed"]


def test_curl_masks_a_key_that_was_typed_in_a_prompt(llmctl: Llmctl, server: FakeServer) -> None:
    own, other = "ownkey-of-no-shape-1", "sk-proj-0123456789abcdefghij"
    there = llmctl.with_env(MY_KEY=own)
    url = ("--base-url", server.url, "-m", "m", "--key-env", "MY_KEY", "--default")
    there("connection", "add", "mine", *url, check=True)
    there("chat", f"is {own} or {other} valid?", check=True)
    shown = there("request", "curl", "last", check=True).stdout
    assert own not in shown
    assert other not in shown
    assert "[redacted]" in shown
    audit = there("request", "show", "last", "--http", "--json", check=True).stdout
    assert own not in audit
    assert other not in audit


def test_compacted_text_is_shown_whole(hub: HubBuilder, llmctl: Llmctl) -> None:
    system, answer = "You are patient. " * 100, "word " * 300
    turn = hub.turn(hub.chat(), "hello", answer)
    body = dumps({"model": "gpt-5", "instructions": system, "input": [{"role": "user", "content": "hello"}]})
    hub.insert("network_calls", request_id=turn["request"], attempt=2, endpoint="x", method="POST", body=body)
    assert hub.database.value("SELECT count(*) FROM {bodies}") == 1
    found = parse_json(llmctl("request", "show", turn["request"], "--http", "--stream", "--reparse", "--json"))
    assert dumps(found["network_calls"][1]["body"]) == dumps(body)
    assert found["reparsed"]["content"].count("word") == 300
    shown = require_success(llmctl("request", "show", turn["request"], "--stream"))
    sql = "SELECT gunzip(coalesce(raw_output_gz, raw_output)) AS text FROM response_streams"
    assert parse_json(llmctl("db", "query", sql, "--json"))[0]["text"] == shown == found["stream"]["raw_output"]
    assert system.strip() in require_success(llmctl("request", "show", turn["request"], "--http"))
