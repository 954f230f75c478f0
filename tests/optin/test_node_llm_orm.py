"""Two programs on one hub: llmctl and the real ``@node-llm/orm``, each going on where the other stopped."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from llmctl.store import opening
from llmctl.store.schema import custom_names
from tests.fakes.openai_server import FakeServer, Reply, Request, json_reply, refusal, stream
from tests.harness import Llmctl
from tests.optin.node_llm import Project

MODEL = "gpt-4o-mini"


def calls_a_tool(request: Request) -> Reply:
    """Answer with a tool call, and with text once its result is in the request."""
    if request.messages[-1][0] == "tool":
        message: dict[str, Any] = {"role": "assistant", "content": "It is sunny."}
    else:
        function = {"name": "weather", "arguments": '{"city":"Paris"}'}
        message = {"role": "assistant", "content": None}
        message["tool_calls"] = [{"id": "c", "type": "function", "function": function}]
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    return json_reply(200, {"id": "1", "model": MODEL, "choices": [{"index": 0, "message": message}], "usage": usage})


@pytest.fixture
def talk(llmctl: Llmctl, env: dict[str, str], server: FakeServer) -> Callable[..., Any]:
    """llmctl with a connection to the fake server."""
    more = {"OPENAI_API_KEY": "key-of-nobody", "OPENAI_API_BASE": server.url, "LLMCTL_MODEL": MODEL}

    def run(*arguments: str, **options: Any) -> Any:
        return llmctl(*arguments, env={**env, **more}, check=True, **options).stdout

    return run


@pytest.fixture
def project(talk: Callable[..., Any], env: dict[str, str], tmp_path: Path) -> Callable[..., Any]:
    """Create the ORM's side of a hub, with the given naming style."""

    def made(dress: str = "hub") -> Any:
        schema = talk("schema", "emit", "prisma", *(["--nodellm"] if dress == "nodellm" else []))
        config = talk("schema", "emit", "prisma", "--config")
        found = Project(tmp_path / dress, env["LLMCTL_DB"], dress, schema, config)
        found.generate()
        return found

    return made


@pytest.fixture
def rows(env: dict[str, str]) -> Callable[..., Any]:
    def query(sql: str, *parameters: Any) -> list[Any]:
        with closing(sqlite3.connect(env["LLMCTL_DB"], isolation_level=None)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(sql, parameters)]

    return query


def spoken(messages: Any) -> list[tuple[Any, ...]]:
    return [(message["role"], message["content"]) for message in messages]


DRESSES = pytest.mark.parametrize("dress", ["hub", "nodellm"])


@DRESSES
def test_orm_lists_continues_and_counts_what_llmctl_wrote(
    talk: Callable[..., Any], server: FakeServer, project: Callable[..., Any], rows: Callable[..., Any], dress: Any
) -> None:
    server.answer(stream("one two"))
    made = json.loads(talk("chat", "--name", "shared", "-s", "Be brief.", "--json", "count"))
    chat = made["chat_id"]
    listed, messages, answer, stats = project(dress).run(
        server.url, ["list"], ["messages", chat], ["ask", chat, "go on"], ["stats", chat]
    )
    assert [(one["id"], one["name"], one["provider"], one["instructions"]) for one in listed] == [
        (chat, "shared", "openai", "Be brief.")
    ]
    assert spoken(messages) == [("system", "Be brief."), ("user", "count"), ("assistant", "one two")]
    assert answer["content"] == "echo: go on"
    assert spoken(server.requests[-1].json["messages"]) == [
        *[("system", "Be brief."), ("user", "count"), ("assistant", "one two"), ("user", "go on")]
    ]
    assert (stats["input_tokens"], stats["output_tokens"]) == (14, 5)
    assert [row["origin"] for row in rows("SELECT origin FROM requests ORDER BY created_at")] == ["llmctl", "orm"]


@DRESSES
def test_llmctl_continues_and_counts_what_the_orm_wrote(
    talk: Callable[..., Any], server: FakeServer, project: Callable[..., Any], rows: Callable[..., Any], dress: Any
) -> None:
    talk("chat", "make the hub")
    orm = project(dress)
    created, asked, streamed = orm.run(
        server.url, ["create", {"instructions": "Be kind."}], ["ask", "$0", "first"], ["stream", "$0", "second"]
    )
    assert (asked["content"], "".join(streamed["pieces"])) == ("echo: first", "echo: second")
    chat = created["id"]
    server.answer(stream("third answer"))
    done = json.loads(talk("chat", "--chat", chat, "third", "--json"))
    assert (done["status"], done["content"]) == ("completed", "third answer")
    # NodeLLM keeps the instructions in the chat's row and never sends them.
    assert [m for m in spoken(server.requests[-1].json["messages"]) if m[0] != "system"] == [
        *[("user", "first"), ("assistant", "echo: first"), ("user", "second"), ("assistant", "echo: second")],
        ("user", "third"),
    ]
    stats = json.loads(talk("stats", "--chat", chat, "--json"))
    assert (stats["requests"], stats["messages"]) == (3, 6)
    assert (stats["input_tokens"], stats["output_tokens"]) == (21, 6)
    assert len(rows("SELECT DISTINCT thread_id FROM messages WHERE chat_id = ?", chat)) == 1


def test_turns_of_both_stay_in_order(
    talk: Callable[..., Any], server: FakeServer, project: Callable[..., Any], rows: Callable[..., Any]
) -> None:
    chat = json.loads(talk("chat", "0", "--json"))["chat_id"]
    orm = project()
    for turn in (1, 3):
        orm.run(server.url, ["ask", chat, str(turn)])
        talk("chat", "--chat", chat, str(turn + 1))
    (messages,) = orm.run(server.url, ["messages", chat])
    assert [content for role, content in spoken(messages) if role == "user"] == ["0", "1", "2", "3", "4"]
    found = rows("SELECT seq, created_at FROM messages WHERE chat_id = ? ORDER BY created_at", chat)
    assert [row["seq"] for row in found] == sorted({row["seq"] for row in found})
    assert len({row["created_at"] for row in found}) == len(found) == 10
    asked = [content for role, content in spoken(server.requests[-1].json["messages"]) if role == "user"]
    assert asked == ["0", "1", "2", "3", "4"]


def test_rows_of_the_orm_are_made_whole(
    talk: Callable[..., Any], server: FakeServer, project: Callable[..., Any], rows: Callable[..., Any]
) -> None:
    talk("chat", "make the hub")
    orm = project()
    created, _, _, found = orm.run(
        server.url,
        ["create", {"metadata": {"a": [1]}}],
        ["ask", "$0", "first"],
        ["ask", "$0", "second"],
        ["deep", "$0"],
    )
    chat = created["id"]
    messages = rows("SELECT * FROM messages WHERE chat_id = ? ORDER BY seq", chat)
    assert [(m["seq"], m["type"], m["status"], m["origin"]) for m in messages] == [
        *[(1, "user", "completed", "orm"), (2, "chatModel", "completed", "orm")],
        *[(3, "user", "completed", "orm"), (4, "chatModel", "completed", "orm")],
    ]
    assert found["metadata"] == {"a": [1]}
    assert [len(message["requests"]) for message in found["messages"]] == [0, 1, 0, 1]
    usage = rows("SELECT * FROM usage_hourly WHERE provider = 'openai' AND connection = ''")
    assert [(u["requests"], u["input_tokens"], u["duration"], u["timed_requests"]) for u in usage] == [(2, 14, 0, 0)]


def test_cost_0_of_the_orm_is_unknown(
    talk: Callable[..., Any], server: FakeServer, project: Callable[..., Any], rows: Callable[..., Any]
) -> None:
    talk("chat", "make the hub")
    created, _ = project().run(server.url, ["create", {"model": "model-of-nobody"}], ["ask", "$0", "first"])
    (request,) = rows("SELECT * FROM requests WHERE origin = 'orm'")
    assert request["cost"] == 0
    assert rows("SELECT cost, duration_ms FROM v_requests WHERE id = ?", request["id"]) == [
        {"cost": None, "duration_ms": None}
    ]
    stats = json.loads(talk("stats", "--chat", created["id"], "--json"))
    assert (stats["cost"], stats["unpriced_requests"]) == (None, 1)


def test_failed_turn_of_the_orm_is_no_obstacle(
    talk: Callable[..., Any], server: FakeServer, project: Callable[..., Any], rows: Callable[..., Any]
) -> None:
    talk("chat", "make the hub")
    server.answer(refusal(400, "no such thing"))
    created, failed = project().run(server.url, ["create", {}], ["ask", "$0", "first"])
    assert "no such thing" in failed["error"]
    chat = created["id"]
    assert spoken(rows("SELECT role, content FROM messages WHERE chat_id = ?", chat)) == [("user", "first")]
    talk("chat", "--chat", chat, "again")
    sent = spoken(server.requests[-1].json["messages"])
    assert sent[-1] == ("user", "first\n\nagain")  # the ORM does not record that its prompt failed
    assert all(content for _, content in sent)


def test_answer_that_the_orm_left_alone_is_never_sent(
    talk: Callable[..., Any], server: FakeServer, project: Callable[..., Any], rows: Callable[..., Any]
) -> None:
    """A stream of the ORM that is not read to its end leaves an empty row."""
    talk("chat", "make the hub")
    created, _ = project().run(server.url, ["create", {}], ["stream", "$0", "one two three", 1])
    chat = created["id"]
    (placeholder,) = rows("SELECT * FROM messages WHERE chat_id = ? AND role = 'assistant'", chat)
    assert (placeholder["status"], placeholder["content"]) == ("pending", None)
    # The ORM gives no lease: only after ten minutes is it known to be dead.
    rows("UPDATE messages SET created_at = '2020-01-01T00:00:0' || seq || '.000+00:00' WHERE chat_id = ?", chat)
    talk("chat", "--chat", chat, "still there?")
    sent = spoken(server.requests[-1].json["messages"])
    assert all(content for _, content in sent)
    assert sent[-1] == ("user", "one two three\n\nstill there?")


def test_tool_calls_of_the_orm_are_readable(
    talk: Callable[..., Any], server: FakeServer, project: Callable[..., Any], rows: Callable[..., Any]
) -> None:
    talk("chat", "make the hub")
    server.answer(calls_a_tool, calls_a_tool)
    created, answer = project().run(server.url, ["create", {}], ["tool", "$0", "weather?"])
    assert answer["content"] == "It is sunny."
    (call,) = rows("SELECT * FROM tool_invocations")
    assert (call["name"], call["result"], call["status"], call["origin"]) == (
        *("weather", "sunny in Paris", "completed", "orm"),
    )
    assert json.loads(json.loads(call["arguments"])) == {"city": "Paris"}
    shown = json.loads(talk("chats", "show", created["id"], "--json"))
    (seen,) = [one for message in shown["messages"] for one in message["tool_calls"]]
    assert seen["arguments"] == {"city": "Paris"}
    talk("chat", "--chat", created["id"], "and tomorrow?")
    assert spoken(server.requests[-1].json["messages"])[-1] == ("user", "and tomorrow?")


@DRESSES
def test_agent_sessions_go_on(
    talk: Callable[..., Any], server: FakeServer, project: Callable[..., Any], rows: Callable[..., Any], dress: Any
) -> None:
    talk("chat", "make the hub")
    orm = project(dress)
    session, asked, _ = orm.run(
        server.url, ["session", {"user": "u_1"}], ["askSession", "$0", "hello"], ["remember", "$0", {"plan": "pro"}]
    )
    assert asked["content"] == "echo: hello"
    again, more = orm.run(server.url, ["askSession", session["id"], "and now?"], ["list"])
    assert again["content"] == "echo: and now?"
    (found,) = rows("SELECT * FROM agent_sessions")
    assert (found["agent_class"], json.loads(found["metadata"])) == ("Helper", {"user": "u_1", "plan": "pro"})
    assert found["chat_id"] in [chat["id"] for chat in more]


def test_ledger_outlives_what_the_orm_deletes(
    talk: Callable[..., Any], server: FakeServer, project: Callable[..., Any], rows: Callable[..., Any]
) -> None:
    talk("chat", "make the hub")
    before = rows("SELECT sum(requests) AS n FROM usage_hourly")[0]["n"]
    created, *_ = project().run(server.url, ["create", {}], ["ask", "$0", "first"], ["delete", "$0"])
    assert rows("SELECT * FROM messages WHERE chat_id = ?", created["id"]) == []
    (request,) = rows("SELECT * FROM requests WHERE origin = 'orm'")
    assert (request["chat_id"], request["message_id"], request["input_tokens"]) == (None, None, 7)
    assert rows("SELECT sum(requests) AS n FROM usage_hourly")[0]["n"] == before + 1


def test_times_filter_and_sort(talk: Callable[..., Any], server: FakeServer, project: Callable[..., Any]) -> None:
    talk("chat", "make the hub")
    orm = project()
    created, past, future = orm.run(
        server.url, ["create", {}], ["since", "2020-01-01T00:00:00Z"], ["since", "2999-01-01T00:00:00Z"]
    )
    assert [chat["id"] for chat in past][-1] == created["id"]
    assert (len(past), future) == (2, [])


def test_own_table_names_and_fields(
    talk: Callable[..., Any],
    env: dict[str, str],
    server: FakeServer,
    project: Callable[..., Any],
    rows: Callable[..., Any],
) -> None:
    opening.create(env["LLMCTL_DB"], {"chats": "My Chats", "messages": "order", "requests": "REQUESTS"})
    database = opening.open_hub(env["LLMCTL_DB"], "write")
    custom_names.add_fields(
        database,
        [custom_names.parse_field("chats.user_id:text:index"), custom_names.parse_field("chats.paid:boolean")],
    )
    database.close()
    orm = project("nodellm")
    created, _, found = orm.run(
        server.url, ["create", {"userId": "u_1", "paid": True}], ["ask", "$0", "hi"], ["find", {"userId": "u_1"}]
    )
    assert [(chat["id"], chat["paid"]) for chat in found] == [(created["id"], True)]
    assert rows('SELECT user_id, paid FROM "My Chats"') == [{"user_id": "u_1", "paid": 1}]
    talk("chat", "--chat", created["id"], "more")
    assert len(rows('SELECT 1 FROM "order" WHERE chat_id = ?', created["id"])) == 4
