"""Hubs of earlier versions: brought to the present whole, once, whoever tries."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from llmctl.core.errors import StorageError
from llmctl.core.stored_values import new_id
from llmctl.store.database import Database, Insert, quote
from llmctl.store.maintenance import backup
from llmctl.store.opening import open_hub
from llmctl.store.schema import custom_names, ddl, migrations, objects
from llmctl.store.schema.migrations import TargetSchema

#: Where the program stands, and the two steps that the tests lead on.
NOW = ddl.VERSION
NEXT, LAST = NOW + 1, NOW + 2
MOODS_FILE, KINDS_FILE = f"{NEXT:04d}_moods.sql", f"{LAST:04d}_kinds.sql"

ADDITIVE = """\
-- additive
ALTER TABLE "chats" ADD COLUMN mood TEXT;
CREATE TABLE "moods" (
  id TEXT NOT NULL PRIMARY KEY
);
CREATE INDEX chats_mood ON "chats" (mood);
"""

REWRITE = """\
-- rewrite
CREATE TABLE "new_tools" (
  id TEXT NOT NULL PRIMARY KEY,
  refs JSONB NOT NULL DEFAULT '{}',
  name TEXT NOT NULL,
  kind TEXT NOT NULL/*fields:tools*/
);
INSERT INTO "new_tools" (id, refs, name, kind/*columns:tools*/)
SELECT id, refs, name, type/*columns:tools*/ FROM "tools";
DROP TABLE "tools";
ALTER TABLE "new_tools" RENAME TO "tools";
CREATE UNIQUE INDEX tools_name ON "tools" (name);
"""

MOODS = """\
CREATE TABLE "moods" (
  id TEXT NOT NULL PRIMARY KEY
);
CREATE INDEX chats_mood ON "chats" (mood);
CREATE UNIQUE INDEX chats_name \
"""

#: What changes in the files of a fresh hub: (file, old, new).
FRESH = (
    ("040_chats.sql", "  description TEXT,\n  -- Kind of", "  description TEXT,\n  mood TEXT,\n  -- Kind of"),
    ("040_chats.sql", "CREATE UNIQUE INDEX chats_name ", MOODS),
    ("900_views.sql", "  c.model,\n", "  c.model,\n  c.mood,\n"),
)


@pytest.fixture
def root(tmp_path: Path) -> str:
    """A later schema: the next version adds a column, a table and a view's column; the last makes a table anew."""
    folder = tmp_path / "schema"
    shutil.copytree(ddl.schema_folder(), folder)
    for name, old, new in FRESH:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))
    agents = (folder / "030_agents.sql").read_text()
    begin, end = agents.index('CREATE TABLE "tools"'), agents.index("-- An agent: instructions")
    made = REWRITE[REWRITE.index("CREATE") : REWRITE.index("INSERT")].replace("new_tools", "tools")
    made = made.replace("/*fields:tools*/", "") + 'CREATE UNIQUE INDEX tools_name ON "tools" (name);\n\n'
    (folder / "030_agents.sql").write_text(agents[:begin] + made + agents[end:])
    (folder / "migrations" / MOODS_FILE).write_text(ADDITIVE)
    (folder / "migrations" / KINDS_FILE).write_text(REWRITE)
    return str(folder)


@pytest.fixture
def path(tmp_path: Path) -> str:
    path = str(tmp_path / "hub.db")
    with closing(open_hub(path, "create")) as hub:
        hub.commit(Insert("chats", {"id": "c1"}), Insert("tools", {"id": "t1", "name": "ls", "type": "command"}))
        hub.commit(Insert("agents", {"id": "a1", "name": "a"}))
        hub.commit(Insert("agent_tool_connections", {"id": "x1", "agent_id": "a1", "tool_id": "t1"}))
        hub.commit(Insert("messages", {"id": new_id(), "chat_id": "c1", "role": "user", "content": "hello world"}))
    return path


@pytest.fixture
def hub(path: str) -> Iterator[Database]:
    with closing(open_hub(path, "write")) as database:
        yield database


def fresh(root: str, names: Any = None) -> Any:
    """Return a hub made by the later schema itself."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for statement in ddl.load_statements(names, root):
        connection.execute(statement)
    return Database(connection, ":memory:")


def shape_of(database: Database) -> tuple[Any, ...]:
    """Return what PRAGMA says of every table, and the names of views and triggers."""
    connection = database.connection
    names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    found = {}
    for name in names:
        quoted = quote(name)
        columns = sorted(tuple(map(str, row[1:])) for row in connection.execute(f"PRAGMA table_xinfo({quoted})"))
        indexes = [(row[1], row[2]) for row in connection.execute(f"PRAGMA index_list({quoted})")]
        keys = sorted(row[2:] for row in connection.execute(f"PRAGMA foreign_key_list({quoted})"))
        found[name] = (columns, sorted(indexes), keys)
    # Columns are compared without their order: a column that is added later stands last.
    code = {(t.kind, t.name, t.sql) for t in objects.list_objects(connection) if t.kind in ("view", "trigger")}
    return found, code


def test_old_hub_with_migrations_has_the_shape_of_a_fresh_one(hub: Database, root: str) -> None:
    done = migrations.upgrade(hub, TargetSchema(LAST, root))
    assert [step.name for step in done.migrations] == ["moods", "kinds"]
    assert shape_of(hub) == shape_of(fresh(root))
    assert migrations.schema_version(hub) == LAST
    assert hub.value("PRAGMA foreign_keys") == 1


def test_rows_survive_and_references_hold(hub: Database, root: str) -> None:
    migrations.upgrade(hub, TargetSchema(LAST, root))
    assert hub.query("SELECT name, kind FROM {tools}") == [{"name": "ls", "kind": "command"}]
    assert hub.value("SELECT tool_id FROM {agent_tool_connections}") == "t1"
    assert hub.query("PRAGMA foreign_key_check") == []
    assert hub.value("SELECT count(*) FROM message_search WHERE message_search MATCH 'hello'") == 1
    assert hub.query("SELECT mood, messages FROM v_chats") == [{"mood": None, "messages": 1}]


def test_migrations_keep_custom_names_fields_indexes_and_triggers(hub: Database, root: str) -> None:
    custom_names.add_fields(
        hub, [custom_names.parse_field("tools.owner:text:index"), custom_names.parse_field("tools.since:datetime")]
    )
    custom_names.rename_tables(hub, {"tools": 'my "tools"', "chats": "talks"})
    hub.execute("UPDATE {tools} SET owner = 'me'")
    hub.execute("CREATE TABLE seen (id)")
    hub.execute("CREATE TRIGGER mine AFTER INSERT ON {tools} BEGIN INSERT INTO seen VALUES (NEW.id); END")
    hub.execute("CREATE VIEW their_view AS SELECT name FROM {tools}")
    hub.execute("CREATE TRIGGER away INSTEAD OF DELETE ON v_jobs BEGIN SELECT 1; END")
    migrations.upgrade(hub, TargetSchema(LAST, root))
    assert hub.query("SELECT name, owner, since FROM {tools}") == [{"name": "ls", "owner": "me", "since": None}]
    assert hub.value("SELECT tbl_name FROM sqlite_master WHERE name = 'tools_owner'") == 'my "tools"'
    hub.execute("INSERT INTO {tools} (id, name, kind) VALUES ('t2', 'cat', 'command')")
    assert hub.value("SELECT id FROM seen") == "t2"
    assert hub.query("SELECT name FROM their_view ORDER BY name") == [{"name": "cat"}, {"name": "ls"}]
    assert hub.value("SELECT 1 FROM sqlite_master WHERE name = 'away'") == 1


def test_what_was_applied_is_recorded_with_a_checksum(hub: Database, root: str) -> None:
    schema = TargetSchema(LAST, root)
    migrations.upgrade(hub, schema)
    rows = hub.query("SELECT version, name, length(checksum) AS size FROM {schema_migrations} ORDER BY version")
    assert rows == [{"version": NEXT, "name": "moods", "size": 64}, {"version": LAST, "name": "kinds", "size": 64}]
    assert migrations.changed_migrations(hub, schema) == []
    with open(f"{root}/migrations/{MOODS_FILE}", "a") as file:
        file.write("-- a small correction\n")
    assert migrations.changed_migrations(hub, schema) == [MOODS_FILE.removesuffix(".sql")]


def test_copy_of_the_hub_is_made_first(hub: Database, root: str) -> None:
    done = migrations.upgrade(hub, TargetSchema(LAST, root))
    assert done.backup in backup.list_backups(hub.path)
    assert f"schema-{NOW}" in os.path.basename(done.backup)
    with closing(open_hub(done.backup)) as old:
        assert migrations.schema_version(old) == NOW
        assert old.value("SELECT count(*) FROM {chats}") == 1


def test_additive_step_runs_at_the_first_write(hub: Database, root: str) -> None:
    done = migrations.upgrade_at_first_write(hub, TargetSchema(NEXT, _without_rewrite(root)))
    assert [step.name for step in done.migrations] == ["moods"]


def test_rewriting_step_waits_to_be_asked_for(hub: Database, root: str) -> None:
    with pytest.raises(StorageError) as error:
        migrations.upgrade_at_first_write(hub, TargetSchema(LAST, root))
    assert error.value.reason == "needs_migration"
    assert "llmctl db migrate" in error.value.hint
    assert migrations.schema_version(hub) == NOW


def test_large_hub_is_upgraded_at_a_write_without_a_copy(
    hub: Database, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "SMALL_BYTES", 1000)
    assert migrations.upgrade_at_first_write(hub, TargetSchema(NEXT, _without_rewrite(root))).backup is None


def test_opening_for_writing_upgrades_and_for_reading_does_not(
    path: str, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ddl, "VERSION", NEXT)
    schema = TargetSchema(NEXT, _without_rewrite(root))
    monkeypatch.setattr(migrations, "TargetSchema", lambda: schema)
    with closing(open_hub(path)) as hub:
        assert migrations.schema_version(hub) == NOW
    with closing(open_hub(path, "write")) as hub:
        assert migrations.schema_version(hub) == NEXT


def test_failing_step_changes_nothing_and_those_before_stay(hub: Database, root: str) -> None:
    with open(f"{root}/migrations/{KINDS_FILE}", "a") as file:
        file.write('INSERT INTO "tools" (id) VALUES (NULL);\nSELECT nonsense;\n')
    with pytest.raises((StorageError, sqlite3.IntegrityError)):
        migrations.upgrade(hub, TargetSchema(LAST, root))
    assert migrations.schema_version(hub) == NEXT
    assert hub.query("SELECT type FROM {tools}") == [{"type": "command"}]
    _repair(root)
    migrations.upgrade(hub, TargetSchema(LAST, root))
    assert shape_of(hub) == shape_of(fresh(root))


def test_step_that_breaks_a_reference_is_undone(hub: Database, root: str) -> None:
    with open(f"{root}/migrations/{KINDS_FILE}", "a") as file:
        file.write('DELETE FROM "tools";\n')
    with pytest.raises(StorageError, match="would leave 1 rows"):
        migrations.upgrade(hub, TargetSchema(LAST, root))
    assert hub.value("SELECT count(*) FROM {tools}") == 1
    assert hub.value("PRAGMA foreign_keys") == 1


def test_reference_that_was_broken_before_does_not_stop_an_upgrade(hub: Database, root: str) -> None:
    hub.execute("PRAGMA foreign_keys=OFF")
    hub.execute("UPDATE {agents} SET chat_model_id = 'gone'")
    migrations.upgrade(hub, TargetSchema(LAST, root))
    assert migrations.schema_version(hub) == LAST


def test_field_of_the_users_with_the_name_of_a_new_column_is_named(hub: Database, root: str) -> None:
    custom_names.add_fields(hub, [custom_names.parse_field("chats.mood:text")])
    with pytest.raises(StorageError, match='adds a column "mood", but a custom field has that name'):
        migrations.upgrade(hub, TargetSchema(LAST, root))
    assert migrations.schema_version(hub) == NOW
    assert hub.query("SELECT messages FROM v_chats") == [{"messages": 1}]


def test_missing_step_is_an_error_not_a_jump(hub: Database, root: str) -> None:
    os.unlink(f"{root}/migrations/{MOODS_FILE}")
    with pytest.raises(StorageError, match=f"cannot migrate from schema {NOW} to {LAST}"):
        migrations.upgrade(hub, TargetSchema(LAST, root))


def test_every_step_of_the_program_leads_to_its_version() -> None:
    steps = migrations.TargetSchema().migrations()
    assert [step.version for step in steps] == list(range(2, ddl.VERSION + 1))


UPGRADE = textwrap.dedent("""
    import os, signal, sqlite3, sys
    from llmctl.store.schema import ddl, migrations
    from llmctl.store.opening import open_hub
    path, root, deadly = sys.argv[1:]
    ddl.VERSION += 2
    migrations.upgrade_at_first_write = lambda hub: None
    hub = open_hub(path, "write")
    if deadly:
        hub.connection.set_trace_callback(lambda sql: deadly in sql and os.kill(os.getpid(), signal.SIGKILL))
    done = migrations.upgrade(hub, migrations.TargetSchema(ddl.VERSION, root))
    print(len(done.migrations), bool(done.backup))
""")


def start(path: str, root: str, deadly: str = "") -> Any:
    return subprocess.Popen(
        [sys.executable, "-c", UPGRADE, path, root, deadly],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.path.dirname(os.path.dirname(os.path.dirname(__file__)))},
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "moment",
    [
        "ADD COLUMN mood",
        'DROP TABLE "tools"',
        "CREATE VIEW v_usage",
        f"PRAGMA user_version={NEXT}",
        "VALUES ('rebuild')",
    ],
)
def test_killed_upgrade_is_resumed(path: str, root: str, moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    process = start(path, root, moment)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    monkeypatch.setattr(ddl, "VERSION", LAST)
    monkeypatch.setattr(migrations, "upgrade_at_first_write", lambda hub: None)
    with closing(open_hub(path, "write")) as hub:
        migrations.upgrade(hub, TargetSchema(LAST, root))
        assert shape_of(hub) == shape_of(fresh(root))
        assert hub.query("SELECT name, kind FROM {tools}") == [{"name": "ls", "kind": "command"}]
        assert hub.meta("upgrading") is None


@pytest.mark.slow
def test_twenty_processes_upgrade_one_hub_at_once(path: str, root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    processes = [start(path, root) for _ in range(20)]
    outputs = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0] * 20, outputs
    assert sum(int(out.split()[0]) for out, _ in outputs) == 2
    assert sum(out.split()[1] == "True" for out, _ in outputs) == 1
    monkeypatch.setattr(ddl, "VERSION", LAST)
    with closing(open_hub(path)) as hub:
        assert shape_of(hub) == shape_of(fresh(root))
        assert hub.value("PRAGMA integrity_check") == "ok"
        assert hub.value("SELECT count(*) FROM {schema_migrations}") == 2


def _without_rewrite(root: str) -> str:
    os.unlink(f"{root}/migrations/{KINDS_FILE}")
    shutil.copy(f"{ddl.schema_folder()}/030_agents.sql", f"{root}/030_agents.sql")
    return root


def _repair(root: str) -> None:
    with open(f"{root}/migrations/{KINDS_FILE}", "w") as file:
        file.write(REWRITE)
