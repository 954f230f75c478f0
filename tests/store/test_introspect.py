"""What the catalogue says of a database, whoever made it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from llmctl.store.schema import ddl, introspect
from llmctl.store.schema.introspect import ForeignKey, Index
from tests.store.sample_hubs import ODD_NAMES, USER_SQL, make_hub, read_catalog


@pytest.fixture
def hub(tmp_path: Path) -> Any:
    return make_hub(str(tmp_path / "hub.db"))


def described(*statements: str) -> Any:
    with closing(sqlite3.connect(":memory:")) as connection:
        for statement in statements:
            connection.execute(statement)
        return introspect.read_catalogue(connection)


def test_all_tables_are_there_and_those_behind_the_search_are_not(hub: Any) -> None:
    catalogue, _ = read_catalog(hub)
    assert {table.name for table in catalogue.tables} == {*ddl.TABLES, *ddl.FIXED_TABLES}
    assert catalogue.search_tables == (
        *("message_search", "message_search_data", "message_search_idx", "message_search_docsize"),
        "message_search_config",
    )
    assert [s.name for s in catalogue.statements if s.name.startswith("message_search_")] == [
        *("message_search_insert", "message_search_update", "message_search_delete")
    ]


def test_columns_are_as_declared(hub: Any) -> None:
    chats = read_catalog(hub)[0].find("chats")
    assert chats.column("id").key == 1
    assert not chats.column("id").nullable
    assert (chats.column("metadata").type, chats.column("metadata").nullable) == ("JSONB", True)
    assert chats.column("origin").default == "'orm'"
    assert chats.column("created_at").default == "strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')"
    assert read_catalog(hub)[0].find("stream_chunks").key == ("stream_id", "seq")


def test_closed_sets_are_read_from_the_checks(hub: Any) -> None:
    catalogue, _ = read_catalog(hub)
    assert catalogue.find("network_calls").column("status").values == ("pending", "success", "error")
    assert catalogue.find("user_settings").column("sidebar_open").values == ()
    assert catalogue.find("chats").column("created_at").values == ()


def test_indexes_and_foreign_keys_are_in_order(hub: Any) -> None:
    messages = read_catalog(hub)[0].find("messages")
    assert messages.indexes[0] == Index("messages_thread_seq", ("thread_id", "seq"), unique=True)
    assert [key.columns for key in messages.foreign_keys] == [("thread_id",), ("chat_id",), ("job_id",)]
    assert messages.foreign_keys[2] == ForeignKey(("job_id",), "jobs", ("id",), "SET NULL", "CASCADE")


def test_triggers_and_views_are_named(hub: Any) -> None:
    catalogue, _ = read_catalog(hub)
    assert "messages_frozen" in catalogue.names("trigger")
    assert {"v_chats", "v_usage"} <= set(catalogue.names("view"))


def test_comments_belong_to_tables_and_columns(hub: Any) -> None:
    catalogue, _ = read_catalog(hub)
    assert catalogue.find("jobs").comment == "A tracked job: a turn, a batch or a command."
    assert catalogue.find("hub_meta").comment.startswith("Facts about this file")
    assert catalogue.find("messages").column("seq").comment == "Position in the thread, from 1."
    assert catalogue.find("messages").column("role").comment == "system, user, assistant or tool."
    assert catalogue.find("messages").column("content").comment == ""


def test_hub_under_other_names_is_described_alike(hub: Any, tmp_path: Path) -> None:
    odd, names = read_catalog(make_hub(str(tmp_path / "odd.db"), ODD_NAMES, USER_SQL))
    assert odd.find("_prisma_migrations") is None
    for table in read_catalog(hub)[0].tables:
        twin = odd.find(names.get(table.name, table.name))
        assert twin.comment == table.comment
        assert twin.columns[: len(table.columns)] == table.columns
        assert [(i.name, i.columns) for i in table.indexes] == [
            (i.name, i.columns) for i in twin.indexes if i.name != "my_user"
        ]
        assert [names.get(key.table, key.table) for key in table.foreign_keys] == [k.table for k in twin.foreign_keys]


def test_added_columns_have_no_comment_of_others(tmp_path: Path) -> None:
    catalogue, _ = read_catalog(make_hub(str(tmp_path / "hub.db"), None, "ALTER TABLE chats ADD COLUMN user_id TEXT"))
    column = catalogue.find("chats").columns[-1]
    assert (column.name, column.type, column.nullable, column.comment) == ("user_id", "TEXT", True, "")


def test_comments_come_from_the_schema_where_the_hub_has_none(tmp_path: Path) -> None:
    path = str(tmp_path / "hub.db")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute('CREATE TABLE "LlmChat" (id TEXT NOT NULL PRIMARY KEY, source_id TEXT)')
        found = introspect.add_schema_comments(introspect.read_catalogue(connection), {"chats": "LlmChat"})
    assert found.find("LlmChat").comment == "A conversation with a model or an agent."
    assert found.find("LlmChat").column("source_id").comment.startswith("Id of the source")


def test_tables_of_others_are_described_whole() -> None:
    catalogue = described(
        'CREATE TABLE a (x INTEGER PRIMARY KEY, "y z" REAL DEFAULT 1.5, UNIQUE (x, "y z"))',
        "CREATE TABLE b (x INTEGER REFERENCES a, y TEXT REFERENCES a (x) ON DELETE CASCADE)",
        "CREATE INDEX some ON b (y DESC, x) WHERE y IS NOT NULL",
        "CREATE INDEX expression ON b (lower(y))",
    )
    a, b = catalogue.tables
    assert not a.column("x").nullable
    assert a.column("y z").default == "1.5"
    assert a.indexes[0].columns == ("x", "y z")
    assert [key.references for key in b.foreign_keys] == [("x",), ("x",)]
    some, expression = b.indexes
    assert (some.columns, some.descending, some.partial, some.is_plain) == (("y", "x"), {"y"}, True, False)
    assert (expression.columns, expression.is_plain) == (("",), False)


def test_search_tables_of_any_name_are_recognised() -> None:
    catalogue = described(
        "CREATE TABLE docs (id INTEGER PRIMARY KEY, text TEXT)",
        "CREATE TABLE notes_data (id INTEGER PRIMARY KEY)",
        'CREATE VIRTUAL TABLE "my search" USING fts5 (text, content=docs)',
    )
    assert [table.name for table in catalogue.tables] == ["docs", "notes_data"]
    assert catalogue.search_tables[0] == "my search"


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE t (\n  -- one\n  a TEXT,\n  -- two\n  -- lines\n  b TEXT\n)",
        "CREATE TABLE t (a TEXT, -- one\n b TEXT /* two\nlines */)",
        "CREATE TABLE t (\n  a TEXT -- one\n  , -- x, (y\n  /* two\nlines */ b TEXT\n)",
        "CREATE TABLE \"t (\" (\n  a TEXT CHECK (a <> ', -- no'), -- one\n  `b` TEXT, -- two\n  -- lines\n  CHECK (b))",
        "CREATE TABLE t (-- one\n  [a] TEXT DEFAULT (max(1, 2)),\n  -- two\n  -- lines\n  'b' TEXT, UNIQUE (a, b))",
    ],
)
def test_comments_are_found_wherever_they_stand(sql: str) -> None:
    found = introspect.columns(sql)
    assert found["a"].comment.startswith("one")
    assert found["b"].comment.split("\n")[0] == "two"


def test_column_called_like_a_constraint_keeps_its_comment() -> None:
    assert (
        introspect.columns('CREATE TABLE t ("check" TEXT, -- one\n CHECK ("check" <> \'\'))')["check"].comment == "one"
    )


def test_values_are_unquoted() -> None:
    sql = "CREATE TABLE t (a TEXT NOT NULL DEFAULT 'x' check(a in('x','it''s')), b INTEGER CHECK (b IN (0, 1)))"
    assert introspect.columns(sql)["a"].values == ("x", "it's")
    assert introspect.columns(sql)["b"].values == ()
