"""Databases of ``@node-llm/orm`` and of other programs become hubs, and lose nothing."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from llmctl.core.errors import NotFoundError, StorageError, UsageError
from llmctl.core.stored_values import decode_arguments
from llmctl.store.adopt.run import adopt
from llmctl.store.database import Insert
from llmctl.store.maintenance import backup, integrity
from llmctl.store.opening import open_hub
from llmctl.store.schema import custom_names
from tests.fakes import orm_hubs


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "app.db")


def orm(path: str, version: str = "v07", **how: Any) -> None:
    """Make and fill a database of the original."""
    times = how.pop("times", "text")
    orm_hubs.make_orm_hub(path, version, **how)
    orm_hubs.fill_orm_hub(path, version, times=times, snake=how.get("snake", False))


def contents(path: str) -> dict[Any, Any]:
    """Return every row of a database, by table."""
    with closing(sqlite3.connect(path)) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: connection.execute(f'SELECT * FROM "{name}"').fetchall() for name in names}


def run(path: str, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


@pytest.mark.parametrize("version", orm_hubs.VERSIONS)
@pytest.mark.parametrize("times", ["text", "z", "ms"])
@pytest.mark.parametrize("snake", [False, True])
def test_every_version_of_the_orm_is_adopted_without_losing_a_row(
    path: str, version: Any, times: str, snake: bool
) -> None:
    orm(path, version, times=times, snake=snake)
    done = adopt(path, {})
    expected = {"Chat": 2, "Message": 8, "ToolCall": 1, "Request": 2} | (
        {"AgentSession": 1} if version == "v07" else {}
    )
    assert done.rows == {orm_hubs.to_table_name(version, name): (count, count) for name, count in expected.items()}
    with closing(open_hub(path, "write")) as hub:
        assert hub.names["messages"] == orm_hubs.to_table_name(version, "Message")
        chat = hub.one("SELECT * FROM {chats} WHERE id = 'c1'")
        assert (chat["model"], chat["instructions"], chat["metadata"]) == ("gpt-4o", "be brief", '{"user":"u1"}')
        assert (chat["created_at"], chat["origin"]) == ("2025-03-04T05:06:07.001+00:00", "orm")
        message = hub.one("SELECT * FROM {messages} WHERE id = 'm2'")
        assert (message["content"], message["content_raw"], message["input_tokens"]) == ("noon", '{"a":1}', 12)
        assert (message["seq"], message["type"], message["status"]) == (2, "chatModel", "completed")
        call = hub.one("SELECT * FROM {tool_invocations}")
        assert call["arguments"] == json.dumps(json.dumps({"zone": "UTC"}))
        assert decode_arguments(call["arguments"]) == {"zone": "UTC"}
        assert call["result"] == "12:00"
        assert {f.problem for f in integrity.run_checks(hub) if f.name != "stuck"} == {None}


def test_messages_of_one_millisecond_keep_their_order_and_get_times_of_their_own(path: str) -> None:
    orm(path)
    adopt(path, {})
    with closing(open_hub(path)) as hub:
        rows = hub.query("SELECT id, seq, created_at FROM {messages} WHERE chat_id = 'c2' ORDER BY created_at")
        assert [row["id"] for row in rows] == ["n0", "n1", "n2", "n3", "n4", "m9"]
        assert [row["seq"] for row in rows] == [1, 2, 3, 4, 5, 6]
        assert len({row["created_at"] for row in rows}) == 6


def test_adopted_ledger_is_counted_and_unknown_cost_is_unknown(path: str) -> None:
    orm(path)
    adopt(path, {})
    with closing(open_hub(path)) as hub:
        usage = hub.query("SELECT requests, input_tokens, cost, unpriced_requests FROM {usage_hourly}")
        assert usage == [{"requests": 2, "input_tokens": 13, "cost": 0.5, "unpriced_requests": 1}]


def test_adopted_messages_are_found_by_their_words(path: str) -> None:
    orm(path)
    adopt(path, {})
    with closing(open_hub(path)) as hub:
        assert hub.value("SELECT count(*) FROM message_search WHERE message_search MATCH 'number'") == 5


def test_hub_continues_the_chats_of_the_orm(path: str) -> None:
    orm(path)
    adopt(path, {})
    with closing(open_hub(path, "write")) as hub:
        hub.commit(Insert("messages", {"id": "m3", "chat_id": "c1", "role": "user", "content": "and now?"}))
        assert hub.value("SELECT seq FROM {messages} WHERE id = 'm3'") == 3


def test_metadata_that_is_no_json_is_kept(path: str) -> None:
    orm(path, "s0")
    adopt(path, {})
    with closing(open_hub(path)) as hub:
        assert hub.value("SELECT metadata FROM {chats} WHERE id = 'c2'") == '{"value":"just a note"}'


def test_metadata_null_in_text_becomes_null(path: str) -> None:
    orm(path)
    run(path, """UPDATE LlmChat SET metadata = '"{\\"a\\":1}"' WHERE id = 'c1'""")
    adopt(path, {})
    with closing(open_hub(path)) as hub:
        assert hub.query("SELECT metadata FROM {chats} ORDER BY id") == [{"metadata": '{"a":1}'}, {"metadata": None}]


def test_copy_of_the_database_is_made_first(path: str) -> None:
    orm(path)
    before = contents(path)
    os.chmod(path, 0o640)
    done = adopt(path, {})
    assert done.backup in backup.list_backups(path)
    assert contents(done.backup) == before
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o640


def test_users_own_columns_become_fields(path: str) -> None:
    user = """, "userId" TEXT NOT NULL, "score" REAL, "seenAt" DATETIME, "flags" JSONB, "vip" BOOLEAN DEFAULT true,
      "picture" BLOB, "name" TEXT, "sourceId" TEXT"""
    orm_hubs.make_orm_hub(path, chat=user)
    with closing(sqlite3.connect(path)) as connection, connection:
        row = {"id": "c1", "updatedAt": 1741064767000, "userId": "u1", "score": 1.5, "seenAt": 1741064767001}
        more = {"flags": '{"a":1}', "vip": 1, "picture": b"\x00\xff", "name": "a chat", "sourceId": "x"}
        orm_hubs.insert(connection, "LlmChat", row | more)
    run(path, 'CREATE UNIQUE INDEX "LlmChat_userId_key" ON "LlmChat"("userId", "createdAt")')
    done = adopt(path, {})
    assert done.fields["chats"] == {
        **{"userId": "TEXT", "score": "REAL", "seenAt": "DATETIME", "flags": "JSONB", "vip": "BOOLEAN"},
        **{"picture": "BLOB", "name_adopted": "TEXT", "sourceId_adopted": "TEXT"},
    }
    with closing(open_hub(path, "write")) as hub:
        chat = hub.one("SELECT * FROM {chats}")
        assert (chat["userId"], chat["score"], chat["picture"]) == ("u1", 1.5, b"\x00\xff")
        assert chat["seenAt"] == "2025-03-04T05:06:07.001+00:00"
        assert (chat["name"], chat["name_adopted"], chat["sourceId_adopted"]) == (None, "a chat", "x")
        assert hub.fields == done.fields
        keys = [row["name"] for row in hub.query("PRAGMA index_info('LlmChat_userId_key')")]
        assert keys == ["userId", "created_at"]
        hub.commit(Insert("chats", {"id": "c2", "origin": "llmctl"}))
        assert hub.value("SELECT vip FROM {chats} WHERE id = 'c2'") == 1
        custom_names.add_fields(hub, [custom_names.parse_field("chats.more:text")])
    assert any('"LlmChat.userId" was required' in note for note in done.notes)


def test_own_column_with_a_value_that_does_not_fit_stays_text(path: str) -> None:
    orm_hubs.make_orm_hub(path, chat=', "seenAt" DATETIME, "flags" JSONB')
    with closing(sqlite3.connect(path)) as connection, connection:
        for id, seen, flags in (("c1", "soon", "{"), ("c2", "2025-03-04T05:06:07.001Z", "{}")):
            orm_hubs.insert(connection, "LlmChat", {"id": id, "updatedAt": 1, "seenAt": seen, "flags": flags})
    assert adopt(path, {}).fields["chats"] == {"seenAt": "TEXT", "flags": "TEXT"}
    with closing(open_hub(path)) as hub:
        assert hub.value("SELECT seenAt FROM {chats} WHERE id = 'c1'") == "soon"


def test_tables_that_point_at_the_orms_keep_pointing(path: str) -> None:
    orm(path)
    run(
        path,
        'CREATE TABLE "User" (id TEXT PRIMARY KEY)',
        'CREATE TABLE "Feedback" (id TEXT, "messageId" TEXT REFERENCES "LlmMessage" (id) ON DELETE CASCADE)',
        "INSERT INTO Feedback VALUES ('f1', 'm2')",
        'ALTER TABLE "LlmChat" ADD COLUMN "userId" TEXT REFERENCES "User" (id) ON DELETE SET NULL',
        "INSERT INTO User VALUES ('u1')",
        "UPDATE LlmChat SET userId = 'u1'",
    )
    adopt(path, {})
    with closing(open_hub(path, "write")) as hub:
        hub.execute("DELETE FROM {messages} WHERE id = 'm2'")
        assert hub.value("SELECT count(*) FROM Feedback") == 0
        hub.execute("DELETE FROM User")
        assert hub.query("SELECT DISTINCT userId FROM {chats}") == [{"userId": None}]
        assert hub.value("SELECT message_id FROM {requests} WHERE id = 'r1'") is None
        assert hub.value("SELECT count(*) FROM {requests}") == 2


def test_view_that_names_an_old_column_stops_it_unchanged(path: str) -> None:
    orm(path)
    run(path, 'CREATE VIEW lengths AS SELECT "chatId", length(content) FROM LlmMessage')
    before = contents(path)
    with pytest.raises(StorageError, match='your view "lengths" uses columns'):
        adopt(path, {})
    assert contents(path) == before
    assert backup.list_backups(path) == []


def test_views_and_triggers_that_can_stay_do(path: str) -> None:
    orm(path)
    run(
        path,
        "CREATE VIEW contents AS SELECT content FROM LlmMessage",
        "CREATE TABLE seen (id)",
        "CREATE TRIGGER see AFTER INSERT ON LlmMessage BEGIN INSERT INTO seen VALUES (NEW.id); END",
    )
    adopt(path, {})
    with closing(open_hub(path, "write")) as hub:
        assert hub.value("SELECT count(*) FROM contents") == 8
        assert hub.value("SELECT count(*) FROM seen") == 0
        hub.commit(Insert("messages", {"id": "x", "chat_id": "c1", "role": "user", "content": "hi"}))
        assert hub.value("SELECT id FROM seen") == "x"


def test_rows_whose_chat_or_message_is_gone_are_kept(path: str) -> None:
    orm(path)
    run(path, "DELETE FROM LlmChat WHERE id = 'c2'", "DELETE FROM LlmMessage WHERE id = 'm2'")
    done = adopt(path, {})
    with closing(open_hub(path)) as hub:
        assert hub.value("SELECT count(*) FROM {messages} WHERE chat_id = 'c2'") == 6
        assert "was missing" in hub.value("SELECT description FROM {chats} WHERE id = 'c2'")
        call = hub.one("SELECT message_id, refs FROM {tool_invocations}")
        assert call == {"message_id": None, "refs": '{"message":"m2"}'}
        assert hub.query("PRAGMA foreign_key_check") == []
    assert any("1 missing chats" in note for note in done.notes)


def test_provider_ids_used_twice_are_two_rows(path: str) -> None:
    orm(path, "s0")
    run(
        path,
        "INSERT INTO ToolCall SELECT 't2', messageId, toolCallId, name, '{}', thought, 'x', createdAt FROM ToolCall",
    )
    adopt(path, {})
    with closing(open_hub(path)) as hub:
        rows = hub.query("SELECT id, tool_call_id, provider_call_id FROM {tool_invocations} ORDER BY id")
        assert rows == [
            {"id": "t1", "tool_call_id": "call_1", "provider_call_id": None},
            {"id": "t2", "tool_call_id": "call_1#2", "provider_call_id": "call_1"},
        ]


def test_time_that_cannot_be_read_is_reported(path: str) -> None:
    orm(path)
    run(path, "UPDATE LlmMessage SET createdAt = 'yesterday' WHERE id = 'm1'")
    assert '1 unreadable times of "LlmMessage" were replaced' in adopt(path, {}).notes
    with closing(open_hub(path)) as hub:
        times = [
            row["created_at"][-13:-6] for row in hub.query("SELECT created_at FROM {messages} WHERE chat_id = 'c1'")
        ]
        assert times == [":07.020", ":07.021"]


def test_tables_under_names_of_the_users_are_known_by_their_columns(path: str) -> None:
    orm(path)
    for name in ("Chat", "Message", "ToolCall", "Request", "AgentSession"):
        run(path, f'ALTER TABLE "Llm{name}" RENAME TO "assistant {name}"')
    done = adopt(path, {})
    assert done.tables["chats"] == "assistant Chat"
    assert done.rows["assistant Message"] == (8, 8)


@pytest.mark.parametrize(
    ("table", "ours", "theirs"),
    [
        ("LlmChat", "instructions", "system_prompt"),
        ("LlmChat", "model", "model_name"),
        ("LlmMessage", "content", "body"),
        ("LlmMessage", "inputTokens", "prompt_tokens"),
        ("LlmRequest", "outputTokens", "completionTokens"),
    ],
)
def test_columns_that_prisma_maps_to_other_names_are_known(path: str, table: str, ours: str, theirs: str) -> None:
    orm(path)
    run(path, f'ALTER TABLE "{table}" RENAME COLUMN "{ours}" TO "{theirs}"')
    before = len(contents(path)[table])
    done = adopt(path, {})
    assert done is not None
    assert done.rows[table] == (before, before)
    assert done.renamed_columns[table][theirs] == custom_names.to_snake_case(ours)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT instructions FROM LlmChat WHERE id = 'c1'").fetchone()[0]


def test_columns_of_unknown_names_are_refused_and_nothing_changes(path: str) -> None:
    orm(path)
    run(path, "ALTER TABLE LlmChat RENAME COLUMN instructions TO whisper")
    before = contents(path)
    with pytest.raises(StorageError, match='"LlmChat" looks like the table of chats, but has no "instructions"'):
        adopt(path, {})
    assert contents(path) == before


def test_two_orm_table_sets_need_a_flag(path: str) -> None:
    orm(path)
    run(path, "CREATE TABLE OtherChat AS SELECT * FROM LlmChat")
    with pytest.raises(UsageError, match='several tables match "chats"') as error:
        adopt(path, {})
    assert "--table chats=" in error.value.hint
    done = adopt(path, {"chats": "llmchat"})
    assert done.tables["chats"] == "LlmChat"
    assert len(contents(path)["OtherChat"]) == 2


def test_table_that_does_not_fit_is_refused(path: str) -> None:
    orm(path)
    with pytest.raises(UsageError, match='table "LlmToolCall" cannot be used as "chats": it has no "model"'):
        adopt(path, {"chats": "LlmToolCall"})


def test_another_programs_tables_are_left_alone(path: str) -> None:
    run(
        path,
        "CREATE TABLE chats (id INTEGER PRIMARY KEY, title TEXT)",
        "CREATE TABLE Messages (id INTEGER PRIMARY KEY, chat_id INTEGER REFERENCES chats, body TEXT)",
        "CREATE TABLE schema_migrations (version TEXT)",
        "CREATE TABLE llmctl_chats (x)",
        "INSERT INTO chats VALUES (1, 'mine')",
        "INSERT INTO Messages VALUES (1, 1, 'hello')",
        "PRAGMA application_id=77",
    )
    before = contents(path)
    done = adopt(path, {"jobs": "work"})
    assert done.rows == {}
    assert done.tables == {
        **{"chats": "llmctl_chats_2", "messages": "llmctl_messages", "jobs": "work"},
        "schema_migrations": "llmctl_schema_migrations",
    }
    assert {name: rows for name, rows in contents(path).items() if name in before} == before
    with closing(open_hub(path, "write")) as hub:
        hub.commit(Insert("chats", {"id": "c1", "name": "ours"}))
        assert hub.query("SELECT name FROM v_chats") == [{"name": "ours"}]
        assert hub.value("SELECT title FROM main.chats") == "mine"
        assert hub.value("PRAGMA application_id") == 77
        assert hub.value("PRAGMA journal_mode") == "wal"
        custom_names.rename_tables(hub, {"chats": "talks"})
        assert hub.value("SELECT name FROM {chats}") == "ours"


def test_database_with_a_version_of_its_own_is_refused(path: str) -> None:
    run(path, "CREATE TABLE t (x)", "PRAGMA user_version=7")
    before = contents(path)
    with pytest.raises(StorageError, match="user_version 7"):
        adopt(path, {})
    assert contents(path) == before


def test_name_that_is_taken_by_something_else_stops_it(path: str) -> None:
    run(path, "CREATE TABLE t (x)", "CREATE INDEX chats_name ON t (x)")
    with pytest.raises(StorageError, match='the index "chats_name" has a name that is reserved by the hub'):
        adopt(path, {})
    with pytest.raises(UsageError, match="another table has that name"):
        adopt(path, {"jobs": "t"})


def test_hub_is_adopted_once(path: str) -> None:
    orm(path)
    adopt(path, {})
    before = contents(path)
    assert adopt(path, {}) is None
    assert contents(path) == before


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello " * 1000)
    with pytest.raises(StorageError, match="is not a SQLite database"):
        adopt(str(tmp_path / "text"), {})
    with pytest.raises(NotFoundError):
        adopt(str(tmp_path / "gone"), {})


def test_adoption_that_fails_halfway_changes_nothing(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    orm(path)
    before = contents(path)
    monkeypatch.setattr("llmctl.store.adopt.convert.create_missing_chats", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        adopt(path, {})
    assert contents(path) == before
