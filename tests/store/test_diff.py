"""A hub against the schema: what was changed is found, what belongs to the user is not."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from llmctl.core.stored_values import loads
from llmctl.store.opening import open_hub
from llmctl.store.schema import diff, introspect
from llmctl.store.schema.custom_names import CustomField, add_fields, rename_tables
from tests.store.sample_hubs import ODD_NAMES, make_hub, read_catalog


def differences(path: str) -> list[str]:
    """Return what is different as short lines."""
    catalogue, names = read_catalog(path)
    with closing(sqlite3.connect(path)) as connection:
        fields = loads(connection.execute("SELECT value FROM hub_meta WHERE key = 'fields'").fetchone()[0])
    found = diff.compare(catalogue, introspect.describe_schema(names), names, fields)
    return [" ".join(filter(None, [d.kind, d.table, d.what, d.name, d.detail])) for d in found]


def rebuilt(table: str, old: Any, new: Any) -> str:
    """Return SQL that changes the text of a table's declaration in place."""
    quoted = [part.replace("'", "''") for part in (old, new)]
    return (
        "PRAGMA writable_schema = 1;"
        f"UPDATE sqlite_master SET sql = replace(sql, '{quoted[0]}', '{quoted[1]}') WHERE name = '{table}';"
        "PRAGMA writable_schema = RESET;"
    )


@pytest.mark.parametrize("names", [{}, ODD_NAMES], ids=["plain", "odd"])
def test_new_hub_is_no_different(tmp_path: Path, names: Any) -> None:
    assert differences(make_hub(str(tmp_path / "hub.db"), names)) == []


def test_renamed_hub_with_fields_is_no_different(tmp_path: Path) -> None:
    path = make_hub(str(tmp_path / "hub.db"))
    database = open_hub(path, "write")
    add_fields(
        database, [CustomField("chats", "user_id", "text", index=True), CustomField("messages", "paid", "boolean")]
    )
    rename_tables(database, {"chats": "My Chats", "messages": "LlmMessage"})
    database.close()
    assert differences(path) == []


def test_tables_and_views_of_the_user_are_no_difference(tmp_path: Path) -> None:
    more = "CREATE TABLE mine (a, b UNIQUE); CREATE VIEW v_mine AS SELECT a FROM mine"
    assert differences(make_hub(str(tmp_path / "hub.db"), None, more)) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("DROP TABLE metrics", ["missing metrics table metrics"]),
        ("ALTER TABLE chats ADD COLUMN mood TEXT", ["extra chats column mood TEXT"]),
        ("ALTER TABLE metrics DROP COLUMN value", ["missing metrics column value REAL"]),
        (rebuilt("metrics", "value REAL", "value TEXT"), ["changed metrics column value type TEXT instead of REAL"]),
        (rebuilt("metrics", "value REAL NOT NULL", "value REAL"), ["changed metrics column value may be NULL"]),
        (
            rebuilt("jobs", "attempts INTEGER NOT NULL DEFAULT 1", "attempts INTEGER NOT NULL DEFAULT 2"),
            ["changed jobs column attempts default 2 instead of 1"],
        ),
        (
            rebuilt("stream_chunks", "PRIMARY KEY (stream_id, seq)", "PRIMARY KEY (seq, stream_id)"),
            ["changed stream_chunks key primary key (seq, stream_id) instead of (stream_id, seq)"],
        ),
        (
            rebuilt("agents", "ON DELETE SET NULL", "ON DELETE CASCADE"),
            [
                "changed agents foreign key chat_model_id model_connections (id) on delete CASCADE on update CASCADE"
                " instead of model_connections (id) on delete SET NULL on update CASCADE"
            ],
        ),
        (
            rebuilt("agents", 'REFERENCES "model_connections" (id) ON DELETE SET NULL ON UPDATE CASCADE', ""),
            ["missing agents foreign key chat_model_id model_connections (id) on delete SET NULL on update CASCADE"],
        ),
        ("DROP INDEX chats_created_at", ["missing chats index chats_created_at on (created_at)"]),
        (
            "DROP INDEX chats_name; CREATE INDEX chats_name ON chats (name)",
            ["missing chats index chats_name unique on (name)", "extra chats index chats_name on (name)"],
        ),
        ("CREATE UNIQUE INDEX x ON chats (model)", ["extra chats index x unique on (model)"]),
        ("DROP INDEX chats_created_at; CREATE INDEX other ON chats (created_at)", []),
        ("DROP TRIGGER messages_frozen", ["missing messages trigger messages_frozen"]),
        (
            "CREATE TRIGGER x AFTER INSERT ON chats BEGIN SELECT 1; END",
            ["extra chats trigger x"],
        ),
        (
            "DROP VIEW v_jobs; CREATE VIEW v_jobs AS SELECT id FROM jobs",
            ["changed v_jobs view v_jobs differs from this version's"],
        ),
        ("DROP VIEW v_jobs", ["missing v_jobs view v_jobs"]),
        (
            'UPDATE hub_meta SET value = \'{"chats":{"user_id":"text"}}\' WHERE key = \'fields\'',
            ["missing chats column user_id added by the user"],
        ),
    ],
)
def test_change_is_found(tmp_path: Path, change: Any, expected: list[Any]) -> None:
    assert differences(make_hub(str(tmp_path / "hub.db"), None, change)) == expected


def test_lost_search_is_found(tmp_path: Path) -> None:
    path = make_hub(str(tmp_path / "hub.db"), None, "DROP TABLE message_search")
    assert differences(path) == ["missing message_search search table message_search"]
