"""``llmctl schema``: what a hub is made of, for people and for other tools."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from llmctl.store import opening
from tests.harness import Llmctl


@pytest.fixture
def hub_path(env: dict[str, str]) -> str:
    opening.create(env["LLMCTL_DB"], {"chats": "My Chats"})
    return env["LLMCTL_DB"]


def change(hub_path: str, sql: str) -> None:
    with closing(sqlite3.connect(hub_path)) as connection:
        connection.executescript(sql)


def test_show_prints_a_table_with_its_indexes(llmctl: Llmctl) -> None:
    done = llmctl("schema", "show", "jobs", check=True)
    assert done.stdout.startswith('-- A tracked job: a turn, a batch or a command.\nCREATE TABLE "jobs" (\n')
    assert "CREATE INDEX jobs_status" in done.stdout
    assert '"chats"' not in done.stdout


@pytest.mark.parametrize("name", ["chats", "My Chats", "my chats"])
def test_show_finds_a_table_under_either_name(llmctl: Llmctl, hub_path: str, name: str) -> None:
    assert llmctl("schema", "show", name, check=True).stdout.startswith('CREATE TABLE "My Chats" (')


def test_show_without_a_table_is_a_script_that_makes_a_hub(llmctl: Llmctl, hub_path: str) -> None:
    script = llmctl("schema", "show", check=True).stdout
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(script)
        assert connection.execute('SELECT count(*) FROM "My Chats"').fetchone() == (0,)


def test_show_as_json_has_columns_and_their_comments(llmctl: Llmctl, hub_path: str) -> None:
    (table,) = json.loads(llmctl("schema", "show", "messages", "--json", check=True).stdout)
    seq = next(column for column in table["columns"] if column["name"] == "seq")
    assert seq == {
        "name": "seq",
        "type": "INTEGER",
        "nullable": True,
        "default": None,
        "values": None,
        "comment": "Position in the thread, from 1.",
    }
    assert {"columns": ["chat_id"], "table": "My Chats", "references": ["id"], "on_delete": "CASCADE"} in table[
        "foreign_keys"
    ]


def test_show_unknown_table(llmctl: Llmctl) -> None:
    done = llmctl("schema", "show", "chatz")
    assert (done.returncode, done.stdout) == (2, "")
    assert 'no table "chatz"' in done.stderr
    assert "did you mean chats" in done.stderr


def test_emit_prisma_has_the_hubs_names_and_fields(llmctl: Llmctl, hub_path: str) -> None:
    change(hub_path, 'ALTER TABLE "My Chats" ADD COLUMN user_id TEXT')
    text = llmctl("schema", "emit", "prisma", "--nodellm", check=True).stdout
    assert "model LlmChat {" in text
    assert '@@map("My Chats")' in text
    assert 'userId           String?   @map("user_id")' in text


def test_emit_without_a_hub_is_of_a_new_one(llmctl: Llmctl, env: dict[str, str]) -> None:
    text = llmctl("schema", "emit", "prisma", "--prisma-major", "6", check=True).stdout
    assert f'url      = "file:{env["LLMCTL_DB"]}"' in text
    assert not os.path.exists(env["LLMCTL_DB"])


def test_emit_of_a_hub_that_is_named_and_not_there(llmctl: Llmctl, tmp_path: Path) -> None:
    done = llmctl("--db", str(tmp_path / "none.db"), "schema", "emit", "prisma")
    assert (done.returncode, done.stdout) == (4, "")
    assert "no hub at" in done.stderr


def test_emit_writes_a_file_whole(llmctl: Llmctl, tmp_path: Path) -> None:
    done = llmctl("schema", "emit", "prisma", "--config", "--output", "prisma.config.ts", check=True)
    assert done.stdout == ""
    assert 'llmctl: wrote "prisma.config.ts"' in done.stderr
    assert "externalTables: true" in (tmp_path / "prisma.config.ts").read_text()
    assert sorted(os.listdir(tmp_path)) == ["home", "prisma.config.ts"]


def test_emit_sql_in_another_dialect(llmctl: Llmctl) -> None:
    assert "CREATE TABLE `chats` (" in llmctl("schema", "emit", "sql", "--dialect", "mysql", check=True).stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["drizzl"], 'no schema format "drizzl"'),
        (["sql", "--nodellm"], "--nodellm is for prisma, not sql"),
        (["sql", "--config"], "--config is for prisma, not sql"),
        (["prisma", "--dialect", "mysql"], "--dialect is for sql, drizzle, typeorm, not prisma"),
        (["prisma", "--provider", "oracle"], '"oracle"'),
        (["prisma", "--output", "not/there.prisma"], 'cannot write "not/there.prisma"'),
    ],
)
def test_emit_with_bad_flags(llmctl: Llmctl, arguments: list[str], message: str) -> None:
    done = llmctl("schema", "emit", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def test_check_of_a_sound_schema_is_silent(llmctl: Llmctl, hub_path: str) -> None:
    done = llmctl("schema", "check")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_check_lists_what_is_different(llmctl: Llmctl, hub_path: str) -> None:
    change(hub_path, 'DROP TRIGGER messages_frozen; ALTER TABLE "My Chats" ADD COLUMN mood TEXT')
    done = llmctl("schema", "check")
    assert done.returncode == 13
    assert done.stdout == "extra\tMy Chats\tcolumn\tmood\tTEXT\nmissing\tmessages\ttrigger\tmessages_frozen\t\n"
    assert "differs from the schema in 2 places" in done.stderr


def test_check_in_json(llmctl: Llmctl, hub_path: str) -> None:
    change(hub_path, "DROP INDEX chats_created_at")
    done = llmctl("schema", "check", "--json")
    assert json.loads(done.stdout) == [
        {
            "kind": "missing",
            "table": "My Chats",
            "what": "index",
            "name": "chats_created_at",
            "detail": "on (created_at)",
        }
    ]
    assert json.loads(done.stderr)["error"]["reason"] == "drift"


def test_check_without_a_hub(llmctl: Llmctl) -> None:
    done = llmctl("schema", "check")
    assert (done.returncode, done.stdout) == (4, "")


def test_own_index_is_a_note_but_a_unique_one_is_not(llmctl: Llmctl, hub_path: str) -> None:
    change(hub_path, "CREATE INDEX mine ON messages (model_id)")
    done = llmctl("schema", "check")
    assert (done.returncode, done.stdout) == (0, "")
    assert 'index "mine" of "messages" is your own' in done.stderr
    assert llmctl("db", "check", "--quick").returncode == 0
    change(hub_path, "CREATE UNIQUE INDEX strict ON messages (model_id)")
    assert (llmctl("schema", "check").returncode, llmctl("db", "check", "--quick").returncode) == (13, 13)
