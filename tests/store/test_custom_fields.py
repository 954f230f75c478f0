"""Tables and columns of the user's own names, on new hubs and on hubs in use."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from llmctl.core.errors import StorageError, UsageError
from llmctl.core.stored_values import new_id
from llmctl.store.database import Database, Insert, quote
from llmctl.store.opening import create, open_hub
from llmctl.store.schema import custom_names, ddl, objects

ODD = ["Assistant Chats", 'the "chats"', "select", "größe", "CHATS", "chats; DROP TABLE jobs", "a.b", "{chats}", "it's"]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Database]:
    with closing(open_hub(str(tmp_path / "hub.db"), "create")) as database:
        yield database


def say(database: Database, text: str, chat_id: str = "c1") -> None:
    """Store a chat as another program would: the triggers do the rest."""
    if not database.value("SELECT 1 FROM {chats} WHERE id = ?", (chat_id,)):
        database.commit(Insert("chats", {"id": chat_id}))
    database.commit(Insert("messages", {"id": new_id(), "chat_id": chat_id, "role": "user", "content": text}))


def search_snippets(database: Database, word: Any) -> list[Any]:
    return [
        row["m"]
        for row in database.rows(
            "SELECT snippet(message_search, 0, '<', '>', '…', 9) AS m FROM message_search WHERE message_search MATCH ?",
            (word,),
        )
    ]


def code(database: Database) -> Any:
    return {(t.kind, t.name) for t in objects.list_objects(database.connection) if t.kind in ("view", "trigger")}


@pytest.mark.parametrize("name", ODD)
def test_table_gets_any_name_on_a_hub_in_use(hub: Database, name: Any) -> None:
    say(hub, "before the flood")
    before = code(hub)
    custom_names.rename_tables(hub, {"chats": name, "messages": name + "2"})
    say(hub, "after the flood")
    assert hub.names == {"chats": name, "messages": name + "2"}
    assert search_snippets(hub, "flood") == ["before the <flood>", "after the <flood>"]
    assert [row["messages"] for row in hub.query("SELECT * FROM v_chats")] == [2]
    assert hub.query("SELECT seq FROM {messages} ORDER BY seq") == [{"seq": 1}, {"seq": 2}]
    assert code(hub) == before
    physical = {row["name"] for row in hub.query("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert name in physical
    assert "messages" not in physical


@pytest.mark.parametrize("name", ODD)
def test_table_gets_any_name_on_a_new_hub(tmp_path: Path, name: Any) -> None:
    custom_names.check_new_names({"messages": name + "2"})
    path = str(tmp_path / "hub.db")
    assert create(path, {"messages": name + "2"})
    with closing(open_hub(path, "write")) as database:
        say(database, "hello")
        assert search_snippets(database, "hello") == ["<hello>"]
        count = database.connection.execute(f"SELECT count(*) FROM {quote(name + '2')}").fetchone()
        assert count == (1,)


def test_every_table_may_be_renamed_and_named_back(hub: Database) -> None:
    say(hub, "hello")
    before = hub.query("SELECT name, sql FROM sqlite_master ORDER BY name")
    custom_names.rename_tables(hub, {name: f"My{name}" for name in ddl.TABLES})
    assert len(hub.names) == len(ddl.TABLES)
    say(hub, "again")
    custom_names.rename_tables(hub, {name: name for name in ddl.TABLES})
    assert hub.names == {}
    after = hub.query("SELECT name, sql FROM sqlite_master ORDER BY name")
    assert [row["name"] for row in after] == [row["name"] for row in before]
    assert search_snippets(hub, "again") == ["<again>"]


def test_tables_may_exchange_their_names(hub: Database) -> None:
    say(hub, "hello")
    custom_names.rename_tables(hub, {"chats": "jobs", "jobs": "chats"})
    assert hub.value("SELECT count(*) FROM {chats}") == 1
    assert hub.value("SELECT count(*) FROM chats") == 0


def test_rename_to_the_same_name_changes_nothing(hub: Database) -> None:
    custom_names.rename_tables(hub, {"chats": "talks"})
    before = hub.value("PRAGMA schema_version")
    assert custom_names.rename_tables(hub, {"chats": "talks"}) == {}
    assert hub.value("PRAGMA schema_version") == before


def test_names_that_another_process_gave_meanwhile_are_kept(hub: Database) -> None:
    assert hub.names == {}
    with closing(open_hub(hub.path, "write")) as other:
        custom_names.rename_tables(other, {"chats": "talks"})
    assert custom_names.rename_tables(hub, {"jobs": "work"}) == {"jobs": "work"}
    assert hub.names == {"chats": "talks", "jobs": "work"}
    assert hub.value("SELECT count(*) FROM {chats}") == 0


def test_unknown_table_lists_those_there_are(hub: Database) -> None:
    with pytest.raises(UsageError) as error:
        custom_names.rename_tables(hub, {"chat": "x"})
    assert 'no table "chat"' in error.value.message
    assert "agent_sessions, " in error.value.hint
    assert "user_settings" in error.value.hint


@pytest.mark.parametrize(
    "name", ["jobs", "Jobs", "v_chats", "chats_name", "message_search", "mine", "", " ", "sqlite_x"]
)
def test_name_that_is_taken_or_impossible_is_refused(hub: Database, name: str) -> None:
    hub.execute("CREATE TABLE mine (x)")
    before = hub.query("SELECT name, sql FROM sqlite_master")
    with pytest.raises(UsageError):
        custom_names.rename_tables(hub, {"chats": name})
    assert hub.query("SELECT name, sql FROM sqlite_master") == before


@pytest.mark.parametrize("names", [{"chats": "jobs"}, {"chats": "x", "jobs": "X"}, {"chats": "v_jobs"}, {"chat": "x"}])
def test_names_of_a_new_hub_are_checked(names: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        custom_names.check_new_names(names)


def test_users_views_survive_a_rename(hub: Database) -> None:
    say(hub, "hello")
    hub.execute("CREATE VIEW on_table AS SELECT id FROM chats")
    hub.execute("CREATE VIEW on_view AS SELECT id, messages FROM v_chats")
    hub.execute("CREATE VIEW on_mine AS SELECT messages FROM on_view")
    hub.execute("CREATE TABLE seen (id)")
    hub.execute("CREATE TRIGGER away INSTEAD OF DELETE ON v_jobs BEGIN SELECT 1; END")
    hub.execute("CREATE TRIGGER note AFTER INSERT ON chats BEGIN INSERT INTO seen SELECT id FROM v_chats; END")
    custom_names.rename_tables(hub, {"chats": "talks"})
    assert hub.query("SELECT * FROM on_table") == [{"id": "c1"}]
    assert hub.query("SELECT * FROM on_mine") == [{"messages": 1}]
    assert {("trigger", "away"), ("trigger", "note")} <= code(hub)
    hub.commit(Insert("chats", {"id": "c2"}))
    assert hub.value("SELECT count(*) FROM seen") == 2
    assert hub.meta("set_aside") is None


def test_broken_view_of_the_users_blocks_a_rename_and_is_named(hub: Database) -> None:
    hub.execute('CREATE VIEW "their view" AS SELECT * FROM gone')
    before = hub.query("SELECT name, sql FROM sqlite_master")
    with pytest.raises(StorageError, match='your view "their view" is broken'):
        custom_names.rename_tables(hub, {"chats": "talks"})
    assert hub.query("SELECT name, sql FROM sqlite_master") == before
    assert hub.names == {}


def test_view_on_both_a_table_and_a_view_of_ours_survives_a_rename(hub: Database) -> None:
    say(hub, "hello")
    hub.execute("CREATE VIEW both AS SELECT c.id FROM chats c JOIN v_chats v ON v.id = c.id")
    custom_names.rename_tables(hub, {"chats": "talks"})
    assert hub.query("SELECT * FROM both") == [{"id": "c1"}]


def test_field_is_added_typed_indexed_and_kept(hub: Database) -> None:
    wanted = [
        custom_names.parse_field("chats.user_id:text:index"),
        custom_names.parse_field("messages.stars:integer"),
    ]
    assert custom_names.add_fields(hub, wanted) == wanted
    assert custom_names.add_fields(hub, wanted) == []
    assert hub.fields == {"chats": {"user_id": "TEXT"}, "messages": {"stars": "INTEGER"}}
    hub.commit(Insert("chats", {"id": "c1", "user_id": "u_1"}))
    plan = hub.query("EXPLAIN QUERY PLAN SELECT * FROM {chats} WHERE user_id = 'u_1'")
    assert "chats_user_id" in plan[0]["detail"]


def test_field_gets_its_index_later(hub: Database) -> None:
    custom_names.add_fields(hub, [custom_names.parse_field("chats.user_id:text")])
    assert custom_names.add_fields(hub, [custom_names.parse_field("chats.user_id:text:index")])
    assert hub.value("SELECT tbl_name FROM sqlite_master WHERE name = 'chats_user_id'") == "chats"


@pytest.mark.parametrize(
    ("type", "good", "bad"),
    [
        ("boolean", 1, 2),
        ("datetime", "2026-01-02T03:04:05.678+00:00", "2026-01-02T03:04:05.678Z"),
        ("json", '{"a":1}', "{a"),
        ("real", 1.5, None),
    ],
)
def test_field_holds_values_of_its_type_only(
    hub: Database, type: str, good: int | str | float, bad: int | str | None
) -> None:
    custom_names.add_fields(hub, [custom_names.parse_field(f"chats.extra:{type}")])
    hub.commit(Insert("chats", {"id": "c1", "extra": good}))
    assert hub.value("SELECT extra FROM {chats}") == good
    if bad is not None:
        with pytest.raises(sqlite3.IntegrityError):
            hub.commit(Insert("chats", {"id": "c2", "extra": bad}))


@pytest.mark.parametrize(
    "spec",
    [
        *("chats.name:text", "chats.Name:text", "chats.sourceId:text", "chats.references:text"),
        *(
            "talks.x:text",
            "chats.x:blob",
            "chats.x",
            "chats.x:text:unique",
            "chats.1x:text",
            "chats.a-b:text",
            "x:text",
        ),
        *("usage_hourly.x:text", "chats.:text", ""),
    ],
)
def test_impossible_field_is_refused(hub: Database, spec: Any) -> None:
    before = hub.query("SELECT name, sql FROM sqlite_master")
    with pytest.raises(UsageError):
        custom_names.add_fields(hub, [custom_names.parse_field(spec)])
    assert hub.query("SELECT name, sql FROM sqlite_master") == before


def test_fields_come_all_or_none(hub: Database) -> None:
    with pytest.raises(UsageError):
        custom_names.add_fields(
            hub, [custom_names.parse_field("chats.user_id:text"), custom_names.parse_field("chats.name:text")]
        )
    assert hub.fields == {}


def test_field_of_another_type_is_refused(hub: Database) -> None:
    custom_names.add_fields(hub, [custom_names.parse_field("chats.user_id:text")])
    with pytest.raises(UsageError, match="already exists, as text"):
        custom_names.add_fields(hub, [custom_names.parse_field("chats.user_id:integer")])


def test_field_survives_a_rename_of_its_table(hub: Database) -> None:
    custom_names.add_fields(hub, [custom_names.parse_field("chats.user_id:text:index")])
    hub.commit(Insert("chats", {"id": "c1", "user_id": "u_1"}))
    custom_names.rename_tables(hub, {"chats": "talks"})
    assert hub.query("SELECT id FROM {chats} WHERE user_id = 'u_1'") == [{"id": "c1"}]
    assert hub.fields == {"chats": {"user_id": "TEXT"}}
