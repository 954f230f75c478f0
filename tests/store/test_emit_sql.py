"""The emitted SQL: the hub's own statements, and what other databases make of the same tables."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from llmctl.store.emit import EMITTERS, sql
from llmctl.store.emit.dialects import shorten_name
from llmctl.store.schema import diff, introspect
from tests.store.sample_hubs import ODD_NAMES, USER_SQL, make_hub, read_catalog


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return read_catalog(make_hub(str(tmp_path_factory.mktemp("plain") / "hub.db")))


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return read_catalog(make_hub(str(tmp_path_factory.mktemp("odd") / "hub.db"), ODD_NAMES, USER_SQL))


@pytest.mark.parametrize("kind", ["plain", "odd"])
def test_sqlite_makes_the_same_database_again(request: pytest.FixtureRequest, kind: str) -> None:
    catalogue, names = request.getfixturevalue(kind)
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(sql.emit(catalogue, names))
        again = introspect.read_catalogue(connection)
    assert diff.compare(again, catalogue, names) == []
    assert again.names("view") == catalogue.names("view")


def test_shipped_schema_keeps_its_comments() -> None:
    text = sql.emit(introspect.describe_schema(), {})
    assert '-- A tracked job: a turn, a batch or a command.\nCREATE TABLE "jobs" (\n' in text
    assert "\n  -- Position in the thread, from 1.\n  seq INTEGER,\n" in text
    assert "-- History is immutable" in text
    assert ');\nCREATE INDEX jobs_status ON "jobs" (status);\n' in text


def test_postgresql_says_the_same_in_its_words(plain: Any) -> None:
    text = sql.emit(*plain, dialect="postgresql")
    assert '"created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,' in text
    assert "\"refs\" JSONB NOT NULL DEFAULT '{}'," in text
    assert '"last_turn_terminal" BOOLEAN NOT NULL DEFAULT false,' in text
    assert '"cost" DOUBLE PRECISION,' in text
    assert "CHECK (\"status\" IN ('pending', 'success', 'error'))" in text
    assert 'COMMENT ON COLUMN "messages"."seq" IS \'Position in the thread, from 1.\';' in text
    assert 'CREATE UNIQUE INDEX "messages_thread_seq" ON "messages" ("thread_id", "seq");' in text
    assert (
        'ALTER TABLE "messages" ADD CONSTRAINT "messages_chat_id_fkey" FOREIGN KEY ("chat_id")'
        ' REFERENCES "chats" ("id") ON DELETE CASCADE ON UPDATE CASCADE;' in text
    )
    assert "strftime" not in text
    assert "TRIGGER" not in text


def test_mysql_has_lengths_in_keys_and_expressions_as_defaults(plain: Any) -> None:
    text = sql.emit(*plain, dialect="mysql")
    assert "`id` VARCHAR(191) NOT NULL," in text
    assert "`text` LONGTEXT NOT NULL DEFAULT ('')," in text
    assert "`refs` JSON NOT NULL DEFAULT ('{}') COMMENT" in text
    assert "`status` VARCHAR(191) NOT NULL DEFAULT 'pending'," in text
    assert "`created_at` DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3)," in text
    assert "`agent` VARCHAR(126) NOT NULL DEFAULT (''),".replace("('')", "''") in text
    assert ") COMMENT 'A conversation with a model or an agent.';" in text


def test_odd_names_are_quoted(odd: Any) -> None:
    assert 'CREATE TABLE "My Chats" (' in sql.emit(*odd, dialect="postgresql")
    assert "CREATE INDEX `my_user` ON `My Chats` (`user_id` DESC);" in sql.emit(*odd, dialect="mysql")


def test_index_of_sqlite_alone_is_left_out_aloud(tmp_path: Path) -> None:
    path = make_hub(str(tmp_path / "hub.db"), None, "CREATE INDEX half ON chats (model) WHERE model IS NOT NULL")
    assert "-- left out: the index half," in sql.emit(*read_catalog(path), dialect="postgresql")


def test_long_names_are_cut_and_stay_apart() -> None:
    one, other = (shorten_name("x" * 70 + end, "postgresql") for end in "ab")
    assert len(one) == len(other) == 63
    assert one != other
    assert shorten_name("x" * 70, "sqlite") == "x" * 70


def test_emitters_are_found_by_name() -> None:
    assert EMITTERS.load("sql") is sql.emit
    assert {"prisma", "sql"} <= set(EMITTERS.names())
