"""Deleting a chat: every copy of its text goes, its numbers stay, everything else is as it was."""

from __future__ import annotations

import os
import random
import re
from contextlib import closing
from typing import Any

import pytest

from llmctl.core.errors import LockedError
from llmctl.core.stored_values import dumps
from llmctl.engine.chats.fork import fork_chat
from llmctl.engine.jobs import lease
from llmctl.engine.maintenance import delete
from llmctl.store.database import Database, empty_wal
from llmctl.store.maintenance import delete as maintenance_delete
from llmctl.store.opening import open_hub
from llmctl.store.records import chats
from llmctl.store.schema import ddl
from llmctl.store.stats import query
from llmctl.store.stats.group_by import Scope
from tests.fakes.hub_builder import HubBuilder

SECRET = "zanzibar"


def secretive(hub: HubBuilder) -> Any:
    """A chat that says the secret in every column that can hold it."""
    chat = hub.chat(f"{SECRET} chat", description=SECRET, instructions=SECRET, metadata=dumps({"k": SECRET}))
    hub.message(chat, "system", f"you are {SECRET}")
    turn = hub.turn(
        chat,
        f"tell me of {SECRET} " + f"{SECRET} " * 2000,
        f"of {SECRET}, gladly",
        error=f"not {SECRET}",
        parameters=dumps({"options": {"stop": SECRET}}),
        status="failed",
    )
    hub.database.execute(
        "UPDATE {network_calls} SET response = ?, error = ? WHERE id = ?", (SECRET, f"no {SECRET}", turn["call"])
    )
    hub.database.execute("UPDATE {requests} SET cache_key = ? WHERE id = ?", (SECRET, turn["request"]))
    item = {"job_id": turn["job"], "position": 1, "input_hash": "h", "request_id": turn["request"]}
    hub.insert("map_items", **item, custom_id=SECRET, input=dumps({"line": SECRET}), output=SECRET, error=SECRET)
    hub.database.execute("UPDATE {jobs} SET error = ?, name = ? WHERE id = ?", (SECRET, SECRET, turn["job"]))
    hub.tool_turn(chat, result=SECRET, arguments=dumps({"city": SECRET}))
    hub.attach(hub.message(chat, "user", "see file"), f"file of {SECRET}".encode(), f"{SECRET}.txt")
    hub.running(chat, [f"data: {SECRET}".encode(), b"more"])
    # what was rolled back: a stream without its message
    lost = hub.step(chat, f"lost {SECRET}")
    hub.database.execute("DELETE FROM {messages} WHERE id = ?", (lost["message"],))
    # what another program wrote, and what --no-persist requests leaves
    hub.insert("messages", chat_id=chat["id"], role="user", content=f"loose {SECRET}", origin="import")
    hub.insert("response_streams", message_id=turn["message"], raw_output=f"loose {SECRET}")
    loose = hub.insert("requests", chat_id=chat["id"], provider="openai", model="m", error=f"loose {SECRET}")
    hub.insert("network_calls", request_id=loose, endpoint="x", method="POST", body=f"loose {SECRET}")
    chats.add_snapshot(
        hub.database, chat["thread_id"], [{"type": "user", "content": SECRET}], upto_seq=1, reason=SECRET
    )
    return chat


def other(hub: HubBuilder) -> Any:
    """A chat that stays, with a file that both have."""
    chat = hub.chat("other")
    turn = hub.turn(chat, "the hub of barbados", "yes, barbados")
    hub.attach(turn["user"], b"shared file")
    return chat


def contents(database: Database) -> dict[Any, Any]:
    """Every row of every table, but for those that the test deletes."""
    tables = [row["name"] for row in database.rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
    # The roll-ups have tests of their own; their ranges and buckets remember more than their sums.
    ours = ("message_search", "sqlite_")
    plain = [
        name
        for name in tables
        if not name.startswith(ours) and not {"usage", "activity"} & set(re.findall("[a-z]+", name))
    ]
    quoted = ['"' + name.replace('"', '""') + '"' for name in plain]
    return {name: database.connection.execute(f"SELECT * FROM {name}").fetchall() for name in quoted}


def files(database: Database) -> bytes:
    ends = [end for end in ("", "-wal", "-shm") if os.path.exists(database.path + end)]
    blobs = []
    for end in ends:
        with open(database.path + end, "rb") as file:
            blobs.append(file.read())
    return b"".join(blobs)


def test_no_file_of_the_hub_holds_the_text_any_more(any_hub: HubBuilder) -> None:
    other(any_hub)
    chat = secretive(any_hub)
    other_id = any_hub.chat("with the same file")
    any_hub.attach(any_hub.message(other_id, "user", "x"), b"shared file")
    empty_wal(any_hub.database.connection)
    any_hub.message(any_hub.chat("later"), "user", "barbados again")
    assert SECRET.encode() in files(any_hub.database)
    maintenance_delete.delete_chat(any_hub.database, chat["id"])
    assert maintenance_delete.purge_deleted_text(any_hub.database)
    left = files(any_hub.database)
    assert SECRET.encode() not in left
    assert b"barbados" in left
    any_hub.database.connection.execute("INSERT INTO message_search (message_search) VALUES ('integrity-check')")


def test_what_belongs_to_others_is_untouched(any_hub: HubBuilder) -> None:
    other(any_hub)
    before = contents(any_hub.database)
    chat = secretive(any_hub)
    maintenance_delete.delete_chat(any_hub.database, chat["id"], with_usage=True)
    after = contents(any_hub.database)
    jobs = next(name for name in after if "jobs" in name)
    after[jobs] = [row for row in after[jobs] if row in before[jobs]]  # emptied ones stay
    after.pop(next(name for name in after if "map_items" in name))
    before.pop(next(name for name in before if "map_items" in name))
    assert after == before


def test_the_ledger_keeps_its_numbers(any_hub: HubBuilder) -> None:
    chat = secretive(any_hub)
    before = query.get_total(any_hub.database, Scope())
    requests = any_hub.database.value("SELECT count(*) FROM {requests}")
    calls = any_hub.database.value("SELECT count(*) FROM {network_calls}")
    maintenance_delete.delete_chat(any_hub.database, chat["id"])
    after = query.get_total(any_hub.database, Scope())
    assert after == before
    assert any_hub.database.value("SELECT count(*) FROM {requests} WHERE chat_id IS NULL") == requests
    assert any_hub.database.value("SELECT count(*) FROM {network_calls} WHERE body IS NULL AND endpoint <> ''") == calls


def test_with_usage_the_roll_up_counts_what_is_left(any_hub: HubBuilder) -> None:
    stays = any_hub.chat()
    any_hub.turn(stays, "a", "b", duration=1234, time_to_first_token=77, cost=0.5)
    any_hub.turn(stays, "a", "b", status="failed", duration=5)
    before = query.get_total(any_hub.database, Scope()), query.get_total(any_hub.database, Scope(chat_id=stays["id"]))
    goes = any_hub.chat()
    any_hub.turn(goes, "a", "b", duration=1234, time_to_first_token=99, cost=0.25)
    any_hub.turn(goes, "a", "b", model="other", status="incomplete")
    any_hub.running(goes, [b"x"])
    maintenance_delete.delete_chat(any_hub.database, goes["id"], with_usage=True)
    after = query.get_total(any_hub.database, Scope()), query.get_total(any_hub.database, Scope(chat_id=stays["id"]))
    later = {"last_at": after[0]["last_at"]}  # the hour's range does not shrink
    assert after[0] == before[0] | later
    assert after[1] == before[1]
    for table in ddl.ROLLUP_TABLES.values():
        assert any_hub.database.value(f"SELECT sum(requests) FROM {{{table}}}") == 2
    assert any_hub.database.value("SELECT count(*) FROM {requests}") == 2
    assert any_hub.database.value("SELECT count(*) FROM {network_calls}") == 2


def test_a_file_that_another_chat_has_stays(any_hub: HubBuilder) -> None:
    stays, goes = any_hub.chat(), any_hub.chat()
    shared = any_hub.attach(any_hub.message(stays, "user", "x"), b"shared")
    assert any_hub.attach(any_hub.message(goes, "user", "x"), b"shared") == shared
    any_hub.attach(any_hub.message(goes, "user", "x"), b"alone")
    maintenance_delete.delete_chat(any_hub.database, goes["id"])
    assert [row["id"] for row in any_hub.database.rows("SELECT id FROM {attachments}")] == [shared]


def test_a_log_that_a_fork_has_stays_until_the_fork_goes(any_hub: HubBuilder) -> None:
    chat = any_hub.chat()
    any_hub.tool_turn(chat)
    fork = fork_chat(any_hub.database, chats.get(any_hub.database, chat["id"]))
    assert maintenance_delete.delete_chat(any_hub.database, chat["id"]) == (fork.id,)
    assert any_hub.database.value("SELECT count(*) FROM {text_logs}") == 2
    maintenance_delete.delete_chat(any_hub.database, fork.id)
    assert any_hub.database.value("SELECT count(*) FROM {text_logs}") == 0


def test_a_chat_that_a_live_job_holds_is_not_deleted(any_hub: HubBuilder) -> None:
    free, held = any_hub.chat(), any_hub.chat()
    job_id = any_hub.insert(
        "jobs", name="chat", type="turn", status="running", **lease.process_identity().to_dict(),
        lease_expires_at=lease.lease_expiry(),
    )  # fmt: skip
    any_hub.database.execute(
        "UPDATE {message_threads} SET locking_job_id = ? WHERE id = ?", (job_id, held["thread_id"])
    )
    with pytest.raises(LockedError):
        delete.delete_chats(any_hub.database, [free["id"], held["id"]])
    assert any_hub.database.value("SELECT count(*) FROM {chats}") == 2


def test_a_chat_that_a_dead_job_holds_is_counted_then_deleted(any_hub: HubBuilder) -> None:
    chat = any_hub.chat()
    job_id = any_hub.insert("jobs", name="chat", type="turn", status="running", host="elsewhere", pid=1)
    any_hub.database.execute(
        "UPDATE {message_threads} SET locking_job_id = ? WHERE id = ?", (job_id, chat["thread_id"])
    )
    any_hub.running(chat, [b"data: x"], job_id=job_id)
    delete.delete_chats(any_hub.database, [chat["id"]])
    assert query.get_total(any_hub.database, Scope())["requests"] == 1
    assert any_hub.database.value("SELECT count(*) FROM {chats}") == 0


def test_rows_that_grew_side_by_side_leave_nothing_behind(any_hub: HubBuilder) -> None:
    """Growing rows push their neighbours to other pages, and SQLite never overwrites the copies they leave there."""
    for seed in (6, 12, 15):  # these do, without the file being written anew
        rng = random.Random(seed)
        talk = {f"word{seed}n{index}x": any_hub.chat() for index in range(6)}
        for _ in range(40):
            pending = []
            for word in rng.sample(list(talk), 3):
                any_hub.message(talk[word], "user", f"{word} " * rng.choice([3, 30, 100]))
                pending.append((word, any_hub.message(talk[word], "assistant", None, status="pending")))
            for word, answer in pending:
                text = f"{word} " * rng.choice([3, 30, 100, 300])
                sql = "UPDATE {messages} SET content = ?, status = 'completed' WHERE id = ?"
                any_hub.database.execute(sql, (text, answer))
        for word, chat in list(talk.items())[:4]:
            assert word.encode() in files(any_hub.database)
            erased = delete.delete_chats(any_hub.database, [chat["id"]])
            assert not erased.in_log
            assert word.encode() not in files(any_hub.database)


def test_a_large_hub_is_not_rewritten_and_says_so(any_hub: HubBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    chat = secretive(any_hub)
    monkeypatch.setattr(delete, "MAX_VACUUM_BYTES", 1)
    assert delete.delete_chats(any_hub.database, [chat["id"]]).in_gaps


def test_a_reader_of_the_log_is_reported(any_hub: HubBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmctl.store.database._WAL_TIMEOUT_MS", 1)
    chat = secretive(any_hub)
    with closing(open_hub(any_hub.database.path)) as reader:
        reader.connection.execute("BEGIN")
        reader.value("SELECT count(*) FROM {chats}")
        assert delete.delete_chats(any_hub.database, [chat["id"]]).in_log
