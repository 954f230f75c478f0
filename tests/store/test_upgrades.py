"""Hubs that earlier schemas made, as they are on people's disks: the first write brings them to the present."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from llmctl.core.stored_values import loads
from llmctl.store import search
from llmctl.store.database import Database, Insert
from llmctl.store.opening import open_hub
from llmctl.store.schema import ddl
from llmctl.store.stats import group_by, labels, query
from llmctl.store.stats.group_by import Scope
from tests.store.test_migrations import fresh, shape_of

FIXTURES = Path(__file__).parent / "fixtures"
#: Schemas 4 to 6 came out together.
EARLIER = sorted(int(file.stem[-1]) for file in FIXTURES.glob("hub_?.sql"))
SOURCES = ("jobs", "chats", "message_threads", "messages", "tool_invocations", "requests", "network_calls")


def make_earlier(path: str, version: int) -> str:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((FIXTURES / f"hub_{version}.sql").read_text())
    return path


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A hub of schema 1."""
    return make_earlier(str(tmp_path / "hub.db"), 1)


@pytest.fixture
def hub(path: str) -> Iterator[Database]:
    with closing(open_hub(path, "write")) as database:
        yield database


@pytest.mark.parametrize("version", EARLIER)
def test_reading_leaves_an_old_hub_as_it_is(tmp_path: Path, version: int) -> None:
    with closing(open_hub(make_earlier(str(tmp_path / "hub.db"), version))) as hub:
        assert hub.value("PRAGMA user_version") == version


def test_an_old_hub_can_be_read_before_it_is_upgraded(path: str) -> None:
    scopes = [
        Scope(),
        Scope(agent="coder", agent_id=None),
        Scope(since="2026-08-30T22:00:04.000+00:00", until="2026-09-01T09:39:00.000+00:00"),
    ]

    def looked() -> tuple[Any, ...]:
        with closing(open_hub(path)) as hub:
            found = [query.get_total(hub, scope) for scope in scopes]
            for keys in (["model", "day"], ["tag"], ["tool"], ["status", "month"]):
                found += query.group_totals(hub, Scope(), group_by.build_grouping(hub, keys))[0]
            return [row | {"retries": None} for row in found], query.is_known_name(hub, "agent", "coder")

    before = looked()
    open_hub(path, "write").close()
    assert before == looked()


@pytest.mark.parametrize("version", EARLIER)
def test_an_old_hub_has_the_schema_of_a_fresh_one_after_the_first_write(tmp_path: Path, version: int) -> None:
    with (
        closing(open_hub(make_earlier(str(tmp_path / "hub.db"), version), "write")) as hub,
        closing(fresh(ddl.schema_folder()).connection) as connection,
    ):
        new = Database(connection, ":memory:")
        assert hub.value("PRAGMA user_version") == ddl.VERSION
        assert shape_of(hub) == shape_of(new)
        code = "SELECT type, name, sql FROM sqlite_master WHERE type IN ('trigger', 'view') ORDER BY name"
        assert hub.query(code) == new.query(code)
        assert hub.query("PRAGMA foreign_key_check") == []


def test_sums_of_an_upgraded_hub_are_those_of_one_that_counted_from_the_start(hub: Database, tmp_path: Path) -> None:
    with closing(open_hub(str(tmp_path / "fresh.db"), "create")) as other:
        other.execute("PRAGMA foreign_keys=OFF")
        for table in SOURCES:
            # As in life: a request is finished after its attempts.
            rows = hub.query(f"SELECT * FROM {{{table}}} ORDER BY rowid")
            later = {"status": "pending"} if table == "requests" else {}
            other.commit(*(Insert(table, row | later) for row in rows))
        for row in hub.rows("SELECT id, status FROM {requests}"):
            other.execute("UPDATE {requests} SET status = :status WHERE id = :id", row)
        assert hub.value("SELECT count(*) FROM {usage_labels}") == 0  # a long history would take long
        labels.fill_labels(hub)
        for table in ddl.DERIVED_TABLES:
            columns = [row["name"] for row in hub.query(f"PRAGMA table_info({{{table}}})")]
            order = f"SELECT {', '.join(columns)} FROM {{{table}}} ORDER BY 1, 2, 3, 4, 5, 6"
            assert counted(hub, order) == counted(other, order), table


def counted(hub: Database, sql: str) -> list[dict[Any, Any]]:
    """Return rows, of their histograms how many they count: schema 1 rounded times in another way."""
    return [
        {name: sum(loads(value).values()) if "histogram" in name else value for name, value in row.items()}
        for row in hub.rows(sql)
    ]


def test_upgraded_hub_continues_counting(hub: Database) -> None:
    before = query.get_total(hub, Scope())
    assert (before["requests"], before["retries"], before["tool_calls"]) == (7, 2, 1)
    row = {"id": "r", "provider": "anthropic", "model": "sonnet", "created_at": "2026-09-01T09:41:00.000+00:00"}
    hub.commit(Insert("requests", row | {"duration": 1060, "input_tokens": 5, "status": "incomplete"}))
    after = query.get_total(hub, Scope())
    assert (after["requests"], after["input_tokens"]) == (8, before["input_tokens"] + 5)
    assert hub.value("SELECT sum(requests) FROM {usage_daily} WHERE day LIKE '2026-09-01%'") == 3


def test_an_upgraded_hub_can_be_searched_at_once(hub: Database) -> None:
    found = search.search(hub, "build red?", search.SearchFilter(), None)
    assert [row["chat"] for row in found] == ["fix-42"]


def test_an_upgrade_leaves_the_search_index_of_a_long_history_alone(tmp_path: Path) -> None:
    path = make_earlier(str(tmp_path / "hub.db"), max(EARLIER))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO message_search (rowid, content) VALUES (4711, 'still there')")
        connection.commit()
    with closing(open_hub(path, "write")) as hub:
        assert hub.value("SELECT rowid FROM message_search WHERE message_search MATCH 'still'") == 4711
        hub.commit(Insert("messages", {"id": "m", "role": "user", "content": "indexed as before"}))
        assert hub.value("SELECT count(*) FROM message_search WHERE message_search MATCH 'indexed'") == 1


@pytest.mark.parametrize("version", EARLIER)
def test_labels_of_an_upgraded_hub_are_what_the_rows_say(tmp_path: Path, version: int) -> None:
    with closing(open_hub(make_earlier(str(tmp_path / "hub.db"), version), "write")) as hub:
        groupings = [group_by.build_grouping(hub, [kind]) for kind in group_by.LABELS]
        before = [query.sum_groups(hub, Scope(), grouping) for grouping in groupings]
        labels.fill_labels(hub)
        assert hub.meta(group_by.LABELS_FROM) is None
        after = [query.sum_groups(hub, Scope(), grouping) for grouping in groupings]
        assert [{key: tally.sums for key, tally in groups.items()} for groups in after] == [
            {key: tally.sums for key, tally in groups.items()} for groups in before
        ]
        assert all(before)
