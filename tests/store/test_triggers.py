"""Rows that another program writes into a hub: what triggers make of them, and which rows they leave alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from llmctl.core.stored_values import new_id
from llmctl.store import opening

TIME = "2026-01-02T03:04:05.678+00:00"


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    path = str(tmp_path / "hub.db")
    opening.create(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as found:
        found.execute("PRAGMA foreign_keys = ON")
        found.row_factory = sqlite3.Row
        yield found


@pytest.fixture
def chat(connection: sqlite3.Connection) -> str:
    connection.execute("INSERT INTO chats (id) VALUES ('c')")
    return "c"


def say(
    connection: sqlite3.Connection, chat: str | None, role: str = "user", content: str | None = "hi", **more: Any
) -> Any:
    row = {"id": new_id(), "chat_id": chat, "role": role, "content": content, **more}
    columns, marks = ", ".join(row), ", ".join(f":{name}" for name in row)
    connection.execute(f"INSERT INTO messages ({columns}) VALUES ({marks})", row)
    return connection.execute("SELECT * FROM messages WHERE id = ?", (row["id"],)).fetchone()


def ask(connection: sqlite3.Connection, **row: Any) -> None:
    row = {"id": new_id(), "provider": "OpenAI", "model": "m", **row}
    columns, marks = ", ".join(row), ", ".join(f":{name}" for name in row)
    connection.execute(f"INSERT INTO requests ({columns}) VALUES ({marks})", row)


def usage(connection: sqlite3.Connection) -> list[Any]:
    return [dict(row) for row in connection.execute("SELECT * FROM usage_hourly ORDER BY provider, model, status")]


def test_rows_of_one_moment_keep_their_order(connection: sqlite3.Connection, chat: str) -> None:
    connection.execute("BEGIN")
    for number in range(1000):
        say(connection, chat, content=str(number), created_at="2026-12-31T23:59:59.900+00:00")
    found = connection.execute("SELECT content, seq, created_at FROM messages ORDER BY created_at").fetchall()
    assert [row["content"] for row in found] == [str(number) for number in range(1000)]
    assert [row["seq"] for row in found] == list(range(1, 1001))
    assert len({row["created_at"] for row in found}) == 1000
    assert found[-1]["created_at"] == "2027-01-01T00:00:00.899+00:00"


def test_first_row_makes_the_thread_and_later_ones_join_it(connection: sqlite3.Connection, chat: str) -> None:
    first, second = say(connection, chat), say(connection, chat)
    threads = connection.execute("SELECT id, chat_id FROM message_threads").fetchall()
    assert [tuple(row) for row in threads] == [(first["thread_id"], chat)]
    assert second["thread_id"] == first["thread_id"]
    assert len(first["thread_id"]) == 36
    assert first["thread_id"][14] == "4"


def test_row_goes_behind_what_llmctl_wrote(connection: sqlite3.Connection, chat: str) -> None:
    connection.execute("INSERT INTO message_threads (id, chat_id) VALUES ('t', 'c')")
    ours = {"thread_id": "t", "origin": "llmctl", "status": "completed", "created_at": "2999-01-01T00:00:00.000+00:00"}
    say(connection, chat, seq=1, **ours)
    say(connection, None, "tool", "steps in between have no chat", seq=2, **ours)
    found = say(connection, chat)
    assert (found["thread_id"], found["seq"], found["created_at"]) == ("t", 3, "2999-01-01T00:00:00.001+00:00")


@pytest.mark.parametrize(("role", "type"), [("user", "user"), ("assistant", "chatModel"), ("system", "system")])
def test_row_gets_a_type(connection: sqlite3.Connection, chat: str, role: str, type: str) -> None:
    assert say(connection, chat, role)["type"] == type


def test_placeholder_is_pending_until_it_is_filled(connection: sqlite3.Connection, chat: str) -> None:
    empty = say(connection, chat, "assistant", None)
    assert empty["status"] == "pending"
    connection.execute("UPDATE messages SET content = 'done', content_raw = '{}' WHERE id = ?", (empty["id"],))
    filled = connection.execute("SELECT status, content FROM messages").fetchone()
    assert tuple(filled) == ("completed", "done")
    with pytest.raises(sqlite3.IntegrityError, match="a finished message cannot be changed"):
        connection.execute("UPDATE messages SET content = 'other' WHERE id = ?", (empty["id"],))


def test_answer_without_text_is_an_answer(connection: sqlite3.Connection, chat: str) -> None:
    empty = say(connection, chat, "assistant", None)
    connection.execute("UPDATE messages SET content = '' WHERE id = ?", (empty["id"],))
    assert connection.execute("SELECT status FROM messages").fetchone()[0] == "completed"


@pytest.mark.parametrize("origin", ["llmctl", "import"])
def test_own_and_imported_rows_stay_as_they_are(connection: sqlite3.Connection, chat: str, origin: str) -> None:
    say(connection, chat, created_at=TIME)
    found = say(connection, chat, "assistant", None, origin=origin, created_at=TIME)
    assert [found[name] for name in ("thread_id", "seq", "type", "status", "created_at")] == [
        *(None, None, None, "completed", TIME)
    ]
    connection.execute("UPDATE messages SET status = 'pending' WHERE id = ?", (found["id"],))
    connection.execute("UPDATE messages SET content = 'x' WHERE id = ?", (found["id"],))
    assert connection.execute("SELECT status FROM messages WHERE id = ?", (found["id"],)).fetchone()[0] == "pending"


def test_cost_and_duration_0_are_unknown_in_rows_of_others_only(connection: sqlite3.Connection) -> None:
    ask(connection, input_tokens=7, output_tokens=3, cost=0, duration=0, created_at=TIME)
    ask(connection, model="own", origin="llmctl", cost=0, duration=5, created_at=TIME)
    theirs, ours = sorted(usage(connection), key=lambda row: row["model"])
    assert (theirs["provider"], theirs["input_tokens"], theirs["output_tokens"]) == ("openai", 7, 3)
    assert [theirs[name] for name in ("priced_requests", "unpriced_requests", "timed_requests")] == [0, 1, 0]
    assert [ours[name] for name in ("priced_requests", "unpriced_requests", "timed_requests")] == [1, 0, 1]
    seen = connection.execute("SELECT model, cost, duration_ms FROM v_requests ORDER BY model").fetchall()
    assert [tuple(row) for row in seen] == [("m", None, None), ("own", 0, 5)]


def test_cost_of_a_chat_is_null_when_unknown(connection: sqlite3.Connection, chat: str) -> None:
    ask(connection, chat_id=chat, cost=0)
    assert connection.execute("SELECT cost FROM v_chats").fetchone()[0] is None
    ask(connection, chat_id=chat, cost=0.5)
    assert connection.execute("SELECT cost FROM v_chats").fetchone()[0] == 0.5


def test_times_of_another_form_are_refused(connection: sqlite3.Connection, chat: str) -> None:
    for time in ("2026-01-02T03:04:05.678Z", "2026-01-02 03:04:05", 1767323045678):
        with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
            say(connection, chat, created_at=time)


@pytest.mark.parametrize("value", ["007", "{", "", b"{}"])
def test_json_that_is_none_is_refused(connection: sqlite3.Connection, value: str | bytes) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
        connection.execute("INSERT INTO chats (id, metadata) VALUES ('x', ?)", (value,))


def call_tool(connection: sqlite3.Connection, message_id: str, name: str) -> None:
    connection.execute(
        "INSERT INTO tool_invocations (id, message_id, tool_call_id, name, arguments, status, created_at)"
        " VALUES ('i', ?, 'c1', ?, '{}', 'running', ?)",
        (message_id, name, TIME),
    )


def activity(connection: sqlite3.Connection) -> list[Any]:
    columns = "tool, messages, tool_calls, failed_tool_calls"
    return [tuple(row) for row in connection.execute(f"SELECT {columns} FROM activity_daily ORDER BY day, tool")]


@pytest.mark.parametrize("change", ["status = 'failed'", "name = 'ls'", "created_at = '2026-01-03T00:00:00.000+00:00'"])
def test_a_tool_call_without_a_name_leaves_the_count_of_messages(
    connection: sqlite3.Connection, chat: str, change: str
) -> None:
    for _ in range(6):
        message = say(connection, chat, created_at=TIME)
    call_tool(connection, message["id"], "")
    connection.execute(f"UPDATE tool_invocations SET {change} WHERE id = 'i'")
    assert [messages for tool, messages, *_ in activity(connection) if not tool and messages] == [6]
    assert sum(calls for _, _, calls, _ in activity(connection)) == 1


def test_the_row_of_a_renamed_tool_is_deleted_with_its_last_call(connection: sqlite3.Connection, chat: str) -> None:
    message = say(connection, chat, created_at=TIME)
    call_tool(connection, message["id"], "cat")
    connection.execute("UPDATE tool_invocations SET name = 'ls'")
    assert [(tool, calls) for tool, _, calls, _ in activity(connection)] == [("", 0), ("ls", 1)]
