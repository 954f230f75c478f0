"""What looks back stays quick, whatever the history: no statement reads a large table from one end to the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from llmctl.store import search
from llmctl.store.database import Database
from llmctl.store.opening import open_hub
from llmctl.store.records import chat_summaries
from llmctl.store.stats import group_by, query
from llmctl.store.stats.group_by import Scope
from tests.benchmarks.hub import make
from tests.benchmarks.year import Year

LARGE = ("messages", "requests", "tool_invocations", "network_calls", "chats", "message_threads", "usage_hourly")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    path = str(tmp_path_factory.mktemp("year") / "hub.db")
    make(path, Year(chats=200, messages=2000, requests=2000, audited=200, until="2026-11-01"))
    with closing(open_hub(path)) as database:
        yield database


def scans(database: Database, act: Any) -> list[Any]:
    """Run something and return the large tables that its statements scan, with the statements."""
    seen: list[str] = []
    database.connection.set_trace_callback(seen.append)
    try:
        act()
    finally:
        database.connection.set_trace_callback(None)
    statements = [sql for sql in dict.fromkeys(seen) if sql.startswith(("SELECT", "WITH", "\nSELECT"))]
    assert statements
    found = []
    for sql in statements:
        for step in database.query(f"EXPLAIN QUERY PLAN {sql}"):
            words = step["detail"].split()
            if words[0] == "SCAN" and any(_is(database, words[1], table, sql) for table in LARGE):
                found.append((step["detail"], sql))
    return found


def _is(database: Database, name: str, table: str, sql: str) -> Any:
    """Tell whether a name of a plan is that table, or its alias in the statement."""
    return name == table or f'"{table}" {name}' in sql


def by(hub: Database, *keys: Any) -> Any:
    return group_by.build_grouping(hub, keys)


def test_what_has_no_roll_up_is_seen_to_scan(hub: Database) -> None:
    assert "SCAN r" in [detail for detail, _ in scans(hub, lambda: query.group_totals(hub, Scope(), by(hub, "host")))]


@pytest.mark.parametrize(
    "scope",
    [
        Scope(),
        Scope(since="2026-02-03T04:05:06.789+00:00"),
        Scope(since="2026-02-03T04:05:06.789+00:00", until="2026-10-11T12:13:14.000+00:00"),
        Scope(agent="coder", agent_id="x"),
        Scope(connection="work", connection_id="x", until="2026-10-11T12:13:14.000+00:00"),
    ],
)
def test_totals_scan_no_history(hub: Database, scope: Any) -> None:
    assert scans(hub, lambda: query.get_total(hub, scope)) == []


def test_a_chat_is_counted_from_its_own_rows(hub: Database) -> None:
    chat_id = hub.value("SELECT id FROM {chats} LIMIT 1 OFFSET 100")
    assert scans(hub, lambda: query.chat_stats(hub, chat_id)) == []
    assert scans(hub, lambda: query.group_totals(hub, Scope(chat_id=chat_id), by(hub, "model", "day"))) == []


@pytest.mark.parametrize(
    "keys",
    [
        *(("model", "day"), ("day",), ("month", "agent"), ("connection",), ("tag", "status")),
        *(("tool",), ("script", "month"), ("folder",)),
    ],
)
def test_groups_over_a_year_scan_no_history(hub: Database, keys: tuple[str, ...]) -> None:
    assert scans(hub, lambda: query.group_totals(hub, Scope(), by(hub, *keys))) == []


def test_groups_are_the_same_from_each_roll_up(hub: Database) -> None:
    """By model from months, by model and day from days, by agent and day from hours: the sums agree."""
    for keys in (("model",), ("model", "day"), ("agent", "day"), ("status", "month"), ("model", "script")):
        rows, total = query.group_totals(hub, Scope(), by(hub, *keys))
        for name in ("requests", "failed_requests", "input_tokens", "cost", "retries", "cache_savings", "duration_ms"):
            assert sum(row[name] or 0 for row in rows) == pytest.approx(total[name], rel=1e-9), (keys, name)


def test_the_first_page_of_chats_comes_out_of_an_index(hub: Database) -> None:
    found = scans(hub, lambda: list(chat_summaries.list_(hub, chat_summaries.ChatFilter(), 50)))
    assert [detail for detail, _ in found if "USING INDEX" not in detail and "COVERING" not in detail] == []


def test_a_page_of_chats_reads_as_many_rows_as_it_shows(hub: Database) -> None:
    steps = [0]
    hub.connection.set_progress_handler(lambda: steps.__setitem__(0, steps[0] + 1), 100)
    counts = []
    for limit in (10, 20):
        steps[0] = 0
        list(chat_summaries.list_(hub, chat_summaries.ChatFilter(), limit))
        counts.append(steps[0])
    hub.connection.set_progress_handler(None, 0)
    assert counts[1] < 2.5 * counts[0]


@pytest.mark.parametrize(
    "wanted", [{}, {"since": "2026-10-01T00:00:00.000+00:00"}, {"role": "user"}, {"model": "gpt-5"}]
)
def test_a_search_goes_through_the_index(hub: Database, wanted: dict[str, Any]) -> None:
    assert scans(hub, lambda: search.search(hub, "python", search.SearchFilter(**wanted), 50)) == []


def test_a_generated_year_is_as_large_as_asked_and_sound(hub: Database) -> None:
    counts = [hub.value(f"SELECT count(*) FROM {{{table}}}") for table in ("chats", "messages", "requests")]
    assert counts == [200, 2000, 2000]
    assert hub.value("SELECT sum(requests) FROM {usage_daily}") == 2000
    assert hub.connection.execute("PRAGMA foreign_key_check").fetchall() == []
