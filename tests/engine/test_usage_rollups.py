"""Whatever happens to a hub (turns, new prices, pruning, deletion, imports), the roll-ups say what the rows say."""

from __future__ import annotations

import random
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from llmctl.core import clock
from llmctl.core.stored_values import dumps, loads
from llmctl.core.transfer_records import ImportRow
from llmctl.engine.billing import reprice as billing_reprice
from llmctl.store.database import Database
from llmctl.store.maintenance import delete as maintenance_delete
from llmctl.store.maintenance import integrity, rollups
from llmctl.store.maintenance import prune as maintenance_prune
from llmctl.store.schema.ddl import ROLLUP_TABLES
from llmctl.store.stats import group_by, labels, query
from llmctl.store.stats.group_by import LABELS, Scope, Unit
from llmctl.store.transfer.batches import merge_records
from tests.engine.transfer_hubs import export_hub, import_text, new_hub
from tests.fakes.hub_builder import RENAMED, HubBuilder
from tests.store.test_stats import expected, same


class RandomOperations:
    """Does one thing after the other to a hub, at random."""

    def __init__(self, database: Database, seed: Any) -> None:
        self.rng = random.Random(seed)
        self.rows = HubBuilder(database)
        self.database = database
        self.copy = export_hub(database)

    def turn(self) -> None:
        rng, rows = self.rng, self.rows
        chat = rng.choice([*self.chats(), rows.chat(), None])
        at = rows.tick(rng.choice([1, 4000, 90_000, 2_000_000]))
        request = {
            "provider": rng.choice(["openai", "Anthropic"]),
            "model": rng.choice(["m1", "m2"]),
            "agent": rng.choice([None, "coder"]),
            "tag": rng.choice([None, "ci"]),
            "script": rng.choice([None, "make", ""]),
            "folder": rng.choice([None, "/src", "/home"]),
            "saved_cost": rng.choice([None, 0.5]),
            "cached_from": rng.choice([None, None, "another"]),
            "origin": rng.choice(["llmctl", "orm"]),
            "cost": rng.choice([None, 0.0, 0.125]),
            "duration": rng.choice([None, 0, rng.randint(1, 90_000)]),
            "time_to_first_token": rng.choice([None, rng.randint(1, 900)]),
            **{name: rng.choice([None, 10]) for name in ("input_tokens", "output_tokens", "cached_tokens")},
        }
        place = {"chat_id": chat["id"], "thread_id": chat["thread_id"]} if chat else {}
        id = rows.insert("requests", at=at, status="pending", **place, **request)
        for attempt in range(1, rng.choice([2, 2, 4])):
            rows.insert("network_calls", request_id=id, attempt=attempt, endpoint="x", method="POST", body="{}")
        if chat:
            rows.message(chat, "user", "hello", at=at)
            rows.tool_turn(chat) if rng.random() < 0.2 else None
        if rng.random() < 0.95:
            status = rng.choice(["completed", "failed", "incomplete"])
            self.database.execute("UPDATE {requests} SET status = ? WHERE id = ?", (status, id))

    def reprice(self) -> None:
        model, at = self.rng.choice(["m1", "m2"]), clock.add_seconds(self.rows.now, -self.rng.randint(0, 3_000_000))
        rates: dict[str, Any] = {
            name: self.rng.choice([0.5, 3.0]) for name in ("input_per_million", "output_per_million")
        }
        rates |= {"cached_per_million": 0.25, "valid_from": at, "source": "user"}
        self.rows.insert("model_prices", provider=self.rng.choice(["openai", "anthropic"]), model=model, **rates)
        billing_reprice.reprice(self.database, since=None, everything=self.rng.random() < 0.5, dry_run=False)

    def delete(self) -> None:
        for chat in self.chats()[:1]:
            maintenance_delete.delete_chat(self.database, chat["id"], with_usage=self.rng.random() < 0.5)

    def prune(self) -> None:
        for kind in ("streams", "http", "logs", "jobs", "attachments"):
            list(maintenance_prune.prune_kind(self.database, kind, self.rows.now))

    def remember(self) -> None:
        self.copy = export_hub(self.database)

    def merge(self) -> None:
        import_text(self.database, self.copy)

    def chats(self) -> Any:
        chats = self.database.query(
            "SELECT c.id, t.id AS thread_id FROM {chats} c JOIN {message_threads} t ON t.chat_id = c.id ORDER BY c.id"
        )
        return self.rng.sample(chats, min(2, len(chats)))


def agree(database: Database) -> None:
    rows = HubBuilder(database)
    known = rows.database.value("SELECT max(created_at) FROM {requests}")
    month, day = known[:7], known[:10]
    for scope, within in (
        (Scope(), lambda row: True),
        (Scope(since=f"{month}-01T00:00:00.000+00:00"), lambda row: row["created_at"][:7] >= month),
        (Scope(until=f"{day}T00:00:00.000+00:00"), lambda row: row["created_at"][:10] < day),
        (Scope(agent="coder"), lambda row: row["agent"] == "coder"),
    ):
        alike(query.get_total(database, scope), expected(rows, within))
    for key, of in (("day", lambda row: row["created_at"][:10]), ("status", lambda row: row["status"])):
        found, _ = query.group_totals(database, Scope(), group_by.build_grouping(database, [key]))
        for group in found:
            alike(group, expected(rows, lambda row, of=of, name=group[key]: of(row) == name))


def labels_agree(database: Database, *kinds: str) -> None:
    """Compare the totals by label with the rows, in every unit."""
    for kind in kinds:
        grouping = group_by.build_grouping(database, [kind])
        wanted = sums_of(query.sum_source(database, Scope(), grouping, None))
        assert sums_of(query.sum_groups(database, Scope(), grouping)) == wanted, kind
        units: tuple[Unit, ...] = ("day", "month")
        for unit in units:
            assert sums_of(query.sum_source(database, Scope(), grouping, unit)) == wanted, (kind, unit)


def sums_of(groups: Any) -> Any:
    """Return requests and sums by group; of times how many there are, since the roll-ups round them."""
    return {
        key: (
            {name: round(value, 9) for name, value in tally.sums.items()},
            sum(tally.durations.values()),
            sum(tally.first_tokens.values()),
        )
        for key, tally in groups.items()
        if tally.sums["requests"]
    }


def alike(found: Any, wanted: Any) -> None:
    """Compare figures; money as far as binary fractions go, savings elsewhere, times that only widen."""
    cost, first, last = (wanted.pop(name) for name in ("cost", "first_at", "last_at"))
    wanted.pop("cache_savings")
    assert first is None or found["first_at"] <= first <= last <= found["last_at"]
    assert found["cost"] == (None if cost is None else pytest.approx(cost, abs=1e-9))
    same(found, wanted)


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "names"), [(1, {}), (2, RENAMED), (3, {})])
def test_rollups_match_after_random_operations(tmp_path: Path, seed: int, names: Any) -> None:
    with closing(new_hub(tmp_path / "hub.db", names)) as database, closing(new_hub(tmp_path / "new.db")) as new:
        life = RandomOperations(database, seed)
        for _ in range(12):
            for _ in range(8):
                life.turn()
            getattr(life, life.rng.choice(["reprice", "delete", "prune", "remember", "merge"]))()
            assert not list(integrity.find_rollup_problems(database))
        life.merge()
        agree(database)
        labels_agree(database, "script", "folder")
        import_text(new, export_hub(database))
        agree(new)
        labels_agree(new, *LABELS)
        known = {finding.name for hub in (database, new) for finding in integrity.run_checks(hub) if finding.problem}
        assert known <= {"stuck"}


def test_a_request_counts_for_each_tool_it_called(tmp_path: Path) -> None:
    with closing(new_hub(tmp_path / "hub.db")) as database:
        life = RandomOperations(database, 5)
        rows, call = life.rows, {"tool_call_id": "1", "arguments": "{}", "duration": 5}
        for _ in range(30):
            life.turn()
        life.remember()
        step = rows.step(rows.chat(), "two tools")
        for number, name in enumerate(("weather", "time", "weather")):
            rows.insert("tool_invocations", message_id=step["message"], name=name, **call | {"tool_call_id": number})
        labels_agree(database, *LABELS)
        grouping = group_by.build_grouping(database, ["tool"])
        assert {("weather",), ("time",), (None,)} == query.sum_groups(database, Scope(), grouping).keys()
        life.reprice()
        labels_agree(database, *LABELS)
        (invocation, *_) = database.query("SELECT * FROM {tool_invocations} LIMIT 1")
        life.merge()  # what it has already counts once
        labels_agree(database, *LABELS)
        late = ImportRow("tool_invocations", invocation | {"id": "late", "tool_call_id": "9", "name": "late"})
        merge_records(database, [late], lambda record, result: None)
        labels_agree(database, *LABELS)
        maintenance_delete.delete_chat(database, database.value("SELECT id FROM {chats} LIMIT 1"), with_usage=True)
        labels_agree(database, *LABELS)


def test_labels_of_a_long_history_are_filled_day_by_day(tmp_path: Path) -> None:
    with closing(new_hub(tmp_path / "hub.db")) as database:
        life = RandomOperations(database, 6)
        for _ in range(60):
            life.turn()
        before = totals(database)
        grouping = group_by.build_grouping(database, ["folder"])
        wanted = sums_of(query.sum_groups(database, Scope(), grouping))
        database.execute("DELETE FROM {usage_labels}")
        assert list(integrity.find_rollup_problems(database)) == [
            "requests are missing from the totals by tool, script or folder"
        ]
        tomorrow = dumps(clock.add_seconds(life.rows.now, 90_000)[:10] + "T00:00:00.000+00:00")
        database.execute("INSERT INTO {hub_meta} (key, value) VALUES ('labels_from', ?)", (tomorrow,))
        assert not list(integrity.find_rollup_problems(database))  # they are not there yet
        assert sums_of(query.sum_groups(database, Scope(), grouping)) == wanted

        def stop(done: int, total: int) -> None:
            if done >= total // 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            labels.fill_labels(database, stop)
        known = database.meta("labels_from")
        assert sums_of(query.sum_groups(database, Scope(), grouping)) == wanted
        rows = database.value("SELECT count(*) FROM {requests} WHERE created_at >= ? AND status <> 'pending'", (known,))
        recent = Scope(since=known)
        assert sum(t.sums["requests"] for t in query.sum_groups(database, recent, grouping).values()) == rows > 0
        life.turn()
        seen: list[tuple[int, int]] = []
        labels.fill_labels(database, lambda done, total: seen.append((done, total)))
        assert seen[-1][0] == seen[-1][1]
        assert database.meta("labels_from") is None
        labels_agree(database, *LABELS)
        labels.fill_labels(database)
        assert len(totals(database)) >= len(before)


def test_labels_count_what_is_left_of_a_history(tmp_path: Path) -> None:
    """Requests that were not kept are in the other totals only: no damage."""
    with closing(new_hub(tmp_path / "hub.db")) as database:
        life = RandomOperations(database, 9)
        for _ in range(30):
            life.turn()
        database.execute("DELETE FROM {requests} WHERE rowid % 3 = 0")
        labels.refill_labels(database)
        labels_agree(database, *LABELS)
        assert not list(integrity.find_rollup_problems(database))


DAMAGES = [
    "DELETE FROM usage_labels WHERE kind = 'script'",
    "DELETE FROM usage_hourly",
    "DELETE FROM usage_daily",
    "DELETE FROM usage_monthly WHERE rowid % 2",
    "UPDATE usage_hourly SET requests = 0, input_tokens = 0 WHERE rowid % 2",
    "UPDATE usage_daily SET output_tokens = 0",
    "DELETE FROM activity_daily",
    "UPDATE activity_daily SET messages = 0",
    "UPDATE activity_daily SET tool_calls = 0 WHERE tool <> ''",
]


@pytest.mark.parametrize("damage", [*DAMAGES, "; ".join(DAMAGES)], ids=lambda sql: sql[:40])
def test_totals_that_were_lost_are_rebuilt_from_the_rows(tmp_path: Path, damage: str) -> None:
    with closing(new_hub(tmp_path / "hub.db")) as database:
        life = RandomOperations(database, 7)
        for _ in range(60):
            life.turn()
        before = totals(database)
        database.connection.executescript(damage)
        assert totals(database) != before
        assert list(integrity.find_rollup_problems(database))
        rollups.rebuild_rollups(database)
        assert list(integrity.find_rollup_problems(database)) == []
        assert totals(database) == before
        rollups.rebuild_rollups(database)
        assert totals(database) == before


def test_totals_keep_what_the_rows_no_longer_say(tmp_path: Path) -> None:
    """A request that is not kept counts all the same, and so do the messages of a deleted chat."""
    with closing(new_hub(tmp_path / "hub.db")) as database:
        life = RandomOperations(database, 8)
        for _ in range(40):
            life.turn()
        before = totals(database)
        database.execute("DELETE FROM {requests} WHERE rowid % 3 = 0")
        database.execute("DELETE FROM {messages}")
        rollups.rebuild_rollups(database)
        assert totals(database) == before


def totals(database: Database) -> list[Any]:
    """Return every row of the totals; of sums of floats what is seen of them."""
    found = []
    for table in (*ROLLUP_TABLES.values(), "usage_labels", "activity_daily"):
        for row in database.query(f"SELECT * FROM {table}"):
            values: dict[str, Any] = {
                name: round(value, 9) if isinstance(value, float) else value for name, value in row.items()
            }
            for name in ("duration_histogram", "first_token_histogram"):
                if name in values:
                    values[name] = sorted(loads(values[name]).items())
            found.append((table, sorted(values.items(), key=str)))
    return sorted(found, key=str)
