"""``llmctl db``: where the hub is, how it is, copies of it, secrets out of it, SQL on it."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from llmctl.store.schema import ddl
from tests.harness import Llmctl, RunInProcess, query, wait_until

# With spaces, so that echo streams it in three pieces.
SECRET = "correct horsey battery"


@pytest.fixture
def hub_path(llmctl: Llmctl, env: dict[str, str]) -> str:
    llmctl("chat", "-m", "echo", "good morning", "--name", "greeting", check=True)
    return env["LLMCTL_DB"]


def execute(path: str, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def test_path_is_printed_whether_there_is_a_hub_or_not(llmctl: Llmctl, env: dict[str, str]) -> None:
    assert llmctl("db", "path").stdout == env["LLMCTL_DB"] + "\n"
    assert not os.path.exists(env["LLMCTL_DB"])
    home = {"HOME": env["HOME"], "PATH": env["PATH"]}
    assert llmctl("db", "path", env=home).stdout == f"{env['HOME']}/.local/share/llmctl/hub.db\n"
    assert llmctl("--db", "here.db", "db", "path").stdout.startswith("/")
    assert llmctl("--db", ":memory:", "db", "path").stdout == ":memory:\n"


def test_all_places_are_listed(llmctl: Llmctl, hub_path: str, env: dict[str, str]) -> None:
    llmctl("init", check=True)
    llmctl("connection", "add", "openai", "--key-stdin", input="sk-1234567890abcdef", check=True)
    rows = json.loads(llmctl("db", "path", "--all", "--json").stdout)
    places = {row["path"]: row["place"] for row in rows}
    assert places[hub_path] == "hub"
    assert places[f"{hub_path}.spool"] == "spool"
    assert {"prisma", "keys", "prompt files", "write-ahead log"} <= set(places.values())
    keys = next(row for row in rows if row["place"] == "keys")
    assert keys["exists"]
    written = [str(path) for path in Path(env["HOME"]).rglob("*") if path.is_file()]
    written += [str(path) for path in Path(hub_path).parent.glob("*") if path.is_file()]
    assert written
    for file in written:
        assert any(file == place or file.startswith(f"{place}/") for place in places), file


def test_status_is_json_with_numbers(llmctl: Llmctl, hub_path: str) -> None:
    found = json.loads(llmctl("db", "status", "--json").stdout)
    assert (found["path"], found["mode"], found["schema_version"]) == (hub_path, "0600", ddl.VERSION)
    assert (found["chats"], found["messages"], found["requests"], found["running_jobs"]) == (1, 2, 1, 0)
    assert found["bytes"] > 0


def test_status_without_a_hub_is_a_config_error(llmctl: Llmctl) -> None:
    done = llmctl("db", "status", "--json")
    assert (done.returncode, done.error["reason"]) == (4, "no_hub")


def test_migrate_of_a_hub_of_today_does_nothing(llmctl: Llmctl, hub_path: str) -> None:
    for flags in ((), ("--plan",), ("--verify",)):
        done = llmctl("db", "migrate", *flags)
        assert (done.returncode, done.stdout) == (0, "")
    assert [name for name in os.listdir(os.path.dirname(hub_path)) if "trial" in name or "bak" in name] == []
    assert llmctl("db", "migrate", "--plan", "--verify").returncode == 2


def test_check_of_a_sound_hub_is_silent(llmctl: Llmctl, hub_path: str) -> None:
    done = llmctl("db", "check")
    assert (done.returncode, done.stdout) == (0, "")
    names = {row["name"] for row in json.loads(llmctl("db", "check", "--json").stdout)}
    assert names == {
        *("integrity", "references", "orphans", "attachments", "stuck", "text", "search", "usage", "migrations"),
        *("jobs", "schema"),
    }


def test_check_reports_problems_and_how_to_fix_them(llmctl: Llmctl, hub_path: str) -> None:
    execute(hub_path, "DROP TRIGGER message_search_insert", "DROP TRIGGER messages_frozen")
    done = llmctl("chat", "-m", "echo", "unheard", "-c")
    done = llmctl("db", "check")
    assert done.returncode == 13
    lines = dict(line.split("\t")[:2] for line in done.stdout.splitlines())
    assert set(lines) == {"search", "schema"}
    assert 'missing trigger "message_search_insert"' in lines["schema"]
    quick = llmctl("db", "check", "--quick", "--json")
    assert quick.returncode == 13
    assert quick.error["code"] == "storage"


def test_check_fix_rebuilds_totals_that_were_lost(llmctl: Llmctl, hub_path: str) -> None:
    """As a tool call without a name did in hubs of schema 2."""
    execute(hub_path, "UPDATE activity_daily SET messages = 0", "DELETE FROM usage_daily")
    done = llmctl("db", "check")
    assert done.returncode == 13
    assert "rebuild them: llmctl db check --fix" in done.stdout
    assert llmctl("db", "check", "--fix").returncode == 0
    assert llmctl("db", "check").returncode == 0
    assert query(hub_path, "SELECT messages FROM activity_daily") == [(2,)]


def test_check_finds_the_job_of_a_dead_process(
    llmctl: Llmctl, hub_path: str, env: dict[str, str], tmp_path: Path
) -> None:
    chat = llmctl.start("chat", "-m", "echo", "one two", "-o", "stall=300", "-o", "after=1")
    chat.wait_for_output("one")
    chat.kill()
    done = llmctl("db", "check")
    assert done.returncode == 13
    assert "the process of these jobs is dead" in done.stdout
    llmctl("job", "recover", check=True)
    assert llmctl("db", "check").returncode == 0


def damage_text(hub_path: str, table: str, column: str) -> None:
    """Put a byte into the first text of a column that is not valid UTF-8."""
    with closing(sqlite3.connect(hub_path)) as connection, connection:
        triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            connection.execute(f'DROP TRIGGER "{name}"')
        connection.execute(
            f"UPDATE {table} SET {column} = CAST(x'68ff' AS TEXT) WHERE rowid = (SELECT min(rowid) FROM {table})"
        )
        for _, sql in triggers:
            connection.execute(sql)


@pytest.mark.parametrize(
    ("table", "column", "words"),
    [
        ("messages", "content", ["chats", "list"]),
        ("messages", "content", ["export", "--all"]),
        ("chats", "name", ["chats", "list"]),
        ("jobs", "name", ["job", "list"]),
        ("requests", "model", ["request", "list"]),
    ],
)
def test_damaged_text_is_a_storage_error_that_check_locates(
    llmctl: Llmctl, hub_path: str, table: str, column: str, words: list[str]
) -> None:
    llmctl("chat", "-m", "echo", "--name", "talk", "hello", check=True)
    damage_text(hub_path, table, column)
    done = llmctl(*words)
    assert done.returncode == 13, done.stderr
    assert "has damaged text in the column" in done.stderr
    assert "llmctl db check" in done.stderr
    checked = llmctl("db", "check", "--json")
    assert checked.returncode == 13
    [text] = [finding for finding in checked.json if finding["name"] == "text"]
    assert f'row 1 of {table}, column "{column}"' in text["problem"]


def test_check_of_a_damaged_hub_is_a_storage_error(llmctl: Llmctl, hub_path: str) -> None:
    with open(hub_path, "r+b") as file:
        for page in range(4, os.path.getsize(hub_path) // 4096):
            file.seek(page * 4096)
            file.write(b"\xff" * 8)
    done = llmctl("db", "check")
    assert done.returncode == 13
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [("db", "status"), ("db", "check"), ("db", "backup", "copy.db"), ("db", "vacuum")])
def test_file_that_is_no_hub_is_a_storage_error_and_stays(
    llmctl: Llmctl, env: dict[str, str], tmp_path: Path, command: tuple[str, ...]
) -> None:
    text = tmp_path / "text.db"
    text.write_text("dear diary\n" * 500)
    done = llmctl("--db", str(text), *command)
    assert done.returncode == 13
    assert text.read_text() == "dear diary\n" * 500


def test_backup_is_a_hub_of_its_own_that_only_the_owner_reads(llmctl: Llmctl, hub_path: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    done = llmctl("db", "backup", str(copy))
    assert (done.returncode, done.stdout) == (0, f"{copy}\n")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert json.loads(llmctl("--db", str(copy), "chats", "list", "--json").stdout)[0]["name"] == "greeting"
    again = llmctl("db", "backup", str(copy), "--json")
    assert (again.returncode, again.error["code"]) == (2, "usage")
    assert llmctl("db", "backup", str(copy), "--force").returncode == 0
    assert llmctl("db", "backup", hub_path, "--force").returncode == 2
    assert llmctl("db", "backup", str(tmp_path / "no" / "copy.db")).returncode == 13


def test_backup_reads_on_a_read_only_file_system_copy(llmctl: Llmctl, hub_path: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    llmctl("db", "backup", str(copy), check=True)
    copy.chmod(0o400)
    assert llmctl("--db", str(copy), "db", "status").returncode == 0
    assert llmctl("--db", str(copy), "db", "check").returncode == 0


def test_restore_puts_the_copy_in_place_and_keeps_the_old_hub(llmctl: Llmctl, hub_path: str, tmp_path: Path) -> None:
    copy = str(tmp_path / "copy.db")
    llmctl("db", "backup", copy, check=True)
    llmctl("chat", "-m", "echo", "second", "--name", "later", check=True)
    done = llmctl("db", "restore", copy, "--json")
    kept = json.loads(done.stdout)["kept"]
    assert [row["name"] for row in json.loads(llmctl("chats", "list", "--json").stdout)] == ["greeting"]
    old = json.loads(llmctl("--db", kept, "chats", "list", "--json").stdout)
    assert {row["name"] for row in old} == {"greeting", "later"}
    assert llmctl("db", "check").returncode == 0


def test_restore_refuses_what_is_no_hub(llmctl: Llmctl, hub_path: str, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello" * 1000)
    assert llmctl("db", "restore", str(tmp_path / "text")).returncode == 13
    assert llmctl("db", "restore", str(tmp_path / "gone")).returncode == 3
    assert llmctl("db", "restore", hub_path).returncode == 2
    assert json.loads(llmctl("chats", "list", "--json").stdout)[0]["name"] == "greeting"


def test_restore_waits_for_no_running_turn_but_refuses(
    llmctl: Llmctl, hub_path: str, env: dict[str, str], tmp_path: Path
) -> None:
    llmctl("db", "backup", "copy.db", check=True)
    with llmctl.start("chat", "-m", "echo", "one two", "-o", "stall=300", "-o", "after=1") as chat:
        chat.wait_for_output("one")
        assert llmctl("db", "restore", "copy.db").returncode == 9
        assert llmctl("db", "restore", "copy.db", "--force").returncode == 0


def test_vacuum_reports_bytes_and_search_still_finds(llmctl: Llmctl, hub_path: str) -> None:
    found = json.loads(llmctl("db", "vacuum", "--json").stdout)
    assert found["bytes_after"] <= found["bytes_before"] + 4096  # nothing to win here: a page more or less
    assert "good" in llmctl("chats", "search", "morning").stdout


def test_secret_is_scrubbed_from_every_byte_and_never_shown(llmctl: Llmctl, hub_path: str) -> None:
    llmctl("chat", "-m", "echo", f"my password is {SECRET}, keep it", "--name", "leak", check=True)
    # Into the file itself: what is left in unused pages counts too.
    execute(hub_path, "PRAGMA wal_checkpoint(TRUNCATE)")
    assert SECRET.encode() in Path(hub_path).read_bytes()
    counted = llmctl("db", "scrub", "-", "--dry-run", "--json", input=SECRET + "\n")
    assert {row["place"] for row in json.loads(counted.stdout)} >= {"messages.content", "network_calls.body"}
    assert SECRET in llmctl("chats", "show", "leak").stdout
    done = llmctl("db", "scrub", "-", input=SECRET + "\n")
    assert done.returncode == 0, done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert "[scrubbed]" in llmctl("chats", "show", "leak").stdout
    assert "my password is [scrubbed], keep it" in llmctl("chats", "show", "leak", "--json").stdout
    for path in Path(hub_path).parent.glob("hub.db*"):
        assert SECRET.encode() not in path.read_bytes()
        assert b"horsey" not in path.read_bytes()
    assert llmctl("db", "check").returncode == 0
    assert llmctl("chat", "-m", "echo", "and on", "--chat", "leak").returncode == 0


def test_secret_on_the_command_line_is_refused(llmctl: Llmctl, hub_path: str) -> None:
    done = llmctl("db", "scrub", SECRET)
    assert done.returncode == 2
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.parametrize("secret", ["", "\n", "short\n", "completed\n"])
def test_what_is_no_secret_is_refused(llmctl: Llmctl, hub_path: str, secret: str) -> None:
    assert llmctl("db", "scrub", "-", input=secret).returncode == 2


def test_copy_that_still_holds_the_secret_is_named(llmctl: Llmctl, hub_path: str) -> None:
    llmctl("chat", "-m", "echo", SECRET, check=True)
    execute(hub_path, f"PRAGMA user_version={ddl.VERSION}")
    llmctl("db", "backup", f"{hub_path}.20260102.mine.bak", check=True)
    done = llmctl("db", "scrub", "-", input=SECRET)
    assert done.returncode == 0
    assert "mine.bak" in done.stderr


def test_query_answers_in_every_format(llmctl: Llmctl, hub_path: str) -> None:
    sql = "SELECT chat, role, content, 1 AS n, 2 AS n FROM v_messages ORDER BY seq LIMIT 1"
    assert llmctl("db", "query", sql).stdout == "greeting\tuser\tgood morning\t1\t2\n"
    row = {"chat": "greeting", "role": "user", "content": "good morning", "n": 1, "n_2": 2}
    assert json.loads(llmctl("db", "query", sql, "--json").stdout) == [row]
    assert json.loads(llmctl("db", "query", sql, "--jsonl").stdout) == row
    assert next(csv.DictReader(io.StringIO(llmctl("db", "query", sql, "--csv").stdout)))["n_2"] == "2"
    assert llmctl("db", "query", sql, "--columns", "role").stdout == "user\n"
    assert llmctl("db", "query", "-", input=sql).stdout.startswith("greeting\t")


def test_query_takes_values(llmctl: Llmctl, hub_path: str) -> None:
    sql = "SELECT count(*) FROM v_messages WHERE chat = :chat AND seq >= :seq"
    assert llmctl("db", "query", sql, "-p", "chat=greeting", "-p", "seq:=2").stdout == "1\n"
    done = llmctl("db", "query", sql, "-p", "chat=greeting")
    assert done.returncode == 2
    assert '":seq"' in done.stderr


def test_query_to_a_pipe_gets_every_row(llmctl: Llmctl, hub_path: str) -> None:
    sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) SELECT i FROM n"
    done = llmctl("db", "query", sql)
    assert len(done.stdout.splitlines()) == 3000
    limited = llmctl("db", "query", sql, "--limit", "5")
    assert limited.stdout.split() == ["1", "2", "3", "4", "5"]
    assert "--limit 0 shows all" in limited.stderr
    assert "only the first" not in llmctl("db", "query", sql, "--limit", "3000").stderr


@pytest.mark.parametrize(
    "sql",
    [
        *("DELETE FROM chats", "DROP TABLE chats", "PRAGMA user_version=9", "PRAGMA query_only=0", "VACUUM", "BEGIN"),
        *("ATTACH 'other.db' AS o", "CREATE TEMP TABLE t (x)", "SELECT 1; DELETE FROM chats", "SELEKT", ""),
        *("SELECT * FROM nowhere", "SELECT load_extension('x')", "REPLACE INTO hub_meta VALUES ('a', 'b')"),
        *("UPDATE sqlite_master SET sql = ''", "PRAGMA writable_schema=1", "EXPLAIN DELETE FROM chats"),
    ],
)
def test_query_that_is_no_reading_is_a_usage_error_and_changes_nothing(
    llmctl: Llmctl, hub_path: str, sql: Any, tmp_path: Path
) -> None:
    before = Path(hub_path).read_bytes()
    done = llmctl("db", "query", sql)
    assert (done.returncode, done.stdout) == (2, "")
    assert Path(hub_path).read_bytes() == before
    assert not (tmp_path / "other.db").exists()


def test_query_may_look_at_the_catalogue_and_into_json(llmctl: Llmctl, hub_path: str) -> None:
    for sql in ("PRAGMA table_info(chats)", "SELECT name FROM sqlite_master", "SELECT * FROM json_each('[1]')"):
        assert llmctl("db", "query", sql).stdout


def test_query_reads_every_view(llmctl_in_process: RunInProcess, hub_path: str) -> None:
    """Those of the hub, listed by itself, and one of the user's with a JSON function."""
    execute(hub_path, "CREATE VIEW mine AS SELECT json_extract(refs, '$.x') AS x, metadata ->> 'a' AS a FROM chats")
    views = [row[0] for row in query(hub_path, "SELECT name FROM sqlite_master WHERE type = 'view'")]
    assert len([name for name in views if name.startswith("v_")]) >= 9
    for name in views:
        assert llmctl_in_process("db", "query", f"SELECT * FROM {name}", "--json").returncode == 0, name


def test_views_can_be_read_with_trusted_schema_off(llmctl: Llmctl, hub_path: str) -> None:
    data = json.dumps({"base_url": "http://localhost:1/v1", "options": {"base_url": "no"}})
    execute(hub_path, f"UPDATE model_connections SET data = '{data}'")
    views = [row[0] for row in query(hub_path, "SELECT name FROM sqlite_master WHERE type = 'view'")]
    with closing(sqlite3.connect(hub_path)) as connection:
        connection.execute("SELECT 1 FROM chats")  # loads the schema, whose CHECKs old versions take for unsafe, too
        connection.execute("PRAGMA trusted_schema=0")
        for name in views:
            connection.execute(f"SELECT * FROM {name}").fetchall()
        found = connection.execute("SELECT base_url FROM v_connections").fetchall()
    assert found == [("http://localhost:1/v1",)]


def test_query_that_takes_forever_ends_with_ctrl_c(llmctl: Llmctl, hub_path: str) -> None:
    sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    with llmctl.start("db", "query", sql) as running:
        # The query works when the process has used more processor time than it takes to start.
        wait_until(lambda: _cpu_seconds(running.pid) >= 1.0)
        done = running.kill(signal.SIGINT)
    assert done.returncode == -signal.SIGINT
    assert "Traceback" not in done.stderr


def _cpu_seconds(pid: Any) -> Any:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
