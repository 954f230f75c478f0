"""The group recorder: few commits, no row lost or spoiled by another, limits that hold, a spool for what was sent."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from llmctl.core.errors import BudgetError, LlmctlError, StorageError
from llmctl.core.stored_values import new_id
from llmctl.engine.billing.cost import CommandBudget, CostEstimate, CostLimits, Reservation
from llmctl.engine.models.rates import Price
from llmctl.engine.runtime import RuntimeEnv
from llmctl.engine.turn.group_recorder import GroupRecorder, join_writes
from llmctl.store import write_spool
from llmctl.store.database import Database, Delete, Insert, Update, Write
from tests.fakes.hub_builder import HubBuilder


def request(status: str = "completed", **columns: Any) -> Insert:
    row = {"id": new_id(), "provider": "echo", "model": "echo", "status": status, "origin": "llmctl", **columns}
    return Insert("requests", row)


@pytest.fixture
def database(hub: HubBuilder) -> Database:
    return hub.database


class Outcomes:
    """Collects what the recorder reports of each entry."""

    def __init__(self) -> None:
        self.errors: dict[str, LlmctlError | None] = {}

    def of(self, name: str) -> Callable[[LlmctlError | None], None]:
        return lambda error: self.errors.__setitem__(name, error)


def count_commits(database: Database, recorder: GroupRecorder) -> list[str]:
    statements: list[str] = []
    recorder._database.connection.set_trace_callback(lambda sql: statements.append(sql) if sql == "COMMIT" else None)
    return statements


def test_entries_share_commits(database: Database) -> None:
    outcomes = Outcomes()
    with GroupRecorder(database, RuntimeEnv(), max_delay_s=3600) as recorder:
        commits = count_commits(database, recorder)
        recorder._last_commit_at = time.monotonic()  # the next group waits for its size, or for the flush
        for number in range(450):
            recorder.record([request()], outcomes.of(str(number)))
        recorder.flush()
        assert list(outcomes.errors) == [str(number) for number in range(450)]
        assert database.value("SELECT count(*) FROM requests") == 450
        assert len(commits) == 3  # 200, 200, 50


def test_lone_entry_is_committed_soon(database: Database) -> None:
    committed = Event()
    with GroupRecorder(database, RuntimeEnv()) as recorder:
        recorder.begin([request("pending")], lambda error: committed.set())
        assert committed.wait(60)  # without a flush
    assert database.value("SELECT count(*) FROM requests") == 1


def test_one_bad_entry_spoils_no_other(database: Database) -> None:
    outcomes = Outcomes()
    with GroupRecorder(database, RuntimeEnv(), max_delay_s=3600) as recorder:
        recorder.record([request(error="lone \ud800 surrogate")], outcomes.of("odd"))
        recorder.begin([request(status="nonsense")], outcomes.of("refused"))
        recorder.record([request()], outcomes.of("good"))
    assert (outcomes.errors["odd"], outcomes.errors["good"]) == (None, None)
    assert isinstance(outcomes.errors["refused"], StorageError)
    rows = database.query("SELECT status, error FROM requests ORDER BY rowid")
    assert [row["error"] for row in rows] == ["lone \ufffd surrogate", None]


def test_reservations_hold_in_a_group(database: Database) -> None:
    limits = CostLimits(CommandBudget(1.0), day=0.5)
    price = Price(None, {})
    reservation = Reservation(limits, CostEstimate(10, 10, 0.2, 0.1), price)
    outcomes = Outcomes()
    with GroupRecorder(database, RuntimeEnv(), max_delay_s=3600) as recorder:
        for number in range(4):
            row = request("pending", reserved_cost=0.2)
            recorder.begin([row], outcomes.of(str(number)), reservation)
    assert [type(error) for error in outcomes.errors.values()] == [type(None), type(None), BudgetError, BudgetError]
    assert database.value("SELECT sum(reserved_cost) FROM requests") == pytest.approx(0.4)
    assert limits.command
    assert limits.command.left == pytest.approx(0.6)


def test_refused_hub_keeps_what_was_sent(database: Database, tmp_path: Path) -> None:
    with closing(sqlite3.connect(database.path, isolation_level=None)) as other:
        other.execute("CREATE TRIGGER no BEFORE INSERT ON requests BEGIN SELECT RAISE(ABORT, 'not today'); END")
        outcomes = Outcomes()
        with GroupRecorder(database, RuntimeEnv(spool_folder=str(tmp_path))) as recorder:
            recorder.begin([request("pending")], outcomes.of("not sent"))
            recorder.record([request()], outcomes.of("sent"))
            recorder.flush()
            recorder.begin([request("pending")], outcomes.of("later"))
            recorder.record([request()], outcomes.of("sent later"))
        assert recorder.storage_error
        assert all(isinstance(error, StorageError) for error in outcomes.errors.values())
        assert len(outcomes.errors) == 4
        assert f"{database.path}.spool" in recorder.spool_hint
        other.execute("DROP TRIGGER no")
    assert write_spool.replay(database) == 2
    assert database.value("SELECT count(*) FROM requests WHERE status = 'completed'") == 2


def test_replaced_hub_gets_no_rows(database: Database, tmp_path: Path) -> None:
    outcomes = Outcomes()
    with GroupRecorder(database, RuntimeEnv(), max_delay_s=3600) as recorder:
        os.rename(database.path, tmp_path / "moved.db")
        recorder.record([request()], outcomes.of("sent"))
    error = outcomes.errors["sent"]
    assert isinstance(error, StorageError)
    assert error.reason == "moved"
    assert database.value("SELECT count(*) FROM requests") == 0
    assert os.path.exists(f"{database.path}.spool")


@pytest.mark.parametrize(
    ("writes", "joined"),
    [
        (
            [
                Insert("messages", {"id": "m"}),
                Update("requests", "r", {"message_id": "m"}),
                Insert("response_streams", {"id": "s", "message_id": "m"}),
                Delete("messages", {"id": "m"}),
                Update("requests", "r", {"status": "failed"}),
            ],
            (
                Insert("response_streams", {"id": "s", "message_id": None}),
                Update("requests", "r", {"message_id": None, "status": "failed"}),
            ),
        ),
        (
            [Insert("messages", {"id": "m", "status": "pending"}), Update("messages", "m", {"content": "hi"})],
            (Insert("messages", {"id": "m", "status": "pending", "content": "hi"}),),
        ),
        (
            [
                Insert("messages", {"id": "m", "status": "completed"}),
                Update("messages", "m", {"content": "late"}, {"status": "pending"}),
            ],
            (Insert("messages", {"id": "m", "status": "completed"}),),
        ),
        (
            [
                Update("requests", "r", {"message_id": "m"}),
                Insert("messages", {"id": "m"}),
                Update("requests", "r", {"status": "completed"}),
            ],
            (Insert("messages", {"id": "m"}), Update("requests", "r", {"message_id": "m", "status": "completed"})),
        ),
        (
            [Insert("response_streams", {"id": "s"}), Delete("stream_chunks", {"stream_id": "s"})],
            (Insert("response_streams", {"id": "s"}),),
        ),
        (
            [Delete("stream_chunks", {"stream_id": "other"})],
            (Delete("stream_chunks", {"stream_id": "other"}),),
        ),
        (
            [
                Insert("requests", {"id": "r", "status": "pending"}),
                Insert("network_calls", {"id": "n", "request_id": "r", "attempt": 2}),
                Update("requests", "r", {"status": "completed"}),
            ],
            (
                Insert("requests", {"id": "r", "status": "pending"}),
                Insert("network_calls", {"id": "n", "request_id": "r", "attempt": 2}),
                Update("requests", "r", {"status": "completed"}),
            ),
        ),
    ],
    ids=[
        "deleted again",
        "insert and update",
        "condition not met",
        "updates",
        "own chunks",
        "chunks of another",
        "retried",
    ],
)
def test_writes_are_joined(writes: list[Write], joined: tuple[Write, ...]) -> None:
    assert join_writes(writes) == joined
